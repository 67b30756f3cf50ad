"""`scraper.run`: the engine of the command line, called from Python."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import scraper
from scraper.errors import SettingsError, SpiderError, StoreBusy, Unhealthy, UsageError
from tests.site import Reply, Site, page

FAST = {"delay": 0, "max_attempts": 1}


def spider_of(site: Site, **more: Any) -> type[scraper.Spider]:
    def parse(self: scraper.Spider, page: scraper.Page) -> Any:
        yield {"title": page.css("h1::text").get(), "tag": self.params.get("tag")}
        yield from page.follow_all("a")

    members = {"name": "shop", "start_urls": [site.url("/")], "parse": parse, "__module__": __name__}
    return type("Shop", (scraper.Spider,), members | more)


@pytest.fixture
def shop(site: Site) -> Site:
    site["/"] = page("/a", "/b", title="home")
    site["/a"] = page(title="A")
    site["/b"] = page(title="B")
    return site


def test_a_class_is_run_and_its_result_has_records_verdict_and_summary(shop: Site, tmp_path: Path) -> None:
    result = scraper.run(spider_of(shop), params={"tag": 7}, settings=FAST, data=tmp_path)  # type: ignore[dict-item]
    assert sorted(record["title"] for record in result.records) == ["A", "B", "home"]
    assert {record["tag"] for record in result.records} == {"7"}
    assert result.verdict == "OK" and result.summary["pages"] == 3
    assert json.loads((result.folder / "run.json").read_text())["run_id"] == result.summary["run_id"]
    assert len((tmp_path / "shop" / "records.jsonl").read_text().splitlines()) == 3
    assert (result.folder / "report.html").is_file()


def test_a_limit_pauses_a_run_and_the_next_call_goes_on(shop: Site, tmp_path: Path) -> None:
    first = scraper.run(spider_of(shop), max_pages=1, settings=FAST, data=tmp_path)
    assert (first.verdict, len(first.records)) == ("INCOMPLETE", 1)
    second = scraper.run(spider_of(shop), settings=FAST, data=tmp_path)
    assert second.summary["resumed"] and (second.verdict, len(second.records)) == ("OK", 3)
    assert shop.paths() == ["/", "/a", "/b"]


def test_it_runs_in_threads_side_by_side_and_leaves_the_process_as_it_was(
    shop: Site, new_site: Callable[..., Site], tmp_path: Path
) -> None:
    other = new_site({"/": page(title="other")}, host="127.0.0.2")
    before = (sys.getswitchinterval(), signal.getsignal(signal.SIGINT))
    found: dict[str, Any] = {}

    def crawl(name: str, site: Site) -> None:
        found[name] = scraper.run(spider_of(site, name=name), settings=FAST, data=tmp_path)

    threads = [threading.Thread(target=crawl, args=one) for one in (("one", shop), ("two", other))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert {name: len(result.records) for name, result in found.items()} == {"one": 3, "two": 1}
    assert (sys.getswitchinterval(), signal.getsignal(signal.SIGINT)) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_a_run_that_needs_a_person_is_an_exception_with_its_result(site: Site, tmp_path: Path) -> None:
    site["/"] = Reply(404, "gone")
    with pytest.raises(Unhealthy, match=r"shop, run .*: EMPTY: ") as raised:
        scraper.run(spider_of(site), settings=FAST, data=tmp_path)
    assert raised.value.result.verdict == "EMPTY"  # type: ignore[attr-defined]
    unchecked = scraper.run(spider_of(site), settings=FAST, data=tmp_path, check=False)
    assert (unchecked.verdict, unchecked.records) == ("EMPTY", [])


def test_what_is_wrong_is_raised_before_anything_is_touched(site: Site, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean delay"):
        scraper.run(spider_of(site), settings={"dellay": 1}, data=tmp_path)
    with pytest.raises(SpiderError, match="no spider is named"):
        scraper.run("nowhere", data=tmp_path)
    with pytest.raises(SpiderError, match="is no Spider class"):
        scraper.run(dict, data=tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [] and site.arrivals == []


def test_a_spider_that_is_running_elsewhere_is_busy(shop: Site, tmp_path: Path) -> None:
    kind, caught = spider_of(shop), list[BaseException]()

    def again(event: object) -> None:
        if not caught:
            with pytest.raises(StoreBusy) as raised:
                scraper.run(kind, settings=FAST, data=tmp_path)
            caught.append(raised.value)

    assert scraper.run(kind, settings=FAST, data=tmp_path, listeners=[again]).verdict == "OK"
    assert "is being run by" in str(caught[0])


def test_to_pandas_gives_a_table_or_says_what_is_missing(
    shop: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = scraper.run(spider_of(shop), settings=FAST, data=tmp_path)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        result.to_pandas()
    monkeypatch.undo()
    pandas = pytest.importorskip("pandas", reason="to_pandas() needs pandas: pip install pandas")
    assert isinstance(result.to_pandas(), pandas.DataFrame)
    assert set(result.to_pandas()["title"]) == {"home", "A", "B"}


SCRIPT = """
import scraper
class Shop(scraper.Spider):
    start_urls = ["{url}"]
    settings = {{"delay": 0.3, "max_attempts": 1}}
    def parse(self, page):
        yield {{"title": title(page)}}
        yield from page.follow_all("a")
def title(page):
    return page.css("h1::text").get()
try:
    result = scraper.run(Shop, listeners=[lambda event: print(type(event).__name__, flush=True)])
except KeyboardInterrupt:
    print("interrupted")
else:
    print(result.verdict, len(result.records))
"""


def test_a_class_without_a_file_stops_at_ctrl_c_and_goes_on_with_its_run(shop: Site, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT.format(url=shop.url("/"))]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    for line in first.stdout:
        if line == "Settled\n":
            first.send_signal(signal.SIGINT)
            break
    rest = first.stdout.read()
    first.wait(20)
    assert rest.endswith("interrupted\n"), rest
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert second.stdout.endswith("OK 3\n"), second.stdout + second.stderr
    assert len(shop.paths()) == 3, "the code of a class in __main__ has the same hash in each process"


def test_importing_scraper_does_not_load_the_engine() -> None:
    script = "import sys, scraper; print(len([one for one in sys.modules if one.startswith('scraper')]))"
    assert int(subprocess.check_output([sys.executable, "-c", script])) == 1
