"""A page that is as it was stands for its records only where all else that went into them is so too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scraper import Page, Request, Spider
from scraper.model import Headers
from scraper.runs.events import Visited
from scraper.spider.identity import ParseInputs
from scraper.testing import Asked, CrawlResult, FakeWeb, crawl

A = "https://a.test/"


def tagged(asked: Asked) -> Any:
    if asked.headers.get("if-none-match") == '"1"':
        return 304, {"ETag": '"1"'}
    return 200, {"ETag": '"1"', "Content-Type": "text/html"}, "<h1>same</h1>"


def fresh(asked: Asked) -> Any:
    return 200, {"Cache-Control": "max-age=86400", "Content-Type": "text/html"}, "<h1>same</h1>"


def plain(asked: Asked) -> Any:
    return "<h1>same</h1>"


class Detail(Spider):
    """One list page, whose requests carry what a test gives, and one detail page, which stays as it is."""

    start_urls = [A]
    key = "url"
    given: Mapping[str, Any] = {}

    def parse(self, page: Page) -> Any:
        yield page.follow("item", **{"callback": self.parse_item, **self.given})

    def parse_item(self, page: Page) -> Any:
        yield {"url": page.url, "seen": [page.meta, self.params.get("category")], "by": "item"}

    def parse_other(self, page: Page) -> Any:
        yield {"url": page.url, "by": "other"}


def twice(item: Any, *inputs: Mapping[str, Any]) -> CrawlResult:
    """A run with each of the inputs, on one store: the result of the last."""
    web = FakeWeb({A: ["<h1>list</h1>", "<h1>another list</h1>"], A + "item": item})
    results: list[CrawlResult] = []
    for given in inputs:
        request = dict(given)
        params, settings = request.pop("params_of_run", {}), request.pop("settings_of_run", {})
        spider = type("Detail", (Detail,), {"given": request})
        store = results[-1].store if results else None
        results.append(crawl(spider, web, store=store, params=params, **settings))
    return results[-1]


CASES = [
    pytest.param({"meta": {"price": 10}}, {"meta": {"price": 20}}, id="meta"),
    pytest.param({"meta": {"price": 10}}, {}, id="meta that went"),
    pytest.param({"params_of_run": {"category": "a"}}, {"params_of_run": {"category": "b"}}, id="params"),
    pytest.param(
        {"params_of_run": {"key": "a"}}, {"params_of_run": {"key": "b"}}, id="a param that may be secret"
    ),
    pytest.param({}, {"settings_of_run": {"auth": {"a.test": "ann:secret"}}}, id="setting auth"),
    pytest.param({"callback": "parse_item"}, {"callback": "parse_other"}, id="callback"),
    pytest.param({}, {"headers": {"Accept-Language": "de"}}, id="a header field of the request"),
    pytest.param({}, {"settings_of_run": {"headers": {"Accept-Language": "de"}}}, id="setting headers"),
    pytest.param({}, {"settings_of_run": {"user_agent": "other/1"}}, id="setting user_agent"),
    pytest.param({}, {"settings_of_run": {"max_depth": 5}}, id="setting max_depth"),
    pytest.param({}, {"settings_of_run": {"obey_nofollow": False}}, id="setting obey_nofollow"),
]


@pytest.mark.parametrize("item", [tagged, fresh, plain])
@pytest.mark.parametrize(("first", "second"), CASES)
def test_another_input_has_the_page_parsed_again(item: Any, first: Any, second: Any) -> None:
    web_result = twice(item, first, second)
    fetched = [one for one in web_result.requests if one.url == A + "item"]
    assert [one.headers.get("if-none-match") for one in fetched] == [None]
    assert web_result.summary["unchanged"] == 0
    given = {name: value for name, value in second.items() if name == "meta"}
    params = second.get("params_of_run", {})
    by = "other" if "callback" in second and "other" in second["callback"] else "item"
    (record,) = web_result.records
    assert record["by"] == by
    if by == "item":
        assert record["seen"] == [given.get("meta", {}), params.get("category")]


@pytest.mark.parametrize("item", [tagged, fresh, plain])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"meta": {"price": 10}},
        {"priority": 3},
        {"params_of_run": {"category": "a"}},
        {"params_of_run": {"password": "b"}},
        {"headers": {"Accept-Language": "de"}},
    ],
    ids=str,
)
def test_equal_inputs_let_it_stand(item: Any, given: Any) -> None:
    result = twice(item, given, given)
    assert result.summary["unchanged"] >= 1 and result.records[-1]["url"] == A + "item"


def test_a_copy_that_the_spider_calls_young_enough_does_not_stand_for_other_inputs() -> None:
    young = {"max_age": 1e6}
    assert twice(plain, young, young).requests[-1].url == A
    result = twice(plain, {**young, "meta": {"n": 1}}, {**young, "meta": {"n": 2}})
    assert result.records[0]["seen"][0] == {"n": 2}


def test_another_param_logs_in_anew_and_sees_its_own_pages() -> None:
    class Members(Spider):
        start_urls = [A]

        def login(self, session: Any) -> None:
            session.get(A + "login", params=self.params)

        def parse(self, page: Page) -> Any:
            yield {"text": page.text}

    def enter(asked: Asked) -> Any:
        return 200, {"Set-Cookie": f"who={asked.url.partition('?')[2]}; Path=/"}, "welcome"

    def home(asked: Asked) -> Any:
        return 200, {"Last-Modified": "Mon, 02 Nov 2026 00:00:00 GMT"}, str(asked.headers.get("cookie"))

    web = FakeWeb({A: home, A + "login": enter})
    result = None
    for params, logins in (
        ({"user": "ann"}, 1),
        ({"user": "ann"}, 1),
        ({"user": "bob"}, 2),
        ({"user": "bob", "api_token": "1"}, 3),
        ({"user": "bob", "api_token": "2"}, 4),
        ({"user": "bob", "api_token": "2"}, 4),
    ):
        result = crawl(Members, web, store=result and result.store, params=params)
        assert sum("/login" in url for url in web.urls()) == logins
        (record,) = result.records
        assert record["text"] == "who=" + "&".join(f"{name}={value}" for name, value in params.items())


def test_what_a_login_has_the_session_send_counts_but_for_its_secrets() -> None:
    class Prices(Detail):
        sent: Mapping[str, str] = {}

        def login(self, session: Any) -> None:
            session.headers.update(self.sent)

    web, result = FakeWeb({A: tagged, A + "item": tagged}), None
    unchanged = []
    for currency, token in (("EUR", "1"), ("EUR", "2"), ("USD", "2")):
        sent = {"X-Currency": currency, "Authorization": f"Bearer {token}"}
        spider = type("Prices", (Prices,), {"sent": sent})
        result = crawl(spider, web, store=result and result.store)
        unchanged.append(result.summary["unchanged"])
    assert unchanged == [0, 2, 0]


def test_meta_counts_behind_a_redirect_too() -> None:
    class Moved(Detail):
        def parse(self, page: Page) -> Any:
            yield page.follow("old", self.parse_item, meta={"price": self.given["price"]})

    web = FakeWeb(
        {
            A: ["<h1>list</h1>", "<h1>another list</h1>"],
            A + "old": (301, {"Location": "/item"}),
            A + "item": tagged,
        }
    )
    first = crawl(type("Moved", (Moved,), {"given": {"price": 10}}), web)
    second = crawl(type("Moved", (Moved,), {"given": {"price": 20}}), web, store=first.store)
    assert [one["seen"][0] for one in (*first.records, *second.records)] == [{"price": 10}, {"price": 20}]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, {"Content-Type": "text/html; charset=utf-16le"}),
        ({"Content-Type": "text/html"}, {"Content-Type": "text/html", "X-Robots-Tag": "noindex"}),
        ({"Content-Type": "text/html"}, {"Content-Type": "text/html", "Link": "</2>; rel=next"}),
    ],
)
def test_equal_bytes_that_are_to_be_read_otherwise_are_another_page(before: Any, after: Any) -> None:
    class One(Spider):
        start_urls = [A]

        def parse(self, page: Page) -> Any:
            yield {"text": page.text, "noindex": page.noindex, "link": page.headers.get("link")}

    body = "<p>caf\u00e9</p>".encode()
    web = FakeWeb({A: [(200, before, body), (200, after, body), (200, after, body)]})
    results = [crawl(One, web)]
    results += [crawl(One, web, store=results[0].store) for _ in range(2)]
    assert [one.summary["unchanged"] for one in results] == [0, 0, 1]
    assert results[0].records != results[1].records == results[2].records


def test_a_page_that_is_not_asked_for_does_not_overtake_one_that_is() -> None:
    class Both(Spider):
        start_urls = [A + "list", A + "map"]

        def parse(self, page: Page) -> Any:
            price = page.css("i::text").get()
            yield page.follow("item", self.parse_item, meta={"price": price} if price else None)

        def parse_item(self, page: Page) -> Any:
            yield {"price": page.meta.get("price")}

    web = FakeWeb({A + "list": ["<i>10</i>", "<i>20</i>"], A + "map": fresh, A + "item": tagged}, latency=0.5)
    first = crawl(Both, web, delay=0)
    second = crawl(Both, web, store=first.store, delay=0)
    assert [*first.records, *second.records] == [{"price": "10"}, {"price": "20"}]


def test_an_answer_to_head_never_stands_for_another() -> None:
    class Head(Spider):
        start_urls = [A]

        def start(self) -> Any:
            yield Request(A, method="HEAD")

        def parse(self, page: Page) -> Any:
            yield {"size": page.headers.get("x-size")}

    web = FakeWeb({A: [(200, {"ETag": '"1"', "X-Size": "1"}), (200, {"ETag": '"1"', "X-Size": "2"})]})
    first = crawl(Head, web)
    second = crawl(Head, web, store=first.store)
    assert [*first.records, *second.records] == [{"size": "1"}, {"size": "2"}]
    assert [one.headers.get("if-none-match") for one in web.requests if one.method == "HEAD"] == [None, None]


def test_a_page_whose_callback_asks_for_more_is_parsed_each_time() -> None:
    class Priced(Spider):
        start_urls = [A]

        def parse(self, page: Page) -> Any:
            yield {"price": page.session.get(A + "price").text}

    for answer in (tagged, fresh, plain):
        web = FakeWeb({A: answer, A + "price": ["10", "20"]})
        first = crawl(Priced, web)
        assert [*first.records, *crawl(Priced, web, store=first.store).records] == [
            {"price": "10"},
            {"price": "20"},
        ]


def test_what_is_asked_for_each_time_is_asked_for_though_it_is_fresh() -> None:
    asked = [one for one in twice(fresh, {"dont_filter": True}, {"dont_filter": True}).requests]
    assert asked[-1].url == A + "item"
    young = {"dont_filter": True, "max_age": 1e6}
    assert twice(fresh, young, young).requests[-1].url == A


def test_an_answer_to_post_is_fresh_only_where_the_spider_says_so() -> None:
    class Posting(Spider):
        start_urls = [A]
        age: float | None = None

        def start(self) -> Any:
            yield Request(A, method="POST", data={"q": 1}, max_age=self.age)

        def parse(self, page: Page) -> Any:
            yield {"text": page.text}

    for age, asked in ((None, 2), (1e6, 1)):
        web = FakeWeb({A: [fresh, fresh]})
        spider = type("Posting", (Posting,), {"age": age})
        crawl(spider, web, store=crawl(spider, web).store)
        assert len(web.urls()) == asked


@pytest.mark.parametrize("answer", [tagged, fresh, plain])
def test_records_that_unchanged_pages_keep_are_counted_as_the_run_goes_on(answer: Any) -> None:
    web = FakeWeb({A: answer, A + "item": answer})
    first = crawl(Detail, web)
    again = crawl(Detail, web, store=first.store)
    counts = again.summary["by_domain"]["a.test"]
    assert counts["unchanged"] == 2 and counts["records"] + counts["kept_records"] == 1


@pytest.mark.parametrize(
    ("name", "values", "requests"),
    [
        ("X-Stock", ("1", "2"), 2),
        ("Last-Modified", ("Mon, 02 Nov 2026 00:00:00 GMT", "Tue, 03 Nov 2026 00:00:00 GMT"), 2),
        ("Last-Modified", ("Mon, 02 Nov 2026 00:00:00 GMT", "Mon, 02 Nov 2026 00:00:00 GMT"), 1),
        ("X-Unread", ("1", "2"), 1),
    ],
)
def test_a_304_with_a_header_field_that_the_spider_reads_is_asked_for_in_full(
    name: str, values: tuple[str, str], requests: int
) -> None:
    class Stock(Spider):
        start_urls = [A]
        key = "url"

        def parse(self, page: Page) -> Any:
            yield {"url": page.url, "x": [page.headers.get("X-Stock"), page.headers.get("Last-Modified")]}

    said = list(values)

    def stock(asked: Asked) -> Any:
        head = {"ETag": '"1"', name: said[0]}
        return (304, head) if asked.headers.get("if-none-match") else (200, head, "<h1>same</h1>")

    web = FakeWeb({A: stock})
    first = crawl(Stock, web)
    del said[0]
    second = crawl(Stock, web, store=first.store)
    assert web.urls().count(A) == 1 + requests
    (record,) = second.records
    assert (values[1] in record["x"]) == (name != "X-Unread")


@pytest.mark.parametrize("name", ["X-Robots-Tag", "Content-Language", "X-Stock"])
def test_a_304_with_another_value_of_a_header_field_is_asked_for_in_full_once(name: str) -> None:
    class Shop(Spider):
        start_urls = [A]
        key = "url"

        def parse(self, page: Page) -> Any:
            said = page.headers.get("Content-Language"), page.headers.get("X-Stock")
            yield {"url": page.url, "noindex": page.noindex, "said": said}
            yield from page.follow_all("a")

    said = {name: "a"}

    def shop(asked: Asked) -> Any:
        head = {"ETag": '"1"', **said}
        return (304, head) if asked.headers.get("if-none-match") else (200, head, "<a href=/b>b</a>")

    web = FakeWeb({A: shop, A + "b": "b"})
    first = crawl(Shop, web)
    assert A + "b" in web.urls()
    again = crawl(Shop, web, store=first.store)
    assert [one.url for one in again.requests] == [A, A + "b"] and again.summary["unchanged"] == 2
    said[name] = "noindex, nofollow"
    changed = crawl(Shop, web, store=first.store)
    assert [one.url for one in changed.requests][:2] == [A, A]
    record = changed.records[-1 if len(changed.records) == 1 else 0]
    if name == "X-Robots-Tag":
        assert record["noindex"] and changed.denied and len(changed.requests) == 2
    else:
        assert "noindex, nofollow" in record["said"]
    assert crawl(Shop, web, store=first.store).summary["pages"] == 0


def test_a_page_whose_callback_reads_what_nobody_compares_is_parsed_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    class Converted(Spider):
        start_urls = [A, A + "item"]
        key = "url"
        rate = ""

        def parse(self, page: Page) -> Any:
            if not Converted.rate:
                Converted.rate = Path(f"rate-{2026}.txt").read_text()
            yield {"url": page.url, "rate": Converted.rate}

    web = FakeWeb({A: tagged, A + "item": tagged})
    store = None
    for rate in ("1.1", "1.2"):
        Converted.rate = ""
        Path("rate-2026.txt").write_text(rate)
        result = crawl(Converted, web, store=store)
        store = result.store
        assert {record["rate"] for record in result.records} == {rate}
        (told,) = {
            note for event in result.events if isinstance(event, Visited) for note in event.visit.notes
        }
        assert "looks at" in told and "rate-2026.txt" in told


def test_a_domain_that_start_adds_is_followed_from_pages_that_are_as_they_were() -> None:
    class Listed(Spider):
        key = "url"
        given = ("a.test",)

        def start(self) -> Any:
            return [f"https://{host}/" for host in self.given]

        def parse(self, page: Page) -> Any:
            yield {"url": page.url}
            yield from page.follow_all("a")

    both = 200, {"ETag": '"1"', "Content-Type": "text/html"}, "<a href=https://b.test/x>x</a>"
    pages = {A: lambda asked: 304 if asked.headers.get("if-none-match") else both}
    web = FakeWeb({**pages, "https://b.test/": "b", "https://b.test/x": "x"})
    result = crawl(Listed, web)
    assert [one["url"] for one in result.records] == [A] and result.summary["denied"] == 1
    Listed.given = ("a.test", "b.test")
    result = crawl(Listed, web, store=result.store)
    assert {one["url"] for one in result.records} == {A, "https://b.test/", "https://b.test/x"}
    result = crawl(Listed, web, store=result.store)
    assert result.summary["unchanged"] == 3


@pytest.mark.parametrize(("part", "counts"), [("x-", True), ("-total", True), ("x-tot", False)])
def test_a_header_field_whose_name_the_code_puts_together_is_an_input(part: str, counts: bool) -> None:
    inputs = ParseInputs("code", frozenset({"headers", part}))
    heard = {inputs.heard(Headers([("X-Total", value), ("Date", value)])) for value in "12"}
    assert len(heard) == (2 if counts else 1)
