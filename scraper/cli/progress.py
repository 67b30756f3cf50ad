"""Progress of a run: its counts, and the lines that `run` writes to standard error."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import field

from scraper.cli import text
from scraper.model import Denied, Failed, Fetched, Retry, Unchanged, Visit
from scraper.model.frozen import frozen, slotted
from scraper.ops.clock import monotonic
from scraper.runs.events import (
    DomainLeft,
    DomainState,
    Event,
    Noted,
    PaceSet,
    RestBegan,
    RunBegan,
    Ticked,
    Visited,
)

RECENT = 20.0  # seconds over which the speed is measured
SOON, LATER = 10.0, 30.0  # seconds between lines of progress: in the first minute, and after it
MOST_OF_A_KIND = 3
MOST_DOMAINS = 12
_RULES = ("robots ", "RateLimit", "delay_factor ", "learned ")  # what sets a pace, other than our own setting


@slotted
class Counts:
    """What this process has done so far, by the events of its run. Moments are `clock.monotonic()`."""

    spider: str = ""
    pages: int = 0
    records: int = 0
    failed: int = 0
    has_visits: bool = False
    ticked: Ticked = field(default_factory=lambda: Ticked(0, 0, 0, 0, 0, (), 0))
    ticked_at: float = 0.0
    began_at: float = field(default_factory=monotonic)
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque([(monotonic(), 0)]))

    def __call__(self, event: Event) -> None:
        match event:
            case Visited(visit=visit):
                self._count(visit)
            case Ticked():
                self.ticked, self.ticked_at = event, monotonic()
                if not self.has_visits:
                    # Other processes do the work (--workers), and tell us sums only.
                    self.pages, self.records, self.failed = event.pages, event.records, event.failed
                self.marks.append((self.ticked_at, self.pages))
                while len(self.marks) > 2 and self.marks[0][0] < self.ticked_at - RECENT:
                    self.marks.popleft()
            case RunBegan(spider=spider):
                self.spider = spider

    def _count(self, visit: Visit) -> None:
        self.has_visits = True
        match visit.outcome:
            case Fetched(records=records):
                self.pages += 1
                self.records += len(records)
            case Unchanged():
                self.pages += 1
                self.records += visit.entry.known.records if visit.entry.known is not None else 0
            case Failed():
                self.failed += 1

    @property
    def speed(self) -> float:
        """Pages per second of late."""
        then, before = self.marks[0]
        return (self.pages - before) / max(monotonic() - then, 0.1)

    def time_left(self, max_pages: int | None, max_time: float | None) -> float | None:
        """Seconds until nothing known is pending, or a limit is reached; None where nobody can tell.

        Links are still being found, so that nothing known is pending at the earliest then.
        """
        ran = monotonic() - self.began_at
        ends = [max_time - ran] if max_time is not None else []
        if self.speed > 0 and ran > 3:
            left = self.ticked.pending
            if max_pages is not None:
                left = min(left, max(max_pages - self.pages, 0))
            ends.append(left / self.speed)
        return min(ends, default=None)


@frozen
class Pace:
    """The delay (s) that the settings ask for, and who set it."""

    delay: float
    source: str


def unfinished(event: RunBegan) -> str:
    """What runs that were killed could not say themselves."""
    since, runs = event.since[:16].replace("T", " "), text.count(event.unfinished, "run")
    return (
        f"{event.spider}: INCOMPLETE since {since} UTC: {runs} before this one did not get to the end, "
        f"{event.killed} of them killed"
    )


class ConsoleLog:
    """Writes what happens in a run as lines on standard error: of each kind of event the first few."""

    def __init__(
        self,
        counts: Counts,
        say: Callable[[str], None],
        pace: Pace,
        exempt: Mapping[str, str],
        attempts: int,
        *,
        is_verbose: bool = False,
    ) -> None:
        self._counts = counts
        self._say = say
        self._pace = pace
        self._exempt = exempt
        self._attempts = attempts
        self._is_verbose = is_verbose
        self._paces: dict[str, Pace] = {}
        self._announced: dict[str, float] = {}
        self._said: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        match event:
            case Visited(visit=visit):
                self._announce(visit.entry.domain)
                self._tell_visit(visit)
            case PaceSet() | RestBegan() | DomainLeft():
                self._tell_domain(event)
            case Noted(text=note):
                self._say(note)
            case RunBegan():
                self._begin(event)
            case Ticked(domains=domains) if not self._counts.has_visits:
                for state in domains:
                    self._announce_state(state)

    def _tell_domain(self, event: PaceSet | RestBegan | DomainLeft) -> None:
        name = event.domain
        match event:
            case PaceSet(delay=delay, source=source):
                self._note_pace(name, Pace(delay, source))
            case RestBegan(seconds=seconds, reason=reason):
                self._say_some(f"{name} rests", f"{name}: rests for {text.duration(seconds)}: {reason}")
            case DomainLeft(reason=reason):
                self._say(f"{name}: left for a later run: {reason}")

    def _begin(self, event: RunBegan) -> None:
        does = "resumes" if event.is_resumed else "starts"
        self._say(f"{event.spider}: {does} run {event.run_id}")
        if event.killed:
            self._say(unfinished(event))
        for domain, reason in self._exempt.items():
            self._say(f"{domain}: robots.txt is not asked for: {reason}")

    def _note_pace(self, domain: str, pace: Pace) -> None:
        self._paces[domain] = pace
        told = self._announced.get(domain)
        # Response times vary all the time; a change by half is news.
        if told is not None and not 0.66 < (pace.delay or 0.01) / (told or 0.01) < 1.5:
            self._announced[domain] = pace.delay
            self._say_some(f"{domain} pace", f"{domain}: now {interval(pace)}")

    def _announce_state(self, state: DomainState) -> None:
        """The same for a domain of which nothing has come yet, or that a worker process has in hand."""
        if state.reason.startswith("setting delay "):
            self._announce(state.name)
        elif state.reason.startswith(_RULES) and state.name not in self._announced:
            self._announced[state.name] = 0.0
            if len(self._announced) <= MOST_DOMAINS:
                self._say(f"{state.name}: {state.reason}")

    def _announce(self, domain: str) -> None:
        """Say at its first request how fast a domain is asked, and who wants it so."""
        if domain in self._announced:
            return
        pace = self._paces.get(domain, self._pace)
        self._announced[domain] = pace.delay
        if len(self._announced) <= MOST_DOMAINS:
            self._say(f"{domain}: {interval(pace)}")
        elif len(self._announced) == MOST_DOMAINS + 1:
            self._say("more domains follow; log.jsonl has the pace of each")

    def _tell_visit(self, visit: Visit) -> None:
        url = text.cut(visit.entry.url, 200)
        match visit.outcome:
            case Failed(reason=reason, error=error, traceback=trace):
                self._say_some(f"failed: {error or reason}", f"failed {url}: {reason}")
                if self._is_verbose and trace and self._said[f"failed: {error}"] <= MOST_OF_A_KIND:
                    for line in trace.splitlines():
                        self._say(line)
            case Denied(reason=reason):
                self._say_some(f"denied: {reason}", f"denied {url}: {reason}")
            case Retry(reason=reason, counts=counts):
                tries = f"attempt {visit.entry.attempts + 1} of {self._attempts}, " if counts else ""
                self._say_some(f"retry: {reason}", f"retry {url}: {reason} ({tries}tried again later)")
        for reason, _ in visit.rejected[:1]:
            self._say_some(f"rejected: {reason}", f"record of {url} not kept: {reason}")

    def _say_some(self, kind: str, line: str) -> None:
        self._said[kind] += 1
        if self._said[kind] <= MOST_OF_A_KIND:
            self._say(text.cut(line, 400))
        elif self._said[kind] == MOST_OF_A_KIND + 1:
            self._say(f"more like this are only counted: {text.cut(kind, 100)}")


class ProgressLog:
    """A line of progress every now and then, where no live view is."""

    def __init__(self, counts: Counts, say: Callable[[str], None], limits: tuple[int | None, float | None]):
        self._counts = counts
        self._say = say
        self._limits = limits
        self._next = counts.began_at + SOON

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Ticked) or monotonic() < self._next:
            return
        now = monotonic()
        self._next = now + (SOON if now - self._counts.began_at < 60 else LATER)
        told = [*state_of(self._counts), estimate_of(self._counts, self._limits)]
        self._say(", ".join(filter(None, told)) + self._wait(event))

    def _wait(self, event: Ticked) -> str:
        """Why nothing happens, where nothing happens."""
        if event.in_flight or not event.domains:
            return ""
        nearest = min(event.domains, key=lambda domain: domain.wait)
        if nearest.wait < 1:
            return ""
        return f"; waits {text.duration(nearest.wait)} for {nearest.name}: {nearest.reason}"


def state_of(counts: Counts) -> list[str]:
    """Where a run stands."""
    told = [
        text.count(counts.pages, "page"),
        f"{counts.speed:.1f}/s",
        text.count(counts.records, "record"),
    ]
    if counts.failed:
        told.append(f"{counts.failed:,} failed")
    told.append(f"{counts.ticked.pending:,} pending")
    return told


def estimate_of(counts: Counts, limits: tuple[int | None, float | None]) -> str:
    """How long it will take, at least, since more links may be found; empty where nobody can tell."""
    left, most = counts.time_left(*limits), counts.time_left(None, None)
    if left is None:
        return ""
    # Where a limit ends the run before all that is known is done, it is known when.
    word = "at least" if most is not None and left >= 0.99 * most else "at most"
    return f"{word} {text.duration(max(left, 1.0))} left"


def interval(pace: Pace) -> str:
    """A pace as "1 request every 10 s (robots.txt Crawl-delay)"."""
    if not pace.delay:
        return f"no delay between requests ({_source(pace.source)} is 0): for your own server only"
    return f"1 request every {pace.delay:.3g} s ({_source(pace.source)})"


def _source(source: str) -> str:
    """The rule without the figure, which has just been told."""
    for rule in ("robots Crawl-delay", "robots Request-rate"):
        if source.startswith(rule):
            return rule.replace("robots", "robots.txt")
    return "setting delay" if source.startswith("setting delay ") else source
