"""Real rate limiters, crawled twice: `python -m benchmarks.limits`, for docs/compatibility.md.

Each component is installed in its own folder (pip, npm) or comes from Debian's packages; each limits a site
of an index and thirty pages on an address of 127.0.0.0/8. A row takes up to twenty minutes; all go at once.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import ROOT

FOLDER = ROOT / "build" / "benchmarks" / "limits"
DOCUMENT = ROOT / "docs" / "compatibility.md"
APPS = Path(__file__).parent / "limiters"
PIP = (
    "Flask-Limiter==4.1.1",
    "slowapi==0.1.10",
    "fastapi-limiter==0.2.0",
    "django-ratelimit==4.1.0",
    "uvicorn",
)
PIP += ("Django==5.2.19", "fastapi", "djangorestframework==3.18.3", "litestar==2.25.0")
PIP += ("quart-rate-limiter==0.12.1", "throttled-py==3.5.0")
NPM = (
    "express@5",
    "express-rate-limit@8.7.5",
    "rate-limiter-flexible@11.4.0",
    "koa@3",
    "koa-ratelimit@6.0.0",
    "koa2-ratelimit@1.1.3",
    "fastify@5",
    "@fastify/rate-limit@11.2.0",
    "hono@4",
    "@hono/node-server@1",
    "hono-rate-limiter@0.5.4",
    "@hapi/hapi@21",
    "hapi-rate-limit@8.0.0",
)
DEBIAN = ("nginx-light", "haproxy", "apache2", "libapache2-mod-evasive", "libapache2-mod-qos")
PAGES = 31
PORT = 8100
_HEAD = "| component | limit | first run | refusals | second run | refusals | learned |"
_MARKERS = re.compile(r"<!-- limiters -->\n(.*?<!-- /limiters -->\n)?", re.DOTALL)
_SPIDER = """
from scraper import Spider

class Limited(Spider):
    start_urls = ["http://{host}:{port}/"]
    key = "url"

    def parse(self, page):
        yield {{"url": page.url}}
        yield from page.follow_all("a")
"""
_INDEX = "".join(f'<a href="/p{number}">{number}</a>' for number in range(30))


@dataclass(frozen=True, slots=True)
class Limiter:
    """A component, the limit that is set, and the command that serves a site behind it in a folder."""

    name: str
    limit: str
    command: Callable[[str, Path], Sequence[str]]


def _python(kind: str, limit: str, *more: str) -> Callable[[str, Path], Sequence[str]]:
    program = [str(FOLDER / "venv" / "bin" / "python"), str(APPS / "python_apps.py"), kind]
    return lambda host, folder: [*program, host, str(PORT), limit, *more]


def _node(kind: str, count: int, seconds: int, *more: str) -> Callable[[str, Path], Sequence[str]]:
    return lambda host, folder: [
        *(
            "node",
            str(FOLDER / "npm" / "node_apps.js"),
            kind,
            host,
            str(PORT),
            str(count),
            str(seconds),
            *more,
        )
    ]


def _site(folder: Path) -> Path:
    site = folder / "site"
    site.mkdir(parents=True, exist_ok=True)
    (site / "index.html").write_text(_INDEX)
    for number in range(30):
        (site / f"p{number}").write_text(f"<p>page {number}")
    for path in (folder, site):
        path.chmod(0o755)
    return site


def _nginx(zone: str, rule: str) -> Callable[[str, Path], Sequence[str]]:
    def command(host: str, folder: Path) -> Sequence[str]:
        config = folder / "nginx.conf"
        config.write_text(
            f"""daemon off; worker_processes 1; error_log {folder}/error.log; pid {folder}/pid;
            events {{ worker_connections 64; }}
            http {{ default_type text/html; access_log {folder}/access.log; client_body_temp_path {folder}/t1;
            proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4;
            scgi_temp_path {folder}/t5;
            limit_req_zone $binary_remote_addr zone=one:1m rate={zone};
            server {{ listen {host}:{PORT}; root {_site(folder)}; limit_req zone=one {rule}; }} }}"""
        )
        return ["nginx", "-c", str(config), "-p", str(folder)]

    return command


def _haproxy(
    count: int, seconds: int, action: str = "deny deny_status 429"
) -> Callable[[str, Path], Sequence[str]]:
    def command(host: str, folder: Path) -> Sequence[str]:
        config = folder / "haproxy.cfg"
        _site(folder)
        config.write_text(
            f"""defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend site
    bind {host}:{PORT}
    stick-table type ip size 1k expire 5m store http_req_rate({seconds}s)
    http-request track-sc0 src
    http-request {action} if {{ sc_http_req_rate(0) gt {count} }}
    http-request return status 404 if {{ path /robots.txt }}
    http-request return status 200 content-type text/html file {folder}/site/index.html if {{ path / }}
    http-request return status 200 content-type text/html string "page"
"""
        )
        return ["haproxy", "-f", str(config)]

    return command


def _apache(module: str, rule: str) -> Callable[[str, Path], Sequence[str]]:
    def command(host: str, folder: Path) -> Sequence[str]:
        modules = "/usr/lib/apache2/modules"
        loads = "\n".join(
            f"LoadModule {name}_module {modules}/mod_{file}.so"
            for name, file in (
                ("mpm_prefork", "mpm_prefork"),
                ("authz_core", "authz_core"),
                ("dir", "dir"),
                ("env", "env"),
                ("setenvif", "setenvif"),
                (module, module),
            )
        )
        config = folder / "apache.conf"
        # Debian's mod_qos needs a library that it does not load itself.
        config.write_text(
            f"""ServerRoot {folder}
{"LoadFile libpcre.so.3" if module == "qos" else ""}
{loads}
Listen {host}:{PORT}
ServerName {host}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
StartServers 1
MinSpareServers 1
MaxSpareServers 1
MaxRequestWorkers 1
DocumentRoot {_site(folder)}
DirectoryIndex index.html
ForceType text/html
<Directory />
  Require all granted
</Directory>
{rule}
"""
        )
        return ["apache2", "-f", str(config), "-D", "FOREGROUND"]

    return command


LIMITERS = (
    Limiter("Flask-Limiter 4.1.1, fixed window", "10 per 30 s", _python("flask_limiter", "10 per 30 second")),
    Limiter(
        "Flask-Limiter 4.1.1, moving window, headers",
        "10 per 30 s",
        _python("flask_limiter", "10 per 30 second", "headers", "moving"),
    ),
    Limiter("slowapi 0.1.10", "5 per 10 s", _python("slowapi", "5/10 seconds")),
    Limiter("slowapi 0.1.10, headers", "5 per 10 s", _python("slowapi", "5/10 seconds", "headers")),
    Limiter("fastapi-limiter 0.2.0", "10 per 30 s", _python("fastapi_limiter", "10/30")),
    Limiter("django-ratelimit 4.1.0 (403)", "10 per 30 s", _python("django_ratelimit", "10/30s")),
    Limiter("express-rate-limit 8.7.5", "10 per 30 s", _node("express-rate-limit", 10, 30)),
    Limiter(
        "express-rate-limit 8.7.5, draft-6", "10 per 30 s", _node("express-rate-limit", 10, 30, "draft-6")
    ),
    Limiter(
        "express-rate-limit 8.7.5, draft-8", "10 per 30 s", _node("express-rate-limit", 10, 30, "draft-8")
    ),
    Limiter("express-rate-limit 8.7.5, legacy", "5 per 10 s", _node("express-rate-limit", 5, 10, "legacy")),
    Limiter("rate-limiter-flexible 11.4.0", "10 per 30 s", _node("rate-limiter-flexible", 10, 30)),
    Limiter(
        "rate-limiter-flexible 11.4.0, Retry-After",
        "10 per 30 s",
        _node("rate-limiter-flexible", 10, 30, "headers"),
    ),
    Limiter("koa-ratelimit 6.0.0, headers", "10 per 30 s", _node("koa-ratelimit", 10, 30, "headers")),
    Limiter("koa-ratelimit 6.0.0, Retry-After", "5 per 10 s", _node("koa-ratelimit", 5, 10)),
    Limiter("nginx 1.22.1 limit_req (503)", "30 per minute, no burst", _nginx("30r/m", "")),
    Limiter("nginx 1.22.1 limit_req (503)", "30 per minute, burst 5", _nginx("30r/m", "burst=5 nodelay")),
    Limiter("nginx 1.22.1 limit_req (503)", "10 per minute, burst 9", _nginx("10r/m", "burst=9 nodelay")),
    Limiter("HAProxy 2.6.12 stick-table", "10 per 30 s", _haproxy(10, 30)),
    Limiter("HAProxy 2.6.12 stick-table", "3 per 5 s", _haproxy(3, 5)),
    Limiter(
        "nginx 1.22.1 limit_req (444)",
        "30 per minute, burst 5",
        _nginx("30r/m", "burst=5 nodelay; limit_req_status 444"),
    ),
    Limiter("HAProxy 2.6.12 reject", "10 per 30 s", _haproxy(10, 30, "reject")),
    Limiter("HAProxy 2.6.12 silent-drop", "10 per 30 s", _haproxy(10, 30, "silent-drop")),
    Limiter(
        "Apache mod_evasive 1.10.1 (403)",
        "8 per 10 s, blocks for 10 s",
        _apache(
            "evasive20",
            "DOSHashTableSize 97\nDOSPageCount 100\nDOSSiteCount 8\nDOSPageInterval 10\nDOSSiteInterval 10\n"
            "DOSBlockingPeriod 10\nDOSLogDir /tmp",
        ),
    ),
    Limiter(
        "Apache mod_qos 11.63 (500)",
        "10 per 30 s",
        _apache("qos", 'SetEnvIf Request_URI "." QS_Limit=yes\nQS_ClientEventLimitCount 10 30 QS_Limit'),
    ),
    Limiter("nginx 1.22.1 limit_req (503)", "7 per minute, burst 7", _nginx("7r/m", "burst=7 nodelay")),
    Limiter(
        "nginx 1.22.1 limit_req (429), delayed",
        "13 per minute, burst 3",
        _nginx("13r/m", "burst=3; limit_req_status 429"),
    ),
    Limiter("HAProxy 2.6.12 stick-table (403)", "13 per 45 s", _haproxy(13, 45, "deny deny_status 403")),
    Limiter("HAProxy 2.6.12 stick-table", "20 per 300 s", _haproxy(20, 300)),
    Limiter("Django REST framework 3.18.3", "7 per 20 s", _python("rest_framework", "7/20")),
    Limiter("Litestar 2.25.0", "15 per 60 s", _python("litestar", "15/minute")),
    Limiter("Litestar 2.25.0, headers", "15 per 60 s", _python("litestar", "15/minute", "headers")),
    Limiter("Quart-Rate-Limiter 0.12.1", "6 per 25 s", _python("quart", "6/25")),
    Limiter("throttled-py 3.5.0, sliding window", "8 per 40 s", _python("throttled", "8/40/sliding_window")),
    Limiter("throttled-py 3.5.0, token bucket", "8 per 40 s", _python("throttled", "8/40/token_bucket")),
    Limiter("throttled-py 3.5.0, leaky bucket", "5 per 15 s", _python("throttled", "5/15/leaking_bucket")),
    Limiter("throttled-py 3.5.0, GCRA", "5 per 15 s", _python("throttled", "5/15/gcra")),
    Limiter("@fastify/rate-limit 11.2.0", "12 per 35 s", _node("fastify", 12, 35)),
    Limiter("@fastify/rate-limit 11.2.0, draft", "12 per 35 s", _node("fastify", 12, 35, "draft")),
    Limiter("hono-rate-limiter 0.5.4", "9 per 90 s", _node("hono", 9, 90)),
    Limiter("hono-rate-limiter 0.5.4, draft-6", "6 per 12 s", _node("hono", 6, 12, "draft-6")),
    Limiter("hono-rate-limiter 0.5.4, draft-7", "6 per 12 s", _node("hono", 6, 12, "draft-7")),
    Limiter("hapi-rate-limit 8.0.0", "10 per 25 s", _node("hapi", 10, 25)),
    Limiter("koa2-ratelimit 1.1.3", "10 per 50 s", _node("koa2-ratelimit", 10, 50)),
)


def prepare() -> None:
    """Install what comes from pip and npm, once."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not (FOLDER / "venv" / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", FOLDER / "venv"], check=True)
        subprocess.run([FOLDER / "venv" / "bin" / "python", "-m", "pip", "install", "-q", *PIP], check=True)
        (FOLDER / "venv" / "done").touch()
    if not (FOLDER / "npm" / "node_modules").exists():
        (FOLDER / "npm").mkdir(exist_ok=True)
        subprocess.run(["npm", "install", "--silent", *NPM], cwd=FOLDER / "npm", check=True)
    shutil.copy(APPS / "node_apps.js", FOLDER / "npm")


def measure(number: int, limiter: Limiter) -> str:
    """One row of the table: two runs on one site."""
    folder = FOLDER / "sites" / str(number)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "spiders").mkdir(parents=True)
    host = f"127.0.77.{number + 1}"
    (folder / "spiders" / "limited.py").write_text(_SPIDER.format(host=host, port=PORT))
    with ExitStack() as stack:
        log = stack.enter_context((folder / "server.log").open("w"))
        server = subprocess.Popen(limiter.command(host, folder), stdout=log, stderr=log)
        stack.callback(server.wait)
        stack.callback(server.terminate)
        subprocess.run(["sleep", "3"], check=True)
        runs = [_crawl(folder, host) for _ in range(2)]
    cells = [cell for run in runs for cell in run[:2]]
    return f"| {limiter.name} | {limiter.limit} | {' | '.join(cells)} | {runs[-1][2]} |"


def _crawl(folder: Path, host: str) -> tuple[str, str, str]:
    command = [sys.executable, "-m", "scraper", "run", "limited", "--json"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=None)
    (folder / "run.log").open("a").write(ended.stderr)
    summary = json.loads(ended.stdout.strip().splitlines()[-1])
    stats = summary["by_domain"].get(host, {})
    pages = summary["pages"] + summary["unchanged"]
    # Everything but the pages, their robots.txt and the controls that passed was an answer that refused.
    others = len(stats.get("robots", {})) + stats.get("controls", 0)
    refused = max(0, summary["requests"] - pages - others)
    told = f"{pages} of {PAGES}, exit {ended.returncode}, {summary['seconds']:.0f} s"
    return told, str(refused), stats.get("learned") or "nothing to learn"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="components whose name has this in it")
    chosen = parser.parse_args().only
    prepare()
    rows = [(number, each) for number, each in enumerate(LIMITERS) if chosen.lower() in each.name.lower()]
    with ThreadPoolExecutor(len(rows)) as pool:
        lines = list(pool.map(lambda row: measure(*row), rows))
    table = "\n".join([_HEAD, "|---|---|---|---|---|---|---|", *lines])
    print(table)
    if not chosen and DOCUMENT.exists():
        text = DOCUMENT.read_text()
        block = f"<!-- limiters -->\n\n{table}\n\n<!-- /limiters -->\n"
        DOCUMENT.write_text(_MARKERS.sub(lambda _: block, text))


if __name__ == "__main__":
    main()
