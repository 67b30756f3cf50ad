"""WARC and cookie files between this program and others, both ways, with the real tools.

`python -m benchmarks.other_files` puts pinned packages of PyPI and npm into a temporary folder, uses Debian's
curl, wget, nodejs, npm and chromium, serves a site on loopback, and prints the two tables of
docs/compatibility.md. It takes about a minute; exit 1 where something is not alike.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PYTHON_PACKAGES = ["warcio==1.8.1", "fastwarc==2.0.0", "requests==2.32.3"]
NODE_PACKAGES = ["playwright-core@1.65.1", "puppeteer-core@24.43.1", "tough-cookie@6.1.0", "warcio@2.4.11"]
ROOT = Path(__file__).resolve().parent.parent
PAGES = ("/", "/a", "/b", "/deep/", "/latin")
SET = (
    "s=1",
    "p=2; Max-Age=86400",
    "h=3; HttpOnly; Path=/",
    "l=4; SameSite=Lax; Max-Age=86400",
    "x=5; Path=/deep; Max-Age=86400",
    'q="a b"; Path=/',
    "gone=6; Max-Age=0",
)
SPIDER = """
from scraper import Spider

class Every(Spider):
    name, key = "every", "url"
    start_urls = [{urls}]
    settings = {{"delay": 0.05}}

    def parse(self, page):
        yield {{"url": page.url, "text": page.css("p::text").get(), "type": page.headers["content-type"]}}
"""
JAR = """
import sys, urllib.request
from http.cookiejar import LWPCookieJar, MozillaCookieJar
root, file, kind = sys.argv[1:]
jar = (LWPCookieJar if kind == "lwp" else MozillaCookieJar)(file)
opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
for path in ("/set", "/", "/deep/"):
    opener.open(root + path).read()
jar.save(ignore_discard=True)
"""
BROWSER = """
const fs = require("fs"), [root, file, kind] = process.argv.slice(1);
const how = {executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"]};
(async () => {
  const isPuppeteer = kind === "puppeteer";
  const launcher = isPuppeteer ? require("puppeteer-core") : require("playwright-core").chromium;
  const browser = await launcher.launch(how);
  const context = isPuppeteer ? browser.defaultBrowserContext() : await browser.newContext();
  const page = await context.newPage();
  for (const path of ["/set", "/", "/deep/"]) await page.goto(root + path);
  let found;
  if (kind === "storage_state") found = await context.storageState();
  else if (kind === "protocol")
    found = await (await context.newCDPSession(page)).send("Network.getAllCookies");
  else found = await (isPuppeteer ? browser : context).cookies();
  fs.writeFileSync(file, JSON.stringify(found));
  await browser.close();
})();
"""
TOUGH = """
const fs = require("fs"), {CookieJar} = require("tough-cookie"), [root, file] = process.argv.slice(1);
(async () => {
  const jar = new CookieJar();
  for (const path of ["/set", "/", "/deep/"]) {
    const answer = await fetch(root + path, {headers: {cookie: await jar.getCookieString(root + path)}});
    for (const line of answer.headers.getSetCookie()) await jar.setCookie(line, root + path);
  }
  fs.writeFileSync(file, JSON.stringify(jar.toJSON()));
})();
"""
CAPTURE = """
import sys
from warcio.capture_http import capture_http
import requests
root, file, *paths = sys.argv[1:]
with capture_http(file):
    for path in paths:
        requests.get(root + path)
"""
FASTWARC = """
import sys
from fastwarc.warc import ArchiveIterator, WarcRecordType
count = 0
for file in sys.argv[1:]:
    for record in ArchiveIterator(open(file, "rb"), parse_http=False):
        count += record.record_type in (WarcRecordType.response, WarcRecordType.revisit)
        assert "WARC-Block-Digest" not in record.headers or record.verify_block_digest(), record.record_id
print(count)
"""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: dict[str, str]

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.seen[self.path] = self.headers.get("Cookie", "")
        is_page = self.path in PAGES or self.path == "/set"
        encoding = "iso-8859-1" if self.path == "/latin" else "utf-8"
        body = f"<!DOCTYPE html><title>t</title><p>page é {self.path}</p>".encode(encoding) * is_page
        self.send_response(200 if is_page else 404)
        self.send_header("Content-Type", f"text/html; charset={encoding}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{len(body)}"')
        for line in SET if self.path == "/set" else ():
            self.send_header("Set-Cookie", line)
        self.end_headers()
        self.wfile.write(body)


class Bench:
    """The site, a folder with the tools, and a project of its own for each trial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[str, str] = {}
        handler = type("Handler", (_Handler,), {"seen": self.seen})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.root = f"http://127.0.0.1:{self._server.server_port}"
        self.python = folder / "venv" / "bin" / "python"
        self._trials = 0

    def install(self) -> None:
        """Put the tools into the folder."""
        self.tool(sys.executable, "-m", "venv", self.folder / "venv")
        self.tool(self.python, "-m", "pip", "install", "-q", *PYTHON_PACKAGES)
        self.tool("npm", "install", "--silent", "--no-fund", "--no-audit", *NODE_PACKAGES)

    def tool(self, *command: object, tolerates: int = 0) -> str:
        """Run another program in the folder; its standard output."""
        words = [str(word) for word in command]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=300)
        if done.returncode not in (0, tolerates):
            raise SystemExit(f"{words[:4]}: exit {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout

    def project(self, paths: tuple[str, ...]) -> Path:
        """A new project whose spider takes these pages."""
        self._trials += 1
        project = self.folder / f"project{self._trials}"
        (project / "spiders").mkdir(parents=True)
        urls = ", ".join(repr(self.root + path) for path in paths)
        (project / "spiders" / "every.py").write_text(SPIDER.format(urls=urls), "utf-8")
        return project

    def scraper(self, project: Path, *words: object) -> str:
        """The real command line in a project; its standard output."""
        command = [sys.executable, "-m", "scraper", *(str(word) for word in words)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "SCRAPER_CONTACT": "bench@example.org"}
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else f"exit {done.returncode}: {done.stderr[-300:]}"

    def records(self, project: Path) -> list[str]:
        """The records of its last run, in a fixed order."""
        file = project / "data" / "every" / "records.jsonl"
        return sorted(file.read_text("utf-8").splitlines()) if file.exists() else []


def cookie_rows(bench: Bench) -> list[tuple[str, ...]]:
    """A row for each tool: how many cookies of its file were taken, and whether they are sent as by it."""
    urls = [bench.root + path for path in ("/set", "/", "/deep/")]
    jars = ["-q", "-O", "/dev/null", "--keep-session-cookies", "--save-cookies"]
    makers: dict[str, Callable[[Path], str]] = {
        "curl -c": lambda file: bench.tool("curl", "-s", "-c", file, "-b", file, *urls),
        "wget --save-cookies": lambda file: bench.tool("wget", *jars, file, *urls),
        "Python MozillaCookieJar": lambda file: bench.tool(
            sys.executable, "-c", JAR, bench.root, file, "mozilla"
        ),
        "Python LWPCookieJar": lambda file: bench.tool(sys.executable, "-c", JAR, bench.root, file, "lwp"),
        "tough-cookie jar.toJSON()": lambda file: bench.tool("node", "-e", TOUGH, "--", bench.root, file),
        "Playwright storageState()": lambda file: _browser(bench, file, "storage_state"),
        "Playwright context.cookies()": lambda file: _browser(bench, file, "cookies"),
        "Puppeteer browser.cookies()": lambda file: _browser(bench, file, "puppeteer"),
        "DevTools Network.getAllCookies": lambda file: _browser(bench, file, "protocol"),
    }
    rows = []
    for name, make in makers.items():
        file = bench.folder / "cookies.txt"
        file.unlink(missing_ok=True)
        make(file)
        its = {path: _pairs(bench.seen.pop(path)) for path in ("/", "/deep/")}
        project = bench.project(("/", "/deep/"))
        said = bench.scraper(project, "cookies", "every", "--import", file)
        kept = [
            json.loads(line) for line in bench.scraper(project, "cookies", "every", "--json").splitlines()
        ]
        bench.scraper(project, "run", "every", "--quiet")
        ours = {path: _pairs(bench.seen.pop(path, "none")) for path in its}
        lasting = sum(1 for one in kept if one["expires"])
        is_alike = "yes" if ours == its else f"no: {its} and {ours} ({said.strip()})"
        rows.append((name, str(len(kept)), str(lasting), is_alike))
    return rows


def _browser(bench: Bench, file: Path, kind: str) -> str:
    return bench.tool("node", "-e", BROWSER, "--", bench.root, file, kind)


def _pairs(header: str) -> list[str]:
    return sorted(pair.strip() for pair in header.split(";"))


def warc_rows(bench: Bench) -> list[tuple[str, ...]]:
    """A row for each tool that writes WARC files (replayed by us), then for each that reads ours."""
    live = bench.project(PAGES)
    bench.scraper(live, "run", "every", "--quiet", "--archive")
    time.sleep(1.1)  # a run is named by its second
    bench.scraper(live, "run", "every", "--quiet", "--archive")
    wanted = bench.records(live)
    urls = [bench.root + path for path in PAGES]
    folder = bench.folder / "warc"
    folder.mkdir()
    wget = ("wget", "-q", "-O", "/dev/null", "--warc-file")
    bench.tool(*wget, folder / "plain", "--no-warc-compression", *urls)
    bench.tool(*wget, folder / "packed", "--warc-cdx", *urls)
    bench.tool(*wget, folder / "again", "--warc-dedup", folder / "packed.cdx", *urls)
    bench.tool(bench.python, "-c", CAPTURE, bench.root, folder / "captured.warc.gz", *PAGES)
    written = {
        "wget --warc-file, not compressed": ["plain.warc"],
        "wget --warc-file": ["packed.warc.gz"],
        "wget --warc-dedup, beside the file it refers to": ["packed.warc.gz", "again.warc.gz"],
        "warcio capture_http": ["captured.warc.gz"],
    }
    rows = []
    for name, files in written.items():
        project = bench.project(PAGES)
        options = [word for file in files for word in ("--replay", folder / file)]
        said = bench.scraper(project, "run", "every", "--quiet", *options)
        found = bench.records(project)
        is_alike = "the same records" if found == wanted and wanted else f"no: {len(found)} {said}"
        rows.append((name, "written by it, run by `run --replay`", is_alike))
    ours = [sorted(run.rglob("*.warc.gz")) for run in sorted((live / "data" / "every" / "runs").iterdir())]
    for name, count in {
        "warcio check and index": lambda files: _by_warcio(bench, files),
        "FastWARC": lambda files: int(bench.tool(bench.python, "-c", FASTWARC, *files)),
        "warcio.js index": lambda files: _by_warcio_js(bench, files),
    }.items():
        counts = [count(files) for files in ours]
        is_whole = "whole" if counts == [len(PAGES)] * 2 else f"no: {counts}"
        rows.append((name, "ours: a run, and one of which nothing changed", is_whole))
    return rows


def _by_warcio(bench: Bench, files: list[Path]) -> int:
    bench.tool(bench.python, "-m", "warcio.cli", "check", *files)
    lines = bench.tool(bench.python, "-m", "warcio.cli", "index", "-f", "warc-type", *files).splitlines()
    return sum(json.loads(line).get("warc-type") in ("response", "revisit") for line in lines)


def _by_warcio_js(bench: Bench, files: list[Path]) -> int:
    script = bench.folder / "node_modules" / ".bin" / "warcio"
    lines = bench.tool("node", script, "index", *files).splitlines()
    return sum(json.loads(line).get("warc-type") in ("response", "revisit") for line in lines)


def main() -> int:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        bench.install()
        cookies, warcs = cookie_rows(bench), warc_rows(bench)
    print("| cookie file | cookies | with an expiry | sent as the tool sends them |\n|---|---|---|---|")
    print("\n".join(f"| {' | '.join(row)} |" for row in cookies))
    print("\n| tool | WARC files | read |\n|---|---|---|")
    print("\n".join(f"| {' | '.join(row)} |" for row in warcs))
    failed = [row for row in [*cookies, *warcs] if row[-1].startswith("no")]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
