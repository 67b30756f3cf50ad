"""Who asks for what a rendered page loads: the page itself, or another site's page or frame."""

import pytest

from scraper.browser.tasks import PageRequest
from scraper.engine.page_loads import is_foreign, key_of

API = "https://api.shop.example/prices"
SHOP, OTHER = "https://www.shop.example/", "https://other.example/"


def asked(page: str, kind: str = "fetch", method: str = "GET", origin: str = "") -> PageRequest:
    return PageRequest("1", API, method, {"Origin": origin} if origin else {}, None, kind, page)


@pytest.mark.parametrize(
    "wanted",
    [
        asked(SHOP),
        asked(SHOP, origin="https://www.shop.example"),
        asked(SHOP, "document", "POST"),
        asked(OTHER, "document"),  # it leads on, and reads nothing
    ],
)
def test_a_page_of_the_same_site_and_one_that_leads_on_are_no_strangers(wanted: PageRequest) -> None:
    assert not is_foreign(wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        asked(OTHER),
        asked(OTHER, "frame"),
        asked(OTHER, "document", "POST"),
        asked(OTHER, origin="https://www.shop.example"),  # a frame of the shop within it
        asked(SHOP, origin="https://other.example"),  # its frame within the shop
        asked(SHOP, origin="null"),  # a frame in a sandbox
        asked("http://www.shop.example/"),
        asked("about:blank"),
    ],
)
def test_another_sites_page_or_frame_is_a_stranger(wanted: PageRequest) -> None:
    assert is_foreign(wanted)


def test_what_a_stranger_was_refused_is_not_refused_to_the_page_itself() -> None:
    assert key_of(asked(SHOP, origin="null")) != key_of(asked(SHOP))
