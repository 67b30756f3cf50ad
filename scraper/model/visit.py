"""`Visit`: one request with its outcome, and its `Reaction`: what the answer means for the domain."""

from typing import NamedTuple

from scraper.model.frontier import Entry
from scraper.model.frozen import frozen
from scraper.model.outcomes import Outcome
from scraper.model.response import Loaded, Response


@frozen
class Exchange:
    """What was sent and received for one request: moments of `Clock.now()`, sizes in bytes."""

    sent_at: float
    first_byte_at: float
    ended_at: float
    status: int = 0
    size: int = 0


@frozen
class Reaction:
    """What an answer means for its whole domain: a failure or a refusal to be counted, or a `rest` of so many
    seconds (`asked`: the spider asks for it, and why).

    `limited`: the refusal by rate (such as "status 429"). `failed_attempt`: the number (from 1) of a
    failed attempt of one URL that says little about its domain.
    `budgets`: (requests left, seconds until the reset) by the site's RateLimit fields.
    `is_logged_out`: the login is lost. `is_doubted`: not yet known whether the
    refusal is about the page or about our request rate. `is_ours`: no request was sent, because this machine
    lacked something for it (an open file).
    """

    is_failure: bool = False
    refusal: str = ""
    rest: float | None = None
    limited: str = ""
    budgets: tuple[tuple[int, float], ...] = ()
    is_logged_out: bool = False
    is_doubted: bool = False
    failed_attempt: int = 0
    is_ours: bool = False
    asked: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether the next request may follow as usual."""
        return not (
            self.is_failure
            or self.failed_attempt
            or self.refusal
            or self.rest
            or self.limited
            or self.budgets
            or self.is_logged_out
            or self.is_doubted
            or self.is_ours
        )


PLAIN = Reaction()


class Rejection(NamedTuple):
    """Why a record was not kept, and the field that it is about, if it is one."""

    reason: str
    field: str = ""


@frozen
class Visit:
    """One request's end, as a worker hands it back and the store settles it.

    `rejected`: why records were not kept; `response` only where it is to be archived, under `archived_as`;
    `notes`: what of the page could not be read; `loads`: what it asked for while it was rendered;
    `rendered`: why it was.
    """

    entry: Entry
    outcome: Outcome
    exchange: Exchange | None = None
    reaction: Reaction = PLAIN
    rejected: tuple[Rejection, ...] = ()
    response: Response | None = None
    archived_as: bytes = b""
    notes: tuple[str, ...] = ()
    loads: tuple[Loaded, ...] = ()
    rendered: str = ""
