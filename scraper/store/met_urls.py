"""Which of millions of URLs a run has met: ten bytes for each, in this process alone.

To find one of ten million URLs in the database takes longer than all else that a link costs. Here are the
last ten million that this process has met. A resumed run begins without them.
"""

from collections.abc import Iterable, Mapping
from struct import Struct

# Buckets of the tables, each begun when the one before is full: nothing is ever moved. 10, 42 and 84 MB.
SIZES = (1 << 15, 1 << 17, 1 << 18)
_SLOTS = 32  # of a bucket; at three quarters one in a hundred URLs finds none
_FULL = 24
# Python's hash of a fingerprint chooses the bucket, six bytes are compared: that any two of ten million agree
# has a chance of 1e-6.
_TAG = 6
_ID_AT, _PACKED, _LARGEST = Struct("<I").unpack_from, Struct("<I").pack, 2**32 - 1
_ENTRY = _TAG + 4
_BUCKET = _SLOTS * _ENTRY


class MetUrls:
    """Ids by fingerprint, in tables of buckets; what finds no slot, or has a longer id, is left out."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        # The largest first; of each the last bucket's number, the entries, and how many each bucket has.
        self._tables: list[tuple[int, bytearray, bytearray]] = []
        self._room = 0

    def find(self, fps: Iterable[bytes], ids: dict[bytes, int]) -> Iterable[bytes]:
        """Put the ids of those URLs that are here to `ids`, by fingerprint; the others are returned."""
        for last, entries, _ in self._tables:
            find, missing = entries.find, []
            for fp in fps:
                start = (hash(fp) & last) * _BUCKET
                at = find(fp[:_TAG], start, start + _BUCKET)
                while at >= 0 and (at - start) % _ENTRY:
                    at = find(fp[:_TAG], at + 1, start + _BUCKET)
                if at < 0:
                    missing.append(fp)
                else:
                    (ids[fp],) = _ID_AT(entries, at + _TAG)
            fps = missing
        return fps

    def add(self, ids: Mapping[bytes, int]) -> None:
        """Keep ids that are not here yet, by fingerprint; of too many those that came first are forgotten."""
        for fp, found in ids.items():
            if not self._room:
                self._begin_table()
            last, entries, counts = self._tables[0]
            bucket = hash(fp) & last
            if counts[bucket] == _SLOTS or found > _LARGEST:
                continue
            at = bucket * _BUCKET + counts[bucket] * _ENTRY
            entries[at : at + _ENTRY] = fp[:_TAG] + _PACKED(found)
            counts[bucket] += 1
            self._room -= 1

    def _begin_table(self) -> None:
        """Begin the next larger table; where there are all, the largest anew."""
        if len(self._tables) == len(SIZES):
            del self._tables[0]
        size = SIZES[len(self._tables)]
        self._room = size * _FULL
        self._tables.insert(0, (size - 1, bytearray(size * _BUCKET), bytearray(size)))
