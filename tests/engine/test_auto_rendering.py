"""Which pages need a browser is remembered from run to run, and looked at again: nothing false stays."""

import json

import pytest

from scraper import Page, Request, Spider
from scraper.engine.auto_rendering import BARREN, LIKE_OTHERS, MOST_VAIN, AutoRendering, brings_all
from scraper.model import Entry, Fetched, Headers, Known, NewUrl, RecordLine, Response, Visit

HTML = Headers([("Content-Type", "text/html")])
PLAIN = "<p>" + "A page with a long text of its own, and a script. " * 9 + "</p><script src=/app.js></script>"


class Memory:
    """What one run leaves to the next."""

    text = ""

    def read(self) -> str:
        return self.text

    def write(self, text: str) -> None:
        self.text = text


def page(number: int) -> Page:
    """A page of a shop."""
    url = f"http://a.example/item/{number}"
    return Page(Request(url), Response(url, 200, HTML, PLAIN.encode()))


def visit(*records: dict[str, object], links: int = 0) -> Visit:
    """What a parse brings; the records' key is their `id`."""
    lines = [RecordLine(str(record["id"]), json.dumps(record)) for record in records]
    urls = tuple(NewUrl("a.example", bytes([n] * 16), f"http://a.example/{n}") for n in range(links))
    return Visit(Entry(1, "a.example", b"", "http://a.example/"), Fetched(Known(1), lines, urls))


def begun(memory: Memory) -> AutoRendering:
    """A new run."""
    return AutoRendering(Spider(), memory)


def test_a_shape_that_needed_its_scripts_is_rendered_in_the_next_run_from_its_first_page_on() -> None:
    memory = Memory()
    run = begun(memory)
    assert run.reason(page(1)) == "" and run.second_thought(visit(), page(1)) == BARREN
    run.learn(page(1), BARREN, visit({"id": 1}))
    run.save()
    later = begun(memory)
    assert later.reason(page(7)) == LIKE_OTHERS
    assert later.is_to_check(page(7)) and not later.is_to_check(page(8))  # the first one shows it


def test_a_shape_is_forgotten_once_its_first_page_brings_all_without_scripts() -> None:
    memory = Memory()
    memory.text = json.dumps({"needs": [["parse a.example", "/item/*"]]})
    run = begun(memory)
    assert run.is_to_check(page(1))
    run.learn(page(1), LIKE_OTHERS, visit({"id": 1}), visit({"id": 1}, links=2))
    assert run.reason(page(2)) == ""
    run.save()
    assert begun(memory).reason(page(3)) == ""


def test_a_shape_is_kept_while_anything_is_missing_without_scripts() -> None:
    memory = Memory()
    memory.text = json.dumps({"needs": [["parse a.example", "/item/*"]]})
    run = begun(memory)
    run.learn(page(1), LIKE_OTHERS, visit({"id": 1, "price": 3}), visit({"id": 1}))
    run.save()
    assert run.reason(page(2)) == begun(memory).reason(page(3)) == LIKE_OTHERS


@pytest.mark.parametrize(
    ("plain", "rendered", "is_all"),
    [
        (visit({"id": 1, "t": 5}), visit({"id": 1, "t": 6}), True),
        (visit({"id": 1, "t": ""}), visit({"id": 1, "t": 6}), False),
        (visit({"id": 1}, {"id": 2}), visit({"id": 1}), True),
        (visit({"id": 1}), visit({"id": 1}, {"id": 2}), False),
        (visit({"id": 1}), visit({"id": 1}, links=1), False),
        (visit(links=2), visit(links=2), True),
        (visit(), visit(), False),
    ],
)
def test_a_page_brings_all_if_every_record_is_there_as_full_and_every_link(
    plain: Visit, rendered: Visit, is_all: bool
) -> None:
    assert brings_all(plain, rendered) is is_all


def test_a_shape_that_rendering_brings_nothing_to_costs_one_try_in_each_later_run() -> None:
    memory = Memory()
    run = begun(memory)
    for number in range(MOST_VAIN):
        assert run.second_thought(visit(), page(number)) == BARREN
        run.learn(page(number), BARREN, visit())
    assert run.second_thought(visit(), page(9)) == ""
    run.save()
    later = begun(memory)
    assert later.second_thought(visit(), page(1)) == BARREN
    later.learn(page(1), BARREN, visit())
    assert later.second_thought(visit(), page(2)) == ""


def test_what_two_processes_of_a_run_learn_stands_side_by_side_and_nonsense_is_nothing() -> None:
    memory = Memory()
    memory.text = "[1"
    one, other = begun(memory), begun(memory)
    one.learn(page(1), BARREN, visit({"id": 1}))
    elsewhere = Page(Request("http://b.example/x/1"), Response("http://b.example/x/1", 200, HTML, b""))
    other.learn(elsewhere, BARREN, visit({"id": 2}))
    one.save()
    other.save()
    later = begun(memory)
    assert later.reason(page(3)) == later.reason(elsewhere) == LIKE_OTHERS
