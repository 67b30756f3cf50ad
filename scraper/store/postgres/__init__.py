"""The store on PostgreSQL, for workers on many machines. Needs the extra `postgres`."""

from scraper.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
