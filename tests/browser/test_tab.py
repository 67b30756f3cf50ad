"""Which page a request is of that the browser holds, without a browser."""

import asyncio
from typing import Any

import pytest

from scraper.browser.browser import BrowserOptions, _Running
from scraper.browser.tab import Tab
from scraper.browser.tasks import Event, RenderTask, Task
from scraper.model import Headers, Render

ASKED = {
    "requestId": "r1",
    "resourceType": "Document",
    "frameId": "f",
    "request": {"url": "http://a.example/on", "method": "GET", "headers": {"Referer": "http://a.example/"}},
}


class Protocol:
    """A page and its protocol session that do nothing. `sent`: what was to be done."""

    url = "http://a.example/next"

    def __init__(self) -> None:
        self.sent: list[str] = []

    def on(self, name: str, listener: Any) -> None:
        pass

    async def send(self, name: str, arguments: Any) -> None:
        self.sent.append(name)


class Drawing(RenderTask):
    def __init__(self, tab: Tab) -> None:
        super().__init__(tab.requests.answer, lambda: None)
        self.events: list[Event] = []

    def put(self, event: Event) -> None:
        self.events.append(event)


def begin(tab: Tab) -> Drawing:
    """A page that is being rendered, and has its own document already."""
    drawing = Drawing(tab)
    tab._task = Task("http://a.example/next", 200, Headers(), b"", Render(), "")
    tab._drawing, tab._is_given = drawing, True
    tab.time.begin(60.0)
    return drawing


@pytest.mark.parametrize("is_late", [True, False])
def test_what_a_page_asks_for_as_it_is_left_is_not_asked_for_by_the_next_page(is_late: bool) -> None:
    async def asked() -> tuple[int, list[str]]:
        protocol = Protocol()
        running, tab = _Running(BrowserOptions("none")), Tab(protocol, protocol, protocol, "f", "c")
        running.cdp = protocol
        drawing = Drawing(tab)
        if is_late:  # the tab has left the page before, and is nobody's for a moment
            running._on_paused(ASKED)
        drawing = begin(tab)
        running.tabs.append(tab)
        if not is_late:
            running._on_paused(ASKED)
        held = list(running._paused)
        while not (drawing.events or protocol.sent):
            await asyncio.sleep(0)
        tab.requests.cut()
        await asyncio.gather(*held)
        return len(drawing.events), protocol.sent

    handed_out, sent = asyncio.run(asked())
    assert handed_out == (not is_late)
    assert sent == (["Fetch.failRequest"] if is_late else ["Fetch.fulfillRequest"])
