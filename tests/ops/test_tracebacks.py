"""Where an error in a spider's code is said to be."""

import json
import os
from pathlib import Path
from typing import Any

from scraper.ops.tracebacks import LONGEST, files_of, origin_of, told, traceback_of
from scraper.spider.discovery import load

SOURCE = """
import json, os
from scraper import Spider

class Shop(Spider):
    start_urls = ["https://shop.test/"]
    def parse(self, page):
        return json.loads(page)
    def missing(self, page):
        return os.environ["NO_SUCH_NAME"]
    def deep(self, page):
        return self.deeper(page)
    def evaluated(self, page):
        return eval("page + undefined")
    def deeper(self, page):
        return 1 / page
"""


def raised(tmp_path: Path, method: str, page: Any) -> tuple[BaseException, type]:
    file = tmp_path / "shop.py"
    file.write_text(SOURCE)
    spider = load(file).spider
    try:
        getattr(spider(), method)(page)
    except Exception as error:
        return error, spider
    raise AssertionError


def test_the_place_is_the_last_line_of_the_spiders_own_file_with_its_code(tmp_path: Path) -> None:
    assert told(raised(tmp_path, "parse", "<html>")[0]).endswith("(shop.py, line 8: return json.loads(page))")
    error, _ = raised(tmp_path, "missing", None)
    assert told(error) == "KeyError: 'NO_SUCH_NAME' (shop.py, line 10: return os.environ[\"NO_SUCH_NAME\"])"
    assert origin_of(raised(tmp_path, "deep", 0)[0]).place == "shop.py, line 16"
    assert origin_of(raised(tmp_path, "evaluated", 0)[0]).code == 'return eval("page + undefined")'


def test_a_spider_of_another_module_is_known_by_its_class() -> None:
    class Here:
        def parse(self) -> None:
            json.loads("{")

    try:
        Here().parse()
    except ValueError as error:
        assert origin_of(error).place == ""
        assert origin_of(error, files_of(Here)).code == 'json.loads("{")'
        assert "test_tracebacks.py" in traceback_of(error)


def test_an_error_in_no_spider_says_no_place_and_a_long_traceback_keeps_its_end() -> None:
    try:
        os.stat("x" * 2 * LONGEST)
    except OSError as error:
        assert " (" not in told(error) and len(told(error)) <= 300
        assert traceback_of(error).startswith("...") and len(traceback_of(error)) < LONGEST + 10
