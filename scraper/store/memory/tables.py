"""The rows of the store in memory."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from scraper.model import Known, NewUrl, RecordLine
from scraper.model.frozen import frozen
from scraper.store import RobotsCopy, Run


@dataclass(slots=True)
class Domain:
    owner: str | None = None
    epoch: int = 0
    due: float = 0.0
    state: str = ""
    crashes: int = 0
    wanted: int | None = None
    wanted_until: float = 0.0


@dataclass(slots=True)
class Url:
    id: int
    spider: str
    new: NewUrl
    run: int
    seq: int
    hops: int
    attempts: int = 0
    crashes: int = 0
    state: str = "pending"
    reason: str | None = None


@frozen
class Page:
    known: Known
    run: int
    checked: int
    links: tuple[int, ...]
    facts: Mapping[str, Any]


@frozen
class Look:
    """A visit as it is kept. `version` None: the page brings nothing."""

    id: int
    run: int
    url: int
    version: int | None
    is_read: bool = True


@dataclass(slots=True)
class Tables:
    workers: dict[str, int | None] = field(default_factory=dict)
    in_hand: dict[str, list[int]] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    runs: dict[int, Run] = field(default_factory=dict)
    held: dict[int, tuple[str, float]] = field(default_factory=dict)
    started: int = 0
    domains: dict[str, Domain] = field(default_factory=dict)
    urls: dict[int, Url] = field(default_factory=dict)
    places: dict[tuple[str, str, bytes], int] = field(default_factory=dict)
    pages: dict[int, Page] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    records: dict[int, Collection[RecordLine]] = field(default_factory=dict)
    sessions: dict[tuple[str, str], str] = field(default_factory=dict)
    domain_stats: dict[tuple[int, str], str] = field(default_factory=dict)
    refused: set[tuple[int, str]] = field(default_factory=set)
    robots: dict[str, RobotsCopy] = field(default_factory=dict)
    notes: dict[tuple[str, str], str] = field(default_factory=dict)
    tick: int = 0

    def next(self) -> int:
        self.tick += 1
        return self.tick
