"""Processes on a cluster that is not there: where a host is gone, they are placed on another."""

from collections.abc import Callable
from typing import Any

import pytest

from scraper.app.running import ray_workers
from scraper.app.running.ray_workers import ProcessActor, RayProcess


class Call:
    """A method of an actor, as Ray has them."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def remote(self, *arguments: Any) -> Callable[[], Any]:
        return lambda: self._method(*arguments)


class Host:
    """An actor on a host that is there: it echoes what it is given."""

    def __init__(self) -> None:
        actor = ProcessActor("tests.app.echo", ".", {})
        for name in ("host", "read", "write", "terminate", "wait"):
            setattr(self, name, Call(getattr(actor, name)))


class Gone:
    """An actor on a host that is gone."""

    def __init__(self) -> None:
        def fail() -> str:
            raise ConnectionError("The actor died: its node is gone")

        self.host = Call(fail)


class FakeRay:
    """What is asked of the module `ray`."""

    def get(self, call: Callable[[], Any]) -> Any:
        return call()

    def kill(self, actor: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_workers, "_BACKOFF", (0.0, 0.0, 0.0))


def test_a_process_goes_to_another_host_where_one_is_gone() -> None:
    hosts, told = [Gone, Gone, Host], list[str]()
    process = RayProcess(FakeRay(), lambda: hosts.pop(0)(), told.append)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"one line\n\n")  # before there is anybody
    process.stdin.close()
    assert process.stdout.read() == b"one line\n"
    assert process.wait() == 0
    assert len(told) == 2 and "its node is gone; tried again in 0 s" in told[0]


def test_a_process_that_no_host_starts_is_given_up_and_told() -> None:
    told: list[str] = []
    process = RayProcess(FakeRay(), Gone, told.append)
    assert process.wait() > 0, "it is no crash"
    assert "could not be started on any host" in told[-1] and len(told) == 4


def test_a_process_that_is_not_wanted_any_more_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_workers, "_BACKOFF", (3600.0,))
    told: list[str] = []
    process = RayProcess(FakeRay(), Gone, told.append)
    process.terminate()
    assert process.wait() > 0


def test_much_output_comes_whole() -> None:
    process = RayProcess(FakeRay(), Host, print)
    assert process.stdin is not None and process.stdout is not None
    sent = b"0123456789abcdef\n" * 5_000  # more than a pipe takes
    process.stdin.write(sent + b"\n")
    process.stdin.close()
    assert process.stdout.read() == sent
