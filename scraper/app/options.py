"""What the command line asks for, and what it all comes to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scraper import settings
from scraper.errors import UsageError
from scraper.runs import archive, health
from scraper.runs.health import Health
from scraper.settings import Settings
from scraper.sinks import Sink, sink_for
from scraper.spider import Spider, discovery
from scraper.spider.discovery import LoadedSpider
from scraper.store import Store


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `run`, as typed. `is_offline`: pages come from the archive, not from the network."""

    spider: str
    data: Path = Path("data")
    outputs: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    fresh: bool = False
    is_offline: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A spider ready to run: loaded, with its settings read and its outputs known to be writable."""

    loaded: LoadedSpider
    spider: Spider
    settings: Settings
    health: Health
    sinks: tuple[Sink, ...]
    options: Options


def prepare(options: Options) -> Prepared:
    """Read all that can be wrong before anything is touched; raises UsageError."""
    loaded = discovery.find(options.spider)
    spider = loaded.spider()
    spider.params = dict(options.params)
    found = settings.load(loaded.spider.settings, options.overrides, Path.cwd(), os.environ)
    if found.archive and not options.is_offline:
        archive.warcio()
    return Prepared(
        loaded,
        spider,
        found,
        health.declared(loaded.spider.health),
        tuple(map(sink_for, options.outputs)),
        options,
    )


def open_store(data: Path, url: str | None = None) -> Store:
    """The store of a project: SQLite in the data folder, unless a URL names another."""
    # Imported here: commands that only read files start without a database.
    from scraper.store.sqlite.store import SqliteStore

    if url is None:
        return SqliteStore(data / "scraper.db")
    if url.startswith("sqlite:///"):
        return SqliteStore(Path(url.removeprefix("sqlite:///")))
    raise UsageError(f"store {url.partition(':')[0]}: is not known", "write sqlite:///path/to/file.db")
