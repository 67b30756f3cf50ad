"""Which URLs are certainly new: a Bloom filter of their fingerprints, so that those need not be looked for.

Each process has the whole filter in memory. It holds every row of `urls` up to a number of `meta.tick`; ids
only grow, so each transaction first takes in the rows since then, whoever wrote them. Now and then it is kept
in the database, in the transaction at hand: who opens the database begins from there. What is rolled back or
pruned leaves its bits, which costs a look and no more.
"""

import sqlite3
import struct
from collections.abc import Collection, Iterable

from scraper.store.sqlite.fingerprint_index import STEM, Key

# Changes to a database before it is worth 16 MiB: below, the tables of fingerprints are small themselves.
_WORTHWHILE = 500_000
# Each URL sets two bits of one byte: of new URLs 4 % are looked for with 10 million known, 19 % with 35.
_SIZE = 1 << 24
_PARTS = 64
_PAIRS = ([1 << one | 1 << other for one in range(8) for other in range(one)] * 10)[:256]
_NUMBER = struct.Struct("<I").unpack_from
# Rows that a transaction takes in at most, in some 50 ms: more than any adds, or it would never catch up.
# Until it has, all URLs are looked for.
_STRETCH = 50_000
# Changes until it is kept anew: 70 bytes to be written for each.
_KEEP = 250_000

_SINCE = "SELECT id, fp FROM urls WHERE id > ? ORDER BY id LIMIT ?"
_KEPT = "SELECT v FROM meta WHERE k = 'sieve'"


class BloomFilter:
    """This process's copy. It must be cleared when a transaction fails."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Let go of the copy: the next use reads what is committed."""
        self._bits = bytearray()
        self._upto = self._kept = 0
        self._is_whole = False

    def catch_up(self, connection: sqlite3.Connection, tick: int) -> None:
        """Take in what is committed, up to the number `tick`; before the transaction writes URLs."""
        if tick < _WORTHWHILE:
            return
        if not self._bits:
            self._load(connection)
        if self._upto < tick:
            rows = connection.execute(_SINCE, (self._upto, _STRETCH)).fetchall()
            self._sift((0, fp[:STEM]) for _, fp in rows)
            self._upto = tick if len(rows) < _STRETCH else rows[-1][0]
        self._is_whole = self._upto == tick
        if self._upto - self._kept >= _KEEP:
            self._keep(connection)

    def sift(self, keys: Collection[Key]) -> Collection[Key]:
        """Those of the keys that may be known. The others count as known from now on."""
        return self._sift(keys) if self._is_whole else keys

    def advance(self, tick: int) -> None:
        """Note that the transaction has written what went through here, up to the number `tick`."""
        if self._is_whole:
            self._upto = tick

    def _sift(self, keys: Iterable[Key]) -> list[Key]:
        bits, last = self._bits, _SIZE - 1
        perhaps = []
        for key in keys:
            (number,) = _NUMBER(key[1])
            at, pair = number & last, _PAIRS[number >> 24]
            if bits[at] & pair == pair:
                perhaps.append(key)
            else:
                bits[at] |= pair
        return perhaps

    def _load(self, connection: sqlite3.Connection) -> None:
        self._upto = self._kept = _kept(connection)
        self._bits = bytearray().join(
            bits for (bits,) in connection.execute("SELECT bits FROM sieve ORDER BY part")
        ) or bytearray(_SIZE)

    def _keep(self, connection: sqlite3.Connection) -> None:
        self._kept = _kept(connection)
        if self._upto - self._kept >= _KEEP:
            whole, size = memoryview(self._bits), _SIZE // _PARTS
            parts = [(part, whole[part * size : (part + 1) * size]) for part in range(_PARTS)]
            connection.executemany("INSERT OR REPLACE INTO sieve VALUES (?, ?)", parts)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('sieve', ?)", (self._upto,))
            self._kept = self._upto


def _kept(connection: sqlite3.Connection) -> int:
    row = connection.execute(_KEPT).fetchone()
    return int(row[0]) if row else 0
