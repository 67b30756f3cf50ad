"""What becomes of a request whose answer leads elsewhere."""

from types import SimpleNamespace

import pytest

from scraper.engine.redirect_step import redirected
from scraper.model import Denied, Entry, Headers, Outcome, Redirected, Request, Response
from scraper.ops.secrets import Redaction
from scraper.parsing.page import Page

HERE, THERE = "https://a.test/in", "https://b.test/in"


def moved(data: str, *, to: str = THERE) -> Outcome:
    """A POST that is answered by 307."""
    request = Request(HERE, method="POST", data=data)
    session = SimpleNamespace(redaction=Redaction(["opensesame7"]))
    page = Page(request, Response(HERE, 307, Headers(), b"", 0.0), session=session)
    return redirected(Entry(1, "a.test", b"", HERE, "", 0), page, 307, to, frozenset({"a.test", "b.test"}))


@pytest.mark.parametrize("data", ["user=ada&password=x", "p=opensesame7", '{"t": "{ in(pwd: \\"x\\") }"}'])
def test_no_redirect_takes_a_secret_that_was_sent_to_another_origin(data: str) -> None:
    outcome = moved(data)
    assert isinstance(outcome, Denied) and "take a password to another origin" in outcome.reason
    assert isinstance(moved(data, to="/other"), Redirected)


def test_a_form_in_another_charset_goes_along() -> None:
    assert isinstance(moved("q=\udc80\udce9"), Redirected)
