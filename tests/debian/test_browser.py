"""A page in Debian's Chromium by itself: it ends in time, whatever it does."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from scraper.browser import chromium
from scraper.browser.browser import Browser, BrowserOptions, _Running
from scraper.browser.tasks import PageRequest, PageResponse, RenderResult, Task
from scraper.model import Headers, Render

pytestmark = pytest.mark.debian
HTML = Headers([("Content-Type", "text/html")])
POLLS = """
    <p id=app></p><script>
    let n = 0;
    function poll() {{ fetch('/poll?' + n++).then(poll, poll); app.textContent = n > 3 ? '{shown}' : ''; }}
    poll();
    </script>"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser whose first page has been rendered."""
    started = Browser(BrowserOptions(chromium.find(None)))
    drawn(started, "<p>x", Render())
    yield started
    started.close()


def drawn(
    browser: Browser, html: str, render: Render, within: float = 60.0, wait: float = 0.0
) -> RenderResult:
    """What comes of a page whose requests are each answered after `wait` seconds."""
    task = Task("http://a.test/", 200, HTML, html.encode(), render, "a.test", within=within)
    drawing = browser.draw(task)
    asked = 0
    while not isinstance(event := drawing.next(60.0), RenderResult):
        asked += 1
        assert isinstance(event, PageRequest) and asked < 100, "it polls for ever"
        time.sleep(wait)
        drawing.answer(event, PageResponse(200, HTML, b"x"))
    return event


def test_a_page_that_polls_for_ever_is_taken_as_it_is_when_its_time_is_over(browser: Browser) -> None:
    page = drawn(browser, POLLS.format(shown="here"), Render(wait_for="text=here"), 2.0, wait=0.1)
    assert not page.error and "here" in page.html, page
    settling = drawn(browser, POLLS.format(shown="here"), Render(), 2.0, wait=0.1)
    assert not settling.error and "here" in settling.html
    assert settling.notes == ("its time of 2 s was over: taken as it was",)


def test_where_what_it_was_waited_for_is_not_there_by_then_the_page_fails(browser: Browser) -> None:
    render = Render(wait_for="text=never", timeout=3600.0)
    page = drawn(browser, POLLS.format(shown="here"), render, 2.0, wait=0.1)
    assert page.error == "its time of 2 s was over before text=never was there" and not page.is_ours
    click = drawn(browser, POLLS.format(shown="here"), Render(click=["#no"], timeout=3600.0), 1.0, wait=0.1)
    assert click.error == "its time of 1 s was over before #no was there"
    assert "fine" in drawn(browser, "<p>fine", Render(wait_for="text=fine")).html


SCROLLS = """
    <ul id=list></ul><div id=end>end</div><script>
    let page = 0;
    new IntersectionObserver(async seen => {
        if (!seen.some(one => one.isIntersecting) || page > 3) return;
        page += 1;
        await fetch('/page/' + page);
        for (let n = 0; n < 10; n++) list.insertAdjacentHTML('beforeend', '<li style="height:120px">row');
    }).observe(end);
    </script>"""


def test_a_list_that_grows_where_its_end_is_seen_is_scrolled_to_its_end_each_time(browser: Browser) -> None:
    for _ in range(5):  # its frames come by our clock, its timers by its own
        assert drawn(browser, SCROLLS, Render(scroll=4)).html.count("row</li>") == 40
    assert drawn(browser, SCROLLS, Render()).html.count("row</li>") == 10


TABS = """
    <a id=link target=_blank href=/link>a</a>
    <button id=script onclick="window.open('/script')">b</button>
    <button id=later onclick="t = window.open(); setTimeout(() => t.location = '/later', 300)">c</button>
    <form target=_blank action=/form><button id=form>d</button></form>"""


def test_a_tab_that_the_last_click_opens_asks_for_its_page_before_the_rendering_ends(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    routed = _Running._route

    async def late(running: _Running, event: Mapping[str, Any], at: float) -> None:
        if event["request"]["url"] != "http://a.test/":  # as where its process takes long to start
            await asyncio.sleep(0.3)
        await routed(running, event, at)

    monkeypatch.setattr(_Running, "_route", late)
    for name in ("link", "script", "later", "form", "link"):
        render = Render(click=["#" + name])
        task = Task("http://a.test/", 200, HTML, TABS.encode(), render, "a.test", within=60.0)
        drawing, asked = browser.draw(task), list[str]()
        while not isinstance(event := drawing.next(60.0), RenderResult):
            assert isinstance(event, PageRequest)
            asked.append(event.url)
            drawing.answer(event, PageResponse(204))  # as for a file: the tab shows nothing, and is closed
        assert not event.error and f"http://a.test/{name}" in [url.rstrip("?") for url in asked]
