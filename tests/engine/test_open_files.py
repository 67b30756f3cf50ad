"""What this machine lacks is never the site's fault: it costs no attempt and no page, and is said."""

import errno
from collections.abc import Iterator
from typing import Any

from scraper import Page, Spider
from scraper.engine.open_files import MOST_LACK
from scraper.engine.plan import Stop
from scraper.errors import OutOfFiles
from scraper.http.adapter import MOST_POOLS, budget
from scraper.http.failures import translate
from scraper.model import Verdict
from scraper.runs.events import Noted
from scraper.testing import FakeWeb, crawl

SHORT = OSError(errno.EMFILE, "Too many open files")
HOME = "http://shop.example"


class Shop(Spider):
    start_urls = [f"{HOME}/{number}" for number in range(3)]

    def parse(self, page: Page) -> Iterator[Any]:
        yield {"url": page.url}


def test_a_shortage_is_waited_out_without_an_attempt_and_said_once() -> None:
    web = FakeWeb(
        {
            f"{HOME}/robots.txt": [SHORT, SHORT, "User-agent: *\nDisallow: /2"],
            f"{HOME}/0": [SHORT] * 9 + ["page"],
            f"{HOME}/1": [SHORT, "page"],
        }
    )
    done = crawl(Shop, web, max_attempts=2)
    assert done.pages == [f"{HOME}/0", f"{HOME}/1"] and list(done.denied) == [f"{HOME}/2"]
    assert done.verdict is Verdict.OK and not done.failed and not done.left
    assert sum("open no more files" in event.text for event in done.events if isinstance(event, Noted)) == 1


def test_a_shortage_without_end_leaves_the_rest_for_a_later_run() -> None:
    done = crawl(Shop, FakeWeb({f"{HOME}/robots.txt": "", f"{HOME}/0": SHORT, f"{HOME}/1": SHORT}))
    assert done.stop is Stop.DEFERRED and not done.failed
    assert "ulimit -n" in done.left["shop.example"] and done.summary["seconds"] >= MOST_LACK


def test_it_is_known_whatever_library_hides_it() -> None:
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL):
        try:
            try:
                raise OSError(number, "deep down")
            except OSError as cause:
                raise RuntimeError("on top") from cause
        except RuntimeError as error:
            assert isinstance(translate(error), OutOfFiles)
    assert not isinstance(translate(OSError(errno.ECONNREFUSED, "no")), OutOfFiles)


def test_connections_are_shared_out_so_that_they_suffice() -> None:
    assert budget(960, 64) == (MOST_POOLS, 896)
    for most in (2, 8, 36, 200, 500):
        threads = max(1, min(64, most // 2))
        origins, idle = budget(most, threads)
        assert origins >= 1 and threads * origins + idle <= most
