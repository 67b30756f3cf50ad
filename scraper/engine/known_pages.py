"""Pages that an earlier run has parsed: may its result be reused, what validators to send, their copies."""

from dataclasses import replace

from scraper.engine.file_requests import FileRequests
from scraper.errors import ScraperError
from scraper.http import caching
from scraper.model import Entry, Headers, Known, Response
from scraper.parsing.page import Page
from scraper.runs.archive.reading import Archives
from scraper.spider.identity import ParseInputs, archived_as, depends_on

_ROUNDED = 1e-6  # seconds: an archive keeps no more of a moment (WARC-Date)


class KnownPages:
    """Compares pages with their last version. `version`: the run's number; `is_archiving`: all need a copy.

    `doubtful`: entries (by their ids) that are requested without conditions.
    """

    def __init__(
        self,
        version: int,
        inputs: ParseInputs,
        saved: FileRequests,
        archives: Archives | None = None,
        *,
        is_archiving: bool = False,
    ) -> None:
        self._version = version
        self._page_inputs = inputs
        self._saved = saved
        self._archives = archives
        self._is_archiving = is_archiving
        self.doubtful: set[int] = set()

    @property
    def named_files(self) -> frozenset[str]:
        """Files that the spider's code names: their content is among what is compared."""
        return self._page_inputs.files

    def may_reuse(self, entry: Entry) -> bool:
        """Whether the result of the last parse may be reused if the page itself has not changed."""
        return self.is_same(entry) and not self._is_uncopied(entry)

    def to_ask(self, entry: Entry, own_fields: str) -> Entry:
        """The entry to request: without conditions if neither the last result nor a copy can be used.

        What is known is then how much the page brought, and no more.
        """
        known = entry.known
        if known is None or self.is_same(entry, own_fields) or self.copy(entry) is not None:
            return entry
        return replace(entry, known=replace(known, etag=None, last_modified=None, body_hash=b""))

    def conditions(self, entry: Entry, method: str) -> dict[str, str]:
        """The header fields that make the request conditional, as far as it may be."""
        known = entry.known
        # A HEAD has nothing but its header, so that no answer to it stands for another.
        if known is None or method != "GET" or self._is_uncopied(entry) or entry.id in self.doubtful:
            return {}
        return caching.conditional_headers(known.etag, known.last_modified)

    def is_same(self, entry: Entry, own_fields: str = "") -> bool:
        """Whether all that the known version's parse depended on, beside the page, is as it was."""
        known = entry.known
        return (
            known is not None
            and depends_on(known.inputs) == self._inputs(entry, own_fields)
            and self._saved.has_all(known)
        )

    def may_differ(self, known: Known, headers: Headers) -> bool:
        """Whether a 304 brings a header field that counts, and that the known version did not have so."""
        return self._page_inputs.may_differ(known, headers)

    def _inputs(self, entry: Entry, own: str) -> str:
        """What a parse depends on beside the page; `own`: what its session sends, such as a currency."""
        return f"{self._page_inputs.of(entry)}{own and '+'}{own}"

    def _is_uncopied(self, entry: Entry) -> bool:
        """Whether a known page is to be archived and is not yet."""
        known, archives = entry.known, self._archives
        if not self._is_archiving or archives is None or known is None or known.is_noarchive:
            return False
        return not (self._saved.is_for_file(entry) or archives.has(archived_as(entry)))

    def copy(self, entry: Entry) -> Response | None:
        """The archived body of a known version, to be parsed once more."""
        known = entry.known
        if known is not None and self._saved.is_for_file(entry):
            return self._saved.response(entry, known)
        if self._archives is None or known is None:
            return None
        try:
            found = self._archives.get(archived_as(entry))
        except ScraperError:
            return None  # an archive that cannot be read only costs traffic
        is_it = found is not None and self._page_inputs.digest(found.response) == known.body_hash
        return found.response if found is not None and is_it else None

    def is_outdated(self, entry: Entry, response: Response) -> bool:
        """Whether an archived answer is older than the version that the last accepted run has seen.

        Other code may count other header fields: so the body by itself is enough, too.
        """
        known = entry.known
        if known is None or not known.body_hash or response.fetched_at > known.fetched_at - _ROUNDED:
            return False
        hashes = (inputs.digest(response) for inputs in (self._page_inputs, ParseInputs("")))
        return known.body_hash not in hashes and not self._saved.is_for_file(entry)

    def saved(self, entry: Entry) -> Response | None:
        """What stands for a request whose file is here; None for any other."""
        return self.copy(entry) if self._saved.is_for_file(entry) else None

    def version_of(self, entry: Entry, page: Page) -> Known:
        """What this run keeps about a page, to compare the next answer with."""
        response = page.response
        heard = self._page_inputs.heard(response.headers)
        asked = entry.known.etag if entry.known is not None and not self._is_uncopied(entry) else None
        etag, last_modified = caching.validators(response.headers, asked)
        return Known(
            version=self._version,
            etag=etag,
            last_modified=last_modified,
            fresh_until=caching.fresh_until(response.headers, response.fetched_at),
            body_hash=self._page_inputs.digest(response),
            fetched_at=response.fetched_at,
            inputs=f"{self._inputs(entry, page.session_fields)}{heard and '|'}{heard}",
        )

    def is_as_before(self, known: Known, before: Known) -> bool:
        """Whether a page and all that its parse depends on are those of another version."""
        is_same = (before.body_hash, before.inputs) == (known.body_hash, known.inputs)
        return is_same and self._saved.has_all(before)

    @staticmethod
    def renewed(response: Response, before: Known) -> Known:
        """The stored validators, brought up to date by a 304 (RFC 9111 4.3.4)."""
        etag, last_modified = caching.renewed(response.headers, before.etag, before.last_modified)
        return replace(
            before,
            etag=etag,
            last_modified=last_modified,
            fresh_until=caching.fresh_until(response.headers, response.fetched_at),
            fetched_at=response.fetched_at,
        )
