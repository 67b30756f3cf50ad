"""The store in memory."""

from scraper.store.memory.store import MemoryStore

__all__ = ["MemoryStore"]
