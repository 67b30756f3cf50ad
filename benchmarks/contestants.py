"""Who is measured: the project, a bare loop, and two rivals in virtual environments of their own."""

import json
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scraper.settings import VERSION

ROOT = Path(__file__).resolve().parent.parent
RIVALS = ROOT / "build" / "rivals"
CRAWLERS = Path(__file__).resolve().parent / "crawlers"
OURS, BARE, SCRAPY, CRAWLEE = "scraper", "bare loop", "Scrapy", "Crawlee"
SCRAPY_PLAYWRIGHT, CRAWLEE_PLAYWRIGHT = "scrapy-playwright", "Crawlee PlaywrightCrawler"
_PACKAGES = {
    SCRAPY: "scrapy",
    CRAWLEE: "crawlee[beautifulsoup]",
    SCRAPY_PLAYWRIGHT: "scrapy-playwright",
    CRAWLEE_PLAYWRIGHT: "crawlee[playwright]",
}


@dataclass(frozen=True, slots=True)
class Job:
    """One crawl. `delay` None: the contestant's own default. `folder` is where its output goes.

    `is_durable`: to be resumed after a kill. `is_broad`: many hosts, settings as its documentation advises.
    `is_throttled`: with Crawlee's list of hosts to throttle. `workers`: processes, of the project's.
    """

    start: Sequence[str]
    folder: Path
    delay: float | None = None
    obey: bool = True
    proxy: str | None = None
    max_pages: int | None = None
    is_durable: bool = False
    is_broad: bool = False
    is_throttled: bool = False
    workers: int = 1

    def write(self) -> Path:
        """The job as a JSON file in its folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "job.json"
        path.write_text(json.dumps(asdict(self) | {"folder": str(self.folder)}), "utf-8")
        return path


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to crawl: `command` makes a job a command line, `environment` its variables, `urls` reads
    back the URL of every record that was kept. `lacks`: what it does not do by default."""

    name: str
    version: str
    command: Callable[[Job], list[str]]
    environment: Callable[[Job], dict[str, str]]
    urls: Callable[[Path], list[str]]
    lacks: str = ""

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".strip()


def contestants(names: Sequence[str]) -> list[Contestant]:
    """Those of some names, rivals installed first where they are not."""
    return [_MAKERS[name]() for name in names]


# the project ------------------------------------------------------------------------------------------------
def _ours() -> Contestant:
    return Contestant(OURS, VERSION, _our_command, _our_environment, _our_urls)


def _our_command(job: Job) -> list[str]:
    command = [sys.executable, "-m", "scraper", "run", str(CRAWLERS / "site.py")]
    command += ["--param", f"job={job.write()}", "--data", str(job.folder / "data"), "--quiet"]
    if job.delay is not None:
        command += ["--set", f"delay={job.delay}"]
    if job.proxy:
        command += ["--set", f"proxies={job.proxy}"]
    if job.max_pages:
        command += ["--max-pages", str(job.max_pages)]
    if job.workers > 1:
        command += ["--workers", str(job.workers)]
    return command


def _our_environment(job: Job) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)}


def _our_urls(folder: Path) -> list[str]:
    return _lines(folder / "data" / "site" / "records.jsonl")


# the bare loop ----------------------------------------------------------------------------------------------
def _bare() -> Contestant:
    return Contestant(
        BARE,
        "",
        _bare_command,
        lambda job: {},
        lambda folder: _lines(folder / "records.jsonl"),
        "robots.txt; delay; Retry-After; to go on after a kill; what changed",
    )


def _bare_command(job: Job) -> list[str]:
    return [sys.executable, str(CRAWLERS / "bare_loop.py"), str(job.write())]


# the rivals -------------------------------------------------------------------------------------------------
def _scrapy() -> Contestant:
    python = installed(SCRAPY)
    return Contestant(
        SCRAPY,
        _version(python, "scrapy"),
        lambda job: [str(python), str(CRAWLERS / "with_scrapy.py"), str(job.write())],
        lambda job: {"http_proxy": job.proxy} if job.proxy else {},
        lambda folder: _lines(folder / "records.jsonl"),
        "Retry-After; to go on after a kill; what changed",
    )


def _crawlee() -> Contestant:
    python = installed(CRAWLEE)
    return Contestant(
        CRAWLEE,
        _version(python, "crawlee"),
        lambda job: [str(python), str(CRAWLERS / "with_crawlee.py"), str(job.write())],
        lambda job: {"CRAWLEE_PURGE_ON_START": "0"} if job.is_durable else {},
        lambda folder: _files(folder / "storage" / "datasets" / "default"),
        "Retry-After; what changed",
    )


_MAKERS = {OURS: _ours, BARE: _bare, SCRAPY: _scrapy, CRAWLEE: _crawlee}


def installed(name: str) -> Path:
    """The Python of a rival's environment, made with what the package index has today where it is missing."""
    folder = RIVALS / name.lower().replace(" ", "-")
    python, stamp = folder / "bin" / "python", folder / "installed"
    if not stamp.exists():
        print(f"installing {_PACKAGES[name]} into {folder.relative_to(ROOT)}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", _PACKAGES[name]], check=True)
        stamp.touch()
    return python


def _version(python: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _lines(path: Path) -> list[str]:
    """The URLs of a JSON lines file; a broken line is a record of no URL."""
    return [_url(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def _files(folder: Path) -> list[str]:
    """The URLs of a folder of JSON files."""
    return [_url(path.read_text("utf-8")) for path in folder.glob("[0-9]*.json")]


def _url(text: str) -> str:
    try:
        return str(json.loads(text)["url"])
    except (ValueError, KeyError, TypeError):
        return ""
