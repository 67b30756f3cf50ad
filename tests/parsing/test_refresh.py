import pytest

from scraper.parsing.page import Page
from scraper.parsing.refresh import read
from tests.parsing.test_page import page


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0;url=/x", (0, "/x")),
        ('5; URL = "/x y" z', (5, "/x y")),
        ("3,/x", (3, "/x")),
        (" 0 url=x", (0, "x")),
        ("7", (7, "")),
        ("7;", (7, "")),
        (".5;url=a", (0, "a")),
        ("1.5;url='a\"b'", (1, 'a"b')),
        ("0;\n URL=x", (0, "x")),
        ("0;;url=x", (0, ";url=x")),
        ("0;url", (0, "url")),
        ('0 ; url="x', (0, "x")),
        ("", None),
        ("-1;url=x", None),
        ("0url=x", None),
        ("url=/x", None),
    ],
)
def test_a_refresh_is_read_by_the_steps_of_the_html_standard(
    content: str, expected: tuple[int, str] | None
) -> None:
    assert read(content) == expected


def leads(markup: str, **rest: str) -> tuple[int, str] | None:
    found = page(markup, **rest).meta_refresh
    return None if found is None else (found.seconds, found.url)


@pytest.mark.parametrize(
    "markup",
    [
        '<meta http-equiv="refresh" content="0;url=/x">',
        "<META HTTP-EQUIV=Refresh CONTENT=0;URL=/x>",
        '<head><noscript><meta http-equiv="refresh" content="0; url=/x"></noscript></head>',
        '<body><p>moved<meta http-equiv=" REFRESH " content=" 0 ; url = /x ">',
        '<base href="https://example.org/deep/"><meta http-equiv=refresh content="0;url=../x#part">',
        '<meta http-equiv=refresh content=""><meta http-equiv=refresh content="0;/x">',
    ],
)
def test_a_page_that_only_refreshes_elsewhere_says_where_to(markup: str) -> None:
    assert leads(markup) == (0, "https://example.org/x")


@pytest.mark.parametrize(
    "markup",
    [
        '<meta http-equiv="refresh" content="30">',
        '<meta http-equiv="refresh" content="0;url=page">',
        '<meta http-equiv="refresh" content="0;url=#top">',
        '<meta http-equiv="refresh" content="0;url=javascript:alert(1)">',
        '<!-- <meta http-equiv="refresh" content="0;url=/x"> -->',
        '<template><meta http-equiv="refresh" content="0;url=/x"></template>',
        '<pre>&lt;meta http-equiv="refresh" content="0;url=/x"&gt;</pre>',
        '<meta name="refresh" content="0;url=/x">',
    ],
)
def test_a_page_that_refreshes_itself_or_only_speaks_of_it_leads_nowhere(markup: str) -> None:
    assert leads(markup) is None


def test_the_refresh_field_is_read_like_the_element() -> None:
    got: Page = page("<p>x", headers=[("Refresh", "10; url=/y")])
    assert got.meta_refresh is not None
    assert (got.meta_refresh.seconds, got.links()) == (10, ["https://example.org/y"])
