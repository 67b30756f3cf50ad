"""Where the archives of a spider's runs are: in the runs' own folders, or where `archive_to` says.

Each process writes a file of its own on its machine. With `archive_to` it is a segment: when it is closed it
is sent there whole, and only then removed here. One that a killed process left is sent by the next process
that ends or begins here; until then it is found where it is.
"""

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from scraper.app.options import Prepared
from scraper.errors import ScraperError
from scraper.ops.disk import make_folder
from scraper.ops.patterns import pattern
from scraper.runs.archive import gzip_members
from scraper.runs.archive.reading import Archives, oldest_first, run_folders
from scraper.runs.archive.writing import Archive, writing
from scraper.runs.depot import Depot, FolderDepot, depot_of
from scraper.runs.files import RunFiles
from scraper.store import Store

_FETCHED = "fetched"
_SEGMENT = pattern(r"[\w-][\w.-]*/pages[\w.-]*\.warc\.gz")


class ArchiveHome:
    """The archives of one spider, whose own folder is `home`. `place`: what `archive_to` says."""

    def __init__(self, home: Path, place: str | None = None) -> None:
        self._home = home
        self._depot: Depot | None = depot_of(place) if place else None

    def folders(self) -> list[Path]:
        """The folders of runs that hold pages, oldest first. What is far away is fetched first."""
        found = run_folders(self._home)
        if isinstance(self._depot, FolderDepot):
            found += run_folders(self._depot.folder / self._home.name, "*")
        elif self._depot is not None:
            self._fetch(self._depot)
            found += run_folders(self._home, f"{_FETCHED}/*")
        return oldest_first(found)

    def others(self, run: RunFiles) -> Archives:
        """The archives of all runs but one."""
        return Archives(lambda: [folder for folder in self.folders() if folder.name != run.folder.name])

    @contextmanager
    def writing(
        self, run: RunFiles, is_wanted: bool, worker: int | None, name: str
    ) -> Iterator[tuple[Archive, ...]]:
        """An open archive of a run, closed at the end. `name`: of this process, as no other has it."""
        if is_wanted and self._depot is not None:
            self._depot.sizes(self._home.name)  # before anything is fetched that could not be kept
        number = worker if self._depot is None else name
        with writing(run.folder, is_wanted, number, self.others(run), run.mode) as archives:
            yield archives

    def send(self, beat: Callable[[], object]) -> list[str]:
        """Send the segments that nobody here writes any more; what could not be sent. `beat`: meanwhile."""
        if self._depot is None:
            return []
        failures: list[str] = []
        sender = threading.Thread(target=self._send, args=(self._depot, failures), name="send-archive")
        sender.start()
        while sender.is_alive():
            sender.join(1.0)
            beat()
        return failures

    def forget(self, runs: Collection[str]) -> None:
        """Remove the archives of runs, by their ids; their own folders are not ours to remove."""
        for run in runs if self._depot is not None else ():
            assert self._depot is not None
            self._depot.remove(f"{self._home.name}/{run}")
            shutil.rmtree(self._home / _FETCHED / run, ignore_errors=True)

    def _send(self, depot: Depot, failures: list[str]) -> None:
        for folder in run_folders(self._home):
            for file in sorted(folder.glob("pages*.warc.gz")):
                try:
                    _send_segment(file, depot, f"{self._home.name}/{folder.name}/{file.name}")
                except (ScraperError, OSError) as error:
                    failures.append(f"{file} stays here until the next run: {error}")

    def _fetch(self, depot: Depot) -> None:
        there = depot.sizes(self._home.name)
        for name, size in there.items():
            if not _SEGMENT.fullmatch(name.removeprefix(f"{self._home.name}/")):
                continue
            here = self._home / _FETCHED / name.removeprefix(f"{self._home.name}/")
            if here.exists() and here.stat().st_size == size:
                continue
            make_folder(here.parent, self._home)
            depot.get(name, here)
        for old in (self._home / _FETCHED).glob("*/*.warc.gz"):
            if f"{self._home.name}/{old.parent.name}/{old.name}" not in there:
                old.unlink()


def archive_home_of(prepared: Prepared) -> ArchiveHome:
    """Where the archives of a spider are."""
    return ArchiveHome(prepared.options.data / prepared.loaded.name, prepared.settings.archive_to)


def send_archive(archive_home: ArchiveHome, files: RunFiles, store: Store) -> None:
    """Send what this machine has archived, and note in a run's log what could not be sent."""
    for failure in archive_home.send(store.heartbeat):
        files.log({"event": "note", "text": failure})


def _send_segment(file: Path, depot: Depot, name: str) -> None:
    """Send one segment whole and remove it here, unless a process writes it still."""
    with file.open("rb+") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        os.ftruncate(opened.fileno(), gzip_members.whole(opened.fileno(), file))
        depot.put(file, name)
        file.unlink()
