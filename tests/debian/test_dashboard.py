"""The dashboard in Debian's Chromium: live, by keyboard, on a phone, in the dark, and with axe-core."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.serving import SLOW, Served, new_project, serving
from tests.service.test_runs import run_to_end
from tests.site import Site, page

pytestmark = pytest.mark.debian
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

PAGES = (
    "/",
    "/ui/spiders/shop",
    "/ui/runs/shop",
    "/ui/runs/shop/records",
    "/ui/runs/shop/changes",
    "/ui/runs/none",
)


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[Site, Site]]:
    many = {f"/{n}": page(title=f"book {n:03}") for n in range(250)}
    with (
        Site({"/": page(*many), **many}, host="127.0.0.5") as shop,
        Site(
            {"/": page(*[f"/{n}" for n in range(90)]), "/20": (b"", 500), "*": page()}, host="127.0.0.6"
        ) as slow,
    ):
        yield shop, slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, sites: tuple[Site, Site]) -> Iterator[Served]:
    project = new_project(tmp_path_factory.mktemp("dashboard"))
    shop, slow = sites
    project.spider("shop", SLOW.format(name="Shop", url=shop.url("/"), delay=0))
    project.spider("slow", SLOW.format(name="Slow", url=slow.url("/"), delay=0.3))
    with serving(project) as found:
        run_to_end(found, "shop")
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    binary = shutil.which("chromium")
    assert binary, "chromium is missing: .ci/run installs it"
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser: Any, served: Served) -> Iterator[Any]:
    context = browser.new_context(base_url=served.url, viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "request", lambda asked: asked.url.startswith((served.url, "data:")) or complaints.append(asked.url)
    )
    yield opened
    expected = ("404", "frame is sandboxed")
    assert [one for one in complaints if not any(text in one for text in expected)] == []
    context.close()


def test_a_run_is_begun_watched_and_stopped_by_keyboard(tab: Any) -> None:
    tab.goto("/")
    tab.get_by_role("button", name="Run slow").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/ui/runs/*")
    tab.locator("[data-is=pages]", has_text=re.compile(r"^([4-9]|\d\d)")).wait_for(timeout=20_000)
    assert "delay" in tab.locator("[data-domains]").inner_text()
    tab.wait_for_selector("[data-log] .e-retry, [data-log] .e-failed", timeout=20_000)
    tab.get_by_role("button", name="Stop").focus()
    tab.keyboard.press("Enter")
    tab.get_by_role("button", name="Go on").wait_for(timeout=20_000)
    assert "INCOMPLETE" in tab.locator(".head").inner_text()


def test_a_problem_is_told_where_a_screen_reader_hears_it(tab: Any) -> None:
    tab.goto("/")
    tab.evaluate("document.querySelector('[data-start]').dataset.start = 'nobody'")
    tab.locator("[data-start]").first.click()
    tab.get_by_role("alert").filter(has_text="there is no spider 'nobody'").wait_for()


def test_rows_come_as_one_scrolls_and_columns_sort(tab: Any) -> None:
    tab.goto("/ui/runs/shop/records?sort=title")
    assert tab.locator("[data-rows] tr").count() >= 100
    for _ in range(4):
        tab.mouse.wheel(0, 20_000)
        tab.wait_for_timeout(200)
    tab.locator("[data-rows] tr:nth-child(251)").wait_for(timeout=10_000)
    titles = tab.locator("[data-rows] tr td:first-child").all_inner_texts()
    assert titles == sorted(titles)
    tab.get_by_role("link", name="title").click()
    tab.wait_for_selector("th[aria-sort=descending]")


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_screen(browser: Any, served: Served, width: int, scheme: str) -> None:
    context = browser.new_context(
        base_url=served.url, viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    opened = context.new_page()
    for path in PAGES:
        opened.goto(path)
        assert opened.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), path
    context.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe-core needs npm")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run(
        [npm, "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4.10.3"],
        capture_output=True,
        timeout=120,
    )
    if done.returncode:
        pytest.skip("axe-core cannot be had from the npm registry")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious(browser: Any, served: Served, axe: str, scheme: str, width: int) -> None:
    context = browser.new_context(
        base_url=served.url, viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
    )
    opened = context.new_page()
    for path in PAGES:
        opened.goto(path)
        opened.evaluate(axe)
        found = opened.evaluate("axe.run().then(result => result.violations)")
        told = [(one["id"], one["impact"], one["nodes"][0]["html"][:120]) for one in found]
        assert not [one for one in told if one[1] in ("serious", "critical")], (path, told)
    context.close()


def test_the_report_of_a_run_runs_nothing_in_our_origin(tab: Any, served: Served, tmp_path: Path) -> None:
    tab.goto("/runs/shop/report")
    assert "shop" in tab.locator("h1").inner_text()
    report = next(served.project.data("shop", "runs").glob("*/report.html"))
    report.write_text("<h1>x</h1><script>document.title = 'ran'</script>")
    tab.goto("/runs/shop/report")
    assert tab.title() != "ran"
