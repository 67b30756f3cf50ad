"""Pages that may have killed a worker: while they are parsed that is noted in the database, for all hosts.

A note in the lock file of a worker costs nothing, but only its own host can read it. So where the owner of a
domain has died, its next owners note in the database what they parse, until something of it is settled; and
what has once been parsed at a death is noted each time.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import psycopg

from scraper.model import Entry, Visit
from scraper.store import Lease
from scraper.store.postgres.database import Connection, Database

_NOTE = "INSERT INTO in_hand VALUES (%s, %s) ON CONFLICT DO NOTHING"
_DROP = "DELETE FROM in_hand WHERE worker = %s AND url = %s"
_OF_DEAD = "DELETE FROM in_hand WHERE worker = %s RETURNING url"


class Suspects:
    """What this process has to note; the notes are written by whichever thread parses."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._domains: set[str] = set()
        self._urls: set[int] = set()

    def leased(self, lease: Lease) -> None:
        """Look at a lease that has just been got."""
        (self._domains.add if lease.crashes else self._domains.discard)(lease.domain)

    def taken(self, entry: Entry) -> None:
        """Look at a URL that has just been taken."""
        if entry.crashes or entry.domain in self._domains:
            self._urls.add(entry.id)

    def settled(self, visits: Iterable[Visit]) -> None:
        """What these were about is done."""
        for visit in visits:
            self._domains.discard(visit.entry.domain)
            self._urls.discard(visit.entry.id)

    @contextmanager
    def in_hand(self, worker: str, url: int) -> Iterator[None]:
        """Note that a page is being parsed, if it is a suspect and the server can be reached."""
        connection: Connection | None = None
        if url in self._urls:
            with suppress(psycopg.Error):
                connection = self._database.another()
                connection.execute(_NOTE, (worker, url))
        try:
            yield
        finally:
            if connection is not None:
                with suppress(psycopg.Error), connection:
                    connection.execute(_DROP, (worker, url))


def parsed_by(connection: Connection, worker: str) -> list[int]:
    """What a dead worker has noted, and forget it."""
    return [url for (url,) in connection.execute(_OF_DEAD, (worker,))]
