"""The records of one page: few in memory, very many in a file."""

import pytest

from scraper.model import RecordLine
from scraper.runs import record_spool
from scraper.runs.record_spool import RecordSpool

ODD = ["", "a\nb", "é\ud800\U0001f600", "x" * 3_000_000]


def test_a_few_records_are_a_tuple() -> None:
    spool = RecordSpool()
    for n in range(3):
        spool.put(RecordLine(str(n), "{}"))
    assert spool.taken() == (RecordLine("0", "{}"), RecordLine("1", "{}"), RecordLine("2", "{}"))


@pytest.mark.parametrize("room", [0, 50, 3_000_000])
def test_very_many_records_come_back_in_their_order_as_often_as_wanted(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(record_spool, "IN_MEMORY", room)
    spool = RecordSpool()
    records = [RecordLine(text[:1000], f"{n} {text}") for n in range(3) for text in (*ODD, str(n))]
    for record in records:
        spool.put(record)
    found = spool.taken()
    assert len(found) == len(records)
    assert list(found) == records and list(found) == records
    assert records[4] in found and RecordLine("no", "such") not in found


def test_reading_while_more_is_put_gives_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_spool, "IN_MEMORY", 0)
    spool = RecordSpool()
    spool.put(RecordLine("1", "a"))
    reading = iter(spool)
    assert next(reading) == RecordLine("1", "a")
    spool.put(RecordLine("2", "b"))
    assert list(spool) == [RecordLine("1", "a"), RecordLine("2", "b")]
