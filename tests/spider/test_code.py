"""The hash of a spider's code takes in all of the project that it imports, and nothing else."""

import ast
from hashlib import blake2b
from pathlib import Path

import pytest

from scraper.spider.code import code_of

FILES = {
    "base.py": "from scraper import Spider\nclass Base(Spider): pass\n",
    "words/__init__.py": "from . import nouns\nfrom .deep.verbs import RUN\n",
    "words/nouns.py": "BOOK = 'book'\n",
    "words/deep/__init__.py": "",
    "words/deep/verbs.py": "from ..shared import LETTERS\nRUN = 'run'\n",
    "words/shared.py": "LETTERS = 'abc'\n",
    "space/part.py": "PART = 1\n",
    "lazy.py": "def late(): pass\n",
    "named.py": "NAME = 1\n",
    "unused.py": "UNUSED = 1\n",
}
SPIDER = """
import json
from base import Base
import words
from space import part

class Shop(Base):
    def parse(self, page):
        from lazy import late
        import importlib
        importlib.import_module("named")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_module_that_is_imported_counts_and_no_other(folder: Path, name: str) -> None:
    tree = ast.parse(SPIDER)
    before = code_of(tree).hash
    (folder / name).write_text(f"# a comment\n{FILES[name]}\n\n")
    assert code_of(tree).hash == before
    (folder / name).write_text(f"{FILES[name]}\nX = 'another'\n")
    after = code_of(tree)
    assert (after.hash == before) == (name == "unused.py")
    assert ("another" in after.words) == (name != "unused.py")


def test_a_spider_alone_has_the_hash_that_older_data_knows() -> None:
    tree = ast.parse("from scraper import Spider\nimport requests, json\nclass A(Spider): pass\n")
    assert code_of(tree).hash == blake2b(ast.dump(tree).encode(), digest_size=16).hexdigest()


def test_modules_that_import_each_other_end(folder: Path) -> None:
    (folder / "one.py").write_text("import two\n")
    (folder / "two.py").write_text("import one\n")
    assert code_of(ast.parse("import one")).hash


def test_relative_imports_of_an_installed_spider_start_at_its_package(folder: Path) -> None:
    tree = ast.parse("from .nouns import BOOK\nfrom . import shared\n")
    before = code_of(tree, "words.spider", "words").hash
    (folder / "words" / "nouns.py").write_text("BOOK = 'another'\n")
    assert code_of(tree, "words.spider", "words").hash != before
