from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from scraper.errors import SpiderError
from scraper.spider import discovery
from scraper.spider.discovery import BrokenSpider, LoadedSpider, find, list_all, load

SPIDER = '''
from scraper import Spider

class Books(Spider):
    """All the books.

    More about them.
    """
    start_urls = ["https://example.org/"]
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    spiders = tmp_path / "spiders"
    spiders.mkdir()
    return spiders


def write(folder: Path, name: str, text: str = SPIDER) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def named(name: str) -> str:
    return SPIDER + f'    name = "{name}"\n'


def test_a_spider_is_found_by_its_file(folder: Path) -> None:
    file = write(folder, "books.py")
    found = find("books", folder)
    assert (found.name, found.path, found.spider.__name__) == ("books", file, "Books")
    assert found.summary == "All the books."


def test_a_spider_is_found_by_its_name(folder: Path) -> None:
    write(folder, "one.py", named("all-books"))
    assert find("all-books", folder).path.name == "one.py"


def test_a_spider_is_found_by_its_path(folder: Path) -> None:
    file = write(folder, "books.py")
    assert find(str(file), Path("nowhere")).name == "books"


def test_a_spider_of_an_installed_package_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(folder, "installed_books.py")
    monkeypatch.syspath_prepend(folder)
    points = (EntryPoint("library", "installed_books:Books", discovery.GROUP),)
    monkeypatch.setattr(discovery, "_entry_points", lambda: points)
    found = find("library", folder / "none")
    assert (found.path, found.spider.__name__) == (file, "Books")
    assert "library" in [entry.name for entry in list_all(folder / "none")]


def test_an_unknown_name_lists_what_exists_and_the_nearest(folder: Path) -> None:
    write(folder, "books.py")
    write(folder, "quotes.py")
    with pytest.raises(SpiderError) as caught:
        find("boks", folder)
    assert str(caught.value) == "no spider is named 'boks': there is books, quotes (did you mean books?)"


def test_an_unknown_name_in_an_empty_project_says_so(folder: Path) -> None:
    with pytest.raises(SpiderError, match="has no spider"):
        find("books", folder)


def test_a_missing_file_is_told(folder: Path) -> None:
    with pytest.raises(SpiderError, match="no such file"):
        find(str(folder / "books.py"))


def test_a_syntax_error_shows_its_line(folder: Path) -> None:
    file = write(folder, "books.py", "class Books(Spider):\n    def parse(self, page)\n        pass\n")
    with pytest.raises(SpiderError) as caught:
        find("books", folder)
    message = str(caught.value).splitlines()
    assert message[0] == f"{file}, line 2: expected ':'"
    assert message[1].strip() == "def parse(self, page)"
    assert message[2].rstrip().index("^") == message[1].index(")") + 1


def test_a_relative_import_is_told_what_to_write(folder: Path) -> None:
    write(folder, "books.py", "from .words import BOOK\n")
    with pytest.raises(SpiderError, match="leave the dot out"):
        find("books", folder)


def test_a_failing_import_names_the_line_of_the_spider(folder: Path) -> None:
    file = write(folder, "books.py", "import json\nimport no_such_module_here\n")
    with pytest.raises(SpiderError, match="line 2: ModuleNotFoundError") as caught:
        find("books", folder)
    assert str(file) in str(caught.value)
    assert "import no_such_module_here" in str(caught.value)


def test_an_exit_in_a_spider_file_does_not_end_the_program(folder: Path) -> None:
    write(folder, "books.py", "raise SystemExit(0)")
    with pytest.raises(SpiderError, match="SystemExit"):
        find("books", folder)


def test_helpers_beside_a_spider_can_be_imported(folder: Path) -> None:
    write(folder, "helper_of_books.py", "TITLE = 'Books'\n")
    write(folder, "books.py", "from helper_of_books import TITLE\n" + SPIDER)
    assert find("books", folder).name == "books"


def test_a_spider_file_hides_no_installed_module(folder: Path) -> None:
    write(folder, "colorsys.py", named("colours"))
    write(folder, "books.py", "import colorsys\ncolorsys.rgb_to_hsv\n" + SPIDER)
    assert find("books", folder).name == "books"


def test_a_file_without_a_spider_is_told(folder: Path) -> None:
    file = write(folder, "books.py", "from scraper import Spider\n")
    with pytest.raises(SpiderError, match="has no Spider class"):
        load(file)


def test_several_spiders_in_a_file_are_told(folder: Path) -> None:
    file = write(folder, "books.py", SPIDER + "class More(Spider):\n    pass\n")
    with pytest.raises(SpiderError, match="several Spider classes: Books, More"):
        load(file)


def test_the_common_part_of_a_spider_is_no_spider_of_its_own(folder: Path) -> None:
    file = write(folder, "books.py", SPIDER + "class More(Books):\n    pass\n")
    assert load(file).spider.__name__ == "More"


@pytest.mark.parametrize("wanted", ["books", "library"])
def test_two_spiders_with_one_name_are_an_error(folder: Path, wanted: str) -> None:
    write(folder, "one.py", named(wanted))
    write(folder, "books.py" if wanted == "books" else "two.py", named(wanted))
    with pytest.raises(SpiderError, match=f"two spiders are named {wanted}"):
        find(wanted, folder)


def test_a_broken_file_is_listed_and_troubles_no_other(folder: Path) -> None:
    write(folder, "books.py")
    write(folder, "broken.py", "class Broken(Spider:\n")
    entries = list_all(folder)
    assert [type(entry) for entry in entries] == [LoadedSpider, BrokenSpider]
    assert find("books", folder).name == "books"
    with pytest.raises(SpiderError, match=r"broken\.py does not load: .*line 1"):
        find("quotes", folder)


def test_a_missing_folder_lists_nothing(tmp_path: Path) -> None:
    assert list_all(tmp_path / "none") == []


def test_comments_and_layout_do_not_change_the_code_hash(folder: Path) -> None:
    one = load(write(folder, "one.py"))
    same = load(write(folder, "same.py", "# a comment\n" + SPIDER.replace("[", "[  ")))
    other = load(write(folder, "other.py", SPIDER.replace("example.org", "example.com")))
    assert one.code.hash == same.code.hash != other.code.hash


def test_declared_records_of_a_spider_file_can_be_resolved(folder: Path) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Book:\n"
    file = write(folder, "books.py", text + "    title: str\n" + SPIDER + "    record = Book\n")
    assert load(file).spider.record.__name__ == "Book"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\x00b", b"(" * 5000])
def test_a_file_that_is_no_python_is_told(folder: Path, content: bytes) -> None:
    (folder / "books.py").write_bytes(content)
    with pytest.raises(SpiderError):
        find("books", folder)
