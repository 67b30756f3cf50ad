"""How a worker of `run --workers N` ends where its store fails: a line for its parent, no traceback."""

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest

from scraper.app.running import worker
from scraper.app.running.worker_pool import TRY_AGAIN
from scraper.errors import LeaseLost, StoreAway, StoreError, StoreFull


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LeaseLost("worker w1 was taken for dead", "run it again"), TRY_AGAIN),
        (StoreAway("cannot reach postgresql://db", "check it"), TRY_AGAIN),
        (StoreFull("cannot write s.db: no space", "free some"), 1),
    ],
)
def test_a_worker_tells_its_parent_why_its_store_failed(
    error: StoreError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crawl(orders: Mapping[str, Any]) -> None:
        raise error

    monkeypatch.setattr(worker, "die_with_parent", lambda: None)
    monkeypatch.setattr(worker, "_crawl", crawl)
    monkeypatch.setattr("sys.stdin", io.StringIO("{}\n"))
    assert worker.main() == code
    told = capsys.readouterr()
    assert (json.loads(told.out), told.err) == ({"failed": error.message}, "")
