"""A shell is known by its empty application root, a notice, or by having no text: not by having scripts."""

import pytest

from scraper.model import Headers, Request, Response
from scraper.parsing.page import Page
from scraper.parsing.shells import shell_of

SCRIPT = "<script src=/app.js></script>"
LONG = "<p>" + "Words of an article that is here without any script. " * 6 + "</p>"


def told(html: str) -> str:
    """What is said of a document."""
    headers = Headers([("Content-Type", "text/html; charset=utf-8")])
    return shell_of(
        Page(Request("http://a.example/"), Response("http://a.example/", 200, headers, html.encode()))
    )


@pytest.mark.parametrize(
    ("html", "reason"),
    [
        (f"<title>Shop</title><div id=root></div>{SCRIPT}", "an empty #root"),
        (f"<div id=__next></div>{SCRIPT}", "an empty #__next"),
        ("<div id=app><!-- vue --></div><script>boot()</script>", "an empty #app"),
        (f"<app-root></app-root>{SCRIPT}", "an empty app-root"),
        (
            f"<p>Loading</p><noscript>You need to enable JavaScript.</noscript>{SCRIPT}",
            "a notice for those without scripts",
        ),
        (f"<body>{SCRIPT}", "no text at all"),
        (f"<div id=root><h1>Rendered by the server</h1></div>{SCRIPT}", ""),
        (f"{LONG}<div id=root></div>{SCRIPT}", ""),
        (f"{LONG}<noscript>Enable JavaScript</noscript>{SCRIPT}", ""),
        ("<div id=root></div>", ""),
        (f"<p>One short page</p>{SCRIPT}", ""),
        ("", ""),
    ],
)
def test_a_shell_is_told_from_a_page(html: str, reason: str) -> None:
    assert told(html) == reason
