"""BeautifulSoup over the tree that css and xpath see, instead of one that it would parse by itself."""

from typing import Any

from bs4 import BeautifulSoup, Comment
from bs4.builder import HTMLTreeBuilder
from lxml import etree


class _Builder(HTMLTreeBuilder):
    """Tells a soup of an lxml tree as if it were parsed just now."""

    NAME = "scraper"
    features = [NAME]

    def __init__(self, root: Any) -> None:
        super().__init__()
        self._root = root

    def feed(self, markup: Any) -> None:
        soup: Any = self.soup
        for event, element in etree.iterwalk(self._root, events=("start", "end", "comment")):
            following = element.tail if element is not self._root else None
            if event == "start":
                soup.handle_starttag(element.tag, None, None, dict(element.items()))
                following = element.text
            elif event == "end":
                soup.handle_endtag(element.tag)
            else:
                soup.endData()
                soup.handle_data(element.text or "")
                soup.endData(Comment)
            if following:
                soup.handle_data(following)


def soup_of(root: Any) -> BeautifulSoup:
    """The soup of a page's tree."""
    return BeautifulSoup("", builder=_Builder(root))
