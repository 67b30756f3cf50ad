"""Requests whose answers are files: which these are, and what is here of them already."""

import json
from dataclasses import replace
from typing import Any

from scraper.errors import BadAnswer
from scraper.http.download import Download
from scraper.http.exchange import Answer
from scraper.http.saved_files import SavedFiles
from scraper.model import Entry, Headers, Known, Request, Response
from scraper.ops.looks import unseen
from scraper.parsing.file_facts import Keeper, facts_of_content, name_of, type_of
from scraper.parsing.page import Page
from scraper.spider import Spider, saves
from scraper.spider.identity import request_of


class FileRequests:
    """The files of a run's spider; without a folder (`files` None) bodies are read as those of pages."""

    def __init__(self, spider: Spider, files: SavedFiles | None) -> None:
        self._spider = spider
        self._files = files
        self._keep: Keeper = files.keep_content if files is not None else facts_of_content

    def keep(self, content: bytes, name: str, kind: str) -> dict[str, Any]:
        """Save the body of a page; what is to be said about it."""
        with unseen():
            return self._keep(content, name, kind)

    @property
    def is_slow(self) -> bool:
        """Whether to keep a file means to send it somewhere."""
        return self._files is not None and self._files.is_slow

    def is_for_file(self, entry: Entry) -> bool:
        """Whether an answer goes to disk."""
        return entry.request is not None and saves(self._spider, request_of(entry).callback)

    def download(self, entry: Entry, request: Request) -> Download | None:
        """What takes the answer to a request for a file; None for any other."""
        if self._files is None or not saves(self._spider, request.callback):
            return None
        is_whole = all(name.lower() != "range" for name in request.headers or ())
        return Download(self._files, entry.fp, goes_on=request.method == "GET" and is_whole)

    def unwanted(self, page: Page) -> str:
        """Why a page that came in the place of a file is not kept as one; empty for any other."""
        is_file = page.response.file is not None
        if self._files is None or is_file or not saves(self._spider, page.request.callback):
            return ""
        kind = type_of(page.headers, name_of(page.headers, page.url))
        return "" if self._files.takes(kind) else f"its type is {kind}, which file_types does not name"

    def has_all(self, known: Known) -> bool:
        """Whether the files that a page's last parse saved are all there."""
        if not known.files or self._files is None:
            return True
        return all(map(self._files.has, json.loads(known.files)))

    def response(self, entry: Entry, known: Known) -> Response | None:
        """What stands for the answer to a request whose file is here."""
        if not known.files or not self.has_all(known):
            return None
        (facts,) = json.loads(known.files)
        told = (("ETag", known.etag), ("Last-Modified", known.last_modified))
        headers = Headers((name, value) for name, value in told if value)
        return Response(entry.url, 200, headers, b"", known.fetched_at, file=facts)


def with_file(download: Download | None, answer: Answer) -> Answer:
    """An answer with its file in its place: to hash a large one takes longer than a page may be parsed."""
    if download is None or answer.response is None:
        return answer
    try:
        return replace(answer, response=download.saved(answer.response))
    except BadAnswer as error:
        return replace(answer, response=None, error=error)
