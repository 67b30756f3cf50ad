"""Which of millions of URLs a run has met: ten bytes for each, in this process alone.

To find one of ten million URLs in the database takes longer than all else that a link costs. Here are those
that this process has met first and last, ten million and more. A resumed run begins without them.
"""

from collections.abc import Iterable, Mapping
from struct import Struct

# Slots of the tables, the second begun when the first is full: nothing is ever moved, and of ten million URLs
# nine in ten are found at the first look. 10 and 126 MB.
SIZES = (1 << 20, 12 << 20)
_FULL = 0.65  # the part of the first that is used: two slots are looked at then for a URL, on average
# Python's hash of a fingerprint chooses its slot, or the next free one of so many; six bytes are compared:
# that any two of ten million agree has a chance of 1e-6.
_NEAR = 32
_TAG = 6
_ID_AT, _PACKED, _LARGEST = Struct("<I").unpack_from, Struct("<I").pack, 2**32 - 1
_IDS_AT = Struct("<" + f"{_TAG}xI" * _NEAR).unpack_from
_ENTRY = _TAG + 4
_FREE = bytes(_ENTRY)
_SPAN = _NEAR * _ENTRY


class MetUrls:
    """Ids by fingerprint, in tables of slots; a longer id is left out."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._tables: list[tuple[int, bytearray]] = []  # slots and entries, the largest first
        self._room = 0

    def find(self, fps: Iterable[bytes], ids: dict[bytes, int]) -> Iterable[bytes]:
        """Put the ids of those URLs that are here to `ids`, by fingerprint; the others are returned."""
        for size, entries in self._tables:
            find, missing = entries.find, []
            for fp in fps:
                start = hash(fp) % size * _ENTRY
                at = find(fp[:_TAG], start, start + _SPAN)
                while at >= 0 and (at - start) % _ENTRY:
                    at = find(fp[:_TAG], at + 1, start + _SPAN)
                if at < 0:
                    missing.append(fp)
                else:
                    (ids[fp],) = _ID_AT(entries, at + _TAG)
            fps = missing
        return fps

    def add(self, ids: Mapping[bytes, int]) -> None:
        """Keep ids that are not here yet, by fingerprint; of too many the oldest of some are forgotten."""
        for fp, found in ids.items():
            if found > _LARGEST:
                continue
            if not self._room and len(self._tables) < len(SIZES):
                self._begin_table()
            size, entries = self._tables[0]
            start = hash(fp) % size * _ENTRY
            free = entries.find(_FREE, start, start + _SPAN)
            if free < 0:
                near = _IDS_AT(entries, start)
                free = start + near.index(min(near)) * _ENTRY
            # Before a free slot stands an id, whose last bytes may be zeros too.
            at = free + (start - free) % _ENTRY
            entries[at : at + _ENTRY] = fp[:_TAG] + _PACKED(found)
            self._room -= 1

    def _begin_table(self) -> None:
        size = SIZES[len(self._tables)]
        self._room = int(size * _FULL)
        self._tables.insert(0, (size, bytearray((size + _NEAR) * _ENTRY)))
