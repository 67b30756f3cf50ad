"""What a browser did to the cookies of a session goes back into its jar."""

from typing import Any

from scraper.http.cookies import DomainCookieJar
from scraper.urls import is_public_suffix

URL = "http://shop.example/"


def jar(*lines: str) -> DomainCookieJar:
    """A jar with the cookies of one answer."""
    made = DomainCookieJar(is_public_suffix, "shop.example", lambda: 1000.0)
    made.store(lines, URL, 1000.0)
    return made


def row(name: str, value: str, **more: Any) -> dict[str, Any]:
    """A cookie as the browser tells it."""
    plain = {"path": "/", "expires": None, "secure": False, "http_only": False, "same_site": "Lax"}
    return {"name": name, "value": value, "domain": "shop.example", "host_only": True, **plain, **more}


def test_what_a_script_set_changed_and_removed_is_so_in_the_next_plain_request() -> None:
    cookies = jar("kept=1", "changed=1", "removed=1")
    before = cookies.dump()
    cookies.mirror([row("kept", "1"), row("changed", "2"), row("new", "3")], before)
    assert cookies.header_for(URL, 1001.0) == "kept=1; changed=2; new=3"


def test_what_an_answer_set_meanwhile_stays_though_the_browser_does_not_have_it() -> None:
    cookies = jar("old=1")
    before = cookies.dump()
    cookies.store(["meanwhile=1"], URL, 1001.0)
    cookies.mirror([row("old", "1")], before)
    assert cookies.header_for(URL, 1002.0) == "old=1; meanwhile=1"


def test_a_cookie_that_is_as_it_was_keeps_its_promises_and_is_no_change() -> None:
    cookies = jar("sid=1; HttpOnly; SameSite=Strict; Max-Age=60")
    before, changes = cookies.dump(), cookies.changes
    cookies.mirror([row("sid", "1", expires=1059.0, http_only=True)], before)
    assert cookies.changes == changes and cookies.dump() == before


def test_a_cookie_that_was_set_by_hand_stays_bound_to_its_origins() -> None:
    cookies = DomainCookieJar(is_public_suffix, "shop.example", lambda: 1000.0, lambda url: url == URL)
    cookies.set("sid", "secret")
    cookies.mirror([row("sid", "secret"), row("new", "1")], cookies.dump())
    assert cookies.header_for(URL, 1001.0) == "sid=secret; new=1"
    assert cookies.header_for("http://shop.example:8080/", 1001.0) == "new=1"
    assert cookies.without_hand_set("sid=secret; new=1") == "new=1"


def test_a_cookie_for_a_whole_public_suffix_is_not_taken_from_a_browser_either() -> None:
    cookies = jar()
    cookies.mirror([row("wide", "1", domain=".co.uk", host_only=False)], [])
    assert len(cookies) == 0
