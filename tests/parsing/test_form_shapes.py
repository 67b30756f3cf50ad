"""Forms byte for byte as Chromium 156 sends them (recorded by tests/debian/test_forms.py)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from scraper.model import Headers, Request, Response
from scraper.parsing.page import Page
from tests.parsing.form_shapes import SHAPES, Shape, Upload

ANSWERS = json.loads(Path(__file__).with_name("form_answers.json").read_text(encoding="utf-8"))


def given(value: Any) -> Any:
    if isinstance(value, list):
        return [given(one) for one in value]
    return (value.name, value.content, value.kind) if isinstance(value, Upload) else value


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_a_form_is_sent_as_chromium_sends_it(shape: Shape) -> None:
    markup = f"<!DOCTYPE html><script></script>{shape.markup}".encode(shape.encoding, "xmlcharrefreplace")
    headers = Headers([("Content-Type", f"text/html; charset={shape.encoding}")])
    page = Page(Request("http://a.test/page"), Response("http://a.test/page", 200, headers, markup))
    sent = page.form().submission({name: given(value) for name, value in shape.values.items()}, shape.button)
    body, kind = sent.body or b"", sent.content_type
    if boundary := re.search(r"boundary=(\S+)", kind):
        body, kind = body.replace(boundary[1].encode(), b"BOUNDARY"), kind.replace(boundary[1], "BOUNDARY")
    path = sent.url.removeprefix("http://a.test").partition("#")[0]
    assert [sent.method, path, kind, body.decode("latin-1")] == ANSWERS[shape.name]


def test_every_shape_was_recorded() -> None:
    assert {shape.name for shape in SHAPES} == set(ANSWERS)
    assert len(SHAPES) >= 40
