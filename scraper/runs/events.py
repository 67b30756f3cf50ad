"""What happens in a run, for those who watch: logs, progress, archive. Listeners can change nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from scraper.model import Visit


@dataclass(frozen=True, slots=True)
class RunBegan:
    """A run starts or goes on."""

    spider: str
    run_id: str
    is_resumed: bool


@dataclass(frozen=True, slots=True)
class PaceSet:
    """A domain's delay (s) and the rule that set it."""

    domain: str
    delay: float
    source: str


@dataclass(frozen=True, slots=True)
class RestBegan:
    """A domain is left alone for `seconds`."""

    domain: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class DomainLeft:
    """A domain is left for a later run, or for good."""

    domain: str
    reason: str


@dataclass(frozen=True, slots=True)
class Visited:
    """A request came to an end."""

    visit: Visit


@dataclass(frozen=True, slots=True)
class Refused:
    """A link that is not followed, each once a run; or the page on which so many more `links` stand."""

    url: str
    reason: str
    links: int = 1


@dataclass(frozen=True, slots=True)
class Postponed:
    """A URL that this run leaves for a later one."""

    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class RobotsRead:
    """A robots.txt was asked for; `status` None: no answer."""

    origin: str
    status: int | None
    hash: str
    seconds_kept: float


@dataclass(frozen=True, slots=True)
class Noted:
    """A sentence for the log that belongs to no single request."""

    text: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A group of visits stands in the store."""

    visits: int


@dataclass(frozen=True, slots=True)
class DomainState:
    """A domain in hand: seconds to its next request, and the rule behind the wait."""

    name: str
    pages: int
    wait: float
    reason: str
    in_flight: int
    in_hand: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """Once a second: where the run stands. `domains`: those that wait longest first, at most 50 of `of`."""

    pages: int
    records: int
    failed: int
    in_flight: int
    pending: int
    domains: tuple[DomainState, ...]
    of: int


Event = (
    RunBegan
    | Ticked
    | Visited
    | Settled
    | PaceSet
    | RestBegan
    | DomainLeft
    | RobotsRead
    | Refused
    | Postponed
    | Noted
)
Listener = Callable[[Event], None]
