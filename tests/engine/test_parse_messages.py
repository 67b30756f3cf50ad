"""Values of the model between processes."""

import fcntl
import os
import sys
import termios

from scraper.engine import parse_messages
from scraper.engine.parse_messages import Receiver, Sender
from scraper.model import Entry, Failed, Fetched, Known, NewUrl, RecordLine, Refusal, Visit
from scraper.runs.record_spool import IN_MEMORY, RecordSpool

LINKS = tuple(NewUrl("a.example", bytes([n]) * 16, f"http://a.example/{n}") for n in range(40))


def visit(n: int) -> Visit:
    records = (RecordLine(f"k{n}", '{"a":1}'),)
    outcome = Fetched(Known(1), records, LINKS, (Refusal("x", "y"),), {"noindex": True}, queries={"a": False})
    return Visit(Entry(n, "a.example", b"f" * 16, f"http://a.example/{n}"), outcome)


def through(*values: object) -> tuple[list[object], int]:
    reader, writer = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    with reader, writer:
        sender, receiver, sizes = Sender(writer), Receiver(reader), []
        received = []
        for value in values:
            sender.send(value)
            sizes.append(fcntl.ioctl(reader, termios.FIONREAD, b"1234"))
            received += receiver.receive()
        return received, sum(int.from_bytes(size, sys.byteorder) for size in sizes)


def test_values_arrive_as_they_were() -> None:
    sent = [visit(1), None, Visit(visit(2).entry, Failed("why", "kind", traceback="t")), visit(3)]
    assert through(*sent)[0] == sent


def test_links_that_were_sent_before_cost_a_few_bytes() -> None:
    one, many = through(visit(1))[1], through(*(visit(n) for n in range(101)))[1]
    assert (many - one) / 100 < one / 5


def test_both_sides_forget_together(monkeypatch: object) -> None:
    before, parse_messages._FORGET_AFTER = parse_messages._FORGET_AFTER, 1
    try:
        sent = [visit(n) for n in range(5)]
        assert through(*sent)[0] == sent
    finally:
        parse_messages._FORGET_AFTER = before


def test_records_that_are_on_disk_arrive_too() -> None:
    spool = RecordSpool()
    for n in range(3):
        spool.put(RecordLine(str(n), "x" * (IN_MEMORY // 2)))
    (got,), size = through(spool)
    assert size < 1000
    assert list(got) == list(spool)  # type: ignore[call-overload]
    assert len(got) == 3  # type: ignore[arg-type]
