"""Debian's Chromium opens the report: no request, no complaint, right on a phone and in the dark."""

import base64
import fcntl
import json
import os
import random
import select
import shutil
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scraper.runs.report import Report, render

pytestmark = pytest.mark.debian

HOSTILE = (
    "</title><script>console.log('in')</script>\"'><img src=http://127.0.0.1:9/x onerror=alert(1)>\u202e"
)
QUIET = [
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
]  # fmt: skip


def aside(descriptor: int) -> int:
    """The same file under a number of 20 or more."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(descriptor)
    return moved


class Browser:
    """One page of a headless Chromium, spoken to in its DevTools protocol: JSON ended by a zero byte."""

    def __init__(self, profile: Path) -> None:
        binary = shutil.which("chromium")
        assert binary, "chromium is missing: .ci/run installs it"
        # It reads from descriptor 3 and writes to 4; ours must not be in the way of these.
        its_in, self._out, self._in, its_out = (aside(end) for pair in (os.pipe(), os.pipe()) for end in pair)
        arguments = [*QUIET, f"--user-data-dir={profile}", "about:blank"]
        if os.geteuid() == 0:
            arguments.insert(0, "--no-sandbox")
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{its_in} 4>&{its_out}', "bash", binary, *arguments],
            pass_fds=(its_in, its_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_in)
        os.close(its_out)
        self.events: list[dict[str, Any]] = []
        self._buffer = b""
        self._number = 0
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command and its result; what happens meanwhile goes to `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters} | self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, page: Path, width: int, *, dark: bool) -> None:
        """Load a page in a window of this width, in one colour scheme."""
        self.events.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def value(self, expression: str) -> Any:
        """What a piece of JavaScript comes to."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self) -> bytes:
        """The whole page as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def all(self, method: str) -> list[dict[str, Any]]:
        """The events of one kind since the page was opened."""
        return [event["params"] for event in self.events if event["method"] == method]

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0, deadline - time.monotonic()))
            read = os.read(self._in, 1 << 20) if ready else b""
            assert read, "the browser said nothing more"
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.stop()


def report_of(domains: int, text: str) -> Report:
    chance = random.Random(domains)
    by_domain = {
        f"{text}{n}.example": {
            "requests": n,
            "delay_s": 1.0,
            "min_gap_s": 1.01,
            "delay_source": text,
            "left": text,
        }
        for n in range(domains)
    }
    summary = {
        "spider": text, "run_id": text, "verdict": "DEGRADED", "reasons": [text, text * 9],
        "records": 123_456, "started_at": "2026-01-02T03:04:05+00:00", "seconds": 4000.0, "changed": 9,
        "by_domain": by_domain,
        "fill": {f"{text}{n}": chance.random() for n in range(30)},
    }  # fmt: skip
    change = {"change": "changed", "key": text, "before": {text: text}, "after": {text: text * 30}}
    return Report(
        summary,
        [summary | {"records": chance.randint(100_000, 150_000)} for _ in range(30)],
        [change] * 9,
        [(text, n, f"https://example.org/{text * 20}") for n in range(12)],
        [(second, chance.randint(0, 3), chance.randint(0, 30)) for second in range(4000)],
        {text: text},
        {text: text},
        [text],
    )


REPORTS = {
    "nothing": Report({}),
    "small": report_of(1, "books"),
    "large": report_of(200, "a_very_long_name_without_any_place_to_break_it"),
    "hostile": report_of(3, HOSTILE),
}


@pytest.fixture(params=list(REPORTS))
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(render(REPORTS[request.param]), encoding="utf-8")
    return path


def lines(png: bytes) -> int:
    """How many of a picture's lines differ, as its bytes tell."""
    at, packed, width = 8, b"", int.from_bytes(png[16:20])
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        packed += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    raw = zlib.decompress(packed)
    line = width * (len(raw) // (width * int.from_bytes(png[20:24]))) + 1
    return len({raw[n : n + line] for n in range(0, len(raw), line)})


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_report_asks_for_nothing_says_nothing_and_fits(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    browser.open(page, width, dark=dark)
    browser.value("document.querySelectorAll('details').forEach(each => each.open = true)")
    picture = browser.picture()

    asked = [event["request"]["url"] for event in browser.all("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    spoken = [
        browser.all(kind)
        for kind in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    ]
    assert spoken == [[], [], []]
    assert browser.value("document.scripts.length + document.images.length") == 0
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.querySelectorAll('body > *').length") >= 5
    assert lines(picture) > 100


def test_a_dark_screen_gets_a_dark_page(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(REPORTS["small"]), encoding="utf-8")
    lightness = []
    for dark in (False, True):
        browser.open(path, 1200, dark=dark)
        colour = browser.value("getComputedStyle(document.body).backgroundColor")
        lightness.append(sum(int(part) for part in colour.strip("rgb()").split(",")) / 3)
    assert lightness[0] > 200 and lightness[1] < 60


def test_a_chart_tells_a_screen_reader_what_it_shows(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(REPORTS["small"]), encoding="utf-8")
    browser.open(path, 1200, dark=False)
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    named = [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") in ("image", "img")]
    assert len(named) == 1 + 2 + 12 and all(named)  # records, course, and the fields that are not folded
    assert any("123,456 in this run" in name for name in named)
