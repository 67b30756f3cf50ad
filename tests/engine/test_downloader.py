"""The threads of the downloader on real sockets: which wait for which, and which do not."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from scraper import Page, Spider
from scraper.engine.batch import Batch, BatchResult
from scraper.engine.downloader import ThreadedDownloader
from scraper.engine.fetcher import Fetcher, FetchOptions
from scraper.engine.parse_limit import TOO_LONG
from scraper.http.body import EAGER
from scraper.http.fair_share import BURST, SHARE, fair_moment
from scraper.http.session import DomainSession
from scraper.model import Entry, Failed, Fetched, Retry
from scraper.ops.clock import SystemClock
from scraper.politeness.rate_limiter import RateLimiter
from scraper.spider.identity import ParseInputs
from scraper.spider.rules import rules_of
from tests.site import Reply, Site, page

CLOCK = SystemClock()
SOON = 20.0  # seconds; for what comes at once unless the machine is very busy
_ids = count(1)


class Titles(Spider):
    """The title of each page; `held` holds up the callback of those that carry the word."""

    start_urls = ["http://127.0.0.1/"]
    held = threading.Event()
    ended = threading.Event()

    def parse(self, page: Page) -> Iterator[Any]:
        title = page.css("title::text").get() or ""
        try:
            while "spin" in title and not self.held.is_set():
                pass  # as a parser that does not come back
        finally:
            self.ended.set()
        if "hold" in title and not self.held.wait(SOON):
            raise AssertionError("nobody let the callback go")
        yield {"title": title}


class Crowd:
    """A downloader, and the results of it."""

    def __init__(self, most: int = 8, parse_timeout: float = SOON) -> None:
        spider = Titles()
        spider.held, spider.ended = threading.Event(), threading.Event()
        self.callback_ended = spider.ended
        self.let_go = spider.held.set
        options = FetchOptions(1, "scraper", ParseInputs("code"), parse_timeout=parse_timeout)
        fetcher = Fetcher(spider, rules_of(spider), options, CLOCK)
        self.downloader = ThreadedDownloader(fetcher, most, CLOCK, parse_timeout)
        self.results: deque[BatchResult] = deque()

    def send(
        self,
        *urls: str,
        delay: float = 0.0,
        due: float = 0.0,
        timeout: float = SOON,
        session: DomainSession | None = None,
    ) -> DomainSession:
        """One batch of some URLs, on a session of its own unless one is given."""
        session = session or DomainSession(
            "127.0.0.1", limiter=RateLimiter(CLOCK, delay, due), clock=CLOCK, timeout=(timeout, timeout)
        )
        self.downloader.submit(
            Batch("127.0.0.1", session, deque(Entry(next(_ids), "127.0.0.1", b"", url) for url in urls))
        )
        return session

    def ends(self, batches: int = 1) -> list[Any]:
        """The outcomes of the next batches to end."""
        until, outcomes = CLOCK.now() + SOON, list[Any]()
        while batches and CLOCK.now() < until:
            for result in self.downloader.collect(0.05):
                if result.error is not None:
                    raise result.error
                outcomes += [visit.outcome for visit in result.visits]
                batches -= result.ends
        assert not batches, "batches that did not come back"
        return outcomes


@pytest.fixture
def crowd() -> Iterator[Callable[..., Crowd]]:
    crowds: list[Crowd] = []

    def make(most: int = 8, parse_timeout: float = SOON) -> Crowd:
        crowds.append(Crowd(most, parse_timeout))
        return crowds[-1]

    yield make
    for one in crowds:
        one.let_go()
        one.downloader.close()


def fetched(*outcomes: Any) -> list[str]:
    return [record.line for outcome in outcomes for record in outcome.records if isinstance(outcome, Fetched)]


def threads() -> int:
    return sum(thread.name == "fetch" for thread in threading.enumerate())


def test_a_turn_of_several_urls_goes_over_one_connection_in_order(
    site: Site, crowd: Callable[..., Crowd]
) -> None:
    for number in range(5):
        site[f"/{number}"] = page(title=f"t{number}")
    one = crowd()
    one.send(*(site.url(f"/{number}") for number in range(5)))
    assert fetched(*one.ends()) == [f'{{"title":"t{number}"}}' for number in range(5)]
    assert {arrival.connection for arrival in site.arrivals} == {1}


def test_servers_that_are_slow_or_drip_hold_sockets_and_no_threads(
    new_site: Callable[..., Site], crowd: Callable[..., Crowd]
) -> None:
    slow = new_site(
        {"/open": page(), "/slow": Reply(200, "x", wait=1.0), "/drip": Reply(200, "x" * 40, drip=0.02)}
    )
    one, before = crowd(20), threads()
    sessions = [one.send(slow.url("/open")) for _ in range(12)]
    one.ends(12)  # each has its connection now
    for number, session in enumerate(sessions):
        one.send(slow.url("/slow" if number % 2 else "/drip"), session=session)
    quick = new_site({"/": page(title="quick")})
    one.send(quick.url())
    assert fetched(*one.ends()) == ['{"title":"quick"}']
    at_work = threads() - before
    assert len(one.ends(12)) == 12
    assert at_work < 1 + 12 + 1, (
        "the I/O thread, and pool threads that opened connections side by side: no more"
    )


def test_a_callback_that_takes_long_does_not_hold_up_the_others(
    new_site: Callable[..., Site], crowd: Callable[..., Crowd]
) -> None:
    site = new_site({"/long": page(title="hold"), "/": page(title="quick")})
    one = crowd()
    one.send(site.url("/long"))
    one.send(site.url("/"))
    assert fetched(*one.ends()) == ['{"title":"quick"}']
    one.let_go()
    assert fetched(*one.ends()) == ['{"title":"hold"}']
    one.send(site.url("/"))
    assert fetched(*one.ends()) == ['{"title":"quick"}']


@pytest.mark.parametrize("most", [1, 8])
def test_a_page_that_is_parsed_for_too_long_is_given_up_and_its_thread_ends(
    new_site: Callable[..., Site], crowd: Callable[..., Crowd], most: int
) -> None:
    site = new_site({"/spin": page(title="spin"), "/": page(title="quick"), "/2": page(title="2")})
    one = crowd(most, 0.3)
    session = one.send(site.url(), site.url("/spin"), site.url("/2"))
    first, failed = one.ends()
    assert fetched(first) == ['{"title":"quick"}']
    one.callback_ended.clear()
    assert failed == Failed("parsing it takes longer than 0.3 s (setting parse_timeout)", TOO_LONG)
    one.send(site.url("/2"), session=session)
    assert fetched(*one.ends()) == ['{"title":"2"}']
    assert one.callback_ended.wait(SOON)


def test_what_is_asked_for_ahead_of_a_page_that_is_given_up_is_not_lost(
    new_site: Callable[..., Site], crowd: Callable[..., Crowd]
) -> None:
    site = new_site({"/spin": page(title="spin"), "/2": page(title="2"), "/3": page(title="3")})
    one = crowd(parse_timeout=0.3)
    session = DomainSession("127.0.0.1", limiter=RateLimiter(CLOCK, 0.0), clock=CLOCK, timeout=(SOON, SOON))
    urls = (site.url("/spin"), site.url("/2"), site.url("/3"))
    batch = Batch(
        "127.0.0.1", session, deque(Entry(next(_ids), "127.0.0.1", b"", one_url) for one_url in urls)
    )
    one.downloader.submit(batch)
    (failed,) = one.ends()
    assert isinstance(failed, Failed)
    assert [entry.url for entry in batch.entries] == list(urls[1:])


def test_a_page_that_is_being_parsed_at_the_end_counts_a_try(
    new_site: Callable[..., Site], crowd: Callable[..., Crowd]
) -> None:
    site = new_site({"/spin": page(title="spin"), "/": page()})
    one = crowd()
    one.send(site.url("/spin"))
    until = CLOCK.now() + 1.0
    while CLOCK.now() < until:
        assert one.downloader.collect(0.05) == []
    (result,) = one.downloader.close()
    assert [visit.outcome for visit in result.visits] == [Retry("still being parsed when the run stopped")]


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_requests_are_in_the_air_than_allowed(
    new_site: Callable[..., Site], crowd: Callable[..., Crowd], most: int
) -> None:
    air, peak, lock = [0], [0], threading.Lock()

    def answer(arrival: Any) -> Reply:
        with lock:
            air[0] += 1
            peak[0] = max(peak[0], air[0])
        CLOCK.sleep(0.03)
        with lock:
            air[0] -= 1
        return Reply(200, "x")

    site, one = new_site({"*": answer}), crowd(most)
    for number in range(9):
        one.send(site.url(f"/{number}"))
    one.ends(9)
    assert peak[0] == most


def test_a_turn_that_comes_early_waits_for_its_slot(site: Site, crowd: Callable[..., Crowd]) -> None:
    site["*"] = page()
    one = crowd()
    session = one.send(site.url("/1"), delay=0.3)
    one.ends()
    one.send(site.url("/2"), session=session)
    one.ends()
    assert site.gaps()[0] >= 0.3 and {arrival.connection for arrival in site.arrivals} == {1}


def test_a_turn_that_is_told_to_end_gives_back_what_it_has_not_asked_for(
    site: Site, crowd: Callable[..., Crowd]
) -> None:
    site["*"] = page()
    one = crowd()
    session = one.send(site.url("/1"), delay=0.3)
    one.ends()
    batch = Batch("127.0.0.1", session, deque([Entry(next(_ids), "127.0.0.1", b"", site.url("/2"))]))
    batch.is_over = True
    one.downloader.submit(batch)
    assert one.ends() == [] and len(batch.entries) == 1
    assert site.paths() == ["/1"]


@pytest.mark.parametrize(
    "reply", [Reply(200, "x", wait=2.0), Reply(200, "x" * 100, drip=0.05)], ids=["silent", "drip"]
)
def test_an_answer_that_does_not_come_in_time_is_given_up(
    new_site: Callable[..., Site], crowd: Callable[..., Crowd], reply: Reply
) -> None:
    site, one = new_site({"/": reply}), crowd()
    begun = CLOCK.now()
    one.send(site.url(), timeout=0.3)
    (outcome,) = one.ends()
    assert isinstance(outcome, Retry) and outcome.reason == "timed out"
    assert CLOCK.now() - begun < 15


def test_an_answer_that_breaks_off_says_so(
    new_site: Callable[..., Site], crowd: Callable[..., Crowd]
) -> None:
    site = new_site(
        {"/cut": Reply(200, "x" * 100, cut=20), "/reset": Reply(200, "x" * 100, reset=True, cut=20)}
    )
    one = crowd()
    for path, reason in (("/cut", "the body ends too early"), ("/reset", "connection reset")):
        one.send(site.url(path))
        (outcome,) = one.ends()
        assert isinstance(outcome, Retry) and outcome.reason == reason


def test_what_a_server_says_beyond_its_answer_is_not_the_next_answer(
    new_site: Callable[..., Site], crowd: Callable[..., Crowd]
) -> None:
    honest = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 23\r\n\r\n<title>mine</title>----"
    forged = honest.replace("mine", "evil")
    site = new_site({"/": Reply(raw=(honest + forged).encode()), "/next": page(title="next")})
    one = crowd()
    one.send(site.url("/"), site.url("/next"))
    first, second = one.ends()
    assert fetched(first) == ['{"title":"mine"}']
    # The site closes the connection after it; whether we know that in time is chance.
    assert isinstance(second, Retry) or fetched(second) == ['{"title":"next"}']


def test_a_body_larger_than_is_decoded_as_it_comes_arrives_whole(
    new_site: Callable[..., Site], crowd: Callable[..., Crowd]
) -> None:
    body = b"<title>large</title>" + b"x" * (3 * EAGER)
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    site = new_site(
        {
            "/length": Reply(200, body, {"Content-Type": "text/html"}),
            "/chunked": Reply(raw=head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks),
            "/until-closed": Reply(raw=head + b"\r\n" + body),
        }
    )
    one = crowd()
    for path in ("/length", "/chunked", "/until-closed"):
        one.send(site.url(path))
        assert fetched(*one.ends()) == ['{"title":"large"}'], path


def test_an_error_of_ours_reaches_the_owner(site: Site, crowd: Callable[..., Crowd]) -> None:
    one = crowd()
    session = one.send(site.url())
    assert isinstance(one.ends()[0], Failed)
    one.downloader.submit(Batch("127.0.0.1", session, deque([None])))  # type: ignore[list-item]  # what breaks us
    with pytest.raises(AttributeError):
        one.ends()


def test_reading_one_answer_may_take_a_moment_and_then_a_share_of_the_time() -> None:
    assert fair_moment(100.0, 0.0, 0) == fair_moment(100.0, BURST, 0) == 100.0
    assert fair_moment(100.0, BURST + 0.02, 0) == pytest.approx(100.0 + 0.02 / SHARE)
    assert fair_moment(100.0, BURST + 0.02, 20_000_000) == 100.0, "a large body is no offence"


def test_an_answer_of_tiny_chunks_arrives_whole_though_it_has_to_pause(
    new_site: Callable[..., Site], crowd: Callable[..., Crowd]
) -> None:
    body = b"<title>tiny</title>" + b"x" * 30_000
    chunks = b"".join(b"1\r\n%b\r\n" % body[at : at + 1] for at in range(len(body)))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    site = new_site({"/tiny": Reply(raw=head + chunks + b"0\r\n\r\n"), "/": page(title="quick")})
    one = crowd()
    one.send(site.url("/tiny"))
    one.send(site.url("/"))
    assert fetched(*one.ends(2)) == ['{"title":"quick"}', '{"title":"tiny"}']
