"""How a helper waits between runs where its store is away."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scraper.app.options import Options
from scraper.app.running import helper
from scraper.app.running.helper import Helper, HelperOptions
from scraper.errors import StoreAway
from scraper.store.memory import MemoryStore
from scraper.testing.clock import FakeClock

EMPTY = MemoryStore(FakeClock())
AWAY = StoreAway("cannot reach postgresql://db", "check the address")


def helping(
    looks: list[object], told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stays: bool
) -> Callable[[], int]:
    """A helper that finds this at each look; after the last it gets a SIGTERM."""

    def opened(*_: Any, **__: Any) -> Any:
        found = looks.pop(0)
        if not looks:
            os.kill(os.getpid(), signal.SIGTERM)
        if isinstance(found, StoreAway):
            raise found
        return found

    monkeypatch.setattr(helper, "open_store", opened)
    monkeypatch.setattr(helper, "sleep", lambda seconds: None)
    options = HelperOptions(Options("", data=tmp_path), None, stays=stays)
    return Helper(options, told.append).run


def test_one_that_stays_looks_again_until_its_store_is_back_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    looks: list[object] = [EMPTY, AWAY, AWAY, EMPTY, AWAY, EMPTY]
    assert helping(looks, told, tmp_path, monkeypatch, stays=True)() == 0
    assert told == ["cannot reach postgresql://db; it is asked again until it is back"] * 2


@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize("stays", [True, False])
def test_a_store_that_is_not_there_at_first_is_an_error_whatever_its_server_says(
    stays: bool, was_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = StoreAway("postgresql://db has no connection left")
    away.was_there = was_there
    with pytest.raises(StoreAway) as told:
        helping([away, EMPTY], [], tmp_path, monkeypatch, stays=stays)()
    assert told.value.was_there == was_there
