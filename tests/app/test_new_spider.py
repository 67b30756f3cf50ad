"""`new`: a spider for a page that runs as written, on pages of many shapes."""

import ast
import html
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scraper.app.admin.spider_draft import draft, literal
from scraper.model import Headers, Request, Response
from scraper.parsing.outline import outline
from scraper.parsing.page import Page
from scraper.spider import Spider, discovery
from scraper.testing import FakeWeb, check_saved, crawl
from tests.app.page_shapes import SHAPES, page
from tests.project import Call, Project
from tests.site import Reply, Site

URL = "http://shape.example/"


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as found:
        yield found


def page_of(body: str | bytes, url: str = URL, kind: str = "text/html; charset=utf-8") -> Page:
    content = body.encode() if isinstance(body, str) else body
    return Page(Request(url), Response(url, 200, Headers([("Content-Type", kind)]), content))


def made(tmp_path: Path, source: str) -> type[Spider]:
    file = tmp_path / "made.py"
    file.write_text(source, encoding="utf-8")
    return discovery.load(file).spider


@pytest.mark.parametrize("shape", SHAPES)
def test_a_first_spider_reads_what_repeats_and_goes_to_the_next_page(shape: str, tmp_path: Path) -> None:
    body, query, count, fields, following = SHAPES[shape]
    found = draft("Made", page_of(body))
    assert query in found.source.split("page.css(")[1].split("\n")[0], found.source
    spider = made(tmp_path, found.source)
    web = FakeWeb({URL: body, URL.rstrip("/") + following: page("<p>The last page.</p>")})
    result = crawl(spider, web)
    assert len(result.records) == count and result.verdict == "OK", (result.reasons, found.source)
    first = result.records[0]
    for name, value in fields.items():
        expected = URL.rstrip("/") + value if name in ("url", "image") else value
        assert first.get(name) == expected, (name, first, found.source)
    assert result.pages == [URL] + ([URL.rstrip("/") + following] if following else []), found.source
    assert spider.key and "menu" not in json.dumps(result.records).lower()


@pytest.mark.parametrize(
    "pager",
    [
        # As themes of Pelican write it: no class, no rel, no label.
        '<nav><ul><li>1 / 3<li><a href="/2">&#8594;</a><li><a href="/3">&#8649;</a></ul></nav>',
        '<nav><a href="/0">&#10216;</a> Page 1 of 3 <a href="/2">&#10217;</a></nav>',
        '<p class="paginator">Page 1 / 3 <a href="/2">&raquo;</a></p>',
    ],
)
def test_an_arrow_in_a_pager_without_a_name_leads_to_the_next_page(pager: str) -> None:
    found = outline(page_of(page(pager))).next_link
    assert found is not None and found.url == URL + "2"


def test_an_arrow_in_a_menu_is_no_next_page() -> None:
    menu = '<nav><a href="/t">Green tea</a> <a href="/c">Cups and pots</a> <a href="/2">&#8594;</a></nav>'
    assert outline(page_of(page(menu))).next_link is None


def test_json_ld_gives_records_of_its_own(tmp_path: Path) -> None:
    product = {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": "Cup",
        "sku": "C1",
        "offers": {"price": 3},
    }
    site = {"@type": "WebSite", "name": "A shop"}
    head = f'<script type="application/ld+json">{json.dumps([site, product])}</script>'
    found = draft("Made", page_of(page("<h2>Cup</h2><p>A cup.</p>", head)))
    result = crawl(made(tmp_path, found.source), FakeWeb({URL: page("<h2>Cup</h2>", head)}))
    assert result.records == [{"name": "Cup", "sku": "C1", "offers": {"price": 3}}], found.source


def test_an_item_list_gives_its_elements(tmp_path: Path) -> None:
    entries = [{"@type": "ListItem", "position": n, "url": f"{URL}{n}", "name": f"N{n}"} for n in (1, 2, 3)]
    listed = json.dumps({"@type": "ItemList", "itemListElement": entries})
    head = f'<script type="application/ld+json">{listed}</script>'
    found = draft("Made", page_of(page("<p>A list.</p>", head)))
    result = crawl(made(tmp_path, found.source), FakeWeb({URL: page("", head)}))
    assert [record["name"] for record in result.records] == ["N1", "N2", "N3"], found.source


def test_a_json_document_gives_its_longest_list(tmp_path: Path) -> None:
    document = {
        "page": 1,
        "data": {"tags": [{"t": 1}], "items": [{"id": n, "name": f"N{n}"} for n in (1, 2, 3)]},
    }
    kind = "application/json"
    found = draft("Made", page_of(json.dumps(document), kind=kind))
    assert 'page.json()["data"]["items"]' in found.source and 'key = "id"' in found.source
    answer = 200, {"Content-Type": kind}, json.dumps(document)
    result = crawl(made(tmp_path, found.source), FakeWeb({URL: answer}))
    assert [record["name"] for record in result.records] == ["N1", "N2", "N3"]
    assert "title::text" in draft("Made", page_of("[1, 2", kind=kind)).source


@pytest.mark.parametrize("path", [("next",), ("links", "next", "href")])
def test_a_json_document_that_names_its_next_page_is_followed(path: tuple[str, ...], tmp_path: Path) -> None:
    def answer(number: int, following: Any) -> tuple[int, dict[str, str], str]:
        for name in reversed(path):
            following = {name: following}
        content = {"items": [{"id": number}]} | following
        return 200, {"Content-Type": "application/json"}, json.dumps(content)

    web = FakeWeb(
        {
            URL: answer(0, "/?page=2"),
            URL + "?page=2": answer(1, URL + "?page=3"),
            URL + "?page=3": answer(2, None),
        }
    )
    found = draft("Made", page_of(answer(0, "/?page=2")[2], kind="application/json"))
    result = crawl(made(tmp_path, found.source), web)
    assert [record["id"] for record in result.records] == [0, 1, 2] and 'key = "id"' in found.source


def test_feeds_and_sitemaps_are_named_and_read_by_spiders_of_their_kind() -> None:
    head = '<link rel="alternate" type="application/rss+xml" href="/feed.xml">'
    found = draft("Made", page_of(page("<p>x</p>", head)), ["http://shape.example/sitemap.xml"])
    assert 'feeds = ["http://shape.example/feed.xml"]' in found.source
    assert 'sitemaps = ["http://shape.example/sitemap.xml"]' in found.source
    feed = '<?xml version="1.0"?><rss version="2.0"><channel><title>f</title></channel></rss>'
    assert "(FeedSpider)" in draft("Made", page_of(feed, kind="application/xml")).source
    items = '{"version": "https://jsonfeed.org/version/1.1", "items": []}'
    assert "(FeedSpider)" in draft("Made", page_of(items, kind="application/feed+json")).source
    listing = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"></urlset>'
    assert "(SitemapSpider)" in draft("Made", page_of(listing, kind="text/xml")).source


@pytest.mark.parametrize(
    "evil",
    [
        '"""+boom()+"""',
        "');boom();('",
        "\\",
        "\n    boom()",
        "{boom()}",
        "a b.c>d",
        "\u2028boom()",
        "x" * 50_000,
        "]::attr(x",
    ],
)
def test_what_a_page_says_is_never_code(evil: str) -> None:
    said = html.escape(evil, quote=True)
    row = f'<li class="{said} row-{said}" id="{said}"><b class="{said}" itemprop="{said}">x</b>'
    row += f'<a href="{said}" title="{said}">{said}</a></li>'
    head = f'<link rel="alternate" type="application/rss+xml" href="{said}">'
    stated = json.dumps({"@type": evil, evil: 1}).replace("<", "\\u003c")
    head += f'<script type="application/ld+json">{stated}</script>'
    body = page(
        f'<ul class="{said}">{row * 4}</ul><table><tr><th>{said}<th>b'
        + f"<tr><td>{said}<td>y" * 5
        + "</table>",
        head,
    )
    found = draft("Made", page_of(body))
    nodes = list(ast.walk(ast.parse(found.source)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    assert names <= set(
        "Iterator Page Spider block page href item isinstance dict entry thing object start_urls key"
        " feeds".split()
    )
    calls = {ast.unparse(node.func).rpartition(".")[2] for node in nodes if isinstance(node, ast.Call)}
    assert calls <= set("isinstance css xpath get getall urljoin follow_all".split())


def test_a_block_without_a_link_has_no_address(tmp_path: Path) -> None:
    body = page(
        "<ul>" + "".join(f'<li><a href="/{n}">Name {n}</a> of it</li>' for n in range(5)) + "<li>Old one</ul>"
    )
    found = crawl(made(tmp_path, draft("Made", page_of(body)).source), FakeWeb({URL: body}))
    assert [record["url"] for record in found.records] == [*(f"{URL}{n}" for n in range(5)), None]


def test_a_literal_is_read_as_what_it_stands_for() -> None:
    assert (
        literal('a"b') == "'a\"b'" and literal(("a", "b")) == '("a", "b")' and literal(["é"]) == '["\\u00e9"]'
    )


def test_new_writes_a_spider_that_runs_and_a_test_that_passes(
    call: Call, project: Project, site: Site
) -> None:
    body, _, count, _, _ = SHAPES["list"]
    site["/"] = Reply(200, body, {"Content-Type": "text/html; charset=utf-8", "Set-Cookie": "sid=secret"})
    site["/?p=2"] = page("<p>The end.</p>")
    site["/robots.txt"] = f"User-agent: *\nDisallow: /p/\nSitemap: {site.url('/sitemap.xml')}\n"
    said = call("new", "shop", site.url(), "--set", "delay=0")
    assert said.code == 0 and "8 x li.book" in said.out and said.err == "", said.text
    assert "sitemap.xml" in (project.root / "spiders/shop.py").read_text("utf-8")
    assert site.paths(robots=True) == ["/robots.txt", "/"]
    fixtures = project.root / "tests/fixtures/shop"
    assert "secret" not in (fixtures / "index.json").read_text("utf-8")
    ended = call("run", "shop", "--set", "delay=0", "--json")
    assert ended.summary["verdict"] == "OK" and ended.summary["records"] == count, ended.text
    assert site.paths()[1:] == ["/", "/?p=2"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(project.root),
        "tests",
    ]
    environment = {"PYTHONPATH": f"{Path(__file__).parents[2]}:{project.root}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=project.root, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    "answer", [404, Reply(status=0, reset=True), Reply(raw=b"SSH-2.0\r\n"), Reply(500, "no")]
)
def test_a_page_that_cannot_be_had_gives_the_twelve_lines_and_the_reason(
    call: Call, project: Project, site: Site, answer: Any
) -> None:
    site["/x"] = answer
    said = call("new", "shop", site.url("/x"), "--set", "delay=0")
    assert said.code == 0 and said.err.startswith("the page played no part") and site.url("/x") in said.err
    assert len(said.err.splitlines()) == 1
    source = (project.root / "spiders/shop.py").read_text("utf-8")
    assert 'page.css("title::text")' in source and (project.root / "tests/test_shop.py").exists()
    assert not (project.root / "tests/fixtures").exists()


def test_a_page_that_robots_txt_forbids_is_not_fetched_by_new(
    call: Call, project: Project, site: Site
) -> None:
    site["/robots.txt"] = "User-agent: *\nDisallow: /\n"
    site["/"] = SHAPES["list"][0]
    said = call("new", "shop", site.url(), "--set", "delay=0")
    assert said.code == 0 and "robots.txt line 2" in said.err and site.paths() == []
    assert (project.root / "spiders/shop.py").exists()


def test_a_site_that_wants_no_copies_gets_none(call: Call, project: Project, site: Site) -> None:
    site["/"] = Reply(200, SHAPES["list"][0], {"Content-Type": "text/html", "X-Robots-Tag": "noarchive"})
    said = call("new", "shop", site.url(), "--set", "delay=0")
    assert said.code == 0 and "noarchive" in said.err and not (project.root / "tests/fixtures").exists()


def test_a_saved_page_whose_records_change_fails_field_by_field(
    tmp_path: Path, call: Call, project: Project, site: Site
) -> None:
    site["/"] = SHAPES["list"][0]
    assert call("new", "shop", site.url(), "--set", "delay=0").code == 0
    file = project.root / "spiders/shop.py"
    check_saved(discovery.load(file).spider)
    file.write_text(file.read_text("utf-8").replace('.css(".author")', '.css(".autor")'), "utf-8")
    with pytest.raises(AssertionError, match=r'author "Author 1" -> null') as raised:
        check_saved(discovery.load(file).spider)
    assert "check shop --update" in str(raised.value) and "title" not in str(raised.value)
