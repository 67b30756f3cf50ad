"""Which requests are one and the same, and what becomes of those that are not."""

from typing import Any

import pytest

from scraper import Page, Request, Spider
from scraper.testing import Asked, FakeWeb, crawl

A = "https://a.test/"


class Walk(Spider):
    start_urls = [A]
    key = "url"

    def parse(self, page: Page) -> Any:
        yield {"url": page.url, "text": page.text}
        yield from page.follow_all("a")


def echo(asked: Asked) -> str:
    return f"{asked.method} {asked.headers.get('accept-language')} {asked.headers.get('cookie')}"


def spider_of(*requests: Request, **attributes: Any) -> type[Spider]:
    def parse(self: Any, page: Page) -> Any:
        yield from requests

    def parse_item(self: Any, page: Page) -> Any:
        yield {"by": "item", "text": page.text, "meta": dict(page.meta)}

    def parse_other(self: Any, page: Page) -> Any:
        yield {"by": "other", "text": page.text}

    methods = {"parse": parse, "parse_item": parse_item, "parse_other": parse_other}
    return type("Made", (Spider,), {"start_urls": [A], **methods, **attributes})


def test_none_is_left_out_of_a_form_as_it_is_of_a_query() -> None:
    forms: list[Any] = [{"q": "a", "page": None}, {"q": "a"}, {"q": ["a", None]}, {"q": "a", "page": "None"}]
    requests = [Request(A + "find", "parse_item", method="POST", data=data) for data in forms]
    result = crawl(spider_of(*requests), FakeWeb({A: "", A + "find": lambda asked: asked.body}))
    assert [record["text"] for record in result.records] == ["q=a", "q=a&page=None"]
    assert result.summary["filtered"] == 2


def test_one_url_with_other_fields_and_callbacks_is_as_many_requests() -> None:
    requests = [
        Request(A + "x", callback, headers={"Accept-Language": language} if language else None)
        for callback in ("parse_item", "parse_other")
        for language in ("de", "fr", "it", "")
    ]
    result = crawl(spider_of(*requests, *requests), FakeWeb({A: "list", A + "x": echo}))
    assert len(result.records) == 8 and result.summary["filtered"] == 8
    assert {record["text"].split()[1] for record in result.records} >= {"de", "fr", "it"}


@pytest.mark.parametrize("delay", [0, 1])
def test_forms_that_lead_to_one_result_page_have_a_page_each(delay: float) -> None:
    last = ["nothing"]

    def submit(asked: Asked) -> Any:
        last[0] = asked.body.decode()
        return 303, {"Location": "/hop"}

    posts = [Request(A + "search", "parse_item", "POST", data={"q": word}) for word in ("a", "b", "c")]
    hop = 302, {"Location": "/results"}
    pages = {A: "form", A + "search": submit, A + "hop": hop, A + "results": lambda asked: last[0]}
    web = FakeWeb(pages)
    store = None
    for turn in (1, 2):
        result = crawl(spider_of(*posts), web, store=store, delay=delay)
        store = result.store
        assert [record["text"] for record in result.records] == ["q=a", "q=b", "q=c"]
        assert web.urls().count(A + "results") == 3 * turn


def test_a_form_that_leads_back_to_a_known_page_brings_that_page() -> None:
    state = ["empty"]

    def start(asked: Asked) -> Any:
        return state[0]

    def filter_(asked: Asked) -> Any:
        state[0] = "filtered"
        return 302, {"Location": "/"}

    result = crawl(
        spider_of(Request(A + "filter", "parse_item", "POST", data={"f": "1"})),
        FakeWeb({A: start, A + "filter": filter_}),
    )
    assert [record["text"] for record in result.records] == ["filtered"]


@pytest.mark.parametrize("delay", [0, 1])
def test_a_redirect_hop_is_the_next_request_of_its_domain(delay: float) -> None:
    def enter(asked: Asked) -> Any:
        return 302, {"Location": "/seen-" + asked.url[-1], "Set-Cookie": f"way={asked.url[-1]}; Path=/"}

    ways = [Request(A + name, "parse_item") for name in "abc"]
    pages = {A: "list", **{A + name: enter for name in "abc"}, **{A + f"seen-{name}": echo for name in "abc"}}
    web = FakeWeb(pages)
    result = crawl(spider_of(*ways), web, delay=delay)
    assert web.urls() == [A, *(A + name for way in "abc" for name in (way, f"seen-{way}"))]
    assert [record["text"].split()[-1] for record in result.records] == ["way=a", "way=b", "way=c"]


def test_requests_that_redirect_to_a_known_page_are_counted_and_not_fetched_again() -> None:
    web = FakeWeb(
        {
            A: '<a href="1">1<a href="2">2',
            A + "1": (301, {"Location": "/"}),
            A + "2": (302, {"Location": "/"}),
        }
    )
    result = crawl(Walk, web)
    assert web.urls() == [A, A + "1", A + "2"]
    assert (result.summary["filtered"], len(result.records)) == (2, 1)


def test_dont_filter_asks_each_time_also_behind_redirects() -> None:
    hits = [0]

    def count(asked: Asked) -> str:
        hits[0] += 1
        return f"hit {hits[0]}"

    requests = [Request(A + "old", "parse_item", dont_filter=True) for _ in range(3)]
    web = FakeWeb({A: "list", A + "old": (302, {"Location": "/new"}), A + "new": count})
    result = crawl(spider_of(Request(A + "new", "parse_item"), *requests), web)
    assert sorted(record["text"] for record in result.records) == ["hit 1", "hit 2", "hit 3", "hit 4"]
    assert result.summary["filtered"] == 0


def test_visits_with_dont_filter_add_their_records_and_replace_none() -> None:
    class Poll(Spider):
        start_urls = [A]
        key = "n"

        def parse(self, page: Page) -> Any:
            n = page.meta.get("n", 0)
            yield {"n": n, "text": page.text}
            if n < 3:
                yield Request(A, meta={"n": n + 1}, dont_filter=True)

    web = FakeWeb({A: [str(n) for n in range(100)]})
    result = crawl(Poll, web)
    assert [record["n"] for record in result.records] == [0, 1, 2, 3]
    assert len([kept.key for kept in result.store.current("test_identity")]) == 4
    again = crawl(Poll, web, store=result.store)
    assert [record["text"] for record in again.records] == ["4", "5", "6", "7"]
    assert len(list(result.store.current("test_identity"))) == 4


def test_start_urls_with_dont_filter_are_asked_as_often_as_they_stand_there() -> None:
    class Twice(Walk):
        def start(self) -> Any:
            yield A
            yield from (Request(A, dont_filter=True) for _ in range(2))

    web = FakeWeb({A: "page"})
    assert len(crawl(Twice, web).records) == 3


@pytest.mark.parametrize("link", [";jsessionid=0A1B", "?PHPSESSID=0a1b2c"])
def test_session_ids_in_links_until_the_cookie_comes_back_make_no_page_twice(link: str) -> None:
    def page(asked: Asked) -> Any:
        tail = "" if asked.headers.get("cookie") else link
        anchors = "".join(f'<a href="/{n}{tail}">{n}</a>' for n in range(1, 6))
        return (
            200,
            {"Content-Type": "text/html", "Set-Cookie": "SID=1"},
            f'<a href="/{tail}">home</a>{anchors}',
        )

    pages = {A + name: page for name in ("", *"12345")}
    pages |= {A + f"{name}{link}": page for name in ("", *"12345")}
    result = crawl(Walk, FakeWeb(pages))
    assert len(result.records) == 6


def test_a_page_that_answers_its_own_redirect_is_no_other_request() -> None:
    def gate(asked: Asked) -> Any:
        return "in" if asked.headers.get("cookie") else (302, {"Location": "/", "Set-Cookie": "seen=1"})

    web = FakeWeb({A: gate})
    assert [record["text"] for record in crawl(Walk, web).records] == ["in"]
    assert web.urls() == [A, A]


def test_an_item_that_is_linked_with_another_meta_stands_as_first_met_and_is_counted() -> None:
    class Shelves(Spider):
        start_urls = [A + "red", A + "blue"]

        def parse(self, page: Page) -> Any:
            shelf = page.url[len(A) :]
            for item in ("1", "2"):
                yield page.follow(item, self.parse_item, meta={"shelf": shelf})
            yield page.follow("1", self.parse_item, meta={"shelf": "none"})

        def parse_item(self, page: Page) -> Any:
            yield {"url": page.url, "shelf": page.meta["shelf"]}

    result = crawl(Shelves, FakeWeb({A + name: "<p>" for name in ("red", "blue", "1", "2")}))
    assert [record["shelf"] for record in result.records] == ["red", "red"]
    assert (result.summary["filtered"], result.summary["other_meta"]) == (4, 4)
    assert result.summary["examples"]["linked again with another meta"] == A + "1"
