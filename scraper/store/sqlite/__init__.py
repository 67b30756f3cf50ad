"""The store on one SQLite file."""

from scraper.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
