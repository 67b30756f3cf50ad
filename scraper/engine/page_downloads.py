"""Files that a rendered page downloads or generates: saved with the files of the run."""

import uuid
from dataclasses import replace

from scraper.browser.tasks import Downloaded, PageRequest
from scraper.engine.file_requests import with_file
from scraper.http.download import Download, FileBody
from scraper.http.exchange import Answer
from scraper.http.saved_files import SavedFiles
from scraper.model import Headers, Loaded, Response
from scraper.parsing.file_facts import name_of, safe_name, type_of

_LEADS_ON = frozenset({"document", "frame", "download"})
_SHOWN = ("text/", "image/", "audio/", "video/", "multipart/")
_ALSO_SHOWN = ("xml", "json", "javascript", "ecmascript")


class PageDownload(Download):
    """The answer to a request that leads a page on: a file goes to disk, a document into memory."""

    def __init__(self, files: SavedFiles, *, is_asked_for: bool) -> None:
        super().__init__(files, uuid.uuid4().bytes, goes_on=False)
        self._is_asked_for = is_asked_for

    def body(self, url: str, status: int, headers: Headers, codings: tuple[str, ...]) -> FileBody | None:
        """As of any download, where a browser would keep the answer."""
        is_file = self._is_asked_for or is_attachment(headers)
        return super().body(url, status, headers, codings) if is_file else None


class PageDownloads:
    """Where the files of pages go; `files` None: nowhere."""

    def __init__(self, files: SavedFiles | None) -> None:
        self._files = files

    @property
    def most(self) -> int:
        """Bytes of one file; 0: none is kept."""
        return self._files.most if self._files is not None else 0

    @property
    def is_slow(self) -> bool:
        """Whether to keep a file means to send it somewhere."""
        return self._files is not None and self._files.is_slow

    def of(self, wanted: PageRequest) -> PageDownload | None:
        """What takes the answer to a request of a page, if it turns out to be a file."""
        if self._files is None or wanted.kind not in _LEADS_ON:
            return None
        return PageDownload(self._files, is_asked_for=wanted.kind == "download")

    def filed(self, download: PageDownload | None, wanted: PageRequest, answer: Answer) -> Answer:
        """An answer with its file in its place."""
        answer = with_file(download, answer)
        response = answer.response
        if download is None or self._files is None:
            return answer
        if response is None:
            download.discard()
        elif response.file is None and 200 <= response.status < 300 and _is_file(wanted, response):
            name = name_of(response.headers, response.url)
            facts = self._files.keep_content(response.content, name, type_of(response.headers, name))
            return replace(answer, response=replace(response, file=facts, content=b""))
        return answer

    def made(self, downloaded: Downloaded) -> Loaded:
        """What became of a file that a page has made."""
        name = safe_name(downloaded.name) or "file"
        kind, reason, facts = type_of(Headers(), name), downloaded.reason, None
        if downloaded.file is not None:
            with downloaded.file:
                if self._files is not None and self._files.takes(kind):
                    facts = self._files.keep_copy(downloaded.file, name, kind)
                else:
                    reason = f"its type is {kind}, which file_types does not name"
        # What a script makes may have an address of any length.
        return Loaded(downloaded.url[:500], "download", status=200 if facts else 0, reason=reason, file=facts)


def is_attachment(headers: Headers) -> bool:
    """Whether a browser keeps an answer instead of showing it (RFC 6266 4.2), or has no way to show it."""
    if headers.get("content-disposition", "").partition(";")[0].strip().lower() == "attachment":
        return True
    kind = (headers.getall("content-type") or [""])[-1].partition(";")[0].strip().lower()
    return bool(kind) and not (kind.startswith(_SHOWN) or kind.endswith(_ALSO_SHOWN))


def _is_file(wanted: PageRequest, response: Response) -> bool:
    return wanted.kind == "download" or is_attachment(response.headers)
