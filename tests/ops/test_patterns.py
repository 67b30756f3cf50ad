"""Regular expressions that are compiled on first use."""

import re

import pytest

from scraper.ops.patterns import pattern


def test_a_pattern_has_the_methods_of_a_compiled_one() -> None:
    word = pattern(r"[a-z]+", re.IGNORECASE)
    assert word.fullmatch("Abc") and not word.fullmatch("1")
    assert word.sub("-", "a 1 B") == "- 1 -"
    assert pattern(rb"\d").findall(b"a1b2") == [b"1", b"2"]
    assert word.flags & re.IGNORECASE


def test_a_wrong_pattern_is_an_error_at_its_first_use() -> None:
    with pytest.raises(re.error):
        pattern("(").match("")
