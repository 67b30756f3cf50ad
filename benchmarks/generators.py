# ruff: noqa: E501 - code of other languages is set as it comes
"""What site generators write as sitemaps and feeds, and what of it `Page.links()` reads.

`python -m benchmarks.generators` builds a site of three pages with each generator that is installed, reads
every sitemap and feed of it under five types, and compares with what a plain search of the file finds. It
prints the table of docs/compatibility.md; a difference ends it with status 1.

Python: pip install sphinx sphinx-sitemap mkdocs pelican pelican-sitemap nikola django feedgen
Debian: apt install hugo jekyll ruby-jekyll-feed ruby-jekyll-sitemap
Node, in a folder named by NODE_FOLDER: npm install hexo hexo-renderer-marked
hexo-generator-sitemap hexo-generator-feed sitemap feed
"""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scraper.model import Headers, Request, Response
from scraper.parsing.page import Page

HOME = "https://e.example/"
TYPES = ("application/xml", "text/html; charset=utf-8", "text/plain", "application/octet-stream", "")
_LINE = re.compile(r"^https?://\S+$", re.MULTILINE)
_LOCATION = re.compile(r"<loc>\s*(?:<!\[CDATA\[)?\s*([^<\]\s]+)")
_ITEM = re.compile(r"<item[ >].*?<link>(?:<!\[CDATA\[)?([^<\]]+)", re.DOTALL)
_ENTRY = re.compile(r"<entry>.*?<link[^>]*?href=\"([^\"]+)\"", re.DOTALL)


@dataclass(frozen=True)
class Generator:
    """`build` writes a site into a folder and says where its files are; it raises where a tool is not there."""

    name: str
    version: Callable[[], str]
    build: Callable[[Path], Path]


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _posts(pattern: str, head: str) -> dict[str, str]:
    return {pattern.format(name): head.format(name) for name in "abc"}


FRONT = "---\ntitle: {}\ndate: 2024-01-01\n---\ntext & <b>more</b>\n"


def _sphinx(folder: Path) -> Path:
    pages = {"index.rst": "Home\n====\n\n.. toctree::\n\n   a\n   b\n   c\n", **_posts("{}.rst", "{}\n=\n")}
    conf = f"project = 'x'\nhtml_baseurl = '{HOME}'\nextensions = ['sphinx_sitemap']\n"
    _write(folder, {**pages, "conf.py": conf})
    _run(sys.executable, "-m", "sphinx", "-q", ".", "out", cwd=folder)
    return folder / "out"


def _mkdocs(folder: Path) -> Path:
    _write(folder, {"mkdocs.yml": f"site_name: x\nsite_url: {HOME}\n", "docs/index.md": "# x"})
    _write(folder, _posts("docs/{}.md", "# {}\n"))
    _run(sys.executable, "-m", "mkdocs", "build", "-q", cwd=folder)
    return folder / "site"


def _pelican(folder: Path) -> Path:
    conf = (
        f"SITENAME = 'x'\nSITEURL = '{HOME[:-1]}'\nAUTHOR = 'a'\nPATH = 'content'\nTIMEZONE = 'UTC'\n"
        "FEED_ALL_ATOM = 'all.atom.xml'\nFEED_ALL_RSS = 'all.rss.xml'\nPLUGINS = ['sitemap']\n"
    )
    _write(
        folder, {"conf.py": conf, **_posts("content/{}.md", "Title: {}\nDate: 2024-01-01 10:00\n\ntext\n")}
    )
    _write(folder, {"conf-txt.py": conf + "SITEMAP = {'format': 'txt'}\n"})
    for settings in ("conf-txt.py", "conf.py"):
        _run(sys.executable, "-m", "pelican", "-q", "-s", settings, "-o", "out", "content", cwd=folder)
    return folder / "out"


def _nikola(folder: Path) -> Path:
    _run(sys.executable, "-m", "nikola", "init", "-q", "site", cwd=folder)
    conf = folder / "site" / "conf.py"
    conf.write_text(re.sub(r"(?m)^SITE_URL = .*", f'SITE_URL = "{HOME}"', conf.read_text()))
    head = ".. title: {0}\n.. slug: {0}\n.. date: 2024-01-01 10:00:00 UTC\n\ntext\n"
    _write(folder / "site", _posts("posts/{}.rst", head))
    _run(sys.executable, "-m", "nikola", "build", "-q", cwd=folder / "site")
    return folder / "site" / "output"


def _hugo(folder: Path) -> Path:
    page = "<html><body>{{ .Title }}{{ .Content }}</body></html>"
    _write(
        folder, {"config.toml": f"baseURL = '{HOME}'\ntitle = 'x'\n", **_posts("content/posts/{}.md", FRONT)}
    )
    _write(
        folder,
        {f"layouts/{name}": page for name in ("_default/single.html", "_default/list.html", "index.html")},
    )
    _run("hugo", cwd=folder)
    return folder / "public"


def _jekyll(folder: Path) -> Path:
    conf = f"title: x\nurl: {HOME[:-1]}\nplugins: [jekyll-feed, jekyll-sitemap]\n"
    _write(
        folder,
        {"_config.yml": conf, "index.html": "---\n---\nhi", **_posts("_posts/2024-01-01-{}.md", FRONT)},
    )
    _run("jekyll", "build", cwd=folder)
    return folder / "_site"


def _hexo(folder: Path) -> Path:
    names = ("hexo", "hexo-generator-sitemap", "hexo-generator-feed", "hexo-renderer-marked")
    packages = "{" + ", ".join(f'"{name}": "*"' for name in names) + "}"
    package = f'{{"name": "x", "version": "0.0.0", "hexo": {{"version": "7"}}, "dependencies": {packages}}}'
    conf = (
        f"title: x\nurl: {HOME[:-1]}\ntheme: false\nfeed:\n  type: [atom, rss2]\n  path: [atom.xml, rss2.xml]\n"
        "sitemap:\n  path: [sitemap.xml, sitemap.txt]\n"
    )
    _write(folder, {"package.json": package, "_config.yml": conf, **_posts("source/_posts/{}.md", FRONT)})
    (folder / "node_modules").symlink_to(_node_modules())
    _run(str(_node_modules() / ".bin" / "hexo"), "generate", cwd=folder)
    return folder / "public"


NODE_SCRIPT = f"""
const {{ SitemapStream, streamToPromise }} = require("sitemap"), {{ Feed }} = require("feed"), fs = require("fs");
const feed = new Feed({{ title: "x", id: "{HOME}", link: "{HOME}", feedLinks: {{ atom: "{HOME}atom.xml" }} }});
const map = new SitemapStream({{ hostname: "{HOME}" }});
for (const name of ["a", "b", "c"]) {{
  map.write({{ url: "/" + name, img: [{{ url: "/" + name + ".jpg" }}], links: [{{ lang: "de", url: "/de/" + name }}] }});
  feed.addItem({{ title: name, id: "{HOME}" + name, link: "{HOME}" + name + "?x=1&y=2", date: new Date(0) }});
}}
map.end();
fs.writeFileSync("rss.xml", feed.rss2());
fs.writeFileSync("atom.xml", feed.atom1());
streamToPromise(map).then(text => fs.writeFileSync("sitemap.xml", text));
"""


def _node(folder: Path) -> Path:
    (folder / "node_modules").symlink_to(_node_modules())
    _write(folder, {"build.js": NODE_SCRIPT})
    _run("node", "build.js", cwd=folder)
    return folder


DJANGO_SCRIPT = f"""
import django
from django.conf import settings
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], INSTALLED_APPS=["django.contrib.sitemaps"], TEMPLATES=[
    {{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}}])
django.setup()
from django.contrib.sitemaps import Sitemap
from django.contrib.sitemaps.views import index, sitemap
from django.contrib.syndication.views import Feed
from django.test import RequestFactory
from django.urls import path
from django.utils.feedgenerator import Atom1Feed

class Pages(Sitemap):
    protocol = "https"
    def items(self): return "abc"
    def location(self, item): return f"/{{item}}?x=1&y=2"
    def get_domain(self, site=None): return "e.example"

class News(Feed):
    title, link, description = "x", "/", "x"
    def items(self): return "abc"
    def item_title(self, item): return item
    def item_description(self, item): return item
    def item_link(self, item): return f"{HOME}{{item}}?x=1&y=2"

class Atom(News):
    feed_type, subtitle = Atom1Feed, "x"

maps = {{"pages": Pages}}
urlpatterns = [path("sitemap-<section>.xml", sitemap, {{"sitemaps": maps}}, name="django.contrib.sitemaps.views.sitemap")]
request = RequestFactory().get("/", HTTP_HOST="e.example", secure=True)
for name, answer in (("sitemap.xml", sitemap(request, maps)), ("index.xml", index(request, maps)),
                     ("rss.xml", News()(request)), ("atom.xml", Atom()(request))):
    answer = answer.render() if hasattr(answer, "render") else answer
    open(name, "wb").write(answer.content)
"""


def _django(folder: Path) -> Path:
    # Its sites framework wants a database; get_current_site() only asks whether the app is there.
    _write(folder, {"build.py": DJANGO_SCRIPT})
    _run(sys.executable, "build.py", cwd=folder)
    return folder


def _feedgen(folder: Path) -> Path:
    from feedgen.feed import FeedGenerator

    feed = FeedGenerator()
    feed.id(HOME)
    feed.title("x")
    feed.link(href=HOME, rel="alternate")
    feed.description("x")
    for name in "abc":
        entry = feed.add_entry()
        entry.id(HOME + name)
        entry.title(name)
        entry.link(href=HOME + name)
    feed.rss_file(str(folder / "rss.xml"))
    feed.atom_file(str(folder / "atom.xml"))
    return folder


def _node_modules() -> Path:
    return Path(os.environ.get("NODE_FOLDER", ".")).resolve() / "node_modules"


def _of_package(*names: str) -> Callable[[], str]:
    return lambda: ", ".join(f"{name} {version(name)}" for name in names)


def _of_command(*command: str) -> Callable[[], str]:
    return lambda: (re.search(r"\d+\.\d+\.\d+", _run(*command, cwd=Path("."))) or [""])[0]


def _of_node(*names: str) -> Callable[[], str]:
    def found() -> str:
        texts = {name: (_node_modules() / name / "package.json").read_text() for name in names}
        return ", ".join(f"{name} {re.search(r'.version.: .([0-9.]+)', texts[name])[1]}" for name in names)  # type: ignore[index]

    return found


GENERATORS = (
    Generator("Sphinx", _of_package("sphinx", "sphinx-sitemap"), _sphinx),
    Generator("MkDocs", _of_package("mkdocs"), _mkdocs),
    Generator("Pelican", _of_package("pelican", "pelican-sitemap"), _pelican),
    Generator("Nikola", _of_package("nikola"), _nikola),
    Generator("Django", _of_package("django"), _django),
    Generator("feedgen", _of_package("feedgen"), _feedgen),
    Generator("Hugo", _of_command("hugo", "version"), _hugo),
    Generator("Jekyll", _of_command("jekyll", "--version"), _jekyll),
    Generator("Hexo", _of_node("hexo", "hexo-generator-sitemap", "hexo-generator-feed"), _hexo),
    Generator("npm sitemap, feed", _of_node("sitemap", "feed"), _node),
)


def expected(text: str) -> list[str]:
    """What a plain search finds in a sitemap or a feed."""
    for pattern in (_LOCATION, _ITEM, _ENTRY):
        if found := pattern.findall(text):
            return list(dict.fromkeys(one.strip().replace("&amp;", "&") for one in found))
    return [] if text.lstrip().startswith("<") else _LINE.findall(text)


def read(path: Path, kind: str) -> list[str]:
    """What our page gives."""
    headers = Headers([("Content-Type", kind)] if kind else [])
    url = f"{HOME}{path.name}"
    return Page(Request(url), Response(url, 200, headers, path.read_bytes())).links()


def check(generator: Generator) -> tuple[str, str, str]:
    """Version, files read, and what differs."""
    folder = Path(tempfile.mkdtemp())
    try:
        number = generator.version()
        site = generator.build(folder)
        seen, wrong = [], []
        for path in sorted(site.rglob("*")):
            if not re.search(r"(sitemap|feed|rss|atom|index(?=\.xml))[^/]*\.(xml|txt)(\.gz)?$", path.name):
                continue
            body = path.read_bytes()
            found = expected((gzip.decompress(body) if path.suffix == ".gz" else body).decode())
            name = str(path.relative_to(site))
            seen.append(f"{name} {len(found)}")
            wrong += [f"{name} as {kind or 'no type'}" for kind in TYPES if read(path, kind) != found]
        return number, ", ".join(seen), ", ".join(wrong)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Print the table; 1 where something differs."""
    status = 0
    print("| generator | version | files and URLs in them | read alike |\n|---|---|---|---|")
    for generator in GENERATORS:
        try:
            number, seen, wrong = check(generator)
        except (OSError, PackageNotFoundError, ImportError, subprocess.SubprocessError) as error:
            print(f"{generator.name}: not run ({type(error).__name__})", file=sys.stderr)
            continue
        status |= bool(wrong) or not seen
        print(f"| {generator.name} | {number} | {seen} | {wrong or 'yes, under all five types'} |")
    return status


if __name__ == "__main__":
    sys.exit(main())
