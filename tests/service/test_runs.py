"""Runs over HTTP: begun, watched, read and stopped, with the real service and real processes."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from scraper.service.runs import _claimed
from scraper.store.memory import MemoryStore
from scraper.store.sqlite import SqliteStore
from scraper.testing import FakeClock
from tests.project import Project, read_jsonl
from tests.service.serving import SLOW, Served, new_project, serving
from tests.site import Reply, Site, page


@pytest.fixture(scope="module")
def shop() -> Iterator[Site]:
    with Site({"/": page("/a", "/b", title="home"), "/a": page(title="=A"), "/b": page(title="B")}) as site:
        yield site


@pytest.fixture(scope="module")
def slow() -> Iterator[Site]:
    links = [f"/{n}" for n in range(40)]
    with Site({"/": page(*links, title="home"), "*": page(title="one")}, host="127.0.0.2") as site:
        yield site


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shop: Site, slow: Site) -> Iterator[Served]:
    project = new_project(tmp_path_factory.mktemp("runs"))
    project.spider("shop", SLOW.format(name="Shop", url=shop.url("/"), delay=0))
    project.spider("slow", SLOW.format(name="Slow", url=slow.url("/"), delay=0.3))
    project.spider("empty", SLOW.format(name="Empty", url=shop.url("/gone"), delay=0))
    project.spider("broken", "import nothing_of_the_kind\nfrom scraper import Spider")
    with serving(project) as found:
        yield found


def events_of(served: Served, run: str, until: str = "end") -> list[tuple[str, dict[str, object]]]:
    """The events of a run up to the first of a kind."""
    found: list[tuple[str, dict[str, object]]] = []
    with served.get(f"/runs/{run}/events", stream=True) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        kind = ""
        for line in response.iter_lines(decode_unicode=True):
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((kind, json.loads(line.removeprefix("data: "))))
                if kind == until:
                    break
    return found


def run_to_end(served: Served, spider: str, **body: object) -> str:
    """Begin a run and wait for its end; its id."""
    begun = served.post("/runs", {"spider": spider, **body})
    assert begun.status_code == 201, begun.text
    run_id = str(begun.json()["run_id"])
    events_of(served, run_id)
    return run_id


def test_spiders_are_listed_with_what_is_wrong_with_them(served: Served) -> None:
    found = {one["name"]: one for one in served.get("/spiders").json()["spiders"]}
    assert found["shop"]["summary"] == "A page after the other."
    assert "nothing_of_the_kind" in found["broken"]["error"]


def test_a_run_is_begun_and_its_records_changes_report_and_audit_are_read(served: Served) -> None:
    run_id = run_to_end(served, "shop", params={"tag": "@/etc/passwd"})
    told = served.get(f"/runs/{run_id}").json()
    assert (told["verdict"], told["records"], told["params"]) == ("OK", 3, {"tag": "@/etc/passwd"})
    page = served.get(f"/runs/{run_id}/records?limit=2").json()
    rest = served.get(f"/runs/{run_id}/records?limit=2&cursor={page['next']}").json()
    titles = [one["title"] for one in page["records"] + rest["records"]]
    assert sorted(titles) == ["=A", "B", "home"] and rest["next"] is None
    lines = served.get(f"/runs/{run_id}/records", headers={"Accept": "application/x-ndjson"}).text
    assert [json.loads(line)["title"] for line in lines.splitlines()] == titles
    table = served.get(f"/runs/{run_id}/records?format=csv").text.splitlines()
    assert table[0] == '"title","tag"' and "'=A,'@/etc/passwd" in table
    changes = served.get(f"/runs/{run_id}/changes?limit=1").json()
    assert changes["changes"][0]["change"] == "added" and changes["next"]
    assert len(served.get(f"/runs/shop/changes?cursor={changes['next']}").json()["changes"]) == 2
    report = served.get(f"/runs/{run_id}/report")
    assert "<h1" in report.text and "sandbox" in report.headers["Content-Security-Policy"]
    audit = served.get(f"/runs/{run_id}/audit").json()
    assert audit["breaches"] == 0 and audit["domains"][0]["requests"] == 4


def test_what_the_caller_has_is_not_sent_again(served: Served) -> None:
    run_id = run_to_end(served, "shop")
    for path in (f"/runs/{run_id}", f"/runs/{run_id}/records", f"/runs/{run_id}/changes"):
        first = served.get(path)
        again = served.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b""), path
        assert served.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_one_key_begins_one_run_and_another_order_with_it_is_refused(served: Served) -> None:
    key = {"Idempotency-Key": "night of the 29th"}
    first = served.post("/runs", {"spider": "shop"}, headers=key)
    again = served.post("/runs", {"spider": "shop"}, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["run_id"] == again.json()["run_id"]
    other = served.post("/runs", {"spider": "shop", "max_pages": 1}, headers=key)
    assert (other.status_code, "another request" in other.json()["detail"]) == (409, True)
    events_of(served, first.json()["run_id"])


def test_a_key_whose_service_was_killed_before_its_run_began_passes_to_who_asks_again() -> None:
    store = MemoryStore(FakeClock())
    first = {"order": "o", "at": 1000.0, "by": "first", "run": ""}
    asked = ((1000.0, "first", "first"), (1030.0, "second", "first"), (1061.0, "third", "third"))
    for at, by, has_it in asked:
        claim = first | {"at": at, "by": by}
        assert json.loads(_claimed(store, "key", claim))["by"] == has_it
    other = json.loads(_claimed(store, "key", first | {"order": "p", "at": 1200.0}))
    assert other["order"] == "o", "another order does not get it"


def test_a_second_run_of_a_spider_is_told_who_runs_it_and_the_first_is_stopped(served: Served) -> None:
    run_id = served.post("/runs", {"spider": "slow"}).json()["run_id"]
    second = served.post("/runs", {"spider": "slow"})
    assert second.status_code == 409 and second.headers["Content-Type"] == "application/problem+json"
    assert Path(f"/proc/{second.json()['holder']['pid']}").exists()
    progress = events_of(served, run_id, "progress")[-1][1]
    assert progress["verdict"] == "running"
    assert served.get(f"/runs/{run_id}").json()["progress"]["pending"] > 0
    stopped = served.delete(f"/runs/{run_id}")
    assert stopped.status_code == 202
    assert events_of(served, run_id)[-1] == ("end", {"verdict": "INCOMPLETE"})
    assert served.get(f"/runs/{run_id}").json()["exit_code"] == 143
    assert served.delete(f"/runs/{run_id}").status_code == 409


def test_a_run_outlives_the_service_and_runs_of_cron_appear_like_any_other(
    project: Project, slow: Site
) -> None:
    slow["/"] = page(*[f"/{n}" for n in range(4)], title="home")
    project.spider("news", SLOW.format(name="News", url=slow.url("/"), delay=0.2))
    with serving(project) as first:
        run_id = first.post("/runs", {"spider": "news"}).json()["run_id"]
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait(10)
    with serving(project) as second:
        assert events_of(second, run_id)[-1] == ("end", {"verdict": "OK"})
        assert project.run("run", "news", "--quiet").code == 0
        runs = second.get("/runs?spider=news").json()["runs"]
        assert len(runs) == 2 and runs[1]["run_id"] == run_id and {one["verdict"] for one in runs} == {"OK"}


def test_a_run_that_is_not_ok_offers_its_changes_and_can_be_accepted(served: Served, shop: Site) -> None:
    run_id = run_to_end(served, "empty")
    assert served.get(f"/runs/{run_id}").json()["verdict"] in ("EMPTY", "BROKEN")
    assert served.get(f"/runs/{run_id}/changes").json() == {"changes": [], "next": None}
    accepted = served.post(f"/runs/{run_id}/accept")
    assert accepted.status_code == 200 and accepted.json()["added"] == 0
    again = served.post(f"/runs/{run_id}/accept")
    assert (again.status_code, "accepted already" in again.json()["detail"]) == (409, True)


def test_secrets_among_the_params_stand_in_no_process_list_and_no_file(served: Served) -> None:
    begun = served.post("/runs", {"spider": "slow", "fresh": True, "params": {"password": "open sesame 77"}})
    run_id, busy = begun.json()["run_id"], served.post("/runs", {"spider": "slow"})
    words = Path(f"/proc/{busy.json()['holder']['pid']}/cmdline").read_bytes()
    assert b"--param\0password=-\0" in words and b"sesame" not in words
    served.delete(f"/runs/{run_id}")
    events_of(served, run_id)
    store = SqliteStore(served.project.data("scraper.db"))
    assert store.run(run_id).params == {"password": None}  # type: ignore[union-attr]
    store.close()


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ([], ""),
        ({}, "spider"),
        ({"spider": 7}, "spider"),
        ({"spider": "shop", "max_pages": 0}, "max_pages"),
        ({"spider": "shop", "max_pages": True}, "max_pages"),
        ({"spider": "shop", "max_time": "soon"}, "max_time"),
        ({"spider": "shop", "params": {"a b": "x"}}, "params"),
        ({"spider": "shop", "params": {"a": 1}}, "params"),
        ({"spider": "shop", "params": {"a": "\ud800"}}, "params"),
        ({"spider": "shop", "sets": "delay=0"}, "sets"),
    ],
)
def test_a_body_of_the_wrong_shape_names_the_member(served: Served, body: object, member: str) -> None:
    answer = served.post("/runs", body)
    assert answer.status_code == 422 and answer.json()["member"] == member


def test_no_path_and_no_code_comes_from_a_request(served: Served) -> None:
    for name in ("spiders/shop.py", "../shop", "shop.py", "/etc/passwd"):
        assert served.post("/runs", {"spider": name}).status_code == 404
        assert served.get(f"/runs/{name}/report").status_code == 404
    assert served.get("/runs/..%2F..%2Fetc/report").status_code == 404
    broken = served.post("/runs", {"spider": "broken"})
    assert broken.status_code == 422 and "nothing_of_the_kind" in broken.json()["detail"]


def test_explain_tells_every_check_with_and_without_a_spider(served: Served, shop: Site) -> None:
    told = served.get("/explain", params={"url": shop.url("/a"), "spider": "shop"}).json()
    names = [one["name"] for one in told["checks"]]
    assert told["answer"].startswith("would be fetched") and "scope" in names and "seen" in names
    own = {one["name"]: one for one in told["checks"]}["reach"]
    assert own["is_open"] and "named by the spider" in own["told"]
    for url in (shop.url("/a"), "http://169.254.169.254/", "http://0x7f.1/", "http://localhost:1/"):
        alone = served.get("/explain", params={"url": url}).json()
        assert alone["answer"].startswith("would not be fetched: reach: "), alone
    for url in ("ftp://x.example/", "not a url", "http://", "javascript:alert(1)"):
        assert served.get("/explain", params={"url": url}).status_code == 400, url


def test_metrics_and_the_file_of_metrics_tell_the_last_run(project: Project, shop: Site) -> None:
    project.spider("shop", SLOW.format(name="Shop", url=shop.url("/"), delay=0))
    file = project.root / "scraper.prom"
    assert project.run("run", "shop", "--quiet", "--set", f"metrics_file={file}").code == 0
    text = file.read_text()
    assert 'scraper_run_records{spider="shop"} 3\n' in text
    assert 'scraper_run_verdict{spider="shop",verdict="OK"} 1\n' in text
    assert 'scraper_domain_breaches{spider="shop",domain="127.0.0.1"} 0\n' in text
    with serving(project) as served:
        answer = served.get("/metrics")
        assert answer.text.startswith(text) and "scraper_runs_running 0\n" in answer.text
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert served.get("/healthz").json() == {"status": "ok"}


def test_the_log_of_a_run_goes_on_behind_the_last_event(served: Served, shop: Site) -> None:
    shop["/b"] = Reply(404, "no")
    run_id = run_to_end(served, "shop")
    shop["/b"] = page(title="B")
    log = read_jsonl(served.project.data("shop", "runs", run_id, "log.jsonl"))
    with served.get(f"/runs/{run_id}/events", stream=True) as response:
        told = response.text
    assert told.count("event: log") == len(log) and '"event": "failed"' in told
    last = max(int(line.removeprefix("id: ")) for line in told.splitlines() if line.startswith("id: "))
    again = served.get(f"/runs/{run_id}/events", headers={"Last-Event-ID": str(last)}).text
    assert "event: log" not in again and "event: end" in again
