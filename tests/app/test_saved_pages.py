"""Pages kept beside the tests: saved with their records, compared, taken over."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scraper.app.archived import saved_pages
from scraper.app.archived.saved_pages import SavedPage
from scraper.errors import UsageError
from scraper.model import Headers, Request, Response
from scraper.spider import discovery
from scraper.testing import check_saved
from tests.project import Call, Project
from tests.site import Reply, Site

SPIDER = """
    from scraper import Spider

    class Shop(Spider):
        start_urls = ["{url}"]
        {key}
        settings = {{"delay": 0}}

        def parse(self, page):
            for row in page.css("li"):
                yield {{"number": row.css("::attr(id)").get(), "price": row.css("b::text").get()}}

        def parse_book(self, page):
            yield {{"number": page.url, "price": page.css("b::text").get()}}
"""
ROWS = '<li id="1"><b>10</b></li><li id="2"><b>20</b></li>'


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as found:
        yield found


@pytest.fixture(
    params=['key = "number"', pytest.param("", marks=pytest.mark.thorough)], ids=["key", "no key"]
)
def shop(project: Project, site: Site, request: pytest.FixtureRequest) -> Path:
    site["/list?p=1"] = Reply(
        200,
        ROWS,
        {"Content-Type": "text/html", "Set-Cookie": "sid=s3cret", "Server": "x", "Link": "</>; rel=up"},
    )
    site["/book"] = "<b>30</b>"
    return project.spider("shop", SPIDER.format(url=site.url(), key=request.param))


def test_saved_pages_are_files_that_a_repository_can_hold(
    call: Call, project: Project, site: Site, shop: Path
) -> None:
    said = call("check", "shop", "--save", site.url("/list?p=1"), site.url("/gone"))
    assert said.code == 1 and "2 records" in said.out and "status 404" in said.err, said.text
    said = call("check", "--save", site.url("/book"), "--callback", "parse_book")
    assert said.code == 0 and "1 record" in said.out, said.text
    assert "/robots.txt" in site.paths(robots=True)
    folder = project.root / "tests/fixtures/shop"
    files = sorted(folder.glob("*.json"))
    assert len(files) == 2
    facts = json.loads(files[1].read_text("utf-8"))
    assert (facts["url"], facts["callback"]) == (site.url("/list?p=1"), "parse")
    assert facts["headers"] == [["Content-Type", "text/html"], ["Link", "</>; rel=up"]]
    assert [record["price"] for record in facts["records"]] == ["10", "20"]
    assert (folder / facts["body"]).read_text("utf-8") == ROWS
    assert "s3cret" not in "".join(file.read_text("utf-8") for file in folder.iterdir())
    assert call("check").code == 0 and "2 saved pages parsed, all" in call("check").out
    assert len(site.paths()) == 3, "checking asks nobody"


def test_a_difference_is_shown_field_by_field_and_taken_over(call: Call, site: Site, shop: Path) -> None:
    assert call("check", "shop", "--save", site.url("/list?p=1")).code == 0
    source = shop.read_text("utf-8")
    shop.write_text(
        source.replace('"b::text").get()}\n\n', '"b::text").re_first(r"\\d").strip()}\n\n'), "utf-8"
    )
    said = call("check", "shop")
    assert said.code == 1 and 'price "10" -> "1"' in said.out and 'price "20" -> "2"' in said.out, said.text
    assert "number" not in said.out and "1 differ" in said.out
    as_json = json.loads(call("check", "--json").out.splitlines()[0])
    assert as_json["changes"][0]["change"] == "changed" and as_json["changes"][0]["after"] == {"price": "1"}
    with pytest.raises(AssertionError, match='price "10" -> "1"'):
        check_saved(discovery.load(shop).spider)
    said = call("check", "shop", "--update")
    assert said.code == 0 and "taken over" in said.out
    assert call("check", "shop").code == 0
    check_saved(discovery.load(shop).spider)


def test_a_callback_that_raises_is_a_difference_and_no_update(
    call: Call, project: Project, site: Site, shop: Path
) -> None:
    assert call("check", "shop", "--save", site.url("/list?p=1")).code == 0
    shop.write_text(shop.read_text("utf-8").replace('row.css("::attr(id)")', "row.nothing"), "utf-8")
    for words in (["check"], ["check", "--update"]):
        said = call(*words)
        assert said.code == 1 and "AttributeError" in said.out, said.text
    facts = next((project.root / "tests/fixtures/shop").glob("*.json"))
    assert len(json.loads(facts.read_text("utf-8"))["records"]) == 2


def test_what_cannot_be_saved_or_checked_is_told(call: Call, site: Site, shop: Path) -> None:
    site["/no"] = Reply(200, ROWS, {"Content-Type": "text/html", "X-Robots-Tag": "noarchive"})
    for words, hint in [
        (["shop", site.url()], "without --save"),
        (["shop", "--save"], "needs a URL"),
        (["shop", "--save", "ftp://x/"], "only http and https"),
        (["--save", "http://other.example/"], "no spider starts on other.example"),
        (["shop", "--save", site.url(), "--callback", "parse_boook"], "did you mean parse_book?"),
        (["shop", "--update"], "no pages in tests/fixtures/shop"),
        (["shop", "--save", site.url("/no")], "noarchive"),
    ]:
        said = call("check", *words)
        assert said.code in (1, 2) and hint in said.err and said.err.count("\n") == 1, (words, said.text)
    with pytest.raises(AssertionError, match=r"no pages in .*check shop --save URL"):
        check_saved(discovery.load(shop).spider)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"url": 1}', '{"body": "../../../etc/passwd", "url": "http://a/", "headers": []}'],
)
def test_a_file_that_is_no_saved_page_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, "utf-8")
    with pytest.raises(UsageError, match=r"x\.json is no saved page"):
        list(saved_pages.saved_pages(tmp_path))


def test_each_request_has_a_file_of_its_own_with_a_readable_name() -> None:
    urls = ["http://a/", "http://a/b/c.html", "http://a/b?c=1", "http://a/b?c=2", "http://a/" + "x" * 300]
    requests = [Request(url) for url in urls] + [Request(urls[1], "parse_book")]
    names = [saved_pages.file_for(Path("f"), request).name for request in requests]
    assert len(set(names)) == len(names) and names[:2] == ["index.json", "b-c-html.json"]
    assert max(map(len, names)) < 80


def test_a_body_that_is_no_text_comes_back_byte_for_byte(tmp_path: Path, shop: Path) -> None:
    content = "<li id=1><b>1 €</b></li>".encode("utf-16")
    response = Response("http://a/x", 200, Headers([("Content-Type", "text/html")]), content, 5.0)
    spider = discovery.load(shop).spider()
    saved_pages.save(SavedPage(tmp_path / "x.json", Request("http://a/"), response), spider)
    (found,) = saved_pages.saved_pages(tmp_path)
    assert (found.response.content, found.response.url, found.request.url) == (
        content,
        "http://a/x",
        "http://a/",
    )
    assert saved_pages.compare(found, spider).is_same
