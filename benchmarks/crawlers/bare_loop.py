"""The bare loop: requests.Session.get, lxml, JSON lines; no politeness, no promises."""

import json
import sys
from collections import deque
from pathlib import Path
from urllib.parse import urljoin

import lxml.html
import requests


def main() -> None:
    """Crawl from the start URLs of the job file until no new link is left."""
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    waiting = deque(job["start"])
    seen = set(waiting)
    session = requests.Session()
    with open(Path(job["folder"], "records.jsonl"), "w", encoding="utf-8") as records:
        while waiting:
            url = waiting.popleft()
            tree = lxml.html.fromstring(session.get(url, timeout=30).content)
            record = {
                "url": url,
                "title": tree.findtext(".//h1"),
                "price": tree.findtext(".//p[@class='price']"),
                "entries": len(tree.findall(".//li[@class='entry']")),
            }
            records.write(json.dumps(record) + "\n")
            for link in tree.iter("a"):
                target = urljoin(url, link.get("href"))
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)


if __name__ == "__main__":
    main()
