"""The storage of one domain in the browser: the cookies of its session, and the tabs that share them."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from scraper.browser.page_time import STEP
from scraper.browser.tab import Tab

Row = Mapping[str, Any]
_SAME_SITE = {"strict": "Strict", "lax": "Lax", "none": "None"}


class Profile:
    """A context of Chromium: what one domain stores, no other one sees."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._idle: list[Tab] = []
        self._in_use = 0
        self.is_new = True
        self._seeded: dict[tuple[str, str, str], str] = {}

    @property
    def is_used(self) -> bool:
        """Whether a page is being rendered with it."""
        return self._in_use > 0

    async def take(self, browser_cdp: Any) -> Tab:
        """A tab that shows nothing."""
        self._in_use += 1
        while self._idle:
            if (tab := self._idle.pop()).time.is_sound:
                return tab
        page = await asyncio.wait_for(self._context.new_page(), STEP)
        cdp = await asyncio.wait_for(self._context.new_cdp_session(page), STEP)
        target = (await asyncio.wait_for(cdp.send("Target.getTargetInfo"), STEP))["targetInfo"]
        tab = Tab(page, cdp, browser_cdp, target["targetId"], target["browserContextId"])
        await asyncio.wait_for(cdp.send("Page.enable"), STEP)
        return tab

    async def give_back(self, tab: Tab, *, is_sound: bool) -> bool:
        """Keep a tab for the next page, or close it; False if the browser does not do that in time."""
        self._in_use -= 1
        try:
            if is_sound and await tab.leave():
                self._idle.append(tab)
            else:
                await asyncio.wait_for(tab.page.close(), STEP)
        except Exception:
            return False
        return True

    async def seed(self, rows: Sequence[Row], url: str) -> None:
        """Have exactly these cookies, rows of `DomainCookieJar.dump`.

        `url`: for those that were set without a domain.
        """
        wanted = {_key(row): str(row["value"]) for row in rows}
        if wanted == self._seeded:
            return
        await asyncio.wait_for(self._context.clear_cookies(), STEP)
        cookies = [_cookie(row, url) for row in rows]
        try:
            await asyncio.wait_for(self._context.add_cookies(cookies), STEP)
        except Exception:
            for cookie in cookies:  # one that the browser does not take must not keep out the others
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(self._context.add_cookies([cookie]), STEP)

    async def cookies(self) -> list[dict[str, Any]]:
        """All cookies, as rows for `DomainCookieJar.load`."""
        found = await asyncio.wait_for(self._context.cookies(), STEP)
        rows = [_row(cookie) for cookie in found if not cookie.get("partitionKey")]
        self._seeded = {_key(row): str(row["value"]) for row in rows}
        return rows

    async def close(self) -> None:
        """Give it up."""
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._context.close(), STEP)


def _key(row: Row) -> tuple[str, str, str]:
    return str(row["domain"]), str(row["path"]), str(row["name"])


def _cookie(row: Row, url: str) -> dict[str, Any]:
    cookie: dict[str, Any] = {
        "name": row["name"],
        "value": row["value"],
        "httpOnly": bool(row["http_only"]),
        "secure": bool(row["secure"]),
        **({"expires": float(row["expires"])} if row["expires"] is not None else {}),
    }
    if same_site := _SAME_SITE.get(str(row["same_site"]).lower()):
        cookie["sameSite"] = same_site
    # Without a dot in front it stays with its host.
    return cookie | ({"domain": row["domain"], "path": row["path"]} if row["domain"] else {"url": url})


def _row(cookie: Row) -> dict[str, Any]:
    expires = cookie.get("expires", -1)
    return {
        "name": cookie["name"],
        "value": cookie["value"],
        "domain": cookie["domain"],
        "host_only": not cookie["domain"].startswith("."),
        "path": cookie["path"],
        "expires": None if expires is None or expires < 0 else float(expires),
        "secure": bool(cookie.get("secure")),
        "http_only": bool(cookie.get("httpOnly")),
        "same_site": "" if cookie.get("sameSite") is None else str(cookie["sameSite"]),
    }
