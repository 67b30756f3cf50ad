"""Every exception of the project.

ScraperError
├── Retry               a spider: this page is to be asked for again
├── Drop                a spider: this page brings nothing
├── UsageError          exit 2: nothing was fetched
│   ├── SpiderError         the spider file or what it yields
│   └── SettingsError       every mistake at once
├── StoreError          the database
│   ├── StoreTooNew         written by a newer program
│   ├── StoreFull           no space, or read-only
│   ├── StoreAway           out of reach for now: its server, its disk, a lock (exit 75 if it was there)
│   ├── StoreBusy           another run of this spider holds it (exit 75)
│   └── LeaseLost           this worker was taken for dead
├── Unhealthy           a run from Python whose exit code would not be 0; it has the result
├── LoginFailed         a login was refused or lost (exit 77)
├── RequestDenied       a rule forbids what a login or a callback asks for: scope, robots.txt, a long rest
├── PageTooLarge        markup whose tree would fill the memory
├── RecordError         one record that cannot be kept
└── FetchError          what a site did to one request
    ├── ConnectFailed       DNS, refused, reset before an answer
    ├── TlsFailed           a certificate or handshake that does not hold
    ├── OutOfReach          an address that no site may send us to
    ├── TimedOut            connect, read or the total deadline
    ├── BadAnswer           truncated, undecodable, not HTTP
    ├── Unreadable          what another try will not make readable
    ├── Unsendable          a request that would not be one: nothing was sent
    ├── OutOfFiles          this machine has no connection left to give; no fault of the site
    ├── Unwanted            a file of a type that the settings do not take
    └── TooLarge            a body over max_body, a file over max_file, or headers over their limit
"""

_LONGEST_WAIT = 366 * 86400


class ScraperError(Exception):
    """A mistake or trouble told to a person in one line; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class Retry(ScraperError):
    """Raised by a callback: ask for the page again. It counts as an attempt.

    `after`: seconds in which nothing is asked of the page's domain.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        if after is not None and not 0 <= after <= _LONGEST_WAIT:
            raise ValueError(f"Retry(after={after!r}): seconds, and no more than a year")
        self.after = after


class Drop(ScraperError):
    """Raised by a callback: the page brings no records and leads nowhere, for this reason."""


class UsageError(ScraperError):
    """The command, a setting or a spider is wrong; nothing was fetched."""


class SpiderError(UsageError):
    """A spider that cannot be found, loaded or used as written."""


class SettingsError(UsageError):
    """One or more settings are unknown or have a bad value; the message lists them all."""


class StoreError(ScraperError):
    """The store cannot do what was asked."""


class StoreTooNew(StoreError):
    """The database was written by a newer version of this program."""


class StoreFull(StoreError):
    """The store cannot be written: the disk is full or the place is read-only."""


class StoreAway(StoreError):
    """The store cannot be used now, for longer than it was waited for; what was committed is safe.

    `was_there`: it had answered before. Else its address may be wrong.
    """

    was_there = True


class StoreBusy(StoreError):
    """Another live run of this spider holds the lease."""


class LeaseLost(StoreError):
    """This worker's lease ran out and its domains may belong to another."""


class Unhealthy(ScraperError):
    """A run that Python code asked for ended, and its verdict needs a person. `result`: a RunResult."""

    def __init__(self, message: str, result: object) -> None:
        super().__init__(message)
        self.result = result


class LoginFailed(ScraperError):
    """A login was refused or lost."""


class RequestDenied(ScraperError):
    """A request that a session was asked for and that a rule forbids; nothing was sent."""


class PageTooLarge(ScraperError):
    """A page whose markup, once parsed, would take more memory than a page may."""


class RecordError(ScraperError):
    """A record that cannot be kept: not JSON-able, or not as the spider's `record` declares.

    `field`: the first field that stands in the way, with dots to what is in it; empty if it is none.
    """

    def __init__(self, message: str, hint: str = "", field: str = "") -> None:
        super().__init__(message, hint)
        self.field = field


class FetchError(ScraperError):
    """What a site did to one request; `is_transient` tells whether another try can help."""

    is_transient = True


class ConnectFailed(FetchError):
    """No connection: DNS, refused, or closed before an answer began."""


class TlsFailed(FetchError):
    """The certificate or the handshake does not hold."""

    is_transient = False


class OutOfReach(FetchError):
    """An address of this machine or its networks, which the spider does not name: nothing was sent."""

    is_transient = False


class TimedOut(FetchError):
    """No answer within the connect or read timeout, or the exchange's total deadline passed."""


class BadAnswer(FetchError):
    """An answer that is truncated, cannot be decoded or is not HTTP."""


class Unreadable(FetchError):
    """An answer that would be the same next time: a coding that was not asked for, headers without end."""

    is_transient = False


class Unsendable(FetchError):
    """A request whose method, target or header fields cannot be sent as they are; nothing was sent."""

    is_transient = False


class OutOfFiles(FetchError):
    """This machine has no open file or socket left to give: never the site's fault, and nothing was sent."""


class Unwanted(FetchError):
    """A file whose type is none of the setting `file_types`; no more of it was read."""

    is_transient = False


class TooLarge(FetchError):
    """A body over `max_body` after decompression, a file over `max_file`, or headers beyond their limit."""

    is_transient = False
