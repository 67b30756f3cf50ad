"""The tables, as numbered migrations: the place in MIGRATIONS is the schema's number.

Never edit a migration that shipped. Every row that other rows point to has an id that is never used again.
`meta.tick` counts up with every change: URLs, visits and places in a queue are numbered by it. A URL's row
lives across runs; `run` is the last run that met it, so what a dropped run left pending stays out of the next
one without a clean-up.
"""

_FIRST = (
    "CREATE TABLE meta(k TEXT PRIMARY KEY, v) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('tick', 0)",
    """CREATE TABLE workers(
        id TEXT PRIMARY KEY, host TEXT NOT NULL, boot TEXT NOT NULL, pid INTEGER NOT NULL,
        started_at REAL NOT NULL, lease_until REAL NOT NULL, run INTEGER
    ) WITHOUT ROWID""",
    """CREATE TABLE runs(
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, spider TEXT NOT NULL, code TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'running', started_at REAL NOT NULL, ended_at REAL,
        accepted INTEGER NOT NULL DEFAULT 0, whole INTEGER NOT NULL DEFAULT 0,
        owner TEXT, held_since REAL NOT NULL DEFAULT 0,
        pending INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0,
        summary TEXT NOT NULL DEFAULT '{}'
    )""",
    "CREATE INDEX runs_of_spider ON runs(spider, number)",
    # wanted: the run that waits for the domain, believed until wanted_until.
    """CREATE TABLE domains(
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, owner TEXT, epoch INTEGER NOT NULL DEFAULT 0,
        due REAL NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT '', crashes INTEGER NOT NULL DEFAULT 0,
        wanted INTEGER, wanted_until REAL NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX domains_owned ON domains(owner) WHERE owner IS NOT NULL",
    # run: the run that has pending URLs here, NULL: parked. free: the domain has no owner. due: a copy of the
    # domain's while free, so that one index finds the next domain of a run.
    """CREATE TABLE queues(
        id INTEGER PRIMARY KEY, spider TEXT NOT NULL, domain INTEGER NOT NULL REFERENCES domains(id),
        run INTEGER, free INTEGER NOT NULL, due REAL NOT NULL, session TEXT NOT NULL DEFAULT '',
        UNIQUE(spider, domain)
    )""",
    "CREATE INDEX queues_due ON queues(run, free, due)",
    "CREATE INDEX queues_of_domain ON queues(domain)",
    # state: 0 pending, 1 done, 2 failed, 3 denied, 4 redirected
    """CREATE TABLE urls(
        id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, fp BLOB NOT NULL, url TEXT NOT NULL, request TEXT,
        prio INTEGER NOT NULL, depth INTEGER NOT NULL, hops INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, run INTEGER NOT NULL,
        state INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL, reason TEXT
    )""",
    "CREATE INDEX urls_pending ON urls(queue, run, prio DESC, seq) WHERE state = 0",
    # What finds a URL by its fingerprint, see fingerprint_index.py. levels: rows of a table, and their level.
    *(
        f"""CREATE TABLE {table}(
            queue INTEGER NOT NULL, stem BLOB NOT NULL, url INTEGER NOT NULL, run INTEGER NOT NULL,
            PRIMARY KEY(queue, stem)
        ) WITHOUT ROWID"""
        for table in ("fresh", "recent", "settled")
    ),
    "CREATE VIEW known AS SELECT * FROM fresh UNION ALL SELECT * FROM recent UNION ALL SELECT * FROM settled",
    """CREATE TABLE levels(
        name TEXT PRIMARY KEY, rows INTEGER NOT NULL, queue INTEGER NOT NULL, stem BLOB NOT NULL
    ) WITHOUT ROWID""",
    "INSERT INTO levels VALUES ('fresh', 0, -1, x''), ('recent', 0, -1, x'')",
    # version: the visit that parsed the page; run: that visit's run; checked: the last run that read it.
    # links: ids, below zero where nofollow bars the way.
    """CREATE TABLE pages(
        url INTEGER PRIMARY KEY, version INTEGER NOT NULL, run INTEGER NOT NULL, checked INTEGER NOT NULL,
        code TEXT NOT NULL, etag TEXT, last_modified TEXT, fresh_until REAL NOT NULL, body_hash BLOB NOT NULL,
        fetched_at REAL NOT NULL, links BLOB NOT NULL, facts TEXT NOT NULL
    )""",
    # version NULL: the page brings nothing. is_read 0: not read this time, version is what stood before.
    """CREATE TABLE visits(
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL, url INTEGER NOT NULL, version INTEGER,
        is_read INTEGER NOT NULL
    )""",
    "CREATE INDEX visits_of_run ON visits(run)",
    "CREATE INDEX visits_of_url ON visits(url)",
    """CREATE TABLE records(
        version INTEGER NOT NULL, n INTEGER NOT NULL, key TEXT NOT NULL, line TEXT NOT NULL,
        PRIMARY KEY(version, n)
    ) WITHOUT ROWID""",
    """CREATE TABLE tallies(
        run INTEGER NOT NULL, domain INTEGER NOT NULL, tally TEXT NOT NULL, PRIMARY KEY(run, domain)
    ) WITHOUT ROWID""",
    """CREATE TABLE refused(
        run INTEGER NOT NULL, digest BLOB NOT NULL, url TEXT NOT NULL, reason TEXT NOT NULL,
        PRIMARY KEY(run, digest)
    ) WITHOUT ROWID""",
    """CREATE TABLE robots(
        origin TEXT PRIMARY KEY, body BLOB NOT NULL, status INTEGER, checked_at REAL NOT NULL,
        until REAL NOT NULL, since REAL NOT NULL, etag TEXT, last_modified TEXT
    )""",
)

# The Bloom filter, see bloom.py; meta has the last URL that it knows. The tables keep their first names.
_SIEVE = ("CREATE TABLE sieve(part INTEGER PRIMARY KEY, bits BLOB NOT NULL)",)

# `inputs` of older pages is the hash of the spider's code, as it is still for a page without any of its own.
# A callback became part of what a URL is known by; `with_callback` makes the new fingerprint from the old.
_CALLED = """FROM urls u WHERE {} AND u.request LIKE '%"callback"%'
    AND json_extract(u.request, '$.callback') <> 'parse'"""
_INPUTS = (
    "ALTER TABLE pages RENAME COLUMN code TO inputs",
    "ALTER TABLE runs ADD COLUMN params TEXT",
    *(
        f"""UPDATE {table}
        SET stem = substr(with_callback(u.fp, json_extract(u.request, '$.callback')), 1, 10)
        {_CALLED.format(f"u.id = {table}.url")}"""
        for table in ("fresh", "recent", "settled")
    ),
    f"""UPDATE urls SET fp = with_callback(fp, json_extract(request, '$.callback'))
        WHERE id IN (SELECT u.id {_CALLED.format("1")})""",
    # It is made anew, from the fingerprints as they are now.
    "DELETE FROM sieve",
    "DELETE FROM meta WHERE k = 'sieve'",
)

# How often in this run a process died while the page was being parsed.
_CRASHES = ("ALTER TABLE urls ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0",)

# Through which proxy and with which credentials a robots.txt was asked for.
_ROBOTS_VIA = ("ALTER TABLE robots ADD COLUMN via TEXT NOT NULL DEFAULT ''",)

# The files that a page's parse saved, as JSON.
_FILES = ("ALTER TABLE pages ADD COLUMN files TEXT NOT NULL DEFAULT ''",)

# How often a process that ran the run died since it was begun or paused.
_KILLS = ("ALTER TABLE runs ADD COLUMN kills INTEGER NOT NULL DEFAULT 0",)

# What the service keeps: its tokens, and the requests that it has answered.
_NOTES = (
    """CREATE TABLE notes(
        kind TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY(kind, name)
    ) WITHOUT ROWID""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    *(_FIRST, _SIEVE, _INPUTS, _CRASHES, _ROBOTS_VIA, _FILES, _KILLS, _NOTES),
)
