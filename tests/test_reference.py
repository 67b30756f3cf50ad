"""The reference for spiders: it names what the code has, with its defaults, and its examples run."""

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import pytest

import scraper
import scraper.testing
from scraper.app.running.from_python import RunResult
from scraper.http.session import DomainSession
from scraper.model import Headers, Response
from scraper.parsing import fields
from scraper.parsing.feed import parse as read_feed
from scraper.parsing.feed_entries import Entry
from scraper.parsing.forms import Form
from scraper.parsing.sitemap import Listed, Sitemap
from scraper.parsing.sitemap import parse as read_sitemap
from scraper.testing import Asked, CrawlResult, FakeClock, FakeWeb, crawl
from tests.project import ROOT

TEXT = (ROOT / "docs" / "reference.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^##+ (.+?)\n(.*?)(?=^##+ |\Z)", TEXT, re.DOTALL | re.MULTILINE))
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
TEA = "https://shop.example/tea"
SITEMAP = b"<urlset><url><loc>https://shop.example/tea</loc><lastmod>2026-01-01</lastmod>"
SITEMAP += b"<changefreq>daily</changefreq><priority>0.5</priority></url></urlset>"
RSS = b"<rss version='2.0'><channel><item><title>New tea</title><link>https://shop.example/news/1</link>"
RSS += b"<guid>tag:1</guid><description>&lt;b&gt;Green&lt;/b&gt;</description><category>tea</category>"
RSS += b"<dc:creator xmlns:dc='http://purl.org/dc/elements/1.1/'>Ann</dc:creator></item></channel></rss>"

KINDS: dict[str, type] = {
    name: getattr(scraper, name) for name in ("Spider", "SitemapSpider", "FeedSpider", "CrawlRules", "Page")
}
KINDS |= {"Headers": Headers, "Form": Form, "Sitemap": Sitemap, "Listed": Listed, "Entry": Entry}
KINDS |= {
    "RunResult": RunResult,
    "FakeWeb": FakeWeb,
    "FakeClock": FakeClock,
    "CrawlResult": CrawlResult,
    "Record": scraper.Record,
}


def signature(function: Callable[..., Any], skipped: int = 0) -> str:
    """Arguments and defaults, as they are written in a call."""
    told, is_open = [], True
    for one in list(inspect.signature(function).parameters.values())[skipped:]:
        if one.kind is one.KEYWORD_ONLY and is_open:
            told.append("*")
        is_open = is_open and one.kind not in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        mark = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        told.append(f"{mark}{one.name}" + ("" if one.default is one.empty else f"={one.default!r}"))
    return f"({', '.join(told)})"


def fields_of(kind: Any) -> Iterator[str]:
    """The fields of a dataclass with their defaults; not all of them show their constructor."""
    for one in dataclasses.fields(kind):
        default = one.default_factory() if callable(one.default_factory) else one.default
        yield one.name + ("" if default is dataclasses.MISSING else f" = {default!r}")


def arguments(function: Callable[..., Any]) -> Iterator[str]:
    for one in inspect.signature(function).parameters.values():
        mark = "**" if one.kind is one.VAR_KEYWORD else ""
        yield f"{mark}{one.name}" + ("" if one.default is one.empty else f" = {one.default!r}")


def members(kind: type) -> Iterator[str]:
    """The public names of a class: fields, attributes, properties, methods, and what its __init__ sets."""
    declared = {one.name for one in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    if declared:
        yield from fields_of(kind)
    for name, member in vars(kind).items():
        is_of_module = name == "name" and kind is not scraper.Spider
        is_of_pydantic = name in (
            "model_fields",
            "model_computed_fields",
        )  # put there by versions before 2.11
        if name.startswith("_") or name in declared or is_of_module or is_of_pydantic:
            continue
        if isinstance(member, property | cached_property):
            yield name
        elif inspect.isfunction(member):
            yield f"{name}{signature(member, 1)}"
        else:
            yield f"{name} = {member!r}"
    if kind is scraper.Page:
        yield from dict.fromkeys(
            re.findall(r"self\.([a-z]\w*)(?:: [^=]+)? = ", inspect.getsource(kind.__init__))
        )


def called(names: dict[str, Any]) -> list[str]:
    """How each is called; a dataclass by its fields, and results, which nobody makes, by name alone."""
    told = []
    for name, one in names.items():
        if dataclasses.is_dataclass(one):
            told.append(
                name if one is CrawlResult else f"{name}({', '.join(fields_of(one)).replace(' = ', '=')})"
            )
        else:
            told.append(f"{name}{signature(one)}")
    return told


def expected() -> dict[str, list[str]]:
    """What each section has to name."""
    found = {name: list(members(kind)) for name, kind in KINDS.items()}
    found["Rule"] = list(members(scraper.Rule))
    found["Request"] = list(arguments(scraper.Request))
    found["Render"] = list(fields_of(scraper.Render))
    found["File"] = list(arguments(scraper.File))
    found["Session"] = [
        f"{one.__name__}{signature(one, 1)}" for one in (DomainSession.submit, DomainSession.render)
    ]
    found["Retry and Drop"] = called({"Retry": scraper.Retry, "Drop": scraper.Drop})
    helpers = {name: one for name, one in vars(fields).items() if inspect.isfunction(one) and name[0] != "_"}
    found["Field helpers"] = called(helpers)
    found["Running from Python"] = called({"run": scraper.run})
    names: list[str] = list(scraper.testing._HOMES)
    found["Testing"] = called({name: getattr(scraper.testing, name) for name in names})
    return found


def plain(told: str) -> str:
    """One way to write it, whatever the quotes."""
    return told.replace('"', "'")


def rows(section: str) -> list[tuple[str, str]]:
    return re.findall(r"^\| `([^`]+)` \|.*\| (`[^|]+`) \|$", SECTIONS[section], re.MULTILINE)


@pytest.mark.parametrize("section", expected())
def test_a_section_names_what_the_code_has_and_nothing_else(section: str) -> None:
    told = sorted(plain(name) for name, _ in rows(section))
    assert told == sorted(map(plain, expected()[section]))


def test_every_public_name_has_a_section_or_a_row() -> None:
    named = set(SECTIONS) | {name.partition("(")[0] for one in SECTIONS for name, _ in rows(one)}
    assert set(scraper.__all__) <= named
    assert set(SECTIONS) == set(expected())


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the examples know: the page of the reference, what its code defines, and results."""
    found: dict[str, Any] = {"__name__": "reference"}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "docs/reference.md", "exec"), found)
    html = next(text for kind, text in BLOCKS if kind == "html")
    headers = Headers([("Content-Type", "text/html")])
    response = Response(TEA, 200, headers, html.encode(), fetched_at=1767333600.0, elapsed=0.25)
    found["page"] = scraper.Page(scraper.Request(TEA, meta={"shelf": "green"}), response)
    found["sitemap"] = read_sitemap(SITEMAP, TEA)
    found["entry"] = found["sitemap"].pages[0]
    feed = read_feed(RSS, TEA, "application/rss+xml")
    assert feed is not None
    found["item"] = feed.entries[0]
    found["web"] = FakeWeb()
    found["ran"] = RunResult({"verdict": "OK", "pages": 1}, tmp_path_factory.mktemp("run"))
    (found["ran"].folder / "records.jsonl").touch()
    found["result"] = crawl(found["Teas"], FakeWeb())
    found["InlineDownloader"] = scraper.testing.InlineDownloader
    return found


NEEDS_MORE = ("page.session.", "session.", "check_saved(", "scraper.run(")  # a network, saved pages


@pytest.mark.parametrize("section", SECTIONS)
def test_the_examples_of_a_section_run_and_give_what_stands_there(
    section: str, names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, cell in rows(section):
        code, value = re.fullmatch(r"`([^`]+)`(?:: `([^`]+)`)?", cell).groups()  # type: ignore[union-attr]
        if code.startswith(NEEDS_MORE):
            ast.parse(code)
        elif section.endswith(("Spider", "CrawlRules")):
            own = {**names}
            exec(f"class Mine({section}):\n    {code}\n", own)
            assert re.match(r"\w+", name)[0] in vars(own["Mine"]), code  # type: ignore[index]
        elif not needs_extra(code):
            assert (repr(eval(code, names)) if value else value) == value, code


def needs_extra(code: str) -> bool:
    """Whether an example needs an extra that is not installed here."""
    extras = {"microdata": "extruct", "rdfa": "extruct", "text_content": "trafilatura"}
    return any(name in code and find_spec(extra) is None for name, extra in extras.items())


def test_the_spider_of_the_reference_posts_follows_and_tells_what_failed(
    names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def find(asked: Asked) -> str:
        assert (asked.method, asked.body, asked.headers["accept-language"]) == ("POST", b"q=tea", "en")
        return '<a class="tea" href="/tea">1</a><a class="tea" href="/gone">2</a>'

    found = "https://shop.example/find"
    html = next(text for kind, text in BLOCKS if kind == "html")
    result = crawl(names["Teas"], FakeWeb({found: find, TEA: html}))
    assert result.records == [
        {"url": TEA, "name": "Green tea", "found on": found, "noarchive": True},
        {"url": "https://shop.example/gone", "why": "status 404"},
    ]
