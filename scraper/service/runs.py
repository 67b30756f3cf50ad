"""Runs as processes of their own: begun, stopped and accepted as the command line does it.

A run that was begun here belongs to nobody here: the service may end, and it goes on.
"""

import asyncio
import json
import os
import re
import secrets
import signal
import subprocess
import threading
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from scraper.app.project import NO_SPIDERS, facts_of_run
from scraper.app.running.summary import moment
from scraper.model.frozen import frozen
from scraper.ops.cron_log import trim_log
from scraper.ops.secrets import is_secret_name
from scraper.service.problems import Problem
from scraper.service.project import Project
from scraper.service.reading import Reader
from scraper.settings import values
from scraper.store import Run, Store

KIND = "idempotency"
LOG = "service.log"
BEGIN = 30.0  # seconds that a run may take to begin
LOOK_EVERY = 0.05
KEPT = 86_400.0  # seconds that an Idempotency-Key is known
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)
_TIME = re.compile(r"[0-9]{1,6}(?:s|m|h|d)", re.ASCII)

BODY: Mapping[str, Any] = {
    "type": "object",
    "required": ["spider"],
    "additionalProperties": False,
    "properties": {
        "spider": {"type": "string", "minLength": 1, "maxLength": 100, "description": "One of GET /spiders."},
        "params": {
            "type": "object",
            "maxProperties": 50,
            "propertyNames": {"pattern": r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$"},
            "additionalProperties": {"type": "string", "maxLength": 4000, "pattern": "^[ -~]*$"},
            "description": "Values for the spider's self.params.",
        },
        "max_pages": {"type": ["integer", "null"], "minimum": 1, "maximum": 1_000_000_000},
        "max_time": {
            "type": ["string", "null"],
            "pattern": r"^[0-9]{1,6}(s|m|h|d)$",
            "description": "A time such as 50m.",
        },
        "fresh": {"type": "boolean", "description": "Give up an unfinished run and begin a new one."},
    },
}


@frozen
class Order:
    """A run that somebody asks for."""

    spider: str
    params: Mapping[str, str]
    max_pages: int | None = None
    max_time: str | None = None
    fresh: bool = False

    def words(self) -> tuple[list[str], str]:
        """The options of `run`, and what its standard input has to say: secrets stand in no process list."""
        words, lines = ["run", self.spider, "--quiet"], list[str]()
        for name, value in self.params.items():
            if is_secret_name(name) or value == "-":
                words += ["--param", f"{name}=-"]
                lines.append(value)
            else:
                words += ["--param", f"{name}={'@' if value.startswith('@') else ''}{value}"]
        words += ["--max-pages", str(self.max_pages)] if self.max_pages else []
        words += ["--max-time", self.max_time] if self.max_time else []
        return words + (["--fresh"] if self.fresh else []), "".join(f"{line}\n" for line in lines)


def order_of(body: Any) -> Order:
    """What a body asks for; Problem 422 names the first member that is wrong."""
    if not isinstance(body, dict):
        raise _wrong("the body", "a JSON object", "")
    for name in body:
        if name not in BODY["properties"]:
            near = values.nearest(str(name), BODY["properties"])
            raise _wrong(
                str(name)[:60], f"one of {', '.join(BODY['properties'])}", str(name)[:60], near or ""
            )
    spider, max_pages, max_time = body.get("spider"), body.get("max_pages"), body.get("max_time")
    if not isinstance(spider, str) or not 0 < len(spider) <= 100:
        raise _wrong("spider", "the name of a spider", "spider")
    if max_pages is not None and not _is_count(max_pages):
        raise _wrong("max_pages", "a whole number from 1 on", "max_pages")
    if max_time is not None and not (isinstance(max_time, str) and _TIME.fullmatch(max_time)):
        raise _wrong("max_time", 'a time such as "50m"', "max_time")
    if type(body.get("fresh", False)) is not bool:
        raise _wrong("fresh", "true or false", "fresh")
    limit = None if max_pages is None else int(max_pages)
    return Order(spider, _params_of(body.get("params", {})), limit, max_time, body.get("fresh", False))


def _is_count(value: Any) -> bool:
    """Whether a JSON value is a whole number as JSON Schema has it: 7.0 is one."""
    return type(value) in (int, float) and 1 <= value <= 10**9 and value == int(value)


def _params_of(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or len(given) > 50:
        raise _wrong("params", "an object of up to 50 texts", "params")
    for name, value in given.items():
        is_text = isinstance(value, str) and len(value) <= 4000 and value.isprintable()
        if not (_NAME.fullmatch(name) and is_text and _is_utf8(value)):
            raise _wrong(f"params.{name[:60]}", "a name of letters, and a text of one line", "params")
    return given


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wrong(name: str, expected: str, member: str, near: str = "") -> Problem:
    return Problem(
        422, f"{name}: expected {expected}", f"did you mean {near}?" if near else "", member=member
    )


class Runs:
    """Begins, stops and accepts runs."""

    def __init__(self, reader: Reader, project: Project) -> None:
        self._reader = reader
        self._project = project

    async def find(self, name: str) -> Run:
        """A run by its id, or the last of a spider; Problem 404."""
        run = await self._reader.call(found, name)
        if run is None:
            raise Problem(404, f"there is no run {name[:80]!r}", "GET /runs lists them")
        return run

    async def start(self, order: Order, key: str, now: float) -> tuple[str, bool]:
        """Begin a run; its id, and whether it is new. With a key that was used before it is that run.

        Problem 409 where the spider is running or the key belongs to another order, 422 where it could not
        begin.
        """
        await self._project.spider(order.spider)
        if not key:
            return await self._begin(order), True
        name = blake2b(key.encode("utf-8", "replace"), digest_size=16).hexdigest()
        claim = {"order": _digest(order, key), "at": now, "by": secrets.token_hex(8), "run": ""}
        known = json.loads(await self._reader.call(_claimed, name, claim))
        if known["order"] != claim["order"]:
            raise Problem(409, "this Idempotency-Key belongs to another request", "take a new one for each")
        if known["run"]:
            return known["run"], False
        if known.get("by") != claim["by"]:
            raise Problem(409, "the first request with this key is still under way", "ask again in a moment")
        # Claimed before by a service that was killed meanwhile: what it began is the run of this key.
        run_id = await self._reader.call(_begun_since, order.spider, known["at"])
        is_new = not run_id
        try:
            run_id = run_id or await self._begin(order)
        except BaseException:
            await self._reader.call(_dropped, name)
            raise
        await self._reader.call(_kept, name, json.dumps(known | {"run": run_id}))
        return run_id, is_new

    async def _begin(self, order: Order) -> str:
        if (held := await self._reader.call(holder_of, order.spider)) is not None:
            raise _busy(order.spider, *held)
        words, typed = order.words()
        log = self._project.data / order.spider / LOG
        child = await asyncio.to_thread(self._spawn, words, typed, log)
        # Whoever begins a process has to be told of its end, or it stays as a zombie.
        threading.Thread(target=child.wait, name=f"run of {order.spider}", daemon=True).start()
        loop = asyncio.get_running_loop()
        until = loop.time() + BEGIN
        while loop.time() < until:
            run_id = await self._reader.call(begun_by, order.spider, child.pid)
            if run_id:
                return run_id
            if child.poll() is not None:
                return await self._ended_at_once(order.spider, child.returncode, log)
            await asyncio.sleep(LOOK_EVERY)
        raise Problem(
            503, f"the run did not begin within {BEGIN:g} s", f"its words are in {LOG} of the spider"
        )

    def _spawn(self, words: list[str], typed: str, log: Path) -> subprocess.Popen[bytes]:
        log.parent.mkdir(parents=True, exist_ok=True)
        trim_log(log)
        with log.open("ab") as file:
            child = subprocess.Popen(
                self._project.words(*words),
                cwd=self._project.root,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        assert child.stdin is not None
        with child.stdin as pipe:
            pipe.write(typed.encode())
        return child

    async def _ended_at_once(self, spider: str, code: int, log: Path) -> str:
        """The id of a run that is over already; a problem where there was none."""
        run = await self._reader.call(found, spider)
        if code in (2, 75) or run is None:
            if code == 75 and (held := await self._reader.call(holder_of, spider)) is not None:
                raise _busy(spider, *held)
            raise Problem(422, _last_line(log) or f"exit code {code}", "the run was not begun")
        return run.id

    async def stop(self, run: Run) -> None:
        """Ask a run to save its state and end; Problem 409 where there is nothing to stop here."""
        _check_spider(run)
        worker = await self._reader.call(worker_of, run)
        if not worker:
            raise Problem(409, f"run {run.id} is not running", "GET /runs/ID tells its state")
        host, pid = _process_of(worker)
        if host != os.uname().nodename or not pid:
            raise Problem(409, f"run {run.id} is a process on {host}", "stop it there")
        try:
            # By a handle: a process that has just ended may have left its number to another.
            handle = os.pidfd_open(pid)
        except OSError:
            raise Problem(409, f"run {run.id} has just ended") from None
        try:
            if await self._reader.call(worker_of, run) == worker:
                signal.pidfd_send_signal(handle, signal.SIGTERM)
        finally:
            os.close(handle)

    async def accept(self, run: Run) -> Run:
        """Take over the records of a run that was not OK, as the command does; Problem 409 says why not."""
        _check_spider(run)
        done = await self._project.run("accept", run.id)
        if done.code:
            raise Problem(409, done.told, "GET /runs/ID tells its state")
        return await self.find(run.id)


def _check_spider(run: Run) -> None:
    """Problem 409 for requests sent by hand: their process is this service, or somebody's command."""
    if run.spider in NO_SPIDERS:
        raise Problem(409, f"{run.spider} is no run of a spider", "GET /runs lists those")


def found(store: Store, name: str) -> Run | None:
    """A run by its id, or the last of a spider."""
    return store.run(name) or next(iter(store.runs(name, 1)), None)


def facts(store: Store, run: Run) -> dict[str, Any]:
    """run.json and what the run is doing now."""
    return {"started_at": moment(run.started_at)} | facts_of_run(store, run)


def holder_of(store: Store, spider: str) -> tuple[str, float] | None:
    """Who runs a spider now, and since when (wall)."""
    return store.holder(spider)


def begun_by(store: Store, spider: str, pid: int) -> str:
    """The id of the run that a process of this machine has begun; empty where it has none yet."""
    held = store.holder(spider)
    if held is None or _process_of(held[0]) != (os.uname().nodename, pid):
        return ""
    return next((run.id for run in store.runs(spider, 1)), "")


def worker_of(store: Store, run: Run) -> str:
    """The worker that leads a run; empty where none does."""
    held = store.holder(run.spider) if store.is_led(run) else None
    return held[0] if held is not None else ""


def _process_of(worker: str) -> tuple[str, int]:
    """Host and process id of a worker, by its name (see `compose.worker_name`)."""
    host, _, pid = worker.rpartition("-")[0].rpartition("-")
    return host, int(pid) if pid.isdigit() else 0


def _busy(spider: str, worker: str, since: float) -> Problem:
    host, pid = _process_of(worker)
    return Problem(
        409,
        f"{spider} is already running: pid {pid} on {host}",
        "wait for it, or DELETE its run",
        holder={"host": host, "pid": pid, "since": since},
    )


def _digest(order: Order, key: str) -> str:
    text = json.dumps(
        [order.spider, sorted(order.params.items()), order.max_pages, order.max_time, order.fresh]
    )
    # With the caller's key, so that nobody who reads it can try out what a secret of the params was.
    return blake2b(text.encode(), digest_size=16, key=key.encode("utf-8", "replace")[:64]).hexdigest()


def _claimed(store: Store, name: str, claim: Mapping[str, Any]) -> str:
    """Who has claimed a key first, as JSON; a claim that has come to nothing in time passes to us."""
    now = claim["at"]
    for other, text in store.notes(KIND).items():
        if not -KEPT < now - json.loads(text)["at"] < KEPT:
            store.drop_note(KIND, other)
    known = store.add_note(KIND, name, json.dumps(claim))
    before = json.loads(known)
    if before["run"] or before["order"] != claim["order"] or abs(now - before["at"]) < 2 * BEGIN:
        return known
    mine = json.dumps(before | {"by": claim["by"]})
    store.keep_note(KIND, name, mine)
    return mine


def _begun_since(store: Store, spider: str, at: float) -> str:
    """The run of a spider that began soon after a moment; empty where none did."""
    lately = (run for run in store.runs(spider, 20) if 0 <= run.started_at - at < BEGIN)
    return next((run.id for run in lately), "")


def _kept(store: Store, name: str, text: str) -> None:
    store.keep_note(KIND, name, text)


def _dropped(store: Store, name: str) -> None:
    store.drop_note(KIND, name)


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text("utf-8", "replace")[-4000:].splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("error: ") for line in reversed(lines) if line.strip()), "")
