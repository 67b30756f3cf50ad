"""A project copied from one store to another."""

from collections.abc import Callable
from pathlib import Path

from scraper.app.options import open_store
from scraper.errors import StoreBusy, UsageError
from scraper.store.copying import Copyable, copy

_EVERY = 1_000_000


def copy_store(source: str, target: str, data: Path, tell: Callable[[str], None]) -> dict[str, int]:
    """Copy all rows; how many by table. StoreBusy while anybody works with one of the two."""
    if source == target:
        raise UsageError("FROM and TO are the same store", "name another one to copy to")
    for url in (source, target):
        if (path := _path(url)) is not None and url == source and not path.exists():
            raise UsageError(
                f"there is no {path}", "name the file of a project, such as sqlite:///data/scraper.db"
            )
        _check_idle(url, data)
    return copy(_copyable(source, data), _copyable(target, data), tell)


def _check_idle(url: str, data: Path) -> None:
    store = open_store(_home(url, data), url)
    try:
        for spider in sorted({run.spider for run in store.runs(limit=_EVERY) if run.state != "ended"}):
            if (held := store.holder(spider)) is not None:
                raise StoreBusy(f"{spider} is being run by {held[0]}", "wait for it or stop it")
    finally:
        store.close()


def _copyable(url: str, data: Path) -> Copyable:
    if (path := _path(url)) is not None:
        # Imported here, like the other one: each knows one database.
        from scraper.store.sqlite.tables import SqliteCopyable

        return SqliteCopyable(path)
    from scraper.store.postgres.tables import PostgresCopyable

    return PostgresCopyable(url, data / "locks")


def _home(url: str, data: Path) -> Path:
    path = _path(url)
    return data if path is None else path.parent


def _path(url: str) -> Path | None:
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
