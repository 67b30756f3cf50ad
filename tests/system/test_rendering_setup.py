"""Rendering needs a browser: what is missing is told before anything is fetched, and others pay nothing."""

from tests.project import Project
from tests.site import Site, page

SPIDER = """
    import sys
    from scraper import Render, Request, Spider

    class Shop(Spider):
        start_urls = ["{url}"]
        settings = {{"delay": 0{more}}}

        def parse(self, page):
            {how}

        def closed(self, run):
            kinds = ("playwright", "asyncio", "scraper.browser.")
            print([name for name in sys.modules if name.startswith(kinds)])
"""


def test_a_browser_that_is_not_there_is_one_clear_line_before_the_first_request(
    project: Project, site: Site
) -> None:
    site["/"] = page()
    project.spider("always", SPIDER.format(url=site.url("/"), more=', "render": "always"', how="yield {}"))
    how = 'yield Request("/second", render=True)'
    project.spider("some", SPIDER.format(url=site.url("/"), more="", how=how))
    for name in ("always", "some"):
        ended = project.run("run", name, "--set", "browser=/nowhere/chromium")
        assert ended.code == 2 and "browser /nowhere/chromium: no such program" in ended.err, ended.text
    assert site.arrivals == []


def test_a_run_that_renders_nothing_loads_no_browser(project: Project, site: Site) -> None:
    site["/"] = page()
    project.spider("plain", SPIDER.format(url=site.url("/"), more="", how="yield {'url': page.url}"))
    ended = project.run("run", "plain", "--set", "browser=/nowhere/chromium")
    assert ended.code == 0, ended.text
    assert ended.out.splitlines()[0] == "[]"
