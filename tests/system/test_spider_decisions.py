"""What a spider may say about a page, on the wire."""

from tests.project import Project
from tests.site import Site

SPIDER = """
from scraper import Retry, Spider

class Stock(Spider):
    start_urls = [{start!r} + path for path in "abc"]
    key = "url"

    def parse(self, page):
        if page.text == "soon":
            raise Retry("no price yet", after=1)
        yield {{"url": page.url, "price": page.text}}
"""


def test_what_was_sent_ahead_of_a_rest_is_asked_for_right_after_it(project: Project, site: Site) -> None:
    site["/robots.txt"] = 404
    site["/a"] = ["soon", "5"]
    site["/b"], site["/c"] = "6", "7"
    project.spider("stock", SPIDER.format(start=site.url()))
    ended = project.run("run", "stock", "--set", "delay=0", "--json")
    assert ended.code == 0, ended.text
    assert sorted(record["price"] for record in project.records("stock")) == ["5", "6", "7"]
    # At a delay of 0 one request may be under way already when the spider asks for the rest.
    assert site.paths()[-3:] == ["/b", "/c", "/a"]
    rested = [arrival.at for arrival in site.arrivals][-3:]
    assert rested[0] - min(arrival.at for arrival in site.arrivals if arrival.path == "/a") >= 0.99
