"""Files that pages make, and answers that Chromium keeps as files: taken out of the folder it writes to."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scraper.browser.page_time import STEP
from scraper.browser.tab import Tab
from scraper.browser.tasks import Downloaded

MOST = 50  # files of one page


class Downloads:
    """The downloads of all tabs of a browser. `cdp`: its own session; `tabs`: those in use."""

    def __init__(self, cdp: Any, folder: Path, tabs: Sequence[Tab]) -> None:
        self._cdp = cdp
        self._folder = folder / "downloads"
        self._tabs = tabs
        self._under_way: dict[str, tuple[Tab, Mapping[str, Any]]] = {}
        self._doing: set[asyncio.Task[None]] = set()
        cdp.on("Browser.downloadWillBegin", self._begin)
        cdp.on("Browser.downloadProgress", self._progress)

    async def allow(self, context: str) -> None:
        """Have the downloads of a context written to our folder, each under a name of Chromium's."""
        how = {"behavior": "allowAndName", "downloadPath": str(self._folder), "eventsEnabled": True}
        wanted = self._cdp.send("Browser.setDownloadBehavior", {**how, "browserContextId": context})
        await asyncio.wait_for(wanted, STEP)

    def _begin(self, event: Mapping[str, Any]) -> None:
        tab = next((tab for tab in self._tabs if event["frameId"] in tab.frames), None)
        if tab is None:
            return
        self._under_way[event["guid"]] = tab, event
        tab.saving.add(event["guid"])
        if tab.saved >= MOST:
            self._end(event["guid"], f"more than {MOST} files of one page")

    def _progress(self, event: Mapping[str, Any]) -> None:
        tab, begun = self._under_way.get(event["guid"], (None, {}))
        if tab is None:
            return
        if max(event["totalBytes"], event["receivedBytes"]) > tab.most_file:
            most = f"file over max_file ({tab.most_file / 2**20:g} MiB)"
            self._end(event["guid"], most if tab.most_file else "its files are not kept")
        elif event["state"] == "completed":
            path = self._folder / event["guid"]
            with contextlib.suppress(OSError):
                file = path.open("rb")  # open, it outlives its name, and the browser with its folder
                path.unlink()
                tab.keep(Downloaded(begun["url"], begun["suggestedFilename"], file))
            self._end(event["guid"])
        elif event["state"] == "canceled":
            self._end(event["guid"])  # we had its answer, and kept it, see `engine.page_downloads`

    def _end(self, guid: str, reason: str = "") -> None:
        tab, begun = self._under_way.pop(guid)
        if reason:
            tab.keep(Downloaded(begun["url"], reason=reason))
            doing = asyncio.ensure_future(self._cancel(guid, tab.context))
            self._doing.add(doing)
            doing.add_done_callback(self._doing.discard)
        tab.saving.discard(guid)

    async def _cancel(self, guid: str, context: str) -> None:
        with contextlib.suppress(Exception):
            cancelled = {"guid": guid, "browserContextId": context}
            await asyncio.wait_for(self._cdp.send("Browser.cancelDownload", cancelled), STEP)
        with contextlib.suppress(OSError):
            (self._folder / guid).unlink()
