"""Hosts that share runs on one PostgreSQL server while everything fails at random.

`python -m benchmarks.soak FOLDER MINUTES [SEED]`: rounds of three runs of two spiders each, on the same sites
(see soak_web): `run` for either, four times `work --stay`, and one host whose spiders are old ones; 15 kinds
of faults. In half of the rounds the store is behind PgBouncer, in half no worker sees the lock of another.
Each round is a line of FOLDER/soak.jsonl. At its end each run has its records, no gap at a site is short, no
page was asked for more often than there were faults. It ends by itself, with 1 if a round went wrong (whose
folder stays). Everything is on loopback.
"""

import json
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from benchmarks.faults import Faults, Host, Lag, ask
from benchmarks.soak_web import DELAY, Web
from tests.hosts import clock_ahead, see_no_locks
from tests.pgbouncer import Pooler
from tests.postgres import Server
from tests.project import Project
from tests.proxy import Proxy
from tests.site import Site

_LEASE = 3.0
_SPIDERS, _RUNS = ("shop", "news"), 3
_HELP = (("shop",), ("shop",), ("news",), ())  # whose runs the helpers help
_BETWEEN = 3.0  # seconds between two faults, in the middle
_MOST_FAULTS = 25  # then a round may end in peace
# A site of which every fifth page takes 3.5 s, and the wait after it as long, needs 280 s alone.
_MOST_SECONDS = 900.0
_LEFT = {
    "pending": "SELECT count(*) FROM urls WHERE state = 0",
    "owned": "SELECT count(*) FROM domains WHERE owner IS NOT NULL",
    "workers": "SELECT count(*) FROM workers",
}
_ENDED = "SELECT count(*) FROM runs WHERE state = 'ended' AND spider = '{}'"


class Round:
    """Some runs with their faults."""

    def __init__(self, server: Server, folder: Path, seed: int) -> None:
        self._dice = random.Random(seed)
        self._folder, self.seed = folder, seed
        self._store = server.database()
        self._open = ExitStack()
        self._web = Web(self._dice)
        self._is_remote, is_pooled = self._dice.random() < 0.5, self._dice.random() < 0.5
        self._way = self._store
        if is_pooled:
            folder.mkdir()
            self._way = self._open.enter_context(Pooler(self._store, folder / "pgbouncer", 10)).url
        self._is_pooled = is_pooled
        self._leaders = {
            name: self._host(f"run-{name}", name, ("run", name, "--json", *self._workers()))
            for name in _SPIDERS
        }
        self._hosts = list(self._leaders.values())
        self._hosts += [
            self._host(f"work{n}", "", ("work", *words, "--stay")) for n, words in enumerate(_HELP)
        ]
        self._hosts.append(self._host("stranger", "", ("work", "--stay"), is_other=True))
        self._faults = Faults(server, self._store, self._hosts, self._dice, _LEASE)
        self._lag = Lag()
        self._is_over = threading.Event()
        self.problems: list[str] = []

    def run(self) -> dict[str, Any]:
        """Do it; what came of it."""
        begun = time.monotonic()
        injector = threading.Thread(target=self._inject)
        try:
            with self._lag.watched():
                self._prepare()
                for host in self._hosts:
                    host.start()
                injector.start()
                self._supervise(begun + _MOST_SECONDS)
                self._is_over.set()
                injector.join()
                self._end()
            return self._judged(time.monotonic() - begun)
        finally:
            self._is_over.set()
            for host in self._hosts:
                host.project.end()
                host.proxy.__exit__(None, None, None)
            self._open.close()
            self._web.stop()

    def _workers(self) -> tuple[str, ...]:
        return ("--workers", "2") if self._dice.random() < 0.3 else ()

    def _host(self, name: str, spider: str, command: tuple[str, ...], is_other: bool = False) -> Host:
        port = int(conninfo_to_dict(self._way)["port"] or 0)
        proxy = Proxy(port)
        project = Project(self._folder / name)
        for one in [spider] if spider else _SPIDERS:
            self._web.spider(project, one, is_other)
        store = self._way.replace(f":{port}/", f":{proxy.port}/")
        env = clock_ahead(project, self._dice.choice((-3600.0, 3600.0))) if self._dice.random() < 0.3 else {}
        env["PYTHONFAULTHANDLER"] = "1"
        return Host(name, project, proxy, (*command, "--store", store), env)

    def _prepare(self) -> None:
        self._hosts[0].project.run("doctor", "--store", self._store)
        with psycopg.connect(self._store, autocommit=True) as connection:
            connection.execute("INSERT INTO meta VALUES ('lease', %s)", (str(_LEASE),))
        if self._is_remote:
            see_no_locks(self._store)

    # what happens --------------------------------------------------------------------------------------
    def _inject(self) -> None:
        """One fault after the other, now and then the next before the last one is undone."""
        doing: list[threading.Thread] = []
        for _ in range(_MOST_FAULTS):
            if self._is_over.wait(self._dice.expovariate(1 / _BETWEEN)):
                break
            one = threading.Thread(target=self._faults.inject, args=(self._dice.choice(self._faults.kinds),))
            one.start()
            doing.append(one)
            if self._dice.random() < 0.6:
                one.join()
        for one in doing:
            one.join()

    def _supervise(self, until: float) -> None:
        """Start again what has ended, until all runs have."""
        while time.monotonic() < until:
            for host in self._hosts:
                if host.has_ended():
                    host.note_end()
                if (
                    host.started is None
                    and host.rests_until < time.monotonic()
                    and self._dice.random() < 0.05
                ):
                    if not self._has_all(host):
                        host.start()
                    elif all(self._has_all(leader) for leader in self._leaders.values()):
                        return
            time.sleep(0.05)
        self.problems.append("it did not end")
        for host in self._hosts:
            host.proxy.heal()
            host.signal(signal.SIGCONT)
            host.signal(signal.SIGABRT)  # where it stands is told (PYTHONFAULTHANDLER)

    def _has_all(self, host: Host) -> bool:
        """Whether a host has begun runs, and the last has ended."""
        named = [name for name, leader in self._leaders.items() if leader is host]
        return bool(named) and int(ask(self._store, _ENDED.format(named[0]))[0][0]) >= _RUNS

    def _end(self) -> None:
        for host in self._hosts:
            host.proxy.heal()
            host.signal(signal.SIGCONT)
            host.signal(signal.SIGTERM)
        for host in self._hosts:
            if host.started is not None:
                host.note_end()

    # what must hold ------------------------------------------------------------------------------------
    def _judged(self, seconds: float) -> dict[str, Any]:
        left = {name: int(ask(self._store, sql)[0][0]) for name, sql in _LEFT.items()}
        self.problems += [f"{name}: {left[name]}" for name in ("pending", "owned") if left[name]]
        expected = self._web.expected()
        for name, leader in self._leaders.items():
            self._judge_records(name, leader, expected)
        asked = Counter((site.host, path) for site in self._web.sites for path in site.paths())
        faults = Counter(kind for _, kind, _ in self._faults.done)
        pages = {one: count for one, count in asked.items() if one[1] != "/login"}
        again = {one: count - len(_SPIDERS) * _RUNS for one, count in pages.items()}
        self.problems += [f"{host}{path} was asked for" for host, path in asked if path.startswith("/never")]
        if max(again.values(), default=0) > faults.total():
            self.problems.append(f"a page was asked for {max(again.values())} times too often")
        for host in self._hosts:
            self.problems += [*host.surprises, *self._web.bad_files(host.project.data())]
        gaps = [self._gaps(sites) for sites in self._web.paced()]
        return {
            "seed": self.seed,
            "ok": not self.problems,
            "problems": self.problems,
            "seconds": round(seconds, 1),
            "is_remote": self._is_remote,
            "is_pooled": self._is_pooled,
            "traits": sorted(self._web.traits),
            "faults": dict(faults),
            "starts": sum(host.starts for host in self._hosts),
            "codes": dict(Counter(code for host in self._hosts for code in host.codes)),
            "failures": dict(Counter(line for host in self._hosts for line in host.failures)),
            "requests": asked.total(),
            "again": sum(max(0, count) for count in again.values()),
            "most_of_a_page": max(again.values(), default=0),
            "smallest_gap": round(min(gaps), 4),
            **left,
        }

    def _judge_records(self, name: str, leader: Host, expected: list[str]) -> None:
        """Each run that was published, and the records that stand."""
        folder = leader.project.data(name)
        runs = leader.project.runs(name)
        for run in runs:
            told = f"{name} {run['run_id']} ({run['verdict']}, {run['reasons']})"
            if run["verdict"] != "OK" or run["records"] != len(expected):
                self.problems.append(f"{told}: {run['records']} records, {run['pages']} pages")
        records = sorted(record["url"] for record in leader.project.records(name))
        was_published = bool(
            runs
        )  # else it was killed after the end each time, and the next run writes the files
        if records != expected and (records or was_published):
            missing, more = set(expected) - set(records), Counter(records) - Counter(expected)
            self.problems.append(f"{name}: {len(missing)} records missing, {more.total()} too many: {folder}")
        if any("other" in record for record in leader.project.records(name)):
            self.problems.append(f"{name}: a record of the old spider")

    def _gaps(self, sites: list[Site]) -> float:
        arrivals = sorted((one for site in sites for one in site.arrivals), key=lambda arrival: arrival.at)
        smallest = 9.0
        for before, after in pairwise(arrivals):
            gap = after.at - before.at
            smallest = min(smallest, gap)
            if gap < DELAY - 0.001:
                late = self._lag.most(before.at - 1.0, after.at)
                near = [
                    f"{kind} of {host} {before.at - at:.2f} s before"
                    for at, kind, host in self._faults.done
                    if before.at - 12 < at < after.at
                ]
                self.problems.append(
                    f"{sites[0].host}: {gap:.4f} s between {before.path} and {after.path} (connections "
                    f"{before.connection} and {after.connection}; this process was {late:.3f} s late); {near}"
                )
        return smallest


def main() -> int:
    """Rounds until the time is over; 1 if one of them went wrong."""
    folder, minutes = Path(sys.argv[1]).absolute(), float(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    folder.mkdir(parents=True, exist_ok=True)
    end, bad = time.monotonic() + 60 * minutes, 0
    server = Server()
    try:
        while time.monotonic() < end:
            place = folder / f"round-{seed}"
            result = Round(server, place, seed).run()
            with (folder / "soak.jsonl").open("a") as log:
                log.write(json.dumps(result) + "\n")
            print(json.dumps(result), flush=True)
            if result["ok"]:
                shutil.rmtree(place)
            bad += not result["ok"]
            seed += 1
    finally:
        server.remove()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
