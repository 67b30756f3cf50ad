"""The pool of parse processes, with real processes that do little; and the order of what they parse."""

import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from scraper.engine.parse_pool import ParsePool, Task, in_order
from scraper.engine.parsing_elsewhere import Elsewhere, Handed, NeedsSession, NoSession, ParsingElsewhere
from scraper.errors import StoreError
from scraper.http.exchange import BLOCKS
from scraper.model import Entry, Failed, Fetched, Known, Response, Visit
from scraper.model.response import Headers

CHILD = """
import os, select, sys
from scraper.engine.parse_messages import Receiver, Sender
from scraper.engine.parse_pool import Broken
pipe, sender = os.fdopen(0, "rb", buffering=0), Sender(os.fdopen(1, "wb"))
receiver = Receiver(pipe)
sender.send([])
while True:
    select.select([pipe], [], [])
    for values in receiver.receive():
        for value in values:
            if value == "deadly":
                os.kill(os.getpid(), 9)
            sender.send([Broken("wrong") if value == "broken" else (value, os.getpid())])
"""


@pytest.fixture
def pool() -> Iterator[ParsePool]:
    pool = ParsePool(lambda: started(CHILD), 2)
    yield pool
    pool.close()


def started(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def once(items: list[Any]) -> Any:
    left = [items]
    return lambda: left.pop() if left else []


def test_results_come_in_the_order_of_their_items_from_two_processes(pool: ParsePool) -> None:
    found = [one for one in in_order(pool, once(list(range(300)))) if one is not None]
    assert [item for item, _ in found] == [result[0] for _, result in found] == list(range(300))
    assert len({result[1] for _, result in found}) == 2


def test_what_a_dead_process_had_is_done_by_another_and_what_kills_two_is_given_up(pool: ParsePool) -> None:
    items = [*range(20), "deadly", *range(20, 60)]
    found = {item: result for item, result in filter(None, in_order(pool, once(items)))}
    assert found.pop("deadly").times == 2
    assert {item: result[0] for item, result in found.items()} == {n: n for n in range(60)}


def test_a_process_that_cannot_start_or_says_so_is_an_error(pool: ParsePool) -> None:
    with pytest.raises(StoreError, match="exit code 3"):
        list(in_order(ParsePool(lambda: started("raise SystemExit(3)"), 1), once([1])))
    with pytest.raises(StoreError, match="wrong"):
        list(in_order(pool, once(["broken"])))


def test_there_is_room_once_a_process_is_ready_and_for_what_its_pipe_takes(pool: ParsePool) -> None:
    while not pool.has_room_for(10**9, 16):  # alone, any size is taken
        pool.wait(1.0)
    tasks = [pool.submit_one("x" * 100, 10**9) for _ in range(2)]
    assert not pool.has_room_for(10**9, 16) or any(task.is_done for task in tasks)
    while not all(task.is_done for task in tasks):
        pool.wait(1.0)
    assert [task.result[0] for task in tasks] == ["x" * 100] * 2 and not tasks[0].deaths
    pool.close()
    with pytest.raises(StoreError):
        pool.wait(1.0)


def test_what_was_dropped_is_not_done_by_another_process(pool: ParsePool) -> None:
    tasks = [Task(n) for n in range(5)]
    pool.submit(tasks)
    pool.drop(tasks)
    for process in pool._processes:
        process.process.send_signal(signal.SIGKILL)  # type: ignore[attr-defined]
    pool.wait(1.0)
    after = pool.submit_one("after", 0)
    while not after.is_done:
        pool.wait(1.0)
    assert all(task.result is None or task.result[0] == task.value for task in tasks)


# the order of visits ----------------------------------------------------------------------------------------
class Slow:
    """A pool in which what was sent is done by `wait`, one task each time."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def has_room_for(self, size: int, most: int) -> bool:
        return len(self.tasks) < most

    def submit_one(self, value: Any, size: int) -> Task:
        self.tasks.append(Task(value, size))
        return self.tasks[-1]

    def wait(self, timeout: float) -> None:
        task = self.tasks.pop(0)
        task.result, task.is_done = "parsed", True


def visit(n: int, *, raises: bool = False) -> Visit:
    outcome = Failed("why", "kind", is_parse=True) if raises else Fetched(Known(1))
    return Visit(Entry(n, "a.example", b"", f"http://a.example/{n}"), outcome)


def handed(n: int) -> Handed:
    return visit(n).entry, Response(f"http://a.example/{n}", 200, Headers(), b""), Known(1), None


def test_visits_leave_in_the_order_of_their_requests_whoever_parsed_them() -> None:
    elsewhere = ParsingElsewhere(Slow())  # type: ignore[arg-type]

    def steps() -> Iterator[Any]:
        for n in range(200):
            task = elsewhere.hand_over(handed(n)) if n % 3 and elsewhere.takes("parse", 100) else None

            def finish(task: Task, n: int = n) -> Generator[Any, None, Visit]:
                yield from ()
                return visit(n)

            yield visit(n) if task is None else Elsewhere(task, finish)

    steps_taken = list(elsewhere.in_order(steps()))
    assert [one.entry.id for one in steps_taken if isinstance(one, Visit)] == list(range(200))
    assert any(one is BLOCKS for one in steps_taken)


def test_nothing_is_handed_over_while_callbacks_raise_or_where_one_needs_its_session() -> None:
    elsewhere = ParsingElsewhere(Slow())  # type: ignore[arg-type]
    list(elsewhere.in_order(iter([visit(1, raises=True)])))
    assert not elsewhere.takes("parse", 0)
    list(elsewhere.in_order(iter([visit(2)])))
    assert elsewhere.takes("parse", 0)
    elsewhere.stays("parse")
    assert not elsewhere.takes("parse", 0) and elsewhere.takes("other", 0)


def test_a_session_that_is_elsewhere_gives_a_callback_up_whatever_it_asks() -> None:
    session = NoSession("train-ai=n")
    assert session.usage("http://a.example/") == "train-ai=n"
    for ask in (lambda: session.get, lambda: setattr(session, "verify", False)):
        with pytest.raises(NeedsSession):
            ask()


def test_a_process_that_was_stopped_for_good_is_ended_and_another_does_what_it_had() -> None:
    begun: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        begun.append(started(CHILD))
        return begun[-1]

    pool = ParsePool(start, 2, patience=0.5)
    try:
        while not pool.has_room_for(0, 1):
            pool.wait(1.0)
        begun[0].send_signal(signal.SIGSTOP)
        found = [item for item, result in filter(None, in_order(pool, once(list(range(40)))))]
    finally:
        pool.close()
    assert found == list(range(40))
    assert begun[0].returncode == -signal.SIGKILL
