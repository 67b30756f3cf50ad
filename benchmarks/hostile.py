"""Twenty good sites beside one hostile site of each kind: what part of their polite rate the good ones get.

`python -m benchmarks.hostile [--turns N] [--dear]` runs pairs, without and with the hostile sites, and prints
medians. `--dear`: beside those whose pages take long to parse; all of these at once need more than a core.
"""

import argparse
import json
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contestants import ROOT
from tests.site import Site, page

DELAY, PAGES, GOOD = 0.25, 24, 20
VISITS = 12  # of each hostile site
_SPIDER = """
from scraper import Spider

class Beside(Spider):
    start_urls = {urls!r}
    settings = {{"delay": {delay}, "delay_factor": 0, "timeout": 1, "max_attempts": 1, "max_wait": 1}}

    def parse(self, page):
        yield {{"url": page.url, "title": page.css("title::text").get()}}
"""


def rate_of(site: Site) -> float:
    """What part of its polite rate a site was visited at."""
    times = [arrival.at for arrival in site.arrivals if arrival.path != "/robots.txt"]
    return (len(times) - 1) * DELAY / (times[-1] - times[0])


def measure(good: list[Site], hostile: list[str]) -> float:
    """The mean rate of the good sites in one run."""
    urls = [site.url(f"/{number}") for number in range(PAGES) for site in good]
    urls += [f"{url}{number}" for url in hostile for number in range(VISITS)]
    for site in good:
        site.arrivals.clear()
    with TemporaryDirectory() as folder:
        spider = Path(folder) / "beside.py"
        spider.write_text(_SPIDER.format(urls=urls, delay=DELAY))
        command = [sys.executable, "-m", "scraper", "run", str(spider), "--quiet", "--max-time", "12"]
        subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True)
    return statistics.mean(rate_of(site) for site in good)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--dear", action="store_true")
    arguments = parser.parse_args()
    turns = arguments.turns
    with ExitStack() as stack:
        body = page(title="good", text="word " * 1000)
        good = [Site({"*": body, "/robots.txt": 404}, f"127.0.2.{number}") for number in range(1, GOOD + 1)]
        for site in good:
            stack.callback(site.stop)
        served = [sys.executable, "-m", "tests.hostile", *(["dear"] if arguments.dear else [])]
        process = subprocess.Popen(served, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(process.kill)
        assert process.stdout is not None
        hostile = list(json.loads(process.stdout.readline()).values())
        pairs = [(measure(good, []), measure(good, hostile)) for _ in range(turns)]
    alone, beside = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"alone {alone:.3f}, beside {len(hostile)} hostile sites {beside:.3f} of the polite rate")
    print("pairs:", ", ".join(f"{one:.3f} and {other:.3f}" for one, other in pairs))


if __name__ == "__main__":
    main()
