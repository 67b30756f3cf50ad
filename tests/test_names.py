"""What `from scraper import ...` gives, when it runs and to a type checker."""

import ast
from pathlib import Path

import scraper


def test_every_name_is_there_and_known_to_type_checkers() -> None:
    source = ast.parse(Path(scraper.__file__).read_text("utf-8"))
    for_checkers = next(one for one in source.body if isinstance(one, ast.If))
    named = [
        alias.asname for one in for_checkers.body if isinstance(one, ast.ImportFrom) for alias in one.names
    ]
    assert sorted(filter(None, named)) == sorted(scraper.__all__)
    assert all(getattr(scraper, name).__name__ == name for name in scraper.__all__)
