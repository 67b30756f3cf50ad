import json
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import date, datetime, time, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import PurePosixPath
from typing import Any, Literal, NotRequired, TypedDict
from unittest.mock import MagicMock
from uuid import UUID

import attrs
import pytest
from bs4 import BeautifulSoup
from parsel import Selector
from pydantic import BaseModel

from scraper import Page, Request
from scraper.errors import RecordError, SpiderError
from scraper.model import Headers, Response
from scraper.runs.record_types import columns_of, schema_of
from scraper.runs.records import is_record, key_fields, line_of
from scraper.spider.record import Record

WRONG: Any = (1,)  # a mistake that a spider makes


class Colour(Enum):
    RED = "red"


class Size(StrEnum):
    SMALL = "s"


@dataclass
class Book:
    title: str
    price: float
    tags: list[str] = field(default_factory=list)


class Quote(TypedDict):
    text: str
    author: NotRequired[str]


class Model(BaseModel):
    title: str
    price: Decimal


class Declared(Record):
    title: str
    pages: int | None = None


def data(record: Any, **rules: Any) -> Any:
    return json.loads(line_of(record, **rules).line)


def test_a_line_is_one_line_to_every_reader() -> None:
    record = {"text": "a\x85b\u2028c\u2029d\x0be\x0cf\x1cg\r\nh"}
    line = line_of(record).line
    assert len(line.splitlines()) == 1
    assert json.loads(line) == record


def test_a_line_is_compact_readable_and_in_the_order_of_the_spider() -> None:
    line = line_of({"z": "Zoë", "a": [1, 2.5, None, True], "m": {"x": "y"}}).line
    assert line == '{"z":"Zoë","a":[1,2.5,null,true],"m":{"x":"y"}}'


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc), "2026-01-02T03:04:00+00:00"),  # noqa: UP017 - as users write
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (Decimal("1.10"), "1.10"),
        (Colour.RED, "red"),
        (Size.SMALL, "s"),
        (PurePosixPath("/a/b"), "/a/b"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({"b", "a"}, ["a", "b"]),
        ((1, 2), [1, 2]),
        ([{"when": date(2026, 1, 2)}], [{"when": "2026-01-02"}]),
        (Book("A", 1.0), {"title": "A", "price": 1.0, "tags": []}),
        (OrderedDict(a=1), {"a": 1}),
    ],
)
def test_what_json_has_no_word_for_becomes_text(value: Any, kept: Any) -> None:
    assert data({"it": value}) == {"it": kept}


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"price": float("nan")}, "field price is nan"),
        ({"a": {"b": [1.0, float("inf")]}}, r"field a.b\[1\] is inf"),
        ({"raw": b"abc"}, "field raw is bytes: decode them to text"),
        ({"it": object()}, "field it is <object"),
        ({1: "a"}, r"the name 1 \(int\)"),
        ({"a": {None: 1}}, r"field a has the name None"),
        ({"a": 10**5000}, "field a is an integer of more than"),
    ],
)
def test_what_cannot_be_kept_is_an_error_that_names_the_field(record: Any, complaint: str) -> None:
    with pytest.raises(RecordError, match=complaint):
        line_of(record)


def test_a_record_that_holds_itself_is_an_error() -> None:
    record: dict[str, Any] = {"a": 1}
    record["me"] = record
    with pytest.raises(RecordError, match="nested"):
        line_of(record)


def test_lone_surrogates_are_replaced_and_pairs_joined() -> None:
    kept = line_of({"a": "x\ud800y", "b": "\ud83d\ude00", "k": "\udfff"}, key=["k"])
    assert json.loads(kept.line) == {"a": "x\ufffdy", "b": "😀", "k": "\ufffd"}
    assert kept.key == '["\ufffd"]'
    kept.line.encode()


def test_the_key_is_the_list_of_its_fields() -> None:
    record = {"author": "Ann", "text": "Hi", "year": 2026}
    assert line_of(record, key=("author", "year")).key == '["Ann",2026]'


def test_equal_keys_are_equal_whatever_else_changes() -> None:
    one = line_of({"id": date(2026, 1, 2), "price": 1}, key=("id",))
    two = line_of({"price": 2, "id": date(2026, 1, 2)}, key=("id",))
    assert one.key == two.key == '["2026-01-02"]'


def test_a_long_key_is_hashed() -> None:
    key = line_of({"text": "a" * 5000}, key=("text",)).key
    assert len(key) == 32
    assert key != line_of({"text": "a" * 5001}, key=("text",)).key


def test_without_a_key_the_whole_record_is_its_identity() -> None:
    assert line_of({"a": 1}).key == line_of({"a": 1}).key != line_of({"a": 2}).key


def test_a_record_without_a_field_is_none() -> None:
    with pytest.raises(RecordError, match="without a field"):
        line_of({})


def test_what_to_write_for_a_selector_of_a_page_is_said() -> None:
    page = Page(Request("https://a.test/"), Response("https://a.test/", 200, Headers(()), b"<h1>x</h1>", 0.0))
    for wrong in (page.css("h1::text"), page.css("h1")[0], page.selector, page.soup.h1, page.tree):
        with pytest.raises(RecordError, match=r": write \."):
            line_of({"title": wrong})


def test_a_missing_key_field_is_named() -> None:
    with pytest.raises(RecordError, match="key field 'isbn' is missing"):
        line_of({"title": "A"}, key=("title", "isbn"))


def test_a_key_of_nothing_but_none_is_an_error() -> None:
    assert line_of({"a": None, "b": 1}, key=("a", "b")).key == "[null,1]"
    with pytest.raises(RecordError, match="key field 'a' is None"):
        line_of({"a": None}, key=("a",))


def test_key_may_be_one_name_or_many() -> None:
    assert key_fields("url") == ("url",)
    assert key_fields(["a", "b"]) == ("a", "b")
    with pytest.raises(SpiderError):
        key_fields(WRONG)


@pytest.mark.parametrize(
    "record", [{}, Book("A", 1.0), Model(title="A", price=Decimal(1)), Declared(title="A")]
)
def test_records_come_in_many_kinds(record: Any) -> None:
    assert is_record(record)


@pytest.mark.parametrize("thing", [1, "text", None, [], Book, object()])
def test_other_things_are_no_records(thing: Any) -> None:
    assert not is_record(thing)


def test_attrs_like_objects_are_records() -> None:
    attr = type("Attribute", (), {"name": "title"})()
    record = type("Attrs", (), {"__attrs_attrs__": (attr,), "title": "A"})()
    assert is_record(record)
    assert data(record) == {"title": "A"}


def test_models_are_kept_by_their_fields() -> None:
    assert data(Model(title="A", price=Decimal("1.10"))) == {"title": "A", "price": "1.10"}


@pytest.mark.parametrize(
    ("declared", "record", "kept"),
    [
        (Book, {"title": "A", "price": "1.5"}, {"title": "A", "price": 1.5, "tags": []}),
        (Book, Book("A", 2), {"title": "A", "price": 2.0, "tags": []}),
        (Quote, {"text": "A"}, {"text": "A"}),
        (Quote, {"author": "B", "text": "A"}, {"text": "A", "author": "B"}),
        (Model, {"title": "A", "price": "1.10"}, {"title": "A", "price": "1.10"}),
        (Model, Model(title="A", price=Decimal(2)), {"title": "A", "price": "2"}),
        (Declared, {"title": "A"}, {"title": "A", "pages": None}),
        (Declared, Declared(title="A", pages=3), {"title": "A", "pages": 3}),
        (Declared, Book("A", 1.0), None),
    ],
)
def test_a_declared_record_is_checked_and_completed(declared: Any, record: Any, kept: Any) -> None:
    schema = schema_of(declared)
    if kept is None:
        with pytest.raises(RecordError):
            line_of(record, schema=schema)
    else:
        assert data(record, schema=schema) == kept


@pytest.mark.parametrize(
    ("declared", "record", "complaint"),
    [
        (Book, {"title": "A", "price": "cheap"}, "field price: .*not 'cheap'"),
        (Book, Book("A", WRONG), "field price"),
        (Book, {"title": "A"}, "field price: Field required"),
        (Book, {"title": "A", "price": 1, "colour": "red"}, "field colour is not in Book"),
        (Quote, {"text": None}, "field text"),
        (Quote, {"text": "A", "auhtor": "B"}, "field auhtor is not in Quote"),
        (Declared, {"title": "A", "page": 3}, "field page"),
    ],
)
def test_a_record_that_is_not_as_declared_names_the_field(declared: Any, record: Any, complaint: str) -> None:
    with pytest.raises(RecordError, match=complaint):
        line_of(record, schema=schema_of(declared))


@attrs.define
class Item:
    title: str
    price: float = attrs.field(converter=lambda text: float(str(text).strip("$")))
    stock: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    _note: str | None = None


def test_an_attrs_class_checks_with_its_own_converters_and_validators() -> None:
    schema = schema_of(Item)
    kept = {"title": "A", "price": 3.5, "stock": 2, "_note": None}
    assert data({"title": "A", "price": "$3.50", "stock": "2"}, schema=schema) == kept
    assert data(Item("A", "$3.50", 2), schema=schema) == kept
    for record, complaint in [
        ({"price": 1}, "field title: Field required"),
        ({"title": "A", "price": "cheap"}, "Item: could not convert"),
        ({"title": "A", "price": 1, "stock": -1}, "stock"),
        ({"title": "A", "price": 1, "colour": 1}, "field colour is not in Item"),
    ]:
        with pytest.raises(RecordError, match=complaint):
            line_of(record, schema=schema)


def test_the_columns_of_a_declared_record_are_its_fields_with_their_kinds() -> None:
    @dataclass
    class All:
        text: str
        when: date | None
        price: Decimal
        stock: int
        is_new: bool
        tags: list[str]
        sizes: set[int] | None
        colour: Colour
        level: Literal[1, 2, None]
        maker: Book
        extra: dict[str, int]
        anything: Any

    kinds = {name: sorted(found) for name, found in columns_of(All).items()}
    assert kinds == {
        "text": ["text"],
        "when": ["null", "text"],
        "price": ["text"],
        "stock": ["int"],
        "is_new": ["bool"],
        "tags": ["list of text"],
        "sizes": ["list of int", "null"],
        "colour": ["text"],
        "level": ["int", "null"],
        "maker": ["object"],
        "extra": ["object"],
        "anything": [],
    }
    assert list(columns_of(Quote)) == ["text", "author"]
    assert columns_of(Model) == {"title": {"text"}, "price": {"text"}}
    assert columns_of(None) == {}


def test_no_declaration_means_no_check() -> None:
    assert schema_of(None) is None


@pytest.mark.parametrize("declared", [3, "Book", object])
def test_a_declaration_that_is_none_is_a_mistake_of_the_spider(declared: Any) -> None:
    with pytest.raises(SpiderError):
        schema_of(declared)


class Agreeable:
    """Answers to every attribute, and to every call, with itself."""

    def __getattr__(self, name: str) -> "Agreeable":
        return self

    def __call__(self, *_: object, **__: object) -> "Agreeable":
        return self


def test_an_element_as_a_value_is_named_with_its_field_and_what_to_write() -> None:
    tag = BeautifulSoup("<p>x <b>y</b></p>", "lxml").p
    with pytest.raises(RecordError, match=r"field title is <p>x <b>y</b></p> \(Tag\), .*: write \.text"):
        line_of({"title": tag})
    with pytest.raises(RecordError, match=r"field all\[0\] is .*\(Tag\), .*: write \.text"):
        line_of({"all": [tag]})
    with pytest.raises(RecordError, match=r"field title is .*\(Selector\).*: write \.get\(\)"):
        line_of({"title": Selector("<p>x</p>").css("p")[0]})
    assert line_of({"title": BeautifulSoup("<p>x</p>", "lxml").p.string}).line == '{"title":"x"}'


@pytest.mark.parametrize("thing", [Agreeable(), MagicMock()])
def test_what_answers_to_every_attribute_is_no_record_and_no_value(thing: object) -> None:
    assert not is_record(thing)
    with pytest.raises(RecordError, match=r"field a is .*which JSON cannot hold"):
        line_of({"a": thing})
