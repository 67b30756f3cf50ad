"""Equal keys among many records."""

import random

from scraper.runs.partitions import Partitions, repeats_of


def test_repeats_are_those_whose_key_an_earlier_record_has() -> None:
    keys = [str(random.Random(1).randrange(400)) for _ in range(3)] + [str(n % 400) for n in range(1000)]
    found = repeats_of((key, "{}") for key in keys)
    expected = {n for n, key in enumerate(keys) if key in keys[:n]}
    assert {n for n in range(len(keys)) if n in found} == expected
    assert (found.total, found.count, found.differing, found.pair) == (1003, len(expected), 0, None)


def test_the_first_pair_that_differs_is_named() -> None:
    records = [("a", "1"), ("b", "1"), ("b", "1"), ("b", "2"), ("a", "3"), ("a", "1"), ("\ud800", "")]
    found = repeats_of(records)
    assert (found.count, found.differing, found.pair) == (4, 2, (1, 3))


def test_no_records_have_no_repeats() -> None:
    assert (repeats_of([]).total, repeats_of([]).count) == (0, 0)


def test_a_part_that_outgrows_the_memory_gives_the_same_rows() -> None:
    parts, rows = Partitions(), [(n, "x" * 1000) for n in range(200)]
    for row in rows:
        parts.put_into(3, row)
    found = list(parts.places(3))
    assert [row for _, row in found] == rows
    assert parts.row(3, found[150][0]) == rows[150]
    assert list(parts.take(3)) == rows
    assert list(parts.take(3)) == []
