"""What a run changed, by key."""

import json
import tracemalloc
from typing import Any

import pytest

from scraper.runs.changes import Change, Diff, diff

Records = dict[str, dict[str, Any]]


def keyed(records: Records) -> list[tuple[str, str]]:
    return [(key, json.dumps(record)) for key, record in records.items()]


def changes(before: Records, after: Records, *, whole: bool = True) -> list[Change]:
    return list(diff(keyed(before), keyed(after), whole=whole))


def test_equal_records_are_no_change_whatever_their_order() -> None:
    assert changes({"a": {"x": 1, "y": 2}, "b": {}}, {"b": {}, "a": {"y": 2, "x": 1}}) == []


def test_a_new_key_is_added_with_its_record() -> None:
    assert changes({}, {"a": {"x": 1}}) == [Change("added", "a", None, {"x": 1})]


def test_a_key_that_is_no_more_is_removed_with_its_record() -> None:
    assert changes({"a": {"x": 1}, "b": {}}, {"b": {}}) == [Change("removed", "a", {"x": 1}, None)]


def test_a_change_shows_only_the_fields_that_differ() -> None:
    before, after = {"a": {"x": 1, "y": "old", "gone": 0}}, {"a": {"x": 1, "y": "new", "more": [1]}}
    expected = Change("changed", "a", {"y": "old", "gone": 0}, {"y": "new", "more": [1]})
    assert changes(before, after) == [expected]


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (1, 1.0), (0, False), ("1", 1), (None, ""), ([1], [1.0])]
)
def test_values_that_only_python_holds_for_equal_are_a_change(old: object, new: object) -> None:
    assert changes({"a": {"x": old}}, {"a": {"x": new}}) == [Change("changed", "a", {"x": old}, {"x": new})]


def test_a_field_that_became_null_is_not_a_field_that_went() -> None:
    assert changes({"a": {"x": None}}, {"a": {}}) == [Change("changed", "a", {"x": None}, {})]


def test_after_a_run_that_was_cut_short_nothing_is_removed() -> None:
    assert changes({"a": {}, "b": {}}, {"b": {"x": 1}}, whole=False) == [Change("changed", "b", {}, {"x": 1})]


def test_of_records_with_one_key_the_first_stands_and_the_others_are_reported() -> None:
    after = [("a", '{"x": 1}'), ("a", '{"x": 2}'), ("b", "{}"), ("a", '{"x": 3}'), ("b", "{}")]
    found = Diff([("a", '{"x": 1}')], after)
    assert list(found) == [Change("added", "b", None, {})]
    assert found.duplicates == 3


def test_a_key_that_came_twice_before_has_the_first_record_too() -> None:
    found = diff([("a", '{"x": 1}'), ("a", '{"x": 2}')], [("a", '{"x": 1}')])
    assert list(found) == [] and found.duplicates == 0


def test_changes_come_in_the_order_of_the_records_those_removed_at_the_end() -> None:
    before = [(str(n), "{}") for n in range(300)]
    after = [(str(n), '{"x": 1}') for n in range(500, 150, -1)]
    kinds = [(change.change, change.key) for change in diff(before, after)]
    assert [key for _, key in kinds[:350]] == [key for key, _ in after]
    assert kinds[350:] == [("removed", str(n)) for n in range(151)]


def test_the_counts_stand_when_the_changes_are_through() -> None:
    found = diff(keyed({"a": {}, "b": {"x": 1}, "c": {}}), keyed({"b": {"x": 2}, "d": {}, "e": {}}))
    assert len(list(found)) == 5
    assert (found.added, found.changed, found.removed) == (2, 1, 2)


def test_keys_and_records_may_hold_any_text() -> None:
    odd = 'tab\t "quote" \n naïve 🦊 \ud800'
    line = json.dumps({"x": odd}, ensure_ascii=False)
    assert list(diff([(odd, line)], [])) == [Change("removed", odd, {"x": odd}, None)]


def test_a_line_of_the_file_has_the_four_fields_in_order() -> None:
    line = Change("changed", "k", {"x": "ä"}, {"x": 2}).line()
    assert line == '{"change":"changed","key":"k","before":{"x":"ä"},"after":{"x":2}}'


def test_large_records_do_not_fill_the_memory() -> None:
    def records(mark: str) -> Any:
        return ((str(n), json.dumps({"mark": mark, "text": str(n) * 10_000})) for n in range(500))

    tracemalloc.start()
    try:
        assert sum(1 for _ in diff(records("old"), records("new"))) == 500
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
