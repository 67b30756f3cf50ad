"""Checks of this machine: each with its result and, where it fails, what to do."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from scraper import settings as settings_of
from scraper.app.options import open_store
from scraper.errors import ScraperError
from scraper.model.frozen import frozen
from scraper.spider import discovery
from scraper.spider.discovery import BrokenSpider

PYTHON = (3, 11)
LEAST_SPACE = 500 * 2**20


class State(StrEnum):
    """How a finding is to be taken: `NOTE` works without, `BAD` does not."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "BAD"


@frozen
class Finding:
    """One question's answer."""

    name: str
    state: State
    told: str


def examine(data: Path, url: str | None) -> Iterator[Finding]:
    """All findings, the needed ones first."""
    yield _python()
    yield from _packages()
    yield _browser()
    yield from _settings()
    yield _folder(data)
    yield from _database(data, url)
    yield _spiders()
    yield _cron()


def _python() -> Finding:
    found = sys.version.split()[0]
    if sys.version_info < PYTHON:
        return Finding("Python", State.BAD, f"{found}: {'.'.join(map(str, PYTHON))} or later is needed")
    return Finding("Python", State.GOOD, f"{found}, {sys.executable}")


def _packages() -> Iterator[Finding]:
    missing: dict[bool, list[str]] = {True: [], False: []}
    for line in _requirements():
        spec, _, condition = line.partition(";")
        name = spec.split("[")[0].split(">")[0].split("=")[0].split("<")[0].split("!")[0].strip()
        if "test" in condition:
            continue
        if not _is_installed(name):
            missing["extra" in condition].append(name)
    if missing[False]:
        told = f"missing: {', '.join(missing[False])}; install the project again"
        yield Finding("packages", State.BAD, told)
    else:
        yield Finding("packages", State.GOOD, "all that are needed")
    if missing[True]:
        yield Finding("extras", State.NOTE, f"not installed: {', '.join(sorted(set(missing[True])))}")


def _browser() -> Finding:
    """Whether pages can be rendered; few projects need that."""
    # Imported on first use, as for a run.
    from scraper.browser import chromium

    try:
        named = settings_of.load({}, (), Path.cwd(), os.environ).browser
    except ScraperError:
        named = None  # that is another finding
    try:
        told = chromium.check(named)
    except ScraperError as error:
        return Finding("browser", State.NOTE, f"{error.message}: {error.hint}")
    sandbox = "; without its sandbox, as this is root" if chromium.is_root() else ""
    return Finding("browser", State.GOOD, f"pages can be rendered by {told}{sandbox}")


def _requirements() -> list[str]:
    try:
        return requires("scraper") or []
    except PackageNotFoundError:  # run from its source
        return []


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _settings() -> Iterator[Finding]:
    try:
        found = settings_of.load({}, (), Path.cwd(), os.environ)
    except ScraperError as error:
        yield Finding("settings", State.BAD, str(error))
        return
    yield Finding("settings", State.GOOD, "pyproject.toml, scraper.toml and SCRAPER_* can be read")
    if found.contact:
        yield Finding("contact", State.GOOD, f"sites see: {settings_of.agent(found)}")
    else:
        told = 'not set: a site cannot reach you; in scraper.toml: contact = "you@example.org"'
        yield Finding("contact", State.NOTE, told)
    for domain, reason in found.robots_exempt.items():
        yield Finding("robots", State.NOTE, f"{domain}: robots.txt is not asked for: {reason}")


def _folder(data: Path) -> Finding:
    place = data.resolve()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        return Finding("data", State.BAD, f"{place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("data", State.BAD, f"{place} cannot be written to")
    free = shutil.disk_usage(place).free
    state = State.GOOD if free > LEAST_SPACE else State.BAD
    return Finding("data", state, f"{data}/ can be written to, {free / 2**30:.1f} GiB free")


def _database(data: Path, url: str | None) -> Iterator[Finding]:
    file = data / "scraper.db"
    if url is None and not file.exists():
        yield Finding("store", State.GOOD, f"{file} will be made by the first run")
        return
    try:
        store = open_store(data, url)
        count = len(store.runs(limit=100_000))
        told = "1 run" if count == 1 else f"{count} runs"
        store.close()
    except ScraperError as error:
        yield Finding("store", State.BAD, str(error))
        return
    yield Finding("store", State.GOOD, f"{file if url is None else 'the store'} can be read, {told}")


def _spiders() -> Finding:
    found = discovery.list_all()
    broken = [one.name for one in found if isinstance(one, BrokenSpider)]
    if broken:
        return Finding("spiders", State.NOTE, f"broken: {', '.join(broken)}; the command `list` says why")
    return Finding("spiders", State.GOOD if found else State.NOTE, f"{len(found)} in {discovery.FOLDER}/")


def _cron(which: Callable[[str], str | None] = shutil.which) -> Finding:
    if which("crontab"):
        return Finding("cron", State.GOOD, "crontab is there")
    if which("systemctl"):
        return Finding("cron", State.NOTE, "no crontab, but systemd: `cron SPIDER SCHEDULE --systemd`")
    return Finding("cron", State.NOTE, "neither crontab nor systemd: install cron to run by the clock")
