"""Saved pages as test fixtures: one call compares a spider's records with the saved ones."""

import inspect
from collections.abc import Mapping
from pathlib import Path

from scraper.app.archived.saved_pages import FOLDER, compare, differences, saved_pages
from scraper.spider import Spider


def check_saved(
    spider_class: type[Spider], folder: Path | None = None, params: Mapping[str, str] | None = None
) -> None:
    """Parse the saved pages of a spider; AssertionError says record by record, field by field what differs.

    `folder`: where they are, else tests/fixtures/NAME beside the folder of the spider's file. No network.
    """
    spider = spider_class()
    spider.params = dict(params or {})
    home = folder or Path(inspect.getfile(spider_class)).resolve().parent.parent / FOLDER / spider.name
    pages = list(saved_pages(home))
    assert pages, f"no pages in {home}: python -m scraper check {spider.name} --save URL"
    found = [compare(page, spider) for page in pages]
    told = [line for page in found if not page.is_same for line in differences(page)]
    hint = f"if the new records are right: python -m scraper check {spider.name} --update"
    assert not told, "\n".join(["saved pages give other records", *told, hint])
