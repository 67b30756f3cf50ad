"""Single answers of archives, for pages that are rendered again: found by what was asked."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scraper.model import Response
from scraper.runs.archive import gzip_members, rendered_pages
from scraper.runs.archive.answers import fp_of, read_answer
from scraper.runs.archive.reading import archive_files, opened
from scraper.runs.archive.request_keys import request_key


class ArchivedLoads:
    """The answers in the archives of several runs (folders, oldest first); the last one to a request counts.

    The index is made at first use, of all answers: pages, and what rendered pages asked for.
    """

    def __init__(self, folders: Callable[[], Sequence[Path]], most: int) -> None:
        self._folders = folders
        self._most = most
        self._places: dict[bytes, tuple[io.FileIO, int]] | None = None

    def find(self, key: bytes) -> Response | None:
        """The answer to a request, by its `request_key`."""
        if self._places is None:
            self._places = {}
            for folder in self._folders():
                for file in archive_files(folder):
                    self._gather(opened(file), file, self._places)
        found = self._places.get(key)
        return read_answer(found[0].fileno(), found[1], self._most) if found is not None else None

    def _gather(self, file: io.FileIO, path: Path, places: dict[bytes, tuple[io.FileIO, int]]) -> None:
        for offset, _ in gzip_members.listed(file.fileno(), path):
            fields = gzip_members.head(file.fileno(), offset)
            if fields.get("warc-type") == "response":
                places[_key_of(fields)] = file, offset


def _key_of(fields: Mapping[str, str]) -> bytes:
    asked = rendered_pages.asked_in(fields)
    # A page that no request set more of than its URL is known by the same.
    return asked or fp_of(fields) or request_key("GET", fields.get("warc-target-uri", ""))
