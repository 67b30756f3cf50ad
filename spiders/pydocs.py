"""The Python documentation, one record for everything that can be called or raised."""

import re
from collections.abc import Iterator
from typing import Any

from parsel import Selector

from scraper import Page, Request, Spider

KINDS = ("function", "class", "exception")
SKIPPED = re.compile(r"/(_sources|_modules|_downloads|genindex|search\.html)")
# A sentence ends at a mark before a space, unless that mark belongs to an abbreviation.
SENTENCE = re.compile(r"(.+?(?<!\be\.g)(?<!\bi\.e)(?<!\beg)(?<!\bvs)(?<!\betc)[.!?][\"')\]]*)(?=\s|$)")


class PyDocs(Spider):
    """Every function, class and exception of the Python documentation, with its signature."""

    start_urls = ["https://docs.python.org/3/"]
    key = "url"
    health = {"min_records": 1000, "required": ["name", "module", "signature"]}

    def start(self) -> Iterator[str]:
        """`--param start=URL` reads another copy; what lies in its folder or below is followed."""
        yield self.params.get("start", self.start_urls[0])

    def parse(self, page: Page) -> Iterator[Any]:
        """Records of one page, then the pages it links to."""
        for kind in KINDS:
            for listing in page.css(f"dl.py.{kind}"):
                for anchor, entry in definitions(listing).items():
                    yield {"kind": kind, **entry, "url": f"{page.url}#{anchor}"}
        yield from self.pages_linked(page)

    def pages_linked(self, page: Page) -> Iterator[Request]:
        """Pages of the same documentation: those in the start page's folder and below."""
        folder = next(self.start()).rpartition("/")[0] + "/"
        for url in page.links():
            if url.startswith(folder) and url.endswith((".html", "/")) and not SKIPPED.search(url):
                yield page.follow(url)


def definitions(listing: Selector) -> dict[str, dict[str, str]]:
    """What a `dl` defines, by anchor: names may share a description, a name may be called in several ways."""
    entries: dict[str, dict[str, str]] = {}
    summary = first_sentence(listing)
    anchor = ""
    for term in host_settings(listing):
        anchor = term[0].attrib.get("id", anchor)
        signature = tidy("".join(map(shown, term)))
        if anchor in entries:
            entries[anchor]["signature"] += f"\n{signature}"
        elif anchor:
            entries[anchor] = {**names(anchor, term[0]), "signature": signature, "summary": summary}
    return entries


def host_settings(listing: Selector) -> list[list[Selector]]:
    """Each `dt` of a `dl` and its rest: parsers move a long signature's own `dl` out of its `dt`."""
    found: list[list[Selector]] = []
    for part in listing.xpath("./dd[1]/preceding-sibling::*"):
        if part.root.tag == "dt":
            found.append([])
        if found:
            found[-1].append(part)
    return found


def names(anchor: str, term: Selector) -> dict[str, str]:
    """Module and name: a page shows a name with its module, or without where the anchor alone tells it."""
    prefix, name = ("".join(term.css(f".{part} ::text").getall()) for part in ("descclassname", "descname"))
    prefix = prefix.removeprefix("@")
    if anchor.endswith(f".{prefix}{name}"):
        prefix, name = anchor.removesuffix(f"{prefix}{name}"), f"{prefix}{name}"
    return {"module": prefix.rstrip(".") or "builtins", "name": name}


def shown(part: Selector) -> str:
    """Text of an element without the link marks that the documentation adds to it."""
    return "".join(part.xpath(".//text()[not(ancestor::a[contains(@class, 'headerlink')])]").getall())


def tidy(signature: str) -> str:
    """One line, as if it had never been broken over several."""
    return re.sub(r",? (?=\))|(?<=\() ", "", " ".join(signature.split()))


def first_sentence(listing: Selector) -> str:
    """The first sentence of the description's first paragraph; notes, versions and examples are none."""
    paragraph = "(./dd/p | ./dd/blockquote/div/p)[not(@class) and not(starts-with(., 'Module:'))]"
    text = " ".join(listing.xpath(f"string({paragraph})").get("").split())
    found = SENTENCE.match(text)
    return found[1] if found else text
