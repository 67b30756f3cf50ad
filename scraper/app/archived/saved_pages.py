"""Pages kept beside a project's tests, with the records that its spider makes of them.

tests/fixtures/NAME/PAGE.json        the answer without its body, the callback, and the records
tests/fixtures/NAME/PAGE.html ...    the body, byte for byte

Plain files, so that a change of records shows in the project's version control.
"""

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scraper.app.archived.reparse import Checked
from scraper.errors import ScraperError, UsageError
from scraper.model import Headers, RecordLine, Request, Response
from scraper.model.frozen import frozen
from scraper.ops.disk import explained, replace
from scraper.ops.tracebacks import told
from scraper.parsing.page import Page
from scraper.runs.changes import Change, diff
from scraper.runs.records import key_fields, line_of
from scraper.spider import Spider
from scraper.spider.parse_result import parse_page
from scraper.spider.rules import rules_of

FOLDER = Path("tests") / "fixtures"
WORDS: Mapping[str, str] = {"added": "new", "changed": "changed", "removed": "missing"}
# What a page's parse may look at. Cookies and the like are nobody's business in a repository.
_KEPT = frozenset(
    {"content-type", "x-robots-tag", "content-language", "last-modified", "link", "refresh", "content-usage"}
)
_ENDINGS = {
    "text/html": "html",
    "application/xhtml+xml": "xhtml",
    "application/json": "json.body",
    "text/plain": "txt",
}


@frozen
class SavedPage:
    """One saved page: the file of its facts, what was asked for and what came, the records as they were."""

    file: Path
    request: Request
    response: Response
    depth: int = 0
    records: tuple[dict[str, Any], ...] = ()

    def page(self) -> Page:
        """The page, ready to be parsed."""
        return Page(self.request, self.response, depth=self.depth)


def file_for(folder: Path, request: Request) -> Path:
    """Where a request's page is saved: a readable name, and a hash where that says too little."""
    parts = urlsplit(request.url)
    text = f"{parts.path}?{parts.query}" if parts.query else parts.path
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "index"
    if parts.query or request.callback != "parse" or len(text) > 60:
        name += "-" + blake2b(f"{request.url} {request.callback}".encode(), digest_size=3).hexdigest()
    return folder / f"{name}.json"


def save(saved: SavedPage, spider: Spider) -> SavedPage:
    """Write a page with the records that the spider makes of it; UsageError where its site forbids copies.

    What its callback raises goes on, and nothing is written.
    """
    if saved.page().noarchive:
        raise UsageError(f"{saved.response.url} says noarchive", "its site asks that no copy be kept")
    records = tuple(json.loads(one.line) for one in parse(saved, spider))
    response, request = saved.response, saved.request
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = saved.file.with_suffix(f".{_ENDINGS.get(kind, 'xml' if kind.endswith('xml') else 'body')}")
    facts = {
        "url": request.url,
        **({"final_url": response.url} if response.url != request.url else {}),
        "status": response.status,
        "headers": [[name, value] for name, value in response.headers.items_all() if name.lower() in _KEPT],
        "fetched_at": int(response.fetched_at),
        "callback": request.callback,
        **({"meta": dict(request.meta)} if request.meta else {}),
        **({"depth": saved.depth} if saved.depth else {}),
        "body": body.name,
        "records": records,
    }
    with explained(saved.file):
        saved.file.parent.mkdir(parents=True, exist_ok=True)
    replace(body, iter([response.content]))
    replace(
        saved.file,
        iter([(json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")]),
    )
    return SavedPage(saved.file, request, response, saved.depth, records)


def saved_pages(folder: Path, name: str = "*.json") -> Iterator[SavedPage]:
    """The pages in a folder, or the one of a name; UsageError names a file that is none of ours."""
    for file in sorted(folder.glob(name)):
        try:
            facts = json.loads(file.read_text("utf-8"))
            content = (file.parent / Path(facts["body"]).name).read_bytes()
            headers = Headers((str(name), str(value)) for name, value in facts["headers"])
            request = Request(facts["url"], facts["callback"], meta=facts.get("meta"))
            final = facts.get("final_url", facts["url"])
            response = Response(final, facts["status"], headers, content, float(facts["fetched_at"]))
            yield SavedPage(file, request, response, facts.get("depth", 0), tuple(facts["records"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{file} is no saved page: {type(error).__name__} {error}", "save it again"
            ) from None


def parse(saved: SavedPage, spider: Spider) -> list[RecordLine]:
    """The records of a saved page."""
    return list(parse_page(spider, saved.page(), rules_of(spider)).records)


def compare(saved: SavedPage, spider: Spider) -> Checked:
    """Parse a saved page and hold its records against those that are saved."""
    url = saved.request.url
    try:
        now = parse(saved, spider)
    except ScraperError as error:
        return Checked(url, error=str(error))
    except Exception as error:  # the spider's own code may raise anything
        return Checked(url, error=told(error))
    before = [json.dumps(record, ensure_ascii=False) for record in saved.records]
    after = [one.line for one in now]
    keys = [one.key for one in now]
    by_key = _keys(saved.records, key_fields(spider.key))
    if by_key is None or len(set(keys)) < len(keys):
        # Without a key a record is known by its place.
        by_key, keys = [str(n) for n in range(1, len(before) + 1)], [str(n) for n in range(1, len(after) + 1)]
    pairs = zip(by_key, before, strict=True), zip(keys, after, strict=True)
    return Checked(url, tuple(diff(*pairs)))


def _keys(records: tuple[dict[str, Any], ...], names: tuple[str, ...]) -> list[str] | None:
    """The keys of saved records; None where they have none, or share one."""
    if not names or any(record.get(name) is None for record in records for name in names):
        return None
    keys = [line_of(record, names).key for record in records]
    return keys if len(set(keys)) == len(keys) else None


def differences(checked: Checked, most: int = 20) -> Iterator[str]:
    """A page that differs, in lines: each record, and field by field what it was and is."""
    yield checked.url
    if checked.error:
        yield f"  raised   {checked.error}"
    for change in checked.changes[:most]:
        head = f"  {WORDS[change.change]:<8} {change.key}"
        fields = list(_fields(change))
        if change.change == "changed" and len(fields) == 1:
            yield f"{head}: {fields[0]}"
        else:
            yield from (head, *(f"    {field}" for field in fields))
    if len(checked.changes) > most:
        yield f"  and {len(checked.changes) - most:,} more"


def _fields(change: Change) -> Iterator[str]:
    before, after = change.before or {}, change.after or {}
    for name in dict.fromkeys([*before, *after]):
        if change.change == "changed":
            yield f"{name} {_shown(before, name)} -> {_shown(after, name)}"
        else:
            yield f"{name} {_shown(before or after, name)}"


def _shown(fields: Mapping[str, Any], name: str) -> str:
    text = json.dumps(fields[name], ensure_ascii=False) if name in fields else "(none)"
    return text if len(text) <= 80 else f"{text[:79]}…"
