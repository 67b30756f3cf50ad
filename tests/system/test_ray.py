"""`run --ray`: workers on a real Ray cluster of this machine, which asks for a token."""

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import asked, forget_locks, gap, shorten, until
from tests.project import Project, Started
from tests.site import page

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
TOKEN = secrets.token_hex(32)
KNOWING = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
PAGES = 30
SPIDER = """
    import os
    import time
    from pathlib import Path
    from scraper import Spider

    class Shop(Spider):
        start_urls = {urls}
        key = "url"
        settings = {{"delay": {delay}}}

        def parse(self, page):
            if {parse}:
                Path(f"begun-{{os.getpid()}}").touch()
                time.sleep({parse})
            yield {{"url": page.url}}
            yield from page.follow_all("a")
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster, at first of one host."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        head = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")
        with node("127.0.0.1", *head):
            yield f"127.0.0.1:{port}"


@contextmanager
def node(host: str, *options: str) -> Iterator[int]:
    """A host of a cluster; the group of its processes, and their session."""
    process = subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("ray")), "start", "--block", f"--node-ip-address={host}"),
            *("--num-cpus=2", "--disable-usage-stats", *options),
        ],
        env={**os.environ, **KNOWING},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        assert any("Ray runtime started" in line for line in process.stdout), "ray does not start"
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def shop(project: Project, new_site: Any) -> Any:
    """Two sites of their own pages."""
    every = {f"/{n}": page("/") for n in range(PAGES)}
    return [new_site({"/": page(*every), **every}, host=f"127.0.0.{n}") for n in (2, 3)]


def write(project: Project, sites: Any, delay: float, parse: float = 0) -> None:
    starts = [site.url() for site in sites]
    project.spider("shop", SPIDER.format(urls=starts, delay=delay, parse=parse))


def workers(project: Project) -> list[int]:
    """The worker processes in a project's folder, whoever has started them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if "scraper.app.running.worker" in (entry / "cmdline").read_text():
                found += [int(entry.name)] * ((entry / "cwd").resolve() == project.root.resolve())
        except (OSError, ValueError):
            continue
    return found


def until_half(started: Started, sites: Any) -> None:
    until = time.monotonic() + 60
    while sum(len(site.arrivals) for site in sites) < PAGES:
        assert started.process.poll() is None and time.monotonic() < until, started.kill().text
        time.sleep(0.01)


@needs_ray
def test_workers_on_a_cluster_are_replaced_where_they_die(project: Project, shop: Any, cluster: str) -> None:
    write(project, shop, 0.1)
    started = project.start("run", "shop", "--ray", cluster, "--workers", "2", "--json", env=KNOWING)
    until_half(started, shop)
    first, _ = workers(project)
    os.kill(first, signal.SIGKILL)
    ended = started.wait()
    summary = ended.summary
    assert (ended.code, summary["pages"], summary["records"]) == (0, 2 * (PAGES + 1), 2 * (PAGES + 1)), (
        ended.text
    )
    told = " ".join(line.get("text", "") for line in project.log("shop"))
    assert "worker 1 is on" in told and "ended with signal 9" in told
    assert summary["command"][-2:] == ["--ray", cluster]
    assert len(project.records("shop")) == 2 * (PAGES + 1)


@needs_ray
def test_a_worker_on_a_cluster_that_lost_its_lease_is_replaced(
    project: Project, shop: Any, cluster: str, store: str
) -> None:
    write(project, shop, 0.3)
    project.run("doctor", "--store", store)
    shorten(store)
    more = ("--ray", cluster, "--workers", "2", "--store", store, "--json")
    started = project.start("run", "shop", *more, env=KNOWING)
    until(lambda: len(asked(store, "SELECT DISTINCT owner FROM domains WHERE owner IS NOT NULL")) == 2)
    forget_locks(store)
    frozen, _ = workers(project)
    os.kill(frozen, signal.SIGSTOP)
    until(lambda: len(asked(store, "SELECT 1 FROM workers")) == 2)  # the parent is one of them
    os.kill(frozen, signal.SIGCONT)
    ended = started.wait(120)
    assert (ended.code, ended.summary["records"]) == (0, 2 * (PAGES + 1)), ended.text
    told = " ".join(line.get("text", "") for line in project.log("shop"))
    assert "ended with exit code 75 (worker" in told and "taken for dead" in told, told
    assert min(gap(site) for site in shop) >= 0.3 - 0.001


@needs_ray
@pytest.mark.thorough
def test_workers_whose_host_is_gone_are_placed_on_another(project: Project, shop: Any, cluster: str) -> None:
    write(project, shop, 0.3)
    with node("127.0.0.9", f"--address={cluster}") as other:
        started = project.start("run", "shop", "--ray", cluster, "--workers", "2", "--json", env=KNOWING)
        until_half(started, shop)
        there = [pid for pid in workers(project) if os.getsid(pid) == other]
        assert there, "no worker is on the second host"
        os.killpg(other, signal.SIGKILL)
    ended = started.wait(120)
    assert (ended.code, ended.summary["records"]) == (0, 2 * (PAGES + 1)), ended.text
    told = [line["text"] for line in project.log("shop") if line.get("event") == "note"]
    assert sum("is on" in text for text in told) == 2 + len(there), told
    assert len(project.records("shop")) == 2 * (PAGES + 1)


@needs_ray
def test_workers_on_a_cluster_end_with_the_run(project: Project, shop: Any, cluster: str) -> None:
    write(project, shop, 0.1)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        started = project.start("run", "shop", "--ray", cluster, "--workers", "2", "--fresh", env=KNOWING)
        for site in shop:
            site.arrivals.clear()
        until_half(started, shop)
        started.signal(number)
        assert started.wait().code == code
        until = time.monotonic() + 20
        while workers(project):
            assert time.monotonic() < until
            time.sleep(0.05)


@needs_ray
def test_a_wrong_token_is_told_before_anything_is_fetched(project: Project, shop: Any, cluster: str) -> None:
    write(project, shop, 0)
    env = {**KNOWING, "RAY_AUTH_TOKEN": "wrong" * 13, "RAY_gcs_server_port_wait_time_s": "1"}
    ended = project.run("run", "shop", "--ray", cluster, env=env)
    assert ended.code == 2 and "no Ray cluster" in ended.err, ended.text
    assert not any(site.arrivals for site in shop)


def test_a_cluster_elsewhere_is_not_talked_to_without_tokens_and_a_shared_store(
    project: Project, shop: Any
) -> None:
    write(project, shop, 0)
    ended = project.run("run", "shop", "--ray", "192.0.2.77:6379")
    assert ended.code == 2 and "RAY_AUTH_MODE=token" in ended.err, ended.text
    ended = project.run("run", "shop", "--ray", "ray://cluster.example:10001", env=KNOWING)
    assert ended.code == 2 and "--store postgresql://" in ended.err, ended.text
    assert not any(site.arrivals for site in shop)


@needs_ray
@pytest.mark.thorough
def test_archived_pages_are_parsed_on_a_cluster(project: Project, shop: Any, cluster: str) -> None:
    write(project, shop, 0)
    assert project.run("run", "shop", "--archive").code == 0
    for site in shop:
        site.arrivals.clear()
    checked = project.run("check", "shop", "--ray", cluster, "--workers", "2", env=KNOWING)
    assert checked.code == 0 and f"{2 * (PAGES + 1)} archived pages parsed" in checked.out, checked.text
    write(project, shop, 0, 0.05)
    started = project.start("reparse", "shop", "--ray", cluster, "--workers", "2", "--json", env=KNOWING)
    until = time.monotonic() + 60
    while not (begun := list(project.root.glob("begun-*"))):
        assert started.process.poll() is None and time.monotonic() < until, started.kill().text
        time.sleep(0.01)
    os.kill(int(begun[0].name.partition("-")[2]), signal.SIGKILL)
    ended = started.wait()
    assert (ended.code, ended.summary["records"]) == (0, 2 * (PAGES + 1)), ended.text
    assert ended.summary["command"][-2:] == ["--ray", cluster]
    assert len({record["url"] for record in project.records("shop")}) == 2 * (PAGES + 1)
    assert not any(site.arrivals for site in shop)
