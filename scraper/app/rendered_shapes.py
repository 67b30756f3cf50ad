"""Which pages of a spider need a browser, kept in the store for its next run."""

from scraper.model.frozen import frozen
from scraper.store import Store

_KIND = "rendered shapes"


@frozen
class ShapeNotes:
    """A note of the store about one spider, see `engine.auto_rendering`."""

    store: Store
    spider: str

    def read(self) -> str:
        """What was written last; empty: nothing."""
        return self.store.notes(_KIND).get(self.spider, "")

    def write(self, text: str) -> None:
        """Keep a text instead."""
        self.store.keep_note(_KIND, self.spider, text)
