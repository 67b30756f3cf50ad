"""Real web servers: is 304 reached, what becomes of a compressed page's ETag, how long a connection is kept.

`python -m benchmarks.web_servers` starts every server that this machine has, each on a port of its own, lets
the real command crawl it three times, and prints the table of docs/compatibility.md. With `--install` the
servers that are Python and Node packages are put into a temporary folder first; Debian's are to be installed
before (apache2 nginx-light lighttpd lighttpd-mod-deflate caddy).
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PAGES = 10
MOST_IDLE = 80.0
ROOT = Path(__file__).resolve().parent.parent
PYTHON_PACKAGES = [
    "uvicorn==0.34.0",
    "starlette==0.46.2",
    "gunicorn==23.0.0",
    "flask==3.1.0",
    "flask-compress==1.17",
]
NODE_PACKAGES = ["http-server@14.1.1", "serve@14.2.4", "express@5.1.0", "compression@1.8.0"]

APACHE = """
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule mime_module {modules}/mod_mime.so
LoadModule filter_module {modules}/mod_filter.so
LoadModule deflate_module {modules}/mod_deflate.so
TypesConfig /etc/mime.types
AddOutputFilterByType DEFLATE text/html
DocumentRoot {root}
"""
NGINX = """
daemon off; worker_processes 1; error_log stderr; pid {folder}/nginx.pid; {user}
events {{ }}
http {{
    types {{ text/html html; }}
    access_log off; gzip on; gzip_min_length 20;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""
LIGHTTPD = """
server.modules = ("mod_deflate")
server.port = {port}
server.bind = "127.0.0.1"
server.document-root = "{root}"
mimetype.assign = (".html" => "text/html")
deflate.mimetypes = ("text/html")
deflate.allowed-encodings = ("gzip")
deflate.max-loadavg = "100.0"
"""
CADDY = """
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    root * {root}
    encode gzip
    file_server
}}
"""
STARLETTE = """
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
app = Starlette(routes=[Mount("/", StaticFiles(directory={root!r}))], middleware=[Middleware(GZipMiddleware)])
"""
FLASK = """
from flask import Flask, send_from_directory
from flask_compress import Compress
app = Flask(__name__)
Compress(app)

@app.get("/<path:name>")
def page(name):
    answer = send_from_directory({root!r}, name)
    answer.direct_passthrough = False
    return answer
"""
EXPRESS = """
const express = require('express'), app = express();
app.use(require('compression')({{ threshold: 20 }}), express.static({root!r}));
app.listen({port}, '127.0.0.1');
"""
SPIDER = """
from scraper import Spider

class Site(Spider):
    start_urls = ["{url}/0.html"]
    key = "url"
    settings = {{"delay": 0}}

    def parse(self, page):
        yield {{"url": page.url, "title": page.css("title::text").get()}}
        yield from page.follow_all("a")
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server runs: its own folder, the pages, its port, and what --install has brought."""

    folder: Path
    root: Path
    port: int
    installed: Path

    def file(self, name: str, text: str) -> str:
        """Write a configuration; its path."""
        user = "user root;" if os.getuid() == 0 else ""
        filled = text.format(
            folder=self.folder,
            root=str(self.root),
            port=self.port,
            user=user,
            modules="/usr/lib/apache2/modules",
        )
        path = self.folder / name
        path.write_text(filled)
        return str(path)

    def python(self, name: str) -> str:
        """A program that pip has brought."""
        return str(self.installed / "venv" / "bin" / name)

    def node(self, name: str) -> str:
        """A program that npm has brought."""
        return str(self.installed / "node_modules" / ".bin" / name)


@dataclass(frozen=True, slots=True)
class Server:
    """A server: the command that runs it in the foreground, and the one that tells its version."""

    name: str
    command: Callable[[Place], list[str]]
    version: Callable[[Place], list[str]]


def _python_version(package: str) -> Callable[[Place], list[str]]:
    told = f"import importlib.metadata as m; print(m.version({package!r}))"
    return lambda place: [place.python("python"), "-c", told]


def _node_version(package: str) -> Callable[[Place], list[str]]:
    return lambda place: [
        "node",
        "-p",
        f"require({str(place.installed / 'node_modules' / package / 'package.json')!r}).version",
    ]


SERVERS = [
    Server(
        "Apache httpd, mod_deflate",
        lambda p: ["/usr/sbin/apache2", "-X", "-f", p.file("apache.conf", APACHE)],
        lambda p: ["/usr/sbin/apache2", "-v"],
    ),
    Server(
        "nginx, gzip on",
        lambda p: ["/usr/sbin/nginx", "-c", p.file("nginx.conf", NGINX), "-e", "stderr"],
        lambda p: ["/usr/sbin/nginx", "-v"],
    ),
    Server(
        "lighttpd, mod_deflate",
        lambda p: ["/usr/sbin/lighttpd", "-D", "-f", p.file("lighttpd.conf", LIGHTTPD)],
        lambda p: ["/usr/sbin/lighttpd", "-v"],
    ),
    Server(
        "Caddy, encode gzip",
        lambda p: ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", p.file("Caddyfile", CADDY)],
        lambda p: ["/usr/bin/caddy", "version"],
    ),
    Server(
        "Python http.server",
        lambda p: [
            sys.executable,
            "-m",
            "http.server",
            "-b",
            "127.0.0.1",
            "-d",
            str(p.root),
            "-p",
            "HTTP/1.1",
            str(p.port),
        ],
        lambda p: [sys.executable, "--version"],
    ),
    Server(
        "uvicorn, Starlette StaticFiles, GZipMiddleware",
        lambda p: [
            p.python("uvicorn"),
            "--app-dir",
            str(Path(p.file("star.py", STARLETTE)).parent),
            "--port",
            str(p.port),
            "--log-level",
            "warning",
            "star:app",
        ],
        _python_version("uvicorn"),
    ),
    Server(
        "gunicorn, Flask, flask-compress",
        lambda p: [
            p.python("gunicorn"),
            "-k",
            "gthread",
            "--threads",
            "4",
            "-b",
            f"127.0.0.1:{p.port}",
            "--chdir",
            str(Path(p.file("flasky.py", FLASK)).parent),
            "flasky:app",
        ],
        _python_version("gunicorn"),
    ),
    Server(
        "Node http-server",
        lambda p: [p.node("http-server"), str(p.root), "-a", "127.0.0.1", "-p", str(p.port), "-s"],
        _node_version("http-server"),
    ),
    Server(
        "Node serve",
        lambda p: [p.node("serve"), "-l", f"tcp://127.0.0.1:{p.port}", "-n", "-L", str(p.root)],
        _node_version("serve"),
    ),
    Server(
        "Node Express, compression",
        lambda p: ["node", p.file("express.js", EXPRESS)],
        _node_version("express"),
    ),
]


@dataclass(frozen=True, slots=True)
class Row:
    """What was seen of a server. `alone`: the status where the tag is sent as it came."""

    name: str
    version: str
    etag: str
    alone: str
    revisits: list[str]
    idle: str


def measure(server: Server, installed: Path, *, is_idle_measured: bool = True) -> Row | None:
    """Run a server and look; None where the machine has no such server."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        root = folder / "root"
        root.mkdir()
        for n in range(PAGES):
            links = "".join(f'<a href="/{m}.html">page {m}</a>' for m in range(PAGES))
            noise = random.Random(n).randbytes(4000).hex()
            (root / f"{n}.html").write_text(f"<!doctype html><title>Page {n}</title>{links}<p>{noise}")
        (root / "robots.txt").write_text("User-agent: *\nDisallow:\n")
        place = Place(folder, root, _free_port(), installed)
        environment = {**os.environ, "NODE_PATH": str(installed / "node_modules"), "NO_UPDATE_CHECK": "1"}
        try:
            process = stack.enter_context(
                subprocess.Popen(
                    server.command(place),
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        except FileNotFoundError:
            return None
        stack.callback(process.terminate)
        if not _is_open(process, place.port):
            return None
        said = subprocess.run(server.version(place), capture_output=True, text=True, cwd=folder)
        found = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
        etag, alone = _tags(place.port)
        revisits = _crawl(folder, place.port)
        kept = _idle(place.port) if is_idle_measured else "not measured"
        return Row(server.name, found[0] if found else "?", etag, alone, revisits, kept)


def _crawl(folder: Path, port: int) -> list[str]:
    project = folder / "project"
    (project / "spiders").mkdir(parents=True)
    (project / "spiders" / "site.py").write_text(SPIDER.format(url=f"http://127.0.0.1:{port}"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCRAPER_CONTACT": "bench@example.org"}
    told = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-m", "scraper", "run", "site", "--json", "--quiet"],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
        )
        summary = json.loads(done.stdout.splitlines()[-1])
        told.append(summary)
    first, *later = (summary["bytes"] for summary in told)
    return ["304" if size * 5 < first else "200" for size in later]


def _tags(port: int) -> tuple[str, str]:
    """The ETag of a compressed page, and the status where it is sent back as it came."""
    answer = _get(port, {"Accept-Encoding": "gzip"})
    tag = answer.get("etag", "")
    told = (tag or "none") + ("" if answer.get("content-encoding") else ", not compressed")
    alone = _get(port, {"If-None-Match": tag, "Accept-Encoding": "gzip"}) if tag else {}
    return told, alone.get("status", "-")


def _get(port: int, headers: dict[str, str]) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/1.html", headers=headers)
        answer = connection.getresponse()
        answer.read()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return {**fields, "status": str(answer.status)}


def _idle(port: int) -> str:
    """How many seconds the server keeps a connection on which nothing is asked."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /1.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.settimeout(1)
        began = time.monotonic()
        while time.monotonic() - began < MOST_IDLE:
            try:
                if not connection.recv(65536):
                    return f"{time.monotonic() - began:.0f} s"
            except TimeoutError:
                continue
            except ConnectionError:
                return f"{time.monotonic() - began:.0f} s"
            began = time.monotonic()
    return f"more than {MOST_IDLE:.0f} s"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_open(process: "subprocess.Popen[bytes]", port: int) -> bool:
    for _ in range(200):
        if process.poll() is not None:
            return False
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        time.sleep(0.1)
    return False


def install(folder: Path) -> None:
    """Bring the servers that are Python and Node packages."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    subprocess.run([str(folder / "venv/bin/pip"), "install", "-q", *PYTHON_PACKAGES], check=True)
    if shutil.which("npm"):
        npm = [
            "npm",
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(folder),
            *NODE_PACKAGES,
        ]
        subprocess.run(npm, check=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web_servers", description=__doc__)
    parser.add_argument("--install", action="store_true", help="bring the Python and Node servers first")
    with tempfile.TemporaryDirectory() as name:
        installed = Path(name)
        if parser.parse_args().install:
            install(installed)
        with concurrent.futures.ThreadPoolExecutor(len(SERVERS)) as pool:
            rows = list(pool.map(lambda server: measure(server, installed), SERVERS))
    print("| server | version | ETag, compressed | tag as it came | 2nd run | 3rd run | idle connection |")
    print("|---|---|---|---|---|---|---|")
    for server, row in zip(SERVERS, rows, strict=True):
        if row is None:
            print(f"{server.name}: not on this machine", file=sys.stderr)
            continue
        tag = re.sub(r'"[^"]*?([-:][a-z]+)?"', r'"x\1"', row.etag)
        cells = [row.name, row.version, tag, row.alone, *row.revisits, row.idle]
        print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
