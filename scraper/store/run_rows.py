"""A row of the table of runs, in both databases, and what is said of one."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from scraper.errors import StoreBusy
from scraper.model.frozen import frozen
from scraper.store import Run

COLUMNS = "id, number, spider, code, started_at, state, ended_at, accepted, whole, summary, params, kills"


@frozen
class RunStart:
    """Who begins or resumes a run of a spider, when (wall), and with what."""

    spider: str
    code: str
    worker: str
    wall: float
    params: Mapping[str, str | None]

    def run_id(self, number: int) -> str:
        """The id of the run; the number keeps those apart that begin in one second."""
        return f"{datetime.fromtimestamp(self.wall, UTC):%Y%m%d-%H%M%S}-{number}"


def to_run(row: tuple[Any, ...], *, is_resumed: bool = False) -> Run:
    """A row of COLUMNS as a Run."""
    run_id, number, spider, code, started_at, state, ended_at, accepted, whole, summary, params, kills = row
    return Run(
        id=run_id,
        number=number,
        spider=spider,
        code=code,
        started_at=started_at,
        state=state,
        ended_at=ended_at,
        is_resumed=is_resumed,
        is_accepted=bool(accepted),
        is_whole=bool(whole),
        summary=_loads(summary),
        params=None if params is None else _loads(params),
        kills=kills,
    )


def busy(spider: str, worker: str, since: float) -> StoreBusy:
    """What to say while a worker runs a spider."""
    moment = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return StoreBusy(f"{spider} is being run by {worker} since {moment}", "wait for it or stop it")


def _loads(text: str) -> Mapping[str, Any]:
    value = json.loads(text)
    return value if isinstance(value, dict) else {}
