"""The dashboard: pages made here, that need no script to be read, and ask nothing of anybody else."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from scraper.app.admin.audit import audit
from scraper.errors import UsageError
from scraper.ops.printable import printable, printable_value
from scraper.ops.schedule import next_time, parse_schedule
from scraper.runs.files import RunFiles
from scraper.service.access import COOKIE, is_by_tls
from scraper.service.api import Api
from scraper.service.application import Gate, read_body
from scraper.service.events import progress_of
from scraper.service.glance import Glance, Glances
from scraper.service.operations import PUBLIC, Call, Operation, Param
from scraper.service.problems import Problem
from scraper.service.records import changes_part, last_published
from scraper.service.runs import facts
from scraper.service.view import Views, Wanted
from scraper.store import Run, Store

ROWS = 100
MOST_COLUMNS = 30
LONGEST_CELL = 300
CHANGES = 50
RUNS = 50
DAYS_IN = 30
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9_(][\w.() -]{0,99}$", "maxLength": 100}


class Pages:
    """The operations of the dashboard."""

    def __init__(self, api: Api, gate: Gate) -> None:
        self._api = api
        self._gate = gate
        self._glances = Glances()
        self._views = Views()
        # Threads of their own: tables that take a minute to sort hold up no fetch.
        self._viewing = ThreadPoolExecutor(2, thread_name_prefix="table")
        self._schedules: Mapping[str, str] = {}
        self._static = {one.name: one.read_bytes() for one in (files("scraper.service") / "static").iterdir()}
        self._templates = Environment(
            loader=PackageLoader("scraper.service", "templates"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "count": lambda number: f"{number:,}" if isinstance(number, int) else "",
            "moment": _moment,
            "iso": _iso,
            "told": printable,
            "cell": _cell,
            "key": _key,
            "duration": _duration,
        }

    async def warm(self) -> None:
        """Read what the first page needs, before anybody asks for it."""
        spiders = await self._api.project.spiders()
        await self._api.reader.call(self._glances.of, list(spiders))

    def close(self) -> None:
        """Let go of temporary files."""
        self._viewing.shutdown(wait=False, cancel_futures=True)
        self._views.close()

    # pages ------------------------------------------------------------------------------------------------
    async def show_home(self, call: Call) -> Response:
        """The spiders, each with its last verdict."""
        spiders = await self._api.project.spiders()
        schedules = await self._api.project.schedules()
        known = await self._api.reader.call(self._glances.of, list(spiders))
        rows = [self._row(one, known.get(name, []), schedules.get(name, "")) for name, one in spiders.items()]
        return self._page("home.html", call, rows=rows, title="Spiders")

    def _row(self, spider: Mapping[str, Any], runs: Sequence[Glance], schedule: str) -> dict[str, Any]:
        return {
            "name": spider["name"],
            "summary": spider["summary"],
            "error": spider["error"],
            "last": runs[-1] if runs else None,
            "line": sparkline([one.records for one in runs if one.records is not None]),
            "next": _next(schedule),
            "schedule": schedule,
        }

    async def show_spider(self, call: Call) -> Response:
        """A spider and its last runs."""
        spider = await self._api.project.spider(call.path["spider"])
        self._glances.forget(spider["name"])
        known = await self._api.reader.call(self._glances.of, [spider["name"]])
        row = self._row(
            spider,
            known.get(spider["name"], []),
            (await self._api.project.schedules()).get(spider["name"], ""),
        )
        runs = await self._api.reader.call(
            lambda store: [facts(store, run) for run in store.runs(spider["name"], RUNS)]
        )
        return self._page("spider.html", call, row=row, runs=runs, title=spider["name"])

    async def show_run(self, call: Call) -> Response:
        """A run: live, or what came of it, and the proof of its politeness."""
        run = await self._api.runs.find(call.path["run"])
        told = printable_value(await self._api.reader.call(facts, run))
        progress = await self._api.reader.call(progress_of, run)
        domains = await self._api.reader.call(audit, run)
        has_report = (RunFiles(self._api.project.data, run.spider, run.id).folder / "report.html").is_file()
        is_live = told["verdict"] == "running"
        before = await self._api.reader.call(_records_before, run) if is_live else None
        return self._page(
            "run.html", call, run=told, progress=printable_value(progress), domains=domains,
            is_live=is_live, before=before, has_report=has_report, title=f"{run.spider} {run.id}",
        )  # fmt: skip

    async def show_records(self, call: Call) -> Response:
        """The records of a run as a table."""
        run = await self._api.runs.find(call.path["run"])
        query = call.query
        wanted = Wanted(query["sort"] or "", query["order"] == "desc", query["filter"] or "")
        start = query["from"]
        file = RunFiles(self._api.project.data, run.spider, run.id).folder / "records.jsonl"
        loop = asyncio.get_running_loop()
        rows, total = await loop.run_in_executor(self._viewing, self._rows, file, wanted, start)
        columns = list(dict.fromkeys(name for row in rows for name in row))[:MOST_COLUMNS]
        more = {"sort": wanted.sort, "order": query["order"], "filter": wanted.text}
        links = {
            "next": _query(more, start + ROWS) if start + ROWS < total else "",
            "before": _query(more, max(0, start - ROWS)) if start else "",
            "sorts": {
                name: _query(more | {"sort": name, "order": _turned(wanted, name)}, 0) for name in columns
            },
        }
        return self._page(
            "records.html", call, run={"run_id": run.id, "spider": run.spider}, rows=rows, columns=columns,
            total=total, start=start, wanted=wanted, links=links, title=f"Records of {run.spider}",
        )  # fmt: skip

    def _rows(self, file: Path, wanted: Wanted, start: int) -> tuple[list[dict[str, Any]], int]:
        if not file.is_file():
            return [], 0
        return self._views.rows(file, wanted, start, ROWS)

    async def show_changes(self, call: Call) -> Response:
        """What a run changed, with before and after."""
        run = await self._api.runs.find(call.path["run"])
        try:
            part = await self._api.reader.call(
                changes_part, run, self._api.project.data, call.query["cursor"] or "", CHANGES
            )
        except Problem as problem:
            if problem.status != 404:
                raise
            return self._page(
                "changes.html",
                call,
                run=_named(run),
                changes=None,
                next="",
                title="Changes",
                note=problem.detail,
            )
        changes = [printable_value(json.loads(line)) for line in part.lines]
        is_published = run.id == await self._api.reader.call(last_published, run.spider)
        return self._page(
            "changes.html", call, run=_named(run), changes=changes, next=part.next, is_published=is_published,
            title=f"Changes of {run.spider}",
        )  # fmt: skip

    async def show_static(self, call: Call) -> Response:
        """The style and the scripts of the pages."""
        name = call.path["file"]
        if name not in self._static:
            raise Problem(404, f"there is no {name[:80]!r}")
        headers = {"Cache-Control": "private, max-age=300"}
        return Response(self._static[name], headers=headers, media_type=_TYPES[Path(name).suffix])

    # signing in -----------------------------------------------------------------------------------------
    async def sign_in(self, call: Call) -> Response:
        """Keep a token in a cookie that no script can read."""
        token = await _form_value(call.request, "token")
        if not await self._gate.is_valid(token):
            return self._signing_in(None, 401, "This token is not valid.")
        response = RedirectResponse("/", 303)
        is_secure, age = is_by_tls(call.request), DAYS_IN * 86_400
        response.set_cookie(COOKIE, token, age, path="/", secure=is_secure, httponly=True, samesite="strict")
        return response

    async def sign_out(self, call: Call) -> Response:
        """Forget the cookie."""
        response = RedirectResponse("/", 303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    # -----------------------------------------------------------------------------------------------------
    def as_page(self, request: Request, problem: Problem) -> Response:
        """A problem for a browser; where a token is missing, the page to sign in."""
        if problem.status == 401:
            return self._signing_in(problem, 401, "", problem.headers)
        template = self._templates.get_template("problem.html")
        text = template.render(problem=problem, title="Not now", is_known=False)
        return _html(text, problem.status, problem.headers)

    def _signing_in(
        self, problem: Problem | None, status: int, note: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        template = self._templates.get_template("sign_in.html")
        text = template.render(problem=problem, title="Sign in", note=note, is_known=False)
        return _html(text, status, headers or {})

    def _page(self, name: str, call: Call, status: int = 200, **values: Any) -> Response:
        may_run = "run" in call.caller.scopes
        is_signed_in = call.caller.is_cookie
        text = self._templates.get_template(name).render(
            **values, may_run=may_run, is_signed_in=is_signed_in, is_known=True
        )
        return _html(text, status)

    def operations(self) -> list[Operation]:
        """The pages, for the table."""
        text = {"type": "string", "maxLength": 200}
        table = (
            Param("sort", text, "a field"),
            Param("order", {"type": "string", "enum": ["asc", "desc"]}, "asc or desc", "asc"),
            Param("filter", text, "only records that hold this text"),
            Param("from", {"type": "integer", "minimum": 0, "maximum": 10**9}, "the first row", 0),
        )
        feed = (Param("cursor", {"type": "string", "maxLength": 40}, "go on here"),)
        run = "/ui/runs/{run}"
        rows: list[tuple[str, str, str, Any, tuple[Param, ...]]] = [
            ("GET", "/", "read", self.show_home, ()),
            ("GET", "/ui/spiders/{spider}", "read", self.show_spider, ()),
            ("GET", run, "read", self.show_run, ()),
            ("GET", f"{run}/records", "read", self.show_records, table),
            ("GET", f"{run}/changes", "read", self.show_changes, feed),
            ("GET", "/ui/static/{file}", PUBLIC, self.show_static, ()),
            ("POST", "/ui/sign-in", PUBLIC, self.sign_in, ()),
            ("POST", "/ui/sign-out", PUBLIC, self.sign_out, ()),
        ]
        html = {200: (("text/html",), "A page.")}
        return [
            Operation(
                method, path, scope, (handle.__doc__ or "").strip(), handle, html, params,
                is_effective=method == "POST", is_page=True, path_params={"run": _NAME, "spider": _NAME},
            )
            for method, path, scope, handle, params in rows
        ]  # fmt: skip


def _records_before(store: Store, run: Run) -> int | None:
    """The records of the last run that was accepted: pages that stay as they were keep theirs."""
    lately = store.runs(run.spider, RUNS)
    return next((one.summary.get("records") for one in lately if one.is_accepted and one.id != run.id), None)


def sparkline(values: Sequence[int], width: int = 120, height: int = 28) -> str:
    """The points of a line over its values, for an SVG of this size; empty for fewer than two."""
    if len(values) < 2:
        return ""
    # A line that does not move stands in the middle.
    most, step = max(*values, 1) * (2 if len(set(values)) == 1 else 1), (width - 4) / (len(values) - 1)
    places = (
        f"{2 + n * step:.1f},{height - 3 - (height - 6) * one / most:.1f}" for n, one in enumerate(values)
    )
    return " ".join(places)


def _html(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    told = {"Content-Security-Policy": POLICY, "Cache-Control": "private, no-cache"} | dict(headers or {})
    return Response(text.encode("utf-8", "replace"), status, told, "text/html; charset=utf-8")


async def _form_value(request: Request, name: str) -> str:
    content = await read_body(request)
    found = parse_qs(content.decode("utf-8", "replace")).get(name, [""])
    return found[0].strip()


def _named(run: Run) -> dict[str, str]:
    return {"run_id": run.id, "spider": run.spider}


def _query(more: Mapping[str, str], start: int) -> str:
    return "?" + urlencode({name: value for name, value in more.items() if value} | {"from": start})


def _turned(wanted: Wanted, name: str) -> str:
    return "desc" if wanted.sort == name and not wanted.is_descending else "asc"


def _next(schedule: str) -> str:
    if not schedule:
        return ""
    try:
        found = next_time(parse_schedule(schedule), datetime.now())
    except UsageError:
        return ""
    return f"{found:%a %d %b, %H:%M}" if found is not None else ""


def _when(value: object) -> datetime | None:
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        return datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None


def _moment(value: object) -> str:
    found = _when(value)
    return f"{found.astimezone():%Y-%m-%d %H:%M}" if found is not None else ""


def _iso(value: object) -> str:
    found = _when(value)
    return found.isoformat(timespec="seconds") if found is not None else ""


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(" ".join(text.split()))[:LONGEST_CELL]


def _key(text: str) -> str:
    """A key as people read it; it is kept as a JSON list of its fields."""
    try:
        fields = json.loads(text)
    except ValueError:
        fields = text
    return ", ".join(map(_cell, fields)) if isinstance(fields, list) else _cell(fields)


def _duration(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return ""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
