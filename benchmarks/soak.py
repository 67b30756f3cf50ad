"""Hosts that share runs on one PostgreSQL server while everything fails at random.

`python -m benchmarks.soak FOLDER MINUTES [SEED]`: rounds of one run each: `run` and four times `work --stay`,
sites of this process that link to each other, 12 kinds of faults. Each round is a line of FOLDER/soak.jsonl.
At its end pages = done = records, no gap at a site is short, no page was asked for more often than there were
faults. It ends by itself, with 1 if a round went wrong (whose folder stays). Everything is on loopback.
"""

import json
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.faults import ENDED, Faults, Host, Lag, ask
from tests.hosts import clock_ahead, see_no_locks, spider
from tests.postgres import Server
from tests.project import Project
from tests.proxy import Proxy
from tests.site import Reply, Site, page

_SITES, _PAGES, _DELAY, _LEASE = 6, 50, 0.3, 3.0
_HELPERS = 4
_BETWEEN = 3.0  # seconds between two faults, in the middle
_MOST_FAULTS = 15  # then a round may end in peace
_MOST_SECONDS = 300.0
_LEFT = {
    "pending": "SELECT count(*) FROM urls WHERE state = 0",
    "done": "SELECT count(*) FROM urls WHERE state = 1",
    "records": "SELECT count(*) FROM records",
    "kept": "SELECT count(DISTINCT key) FROM records",
    "owned": "SELECT count(*) FROM domains WHERE owner IS NOT NULL",
    "workers": "SELECT count(*) FROM workers",
    "runs": "SELECT count(*) FROM runs",
}


class Round:
    """One run with its faults."""

    def __init__(self, server: Server, folder: Path, seed: int) -> None:
        self._dice = random.Random(seed)
        self._folder, self._server, self.seed = folder, server, seed
        self._store = server.database()
        self._sites = [Site(host=f"127.0.1.{10 + n}") for n in range(_SITES)]
        self._link()
        self._is_remote = self._dice.random() < 0.5
        self._hosts = [self._host("run", "run", "shop", "--json")]
        self._hosts += [self._host(f"work{n}", "work", "shop", "--stay") for n in range(_HELPERS)]
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
            for site in self._sites:
                site.stop()

    # what is crawled -----------------------------------------------------------------------------------
    def _link(self) -> None:
        """A page leads to the next ones of its site, and to one of each other site."""
        for n, site in enumerate(self._sites):
            others = [other for other in self._sites if other is not site]
            for at in range(_PAGES):
                near = [f"/{next_}" for next_ in range(at + 1, min(at + 4, _PAGES))]
                far = [other.url(f"/{(at * 7 + n) % _PAGES}") for other in others]
                wait = self._dice.choice((0.0, 0.0, 0.0, 0.05, 0.3, 1.0))
                body = page(*near, *far).body
                site["/" if at == 0 else f"/{at}"] = Reply(body=body, headers=_HTML, wait=wait)
            site["/0"] = Reply(301, "", {"Location": "/"})

    def _host(self, name: str, *command: str) -> Host:
        proxy = Proxy(self._server.port)
        project = Project(self._folder / name)
        spider(project, self._sites, _DELAY)
        store = self._store.replace(f":{self._server.port}/", f":{proxy.port}/")
        env = clock_ahead(project, self._dice.choice((-3600.0, 3600.0))) if self._dice.random() < 0.3 else {}
        return Host(name, project, proxy, (*command, "--store", store), env)

    def _prepare(self) -> None:
        one = self._hosts[0]
        one.project.run("doctor", "--store", self._store)
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
        """Start again what has ended, until the run has."""
        while time.monotonic() < until:
            for host in self._hosts:
                if host.has_ended():
                    host.note_end()
                    if host is self._hosts[0] and (host.codes[-1] == 0 or ask(self._store, ENDED)):
                        return
                if host.started is None and self._dice.random() < 0.05:
                    host.start()
            time.sleep(0.05)
        self.problems.append("it did not end")

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
        expected = sorted(
            site.url("/" if at == 0 else f"/{at}") for site in self._sites for at in range(_PAGES)
        )
        one = self._hosts[0]
        records = sorted(record["path"] for record in one.project.records("shop"))
        was_published = 0 in one.codes  # else it was killed after the end, and the next run writes the files
        if records != expected and (records or was_published):
            missing, more = set(expected) - set(records), Counter(records) - Counter(expected)
            self.problems.append(f"records: {len(missing)} missing, {more.total()} too many")
        wanted = {"pending": 0, "owned": 0, "runs": 1, "done": len(expected), "kept": len(expected)}
        self.problems += [f"{name}: {left[name]}" for name, count in wanted.items() if left[name] != count]
        if left["records"] != left["kept"]:
            self.problems.append(f"records: {left['records']}, of {left['kept']} keys")
        asked = Counter((site.host, path) for site in self._sites for path in site.paths())
        faults = Counter(kind for _, kind, _ in self._faults.done)
        most = max(asked.values(), default=0)
        if most > 1 + faults.total():
            self.problems.append(f"a page was asked for {most} times")
        self.problems += [text for host in self._hosts for text in host.surprises]
        gaps = [self._gaps(site) for site in self._sites]
        return {
            "seed": self.seed,
            "ok": not self.problems,
            "problems": self.problems,
            "seconds": round(seconds, 1),
            "is_remote": self._is_remote,
            "faults": dict(faults),
            "starts": sum(host.starts for host in self._hosts),
            "was_published": was_published,
            "codes": dict(Counter(code for host in self._hosts for code in host.codes)),
            "failures": dict(Counter(line for host in self._hosts for line in host.failures)),
            "requests": asked.total(),
            "again": asked.total() - len(asked),
            "most_of_a_page": most,
            "smallest_gap": round(min(gaps), 4),
            **left,
        }

    def _gaps(self, site: Site) -> float:
        arrivals = sorted(site.arrivals, key=lambda arrival: arrival.at)
        smallest = 9.0
        for before, after in pairwise(arrivals):
            gap = after.at - before.at
            smallest = min(smallest, gap)
            if gap < _DELAY - 0.001:
                late = self._lag.most(before.at - 1.0, after.at)
                near = [
                    f"{kind} of {host} {before.at - at:.2f} s before"
                    for at, kind, host in self._faults.done
                    if before.at - 12 < at < after.at
                ]
                self.problems.append(
                    f"{site.host}: {gap:.4f} s between {before.path} and {after.path} (connections "
                    f"{before.connection} and {after.connection}; this process was {late:.3f} s late); {near}"
                )
        return smallest


_HTML = {"Content-Type": "text/html; charset=utf-8"}


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
