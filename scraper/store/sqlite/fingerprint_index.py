"""Which URLs are known, by fingerprint: three tables, each a multiple of the one before.

Fingerprints are random: in one large B-tree each new one would read and write a page of the file of its own.
So they enter a small table, and where it is full its rows sink to the next, a thousand neighbours at a time:
those share pages. At 10 million URLs, 2,000 new ones wrote 220 to 530 pages of these tables, not 2,000.

A row is (queue, stem, url, run): `run` is the last run that met the URL. A row of a higher table stands for
those of the same URL below. Every function runs inside the caller's transaction.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from scraper.store.sqlite.database import TOGETHER, many

STEM = 10
"""Bytes of a fingerprint that are compared: the chance that any two of 10 million URLs agree is 4e-11."""

Key = tuple[int, bytes]
"""Queue and stem."""

_TABLES = ("fresh", "recent", "settled")
# Rows: what a table may hold before its rows sink. Ratios of 20 keep neighbours dense in the table below.
_ROOM = {"fresh": 20_000, "recent": 400_000}
_SINK = 1_000

# Each table is looked into only for what the ones above it lack.
_FIND = """WITH wanted(queue, stem) AS (VALUES {})
    SELECT w.queue, w.stem, coalesce(f.url, r.url, s.url) AS found, coalesce(f.run, r.run, s.run)
    FROM wanted w LEFT JOIN fresh f ON f.queue = w.queue AND f.stem = w.stem
    LEFT JOIN recent r ON f.url IS NULL AND r.queue = w.queue AND r.stem = w.stem
    LEFT JOIN settled s ON f.url IS NULL AND r.url IS NULL AND s.queue = w.queue AND s.stem = w.stem
    WHERE found IS NOT NULL"""
_NOTE = """INSERT OR ROLLBACK INTO fresh(queue, stem, url, run) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET url = excluded.url, run = excluded.run"""
_END = """SELECT queue, stem FROM {} WHERE (queue, stem) > (?, ?) ORDER BY queue, stem LIMIT 1 OFFSET ?"""
_STRETCH = "FROM {} WHERE (queue, stem) > (?, ?) AND (queue, stem) <= (?, ?)"
_LOWER = """INSERT OR ROLLBACK INTO {} SELECT queue, stem, url, run {}
    ON CONFLICT DO UPDATE SET url = excluded.url, run = excluded.run"""
_SUNK = "UPDATE levels SET rows = ?, queue = ?, stem = ? WHERE name = ?"
_FIRST: Key = (-1, b"")
_LAST: Key = (2**62, b"")


def find(connection: sqlite3.Connection, keys: Iterable[Key]) -> dict[Key, tuple[int, int]]:
    """The id and the last run of each of these URLs that is known."""
    found: dict[Key, tuple[int, int]] = {}
    for some in _groups(sorted(keys)):
        sql = _FIND.format(", ".join(["(?, ?)"] * len(some)))
        for queue, stem, url, run in connection.execute(sql, list(chain.from_iterable(some))):
            found[queue, stem] = url, run
    return found


def note(connection: sqlite3.Connection, rows: Sequence[tuple[int, bytes, int, int]]) -> None:
    """Note that a run has met URLs; rows of queue, stem, id and run."""
    many(connection, _NOTE, sorted(rows))
    _fill(connection, 0, len(rows))


def forget(connection: sqlite3.Connection, keys: Sequence[Key]) -> None:
    """Know these URLs no more."""
    for table in _TABLES:
        many(connection, f"DELETE FROM {table} WHERE queue = ? AND stem = ?", keys)


def _fill(connection: sqlite3.Connection, level: int, added: int) -> None:
    """Count what came to a table, and let the next stretches of it sink while it holds too much."""
    table = _TABLES[level]
    if not added or table not in _ROOM:
        return
    rows, *after = connection.execute(
        "SELECT rows, queue, stem FROM levels WHERE name = ?", (table,)
    ).fetchone()
    rows, place, sunk = rows + added, (after[0], after[1]), 0
    while rows >= _ROOM[table] + _SINK:
        place, moved = _sink(connection, level, place)
        rows, sunk = rows - moved, sunk + moved
        if place == _FIRST:
            # Once a round: a row that replaced another was counted twice.
            (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    connection.execute(_SUNK, (rows, *place, table))
    _fill(connection, level + 1, sunk)


def _sink(connection: sqlite3.Connection, level: int, after: Key) -> tuple[Key, int]:
    """Move the stretch after a key one table down: where the next one begins, and the rows moved."""
    table, below = _TABLES[level : level + 2]
    end = connection.execute(_END.format(table), (*after, _SINK - 1)).fetchone()
    stretch, bounds = _STRETCH.format(table), (*after, *(end or _LAST))
    connection.execute(_LOWER.format(below, stretch), bounds)
    moved = connection.execute(f"DELETE {stretch}", bounds).rowcount
    return end or _FIRST, moved


def _groups(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    """The keys in groups of few sizes, each a statement of its own to prepare; the last one is filled up."""
    for start in range(0, len(keys), TOGETHER):
        group = list(keys[start : start + TOGETHER])
        size = 1 << (len(group) - 1).bit_length()
        yield group + group[-1:] * (size - len(group))
