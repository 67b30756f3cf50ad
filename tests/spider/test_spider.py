import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from scraper.errors import SpiderError
from scraper.model import Entry, Headers, NewUrl, Refusal, Request, Response
from scraper.parsing.page import Page
from scraper.spider import Spider, callback_of
from scraper.spider.identity import request_of, request_text
from scraper.spider.links import seeds
from scraper.spider.parse_result import ParseResult, parse_page
from scraper.spider.record import Record
from scraper.spider.rules import rules_of
from scraper.urls import canonical, fingerprint

WRONG: Any = 3  # a mistake that a spider makes
LINKS = "<li class=next><a href=/2>2</a></li><a href=/3>3</a><a href=https://example.com/>out</a>"


class Books(Spider):
    """All the books."""

    start_urls = ["https://example.org/"]

    def parse(self, page: Page) -> Any:
        yield {"title": page.css("title::text").get()}

    def parse_book(self, page: Page) -> Any:
        yield {"book": page.url}

    def _private(self, page: Page) -> Any:
        yield {}

    class Inner:
        """No callback."""


def spider_of(parse: Callable[[Any, Page], Any], **attributes: Any) -> Spider:
    cls = type("Made", (Spider,), {"start_urls": ["https://example.org/"], "parse": parse, **attributes})
    made: Spider = cls()
    return made


def page(body: str = LINKS, request: Request | None = None, headers: Any = (), depth: int = 0) -> Page:
    url = "https://example.org/"
    response = Response(url, 200, Headers([("Content-Type", "text/html"), *headers]), body.encode())
    return Page(request or Request(url), response, depth=depth)


def reap(parse: Callable[[Any, Page], Any], on: Page | None = None, **rules: Any) -> ParseResult:
    spider = spider_of(parse)
    return parse_page(spider, on or page(), rules_of(spider, **rules))


def yielding(*things: Any) -> Callable[[Any, Page], Any]:
    def parse(self: Any, page: Page) -> Iterator[Any]:
        yield from things

    return parse


def as_entry(link: NewUrl) -> Entry:
    return Entry(1, link.domain, link.fp, link.url, link.request, link.depth)


# names and callbacks


def test_a_spider_is_called_after_its_module() -> None:
    assert Books.name == "test_spider"

    class Named(Spider):
        name = "other"

    assert Named.name == "other"


def test_a_callback_is_found_by_its_name() -> None:
    assert callback_of(Books(), "parse_book").__name__ == "parse_book"


@pytest.mark.parametrize(
    "name", ["_private", "start", "login", "name", "__init__", "no_such", "<lambda>", "key", "Inner"]
)
def test_what_is_no_callback_is_refused(name: str) -> None:
    with pytest.raises(SpiderError, match="no callback"):
        callback_of(Books(), name)


def test_a_misspelt_callback_gets_the_nearest_name() -> None:
    with pytest.raises(SpiderError, match="did you mean parse_book"):
        callback_of(Books(), "parse_bok")


def test_a_spider_without_parse_says_so() -> None:
    spider = type("Empty", (Spider,), {"start_urls": ["https://example.org/"]})()
    with pytest.raises(SpiderError, match="has no parse"):
        parse_page(spider, page(), rules_of(spider))
    with pytest.raises(SpiderError, match="has no parse"):
        seeds(spider, rules_of(spider))


# what a callback yields


def test_records_links_and_refusals_are_sorted() -> None:
    def parse(self: Any, page: Page) -> Iterator[Any]:
        yield {"n": 1}
        yield from page.follow_all("a")
        yield "/4"
        yield Request("https://example.org/5", "parse")

    got = reap(parse)
    assert [record.line for record in got.records] == ['{"n":1}']
    assert [link.url for link in got.links] == [f"https://example.org/{n}" for n in (2, 3, 4, 5)]
    assert got.refused == (Refusal("https://example.com/", "outside allowed_domains: example.com"),)
    assert got.rejected == ()


def test_a_link_carries_what_the_frontier_needs() -> None:
    (link,) = reap(yielding("/a?y=2&x=1#f"), page(depth=4)).links
    url = "https://example.org/a?y=2&x=1"
    assert link == NewUrl("example.org", fingerprint("GET", canonical(url) or ""), url, depth=5)


def test_links_of_a_page_come_once() -> None:
    got = reap(yielding("/a", "/a#x", "https://example.org/a", Request("/a"), "/b?x=1&y=2", "/b?y=2&x=1"))
    assert [link.url for link in got.links] == ["https://example.org/a", "https://example.org/b?x=1&y=2"]


@dataclass
class Book:
    title: str


class Declared(Record):
    title: str


@pytest.mark.parametrize("record", [{"title": "A"}, Book("A"), Declared(title="A")])
def test_a_record_may_be_yielded_or_returned(record: Any) -> None:
    for parse in (yielding(record), lambda self, page: record, lambda self, page: [record]):
        assert [kept.line for kept in reap(parse).records] == ['{"title":"A"}']


@pytest.mark.parametrize("result", [None, [], (), [None]])
def test_a_callback_may_give_nothing(result: Any) -> None:
    assert reap(lambda self, page: result) == ParseResult()


@pytest.mark.parametrize("result", ["/a", Request("/a")])
def test_a_single_link_may_be_returned(result: Any) -> None:
    assert [link.url for link in reap(lambda self, page: result).links] == ["https://example.org/a"]


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (42, r"parse yielded 42 \(int\): yield a record \(dict, dataclass, model\), a Request or a URL"),
        ([{"a": 1}], r"parse yielded a list \(write yield from\)"),
        (iter(()), "write yield from"),
        (b"bytes", r"\(bytes\)"),
        (Request(WRONG), "a Request has the URL 3"),
        (Request("/a", "parse_bok"), "no callback 'parse_bok'"),
        (Request("/a", lambda page: None), "no callback '<lambda>'"),
        (Request("/a", method="FETCH"), "method 'FETCH'"),
        (Request("/a", meta={"it": object()}), "cannot be kept: .* not JSON serializable"),
        (Request("/a", method="POST", json={"it": object()}), "not JSON serializable"),
    ],
)
def test_anything_else_is_a_mistake_of_the_spider(thing: Any, message: str) -> None:
    with pytest.raises(SpiderError, match=message):
        reap(yielding(thing))


def test_what_a_generator_returns_is_not_lost_in_silence() -> None:
    def parse(self: Any, page: Page) -> Any:
        yield from page.follow_all("li.next a")
        return {"title": "A"}

    with pytest.raises(SpiderError, match=r"parse yields and returns .*dict.*yield it too"):
        reap(parse)


def test_elements_of_a_page_are_no_record() -> None:
    def parse(self: Any, page: Page) -> Any:
        yield page.css("a")

    for one in (parse, lambda self, page: page.css("a"), lambda self, page: page.css("a")[0]):
        with pytest.raises(SpiderError, match=r"elements of the page .*name its text, as in yield"):
            reap(one)


@pytest.mark.parametrize("parse", [lambda self: None, lambda self, page, more: None])
def test_a_callback_that_does_not_take_a_page_is_told_what_to_write(parse: Any) -> None:
    with pytest.raises(SpiderError, match=r"parse does not take a page: .*write def parse\(self, page\)"):
        reap(parse)


def test_a_type_error_inside_a_callback_is_its_own() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        reap(lambda self, page: WRONG + "1")


def test_a_number_returned_is_a_mistake_of_the_spider() -> None:
    with pytest.raises(SpiderError, match="parse returned 42"):
        reap(lambda self, page: 42)


@pytest.mark.filterwarnings("error")
def test_an_async_callback_is_a_mistake_of_the_spider() -> None:
    async def parse(self: Any, page: Page) -> None: ...

    async def stream(self: Any, page: Page) -> Any:
        yield {}

    for one in (parse, stream):
        with pytest.raises(SpiderError, match="parse is async"):
            reap(one)


def test_what_a_callback_raises_passes() -> None:
    def parse(self: Any, page: Page) -> Iterator[Any]:
        yield {"a": 1}
        raise KeyError("price")

    with pytest.raises(KeyError):
        reap(parse)


def test_a_record_that_cannot_be_kept_is_rejected_and_the_others_stay() -> None:
    got = reap(yielding({"a": 1}, {"a": float("nan")}, {"a": 2}))
    assert [record.line for record in got.records] == ['{"a":1}', '{"a":2}']
    assert got.rejected == (("field a is nan: JSON has no such number, write None", "a"),)


def test_records_have_the_spiders_key_and_are_checked() -> None:
    spider = spider_of(yielding({"title": "A"}, {"tilte": "B"}), key="title", record=Declared)
    got = parse_page(spider, page(), rules_of(spider))
    assert [record.key for record in got.records] == ['["A"]']
    assert len(got.rejected) == 1


def test_the_callback_of_the_request_parses_the_page() -> None:
    spider = Books()
    got = parse_page(spider, page(request=Request("https://example.org/", "parse_book")), rules_of(spider))
    assert got.records[0].line == '{"book":"https://example.org/"}'


# what is not followed


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("javascript:void(0)", "scheme javascript: only http and https are fetched"),
        ("http://[", "not a URL"),
        ("https://", "not a URL"),
        ("https://me:pw@example.org/", "credentials in the URL"),
        ("/x/x/x/x", "path segment 'x' repeats 4 times"),
        ("https://example.net/", "outside allowed_domains: example.net"),
    ],
)
def test_a_refused_link_has_its_reason(url: str, reason: str) -> None:
    got = reap(yielding(url, Request(url, meta={"a": 1})))
    assert got.links == ()
    assert [refusal.reason for refusal in got.refused] == [reason]


def test_a_url_without_end_is_cut_in_its_refusal() -> None:
    (refused,) = reap(yielding("/" + "a" * 100_000)).refused
    assert (len(refused.url), refused.reason) == (500, "longer than 2000 characters")


def test_links_below_max_depth_are_refused() -> None:
    assert len(reap(yielding("/a"), page(depth=1), max_depth=2).links) == 1
    assert reap(yielding("/a"), page(depth=2), max_depth=2).refused[0].reason == "depth 3 over max_depth 2"


NOFOLLOW = "<a rel=nofollow href=/2>2</a><a href=/3>3</a>"


def follow_all(self: Any, page: Page) -> Any:
    return page.follow_all("a")


def test_links_with_rel_nofollow_are_refused() -> None:
    got = reap(follow_all, page(NOFOLLOW))
    assert [link.url for link in got.links] == ["https://example.org/3"]
    assert got.refused == (Refusal("https://example.org/2", "rel=nofollow"),)


@pytest.mark.parametrize(
    ("body", "headers"),
    [("<meta name=robots content=none>" + LINKS, ()), (LINKS, [("X-Robots-Tag", "nofollow")])],
)
def test_no_link_of_a_nofollow_page_is_followed(body: str, headers: Any) -> None:
    got = reap(follow_all, page(body, headers=headers))
    assert got.links == ()
    assert {refusal.url[-1]: refusal.reason for refusal in got.refused}[
        "2"
    ] == "nofollow: the page's robots directive"


def test_nofollow_need_not_be_obeyed() -> None:
    assert len(reap(follow_all, page(NOFOLLOW), obey_nofollow=False).links) == 2


# requests in the frontier


@pytest.mark.parametrize(
    "request_",
    [
        Request("https://example.org/a"),
        Request("https://example.org/a", "parse_book"),
        Request("https://example.org/a", meta={"page": 2, "é": "\ud800"}, priority=3, max_age=60.0),
        Request(
            "https://example.org/a", method="post", data={"a": "1", "b": ["2", "3"]}, headers={"X-A": "b"}
        ),
        Request("https://example.org/a", method="POST", json=[1, {"a": None}], dont_filter=True),
        Request("https://example.org/a", params={"q": "é", "n": [1, 2]}),
    ],
)
def test_a_request_comes_back_as_it_was_asked(request_: Request) -> None:
    spider = Books()
    rules = rules_of(spider)
    (link,) = seeds(spider_of(yielding(), start=lambda self: [request_], parse_book=yielding()), rules)
    assert request_of(as_entry(link)) == request_
    (link.request or "").encode()


def test_a_plain_request_needs_no_text_and_a_callback_only_its_name() -> None:
    assert request_text(Request("https://example.org/a"), "https://example.org/a") is None
    text = request_text(Request("https://example.org/a", "parse_book"), "https://example.org/a")
    assert text == '{"callback":"parse_book"}'


def test_a_relative_request_comes_back_absolute() -> None:
    (link,) = reap(yielding(Request("/a#x", meta={"n": 1}))).links
    assert request_of(as_entry(link)) == Request("https://example.org/a", meta={"n": 1})


def test_a_redirect_keeps_the_url_that_was_asked() -> None:
    asked = Request("https://example.org/old", "parse_book")
    hop = "https://example.org/new"
    assert request_of(Entry(1, "example.org", b"", hop, request_text(asked, hop))) == asked


def test_params_are_in_the_url_that_is_fetched() -> None:
    (link,) = reap(yielding(Request("/a?x=1", params={"q": "a b"}))).links
    assert link.url == "https://example.org/a?x=1&q=a+b"


def test_requests_with_different_bodies_are_different() -> None:
    posts = [Request("/a", method="POST", data={"page": str(n)}) for n in (1, 2, 2)]
    posts += [
        Request("/a", method="POST", json={"b": 1, "a": 2}),
        Request("/a", method="POST", json={"a": 2, "b": 1}),
    ]
    got = reap(yielding("/a", *posts))
    assert len(got.links) == 4


def test_each_request_with_dont_filter_is_one_of_its_own_and_the_same_every_time() -> None:
    parse = yielding("/a", *(Request("/a", dont_filter=True, priority=5) for _ in range(2)))
    links = reap(parse).links
    assert [link.priority for link in links] == [0, 5, 5]
    assert len({link.fp for link in links}) == 3
    assert reap(parse).links == links
    spider = spider_of(parse)
    other = parse_page(spider, page(), rules_of(spider), b"another page").links
    assert len({link.fp for link in (*links, *other)}) == 5


@pytest.mark.parametrize(
    "request_",
    [
        Request("/a", "opened_book"),
        Request("/a", method="POST"),
        Request("/a", data={"a": "1"}),
        Request("/a", json={"a": "1"}),
        Request("/a", headers={"Accept-Language": "de"}),
        Request("/a", headers={"Accept-Language": None}),
        Request("/a", params={"a": "1"}),
    ],
    ids=lambda request: str(request)[:60],
)
def test_another_request_for_a_url_is_another_one(request_: Request) -> None:
    spider = spider_of(yielding(Request("/a"), request_), opened_book=yielding())
    assert len(parse_page(spider, page(), rules_of(spider)).links) == 2


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (Request("/a", priority=1), Request("/a", meta={"n": 1})),
        (Request("/a", headers={"X-A": "1", "X-B": "2"}), Request("/a", headers={"x-b": "2", "X-A": " 1"})),
        (
            Request("/a", "parse", "POST", data={"a": 1, "b": 2}),
            Request("/a", "parse", "POST", data="a=1&b=2"),
        ),
        (
            Request("/a", "parse", "POST", data={"b": 2, "a": 1}),
            Request("/a", "parse", "POST", data={"a": 1, "b": 2}),
        ),
        (Request("/a", params={"b": 2, "a": 1}), Request("/a?a=1&b=2")),
        (Request("/a;jsessionid=0A1B"), Request("/a")),
    ],
    ids=lambda request: str(request)[:60],
)
def test_one_request_in_two_spellings_is_made_once_and_the_other_is_counted(
    one: Request, same: Request
) -> None:
    result = reap(yielding(one, same))
    assert (len(result.links), result.filtered) == (1, 1)


# start


def test_a_run_starts_from_its_start_urls() -> None:
    spider = spider_of(
        yielding(), start_urls=["https://example.org/a", " https://example.org/b ", "https://example.org/a"]
    )
    assert [(link.url, link.depth) for link in seeds(spider, rules_of(spider))] == [
        ("https://example.org/a", 0),
        ("https://example.org/b", 0),
    ]


def test_start_may_yield_requests() -> None:
    def start(self: Any) -> Iterator[Any]:
        yield Request("https://www.example.com/", "parse", meta={"a": 1})
        yield "https://example.net/"

    spider = spider_of(yielding(), start_urls=[], start=start)
    rules = rules_of(spider)
    assert rules.allowed_domains == {"example.com", "example.net"}
    assert json.loads(seeds(spider, rules)[0].request or "") == {"meta": {"a": 1}}


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        (["example.org/a"], "write https://example.org/a"),
        (["//example.org/a"], "write https://example.org/a"),
        (["localhost:8000"], "write https://localhost:8000"),
        (["file:///etc/passwd"], "only http and https are fetched"),
        (["javascript:alert(1)"], "only http and https are fetched"),
        (["https://"], "no URL"),
        (["https://me:pw@example.org/"], "credentials in the URL"),
        ([], "no start_urls"),
        ("https://example.org/", "give a list"),
        ([3], "not 3"),
        ([None], "not None"),
        ([Request("https://example.org/", "no_such")], "no callback 'no_such'"),
        (42, "start returned 42"),
        (None, "no start_urls"),
    ],
)
def test_a_wrong_start_is_a_mistake_of_the_spider(urls: Any, message: str) -> None:
    spider = spider_of(yielding(), start_urls=urls)
    with pytest.raises(SpiderError, match=message):
        seeds(spider, rules_of(spider))


def test_a_start_url_outside_allowed_domains_is_told() -> None:
    spider = spider_of(yielding(), allowed_domains=["example.com"])
    with pytest.raises(SpiderError, match=r"outside allowed_domains: example\.org"):
        seeds(spider, rules_of(spider))


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ((), {"example.org"}),
        (["Example.COM", "shop.example.net"], {"example.com", "shop.example.net"}),
        ("example.com", {"example.com"}),
        (["bücher.example"], {"xn--bcher-kva.example"}),
    ],
)
def test_allowed_domains_are_hosts_in_ascii(allowed: Any, expected: set[str]) -> None:
    assert rules_of(spider_of(yielding(), allowed_domains=allowed)).allowed_domains == expected


def test_the_domain_of_a_start_url_is_the_registered_one() -> None:
    spider = spider_of(yielding(), start_urls=["https://www.shop.example.co.uk/"])
    assert rules_of(spider).allowed_domains == {"example.co.uk"}


@pytest.mark.parametrize("named", ["https://example.org/", "example.org/path", "", 3])
def test_a_wrong_allowed_domain_is_told(named: Any) -> None:
    with pytest.raises(SpiderError, match="allowed_domains"):
        rules_of(spider_of(yielding(), allowed_domains=[named]))


def test_the_settings_allowed_domains_win() -> None:
    assert rules_of(Books(), allowed_domains=["example.net"]).allowed_domains == {"example.net"}


class Everywhere(Spider):
    start_urls = ("https://example.org/",)

    def parse(self, page: Page) -> Any:
        for number in range(1000):
            yield f"https://foreign.example/{number}"
        yield from (f"https://example.org/{number}" for number in range(30))


def test_of_refused_links_a_page_names_some_and_counts_the_others() -> None:
    got = parse_page(Everywhere(), page(), rules_of(Everywhere()))
    named = [one for one in got.refused if one.links == 1]
    (counted,) = (one for one in got.refused if one.links > 1)
    assert len(named) + counted.links == 1000 and len(named) <= 100
    assert counted == Refusal(
        "https://example.org/",
        f"outside allowed_domains: {counted.links} more links on this page",
        counted.links,
    )
    assert len(got.links) == 30


def test_a_page_leads_to_max_links_at_most_and_says_how_many_were_cut() -> None:
    got = parse_page(Everywhere(), page(), rules_of(Everywhere(), max_links=10))
    assert [link.url for link in got.links] == [f"https://example.org/{number}" for number in range(10)]
    assert got.refused[-1].reason == "over max_links 10: 20 more links on this page"
    assert got.refused[-1].links == 20


def test_the_text_of_a_pages_links_is_bounded_too() -> None:
    class Long(Spider):
        start_urls = ("https://example.org/",)

        def parse(self, page: Page) -> Any:
            yield from (f"https://example.org/{number}?{'x' * 1900}" for number in range(20_000))

    got = parse_page(Long(), page(), rules_of(Long()))
    assert sum(len(link.url) for link in got.links) < 17 * 2**20
    assert got.refused[-1].links == 20_000 - len(got.links)


@pytest.mark.parametrize("data", [[("a", "1"), ("a", "2")], b"a=1", 5])
def test_a_body_that_is_neither_form_nor_text_is_refused_and_not_dropped(data: Any) -> None:
    spider = spider_of(
        yielding(), start=lambda self: [Request("https://a.example/", method="POST", data=data)]
    )
    with pytest.raises(SpiderError, match="a form is a dict"):
        seeds(spider, rules_of(spider))


URL = "https://a.example/"


def test_start_requests_that_repeat_another_are_told() -> None:
    spider = spider_of(
        yielding(), start=lambda self: [URL, URL + "#top", Request(URL, dont_filter=True), URL + "b"]
    )
    repeated: list[str] = []
    assert len(seeds(spider, rules_of(spider), repeated)) == 3 and len(repeated) == 1
