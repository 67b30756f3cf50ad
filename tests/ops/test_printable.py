"""What a site writes moves no cursor and hides nothing, wherever a person reads it."""

import json

import pytest

from scraper.ops import printable as module
from scraper.ops.printable import json_text, printable, printable_lines, printable_value

HIDDEN = (
    "\x1b \x07 \x00 \r \n \x7f \x9b \x85 \u202e \u2066 \u200f \u061c \u2028 \u200b \ufeff \xad "
    "\ud800 \U000e0041 \ufff9"
)


@pytest.mark.parametrize("hidden", HIDDEN.split(" "))
def test_what_is_hidden_is_shown_as_replaced(hidden: str) -> None:
    assert printable(f"a{hidden}b") == "a\ufffdb"
    shown = json_text({"a": hidden})
    assert shown.isprintable() and json.loads(shown) == {"a": hidden}


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "tab\there",
        "\u0627\u0644\u0639\u0631\u0628\u064a\u0629",
        "\U0001f469\u200d\U0001f4bb",
        "e\u0301",
        "\u4e2d\u6587",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text


def test_lines_and_values_are_cleaned_as_a_whole() -> None:
    assert printable_lines("a\x1b[2J\nb") == "a\ufffd[2J\nb"
    assert printable_value({"\x1b": ["\x9b", 1, None], "n": 2.5}) == {"\ufffd": ["\ufffd", 1, None], "n": 2.5}
    assert json_text({"a": 1}, indent=2) == '{\n  "a": 1\n}'


def test_what_python_calls_printable_hides_nothing() -> None:
    hidden = module.HIDDEN.findall("".join(map(chr, range(0x110000))))
    assert len(hidden) > 2000 and not any(map(str.isprintable, hidden))
