"""What a run changed: records added, changed and removed, by their key."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from scraper.frozen import frozen
from scraper.ops.disk import one_line

Keyed = Iterable[tuple[str, str]]
_EXAMPLES = 5


@frozen
class Change:
    """One record that is not as it was.

    `before` and `after` are the whole record for removed and added, and only the fields that differ for
    changed; a field that one side has not is missing there.
    """

    change: str
    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    def line(self) -> str:
        """One line of changes.jsonl."""
        as_dict = {"change": self.change, "key": self.key, "before": self.before, "after": self.after}
        return one_line(json.dumps(as_dict, ensure_ascii=False, separators=(",", ":")))


class Diff:
    """The changes from one set of (key, line) to another; iterate once, then read the counts.

    Memory: about 300 bytes a key, whatever the size of the records. Of records with the same key the first
    stands; those of `after` that do not are `duplicates`, the first keys among them `examples`.
    """

    def __init__(self, before: Keyed, after: Keyed, *, whole: bool = True) -> None:
        self._before = before
        self._after = after
        self._is_whole = whole
        self.added = self.changed = self.removed = self.duplicates = 0
        self.examples: list[str] = []

    def __iter__(self) -> Iterator[Change]:
        with tempfile.TemporaryFile() as file:
            yield from self._changes(_Former(file, self._before))

    def _changes(self, former: "_Former") -> Iterator[Change]:
        seen: set[bytes] = set()
        for key, line in self._after:
            identity = _identity(key)
            if identity in seen:
                self._note_duplicate(key)
                continue
            seen.add(identity)
            change = _compare(key, former.pop(identity), line)
            if change is not None:
                self._count(change)
                yield change
        if self._is_whole:
            for key, line in former.rest():
                self.removed += 1
                yield Change("removed", key, json.loads(line), None)

    def _count(self, change: Change) -> None:
        if change.change == "added":
            self.added += 1
        else:
            self.changed += 1

    def _note_duplicate(self, key: str) -> None:
        self.duplicates += 1
        if len(self.examples) < _EXAMPLES and key not in self.examples:
            self.examples.append(key)


def diff(before: Keyed, after: Keyed, *, whole: bool = True) -> Diff:
    """The changes from `before` to `after`. Not `whole`: `after` does not tell what is gone."""
    return Diff(before, after, whole=whole)


class _Former:
    """The records before, in a file, found by the hash of their key."""

    def __init__(self, file: BinaryIO, records: Keyed) -> None:
        self._file = file
        self._offsets: dict[bytes, int] = {}
        at = 0
        for key, line in records:
            identity = _identity(key)
            if identity not in self._offsets:
                self._offsets[identity] = at
                # Surrogates pass: what cannot stand in a published file may still be compared.
                at += file.write(f"{json.dumps(key)}\t{line}\n".encode("utf-8", "surrogatepass"))

    def pop(self, identity: bytes) -> str | None:
        """The line of a key, which then no longer belongs to the rest."""
        offset = self._offsets.pop(identity, None)
        return None if offset is None else self._read(offset)[1]

    def rest(self) -> Iterator[tuple[str, str]]:
        return (self._read(offset) for offset in self._offsets.values())

    def _read(self, offset: int) -> tuple[str, str]:
        self._file.seek(offset)
        key, _, line = self._file.readline().decode("utf-8", "surrogatepass").rstrip("\n").partition("\t")
        return json.loads(key), line


def _identity(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _compare(key: str, former: str | None, line: str) -> Change | None:
    if former == line:
        return None
    after = json.loads(line)
    if former is None:
        return Change("added", key, None, after)
    before = json.loads(former)
    differing = [name for name in {**before, **after} if _differs(name, before, after)]
    if not differing:
        return None
    return Change(
        "changed",
        key,
        {name: before[name] for name in differing if name in before},
        {name: after[name] for name in differing if name in after},
    )


def _differs(name: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    if name not in before or name not in after:
        return True
    # As text: Python holds 1, 1.0 and true for equal, a reader of the records does not.
    one, other = before[name], after[name]
    return json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)
