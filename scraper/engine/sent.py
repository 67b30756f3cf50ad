"""A request on its way."""

from scraper.http.download import Download
from scraper.http.exchange import Asked
from scraper.model import Entry, Request
from scraper.model.frozen import frozen


@frozen
class Sent:
    """A request, the entry that it is for, and what stands for its answer until that comes."""

    entry: Entry
    request: Request
    asked: Asked
    download: Download | None = None
