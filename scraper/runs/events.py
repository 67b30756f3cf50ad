"""The events of a run, for its listeners: log, progress, archive. Listeners can change nothing."""

from collections.abc import Callable

from scraper.model import Visit
from scraper.model.frozen import frozen


@frozen
class RunBegan:
    """A run starts or goes on. `unfinished`: how many runs in a row before it did not come to an end, since
    when (`since`, ISO 8601); `killed`: how many of these could not say so.
    """

    spider: str
    run_id: str
    is_resumed: bool
    unfinished: int = 0
    killed: int = 0
    since: str = ""


@frozen
class PaceSet:
    """A domain's delay (s) and the rule that set it."""

    domain: str
    delay: float
    source: str


@frozen
class RestBegan:
    """A domain is left alone for `seconds`."""

    domain: str
    seconds: float
    reason: str


@frozen
class DomainLeft:
    """A domain is left for a later run, or for good."""

    domain: str
    reason: str


@frozen
class Visited:
    """A request came to an end."""

    visit: Visit


@frozen
class Refused:
    """A link that is not followed, each once a run; or the page on which so many more `links` stand."""

    url: str
    reason: str
    links: int = 1


@frozen
class Postponed:
    """A URL that this run leaves for a later one."""

    url: str
    reason: str


@frozen
class RobotsRead:
    """A robots.txt was asked for; `status` None: no answer."""

    origin: str
    status: int | None
    hash: str


@frozen
class Noted:
    """A sentence for the log that belongs to no single request."""

    text: str


@frozen
class Settled:
    """A group of visits stands in the store."""

    visits: int


@frozen
class DomainState:
    """A domain in hand: seconds to its next request, and the rule behind the wait."""

    name: str
    pages: int
    wait: float
    reason: str
    in_flight: int
    in_hand: int


@frozen
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
