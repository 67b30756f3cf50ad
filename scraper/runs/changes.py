"""What a run changed: records added, changed and removed, by their key."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from heapq import merge
from operator import itemgetter
from typing import Any

from scraper.model.frozen import frozen
from scraper.ops.disk import one_line
from scraper.runs.partitions import Partitions, identity

Keyed = Iterable[tuple[str, str]]
_Row = tuple[bytes, int, str, str]
_Place = tuple[int, int]
_Fields = tuple[str, str, dict[str, Any] | None, dict[str, Any] | None]


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

    They come in the order of the records, those removed at the end. The records wait on disk, whatever their
    number. Of records with the same key the first stands; those of `after` that do not are `duplicates`.
    """

    def __init__(self, before: Keyed, after: Keyed, *, whole: bool = True) -> None:
        self._before = before
        self._after = after
        self._is_whole = whole
        self.added = self.changed = self.removed = self.duplicates = 0

    def __iter__(self) -> Iterator[Change]:
        with closing(Partitions()) as found:
            with closing(_sorted(self._before)) as before, closing(_sorted(self._after)) as after:
                for part in before.parts():
                    for place, change in self._compared(before, after.take(part), part):
                        found.put_into(part, (place, change))
                    before.drop(part)
            # Those of each part are in order; together they are when merged.
            streams = [found.take(part) for part in found.parts()]
            yield from (Change(*change) for _, change in merge(*streams, key=itemgetter(0)))

    def _compared(
        self, before: Partitions, after: Iterator[_Row], part: int
    ) -> Iterator[tuple[_Place, _Fields]]:
        """The changes of one part, each with its place among all."""
        former: dict[bytes, int] = {}
        for place, (hashed, *_) in before.places(part):
            former.setdefault(hashed, place)
        seen: set[bytes] = set()
        for hashed, number, key, line in after:
            if hashed in seen:
                self.duplicates += 1
                continue
            seen.add(hashed)
            at = former.pop(hashed, None)
            change = _compare(key, None if at is None else before.row(part, at)[3], line)
            if change is not None:
                self.added += change[0] == "added"
                self.changed += change[0] == "changed"
                yield (0, number), change
        if self._is_whole:
            self.removed += len(former)
            for at in former.values():
                _, number, key, line = before.row(part, at)
                yield (1, number), ("removed", key, json.loads(line), None)


def diff(before: Keyed, after: Keyed, *, whole: bool = True) -> Diff:
    """The changes from `before` to `after`. Not `whole`: `after` does not tell what is gone."""
    return Diff(before, after, whole=whole)


def _sorted(records: Keyed) -> Partitions:
    parts = Partitions()
    for number, (key, line) in enumerate(records):
        hashed = identity(key)
        parts.put(hashed, (hashed, number, key, line))
    return parts


def _compare(key: str, former: str | None, line: str) -> _Fields | None:
    if former == line:
        return None
    after = json.loads(line)
    if former is None:
        return "added", key, None, after
    before = json.loads(former)
    differing = [name for name in {**before, **after} if _differs(name, before, after)]
    if not differing:
        return None
    return (
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
