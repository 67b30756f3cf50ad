"""The operations on spiders, runs and records."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

from starlette.responses import Response

from scraper.app.admin.audit import audit
from scraper.app.admin.new_spider import check_url
from scraper.app.one_url.explain import ExplainContext, answer_to, explain
from scraper.app.project import NO_SPIDERS, runs_of, state_of
from scraper.app.running.end_run import last_of_each
from scraper.app.session_opener import reach_from
from scraper.errors import ScraperError, UsageError
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock
from scraper.politeness.scope import has_credentials
from scraper.runs import metrics
from scraper.runs.files import RunFiles
from scraper.service import records as records_of
from scraper.service.events import Events, progress_of
from scraper.service.operations import Call, Operation, Param, json_response
from scraper.service.problems import MEDIA_TYPE as PROBLEM
from scraper.service.problems import Problem
from scraper.service.project import Project
from scraper.service.reading import Reader
from scraper.service.records import FORMATS, Pages
from scraper.service.runs import BODY, Runs, facts, order_of
from scraper.settings import Settings
from scraper.store import Run, Store

JSON = "application/json"
NAME = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_(][\w.() -]{0,99}$",
    "maxLength": 100,
    "description": "a name that GET /spiders or GET /runs has",
}
_NAMED = {"run": NAME, "spider": NAME}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 10_000}
_PAGE = (
    Param(
        "format",
        {"type": "string", "enum": list(FORMATS)},
        "json (a page), jsonl or csv (all)",
    ),
    Param(
        "cursor", {"type": "string", "pattern": r"^[0-9]{1,15}(-[0-9]{1,9})?$"}, "`next` of the page before"
    ),
    Param("limit", _LIMIT, "how many at most"),
)
_ALL = tuple(FORMATS.values())
Answers = Mapping[int, tuple[tuple[str, ...], str]]
_OK = {200: ((JSON,), "As asked for.")}
_PARTS = {200: (_ALL, "As asked for."), 304: ((), "As you have it."), 406: ((), "In no such format.")}
_BEGUN = {
    201: ((JSON,), "The run has begun."),
    200: ((JSON,), "It was begun with this key before."),
    409: ((PROBLEM,), "The spider is running; `holder` names who runs it."),
}
_CONFLICT = {409: ((PROBLEM,), "Not now: the state of the run.")}
_STREAM = {200: (("text/event-stream",), "Events: progress, log, end.")}
_TEXT = {"type": "string", "minLength": 1, "maxLength": 2000}
_URL = Param("url", _TEXT, "an absolute URL", is_required=True)
_SPIDER = Param("spider", NAME, "of this spider alone")
_LISTED = Param("limit", {"type": "integer", "minimum": 1, "maximum": 500}, "how many at most", 50)
_KEY = Param(
    "Idempotency-Key",
    {"type": "string", "maxLength": 200},
    "any text; twice the same is one run",
    is_header=True,
)
_LAST_EVENT = Param(
    "Last-Event-ID", {"type": "string", "maxLength": 40}, "go on behind this event", is_header=True
)
# What of a summary a list of runs has; the rest is told by the run itself.
_IN_LISTS = (
    *("run_id", "spider", "state", "verdict", "is_accepted", "started_at", "ended_at", "seconds", "reasons"),
    *("exit_code", "pages", "unchanged", "records", "added", "changed", "removed", "failed"),
)


@frozen
class Api:
    """What the operations work with."""

    reader: Reader
    project: Project
    runs: Runs
    events: Events
    settings: Settings
    more_metrics: Callable[[], Iterable[str]] = tuple

    # spiders and runs ---------------------------------------------------------------------------------
    async def list_spiders(self, call: Call) -> Response:
        """The spiders, each with its last run."""
        spiders = await self.project.spiders()
        last = await self.reader.call(last_runs, list(spiders))
        return json_response({"spiders": [dict(one) | last[name] for name, one in spiders.items()]})

    async def list_runs(self, call: Call) -> Response:
        """The last runs, newest first."""
        found = await self.reader.call(runs_listed, call.query["spider"], call.query["limit"])
        return json_response({"runs": found})

    async def start_run(self, call: Call) -> Response:
        """Begin a run as a process of its own."""
        order = order_of(call.body)
        wall = SystemClock(0.0).wall()
        # Two callers may have chosen the same.
        key = call.query["Idempotency-Key"] and f"{call.caller.name} {call.query['Idempotency-Key']}"
        run_id, is_new = await self.runs.start(order, key or "", wall)
        body = {"run_id": run_id, "spider": order.spider, "is_new": is_new}
        return json_response(body, 201 if is_new else 200, {"Location": f"/runs/{run_id}"})

    async def show_run(self, call: Call) -> Response:
        """run.json; of a run that goes on, where it stands."""
        run = await self.runs.find(call.path["run"])
        etag = records_of.etag_of(run)
        if run.state == "ended" and (same := records_of.not_modified(call, etag)) is not None:
            return same
        found = await self.reader.call(facts, run)
        if run.state != "ended":
            found = {**found, "progress": await self.reader.call(progress_of, run)}
        return json_response(found, headers={"ETag": etag} if run.state == "ended" else {})

    async def stop_run(self, call: Call) -> Response:
        """Ask a run to save its state and end."""
        run = await self.runs.find(call.path["run"])
        await self.runs.stop(run)
        return json_response({"run_id": run.id, "state": "stopping"}, 202, {"Location": f"/runs/{run.id}"})

    async def accept_run(self, call: Call) -> Response:
        """Take over the records of a run that was not OK."""
        run = await self.runs.accept(await self.runs.find(call.path["run"]))
        counts = {name: run.summary.get(name, 0) for name in ("added", "changed", "removed")}
        return json_response({"run_id": run.id, "spider": run.spider, **counts})

    async def stream_events(self, call: Call) -> Response:
        """A run as it happens."""
        run = await self.runs.find(call.path["run"])
        return self.events.response(run, call.query["Last-Event-ID"] or "")

    # what came of them ---------------------------------------------------------------------------------
    async def list_records(self, call: Call) -> Response:
        """The records of a run."""
        run = await self.runs.find(call.path["run"])
        done = (await self.reader.call(done_of, run)) if run.state != "ended" else 0
        etag = records_of.etag_of(run, done, call.request.url.query, records_of.format_of(call))
        if (same := records_of.not_modified(call, etag)) is not None:
            return same

        def read(store: Store, cursor: str, limit: int) -> records_of.Part:
            return records_of.records_part(store, run, cursor, limit)

        return await Pages(self.reader, "records", etag).response(call, read)

    async def list_changes(self, call: Call) -> Response:
        """What a run changed, or would change if it were accepted."""
        run = await self.runs.find(call.path["run"])
        last = await self.reader.call(records_of.last_published, run.spider)
        etag = records_of.etag_of(run, last, call.request.url.query, records_of.format_of(call))
        if (same := records_of.not_modified(call, etag)) is not None:
            return same

        def read(store: Store, cursor: str, limit: int) -> records_of.Part:
            return records_of.changes_part(store, run, self.project.data, cursor, limit)

        return await Pages(self.reader, "changes", etag).response(call, read)

    async def show_report(self, call: Call) -> Response:
        """The report of a run, as the run wrote it."""
        run = await self.runs.find(call.path["run"])
        file = RunFiles(self.project.data, run.spider, run.id).folder / "report.html"
        try:
            content = await asyncio.to_thread(file.read_bytes)
        except FileNotFoundError:
            raise Problem(404, f"run {run.id} has no report yet", "a run writes it when it ends") from None
        etag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
        if (same := records_of.not_modified(call, etag)) is not None:
            return same
        # Its page is text of sites in our own origin: it may run nothing and ask for nothing.
        policy = (
            "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
        )
        headers = {"Content-Security-Policy": policy, "Cache-Control": "private, no-cache", "ETag": etag}
        return Response(content, media_type="text/html; charset=utf-8", headers=headers)

    async def show_audit(self, call: Call) -> Response:
        """The proof of politeness."""
        run = await self.runs.find(call.path["run"])
        domains = await self.reader.call(audit, run)
        breaches = sum(one.breaches for one in domains)
        return json_response({"run_id": run.id, "breaches": breaches, "domains": list(map(asdict, domains))})

    async def explain_url(self, call: Call) -> Response:
        """Would a URL be fetched, and if not, why."""
        return json_response(await self.explained(call.query["url"], call.query["spider"]))

    async def explained(self, given: str, spider: str | None) -> dict[str, Any]:
        """The checks of a URL and what they come to: as a spider would ask, or as `/fetch`."""
        url = check_address(given)
        if spider:
            await self.project.spider(spider)
            done = await self.project.run("explain", "--json", "--spider", spider, url)
            if done.code:
                raise Problem(400, done.told, parameter="url")
            return dict(json.loads(done.out))
        asker = ExplainContext(self.settings, reach=reach_from(self.settings, set()))
        checks = await self.reader.call(lambda store: list(explain(url, asker, store)))
        return {"url": url, "answer": answer_to(checks), "checks": [asdict(one) for one in checks]}

    # the service itself ---------------------------------------------------------------------------------
    async def check_health(self, call: Call) -> Response:
        """Whether the store can be read."""
        try:
            await self.reader.call(lambda store: store.runs(None, 1))
        except ScraperError as error:
            raise Problem(503, error.message, error.hint) from None
        return json_response({"status": "ok"})

    async def show_metrics(self, call: Call) -> Response:
        """What Prometheus asks for."""
        last = await self.reader.call(last_of_each)
        running = await self.reader.call(running_now)
        own = [*metrics.head("runs_running", "Runs under way."), metrics.series("runs_running", running)]
        lines = "".join(f"{line}\n" for line in [*own, *self.more_metrics()])
        return Response(metrics.render(last) + lines, media_type=metrics.MEDIA_TYPE)

    def operations(self) -> list[Operation]:
        """All that can be asked of runs and records."""
        run = "/runs/{run}"
        rows: list[tuple[str, str, str, Any, Answers, tuple[Param, ...]]] = [
            ("GET", "/spiders", "read", self.list_spiders, _OK, ()),
            ("GET", "/runs", "read", self.list_runs, _OK, (_SPIDER, _LISTED)),
            ("POST", "/runs", "run", self.start_run, _BEGUN, (_KEY,)),
            ("GET", run, "read", self.show_run, _OK | {304: ((), "As you have it.")}, ()),
            ("DELETE", run, "run", self.stop_run, {202: ((JSON,), "It saves its state.")} | _CONFLICT, ()),
            ("GET", f"{run}/events", "read", self.stream_events, _STREAM, (_LAST_EVENT,)),
            ("GET", f"{run}/records", "read", self.list_records, _PARTS, _PAGE),
            ("GET", f"{run}/changes", "read", self.list_changes, _PARTS, _PAGE),
            ("GET", f"{run}/report", "read", self.show_report, {200: (("text/html",), "The report.")}, ()),
            ("GET", f"{run}/audit", "read", self.show_audit, _OK, ()),
            ("POST", f"{run}/accept", "run", self.accept_run, _OK | _CONFLICT, ()),
            ("GET", "/explain", "read", self.explain_url, _OK, (_URL, _SPIDER)),
            ("GET", "/healthz", "", self.check_health, _OK, ()),
            ("GET", "/metrics", "read", self.show_metrics, {200: (("text/plain",), "Metrics.")}, ()),
        ]
        return [
            Operation(
                method,
                path,
                scope,
                (handle.__doc__ or "").strip(),
                handle,
                answers,
                params,
                body=BODY if (method, path) == ("POST", "/runs") else None,
                is_effective=method != "GET",
                path_params=_NAMED,
            )
            for method, path, scope, handle, answers, params in rows
        ]


def check_address(url: str) -> str:
    """An absolute http(s) URL in its usual spelling; Problem 400 for anything else."""
    try:
        address = check_url(url)
    except UsageError as error:
        raise Problem(400, error.message, error.hint, parameter="url") from None
    if has_credentials(address):
        told = "give them to the project: setting auth"
        raise Problem(400, "a URL with credentials is not fetched", told, parameter="url")
    return address


def last_runs(store: Store, names: list[str]) -> dict[str, dict[str, Any]]:
    """The last run of each spider: "run_id", "verdict", "last_run"."""
    found = {}
    for name in names:
        run = next(iter(store.runs(name, 1)), None)
        told = {"run_id": run.id, "verdict": state_of(store, run), "last_run": run.started_at} if run else {}
        found[name] = {"run_id": None, "verdict": None, "last_run": None} | told
    return found


def runs_listed(store: Store, spider: str | None, limit: int) -> list[dict[str, Any]]:
    """Runs in few words."""
    found = (facts(store, run) for run in runs_of(store, spider, limit))
    return [{name: one[name] for name in _IN_LISTS if name in one} for one in found]


def running_now(store: Store) -> int:
    """How many runs are under way."""
    known = (run for run in store.runs(None, 200) if run.spider not in NO_SPIDERS)
    return sum(run.state == "running" and store.is_led(run) for run in known)


def done_of(store: Store, run: Run) -> tuple[int, int]:
    """How far a run is: another value where it has another record."""
    progress = store.progress(run)
    return progress.done, progress.pending
