#!/usr/bin/env bash
# Tornado 6.6.1 (PyPI): StaticFileHandler takes the ETag of a file from a hash that it keeps by path, and does not look whether
# the file has changed. So a conditional request for a file with other content is answered 304 until the process ends, under
# a strong ETag, with the new Last-Modified beside it. Nor is If-Range heeded, so the rest of the new file comes as the rest
# of the old one. RFC 9110 8.8.3: an ETag tells versions of a representation apart; 13.1.5: If-Range. Known to them in part
# (tornadoweb/tornado issue 892, 2013, open), but not documented.
# Seen on 2026-11-30: 304 for a file whose content went from "old" to "new"; 206 "w" to If-Range with its old date.
# Exits 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q tornado==6.6.1
mkdir "$folder/site"
"$folder/venv/bin/python" - "$folder/site" <<'PYTHON'
import asyncio
import os
import sys
from pathlib import Path

import tornado
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, StaticFileHandler

file = Path(sys.argv[1]) / "a.txt"


def write(text, changed_at):
    file.write_text(text)
    os.utime(file, (changed_at, changed_at))


async def main():
    server = HTTPServer(Application([("/(.*)", StaticFileHandler, {"path": file.parent})]))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/a.txt"

    async def ask(**headers):
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return await AsyncHTTPClient().fetch(url, headers=fields, raise_error=False)

    write("old", 1_700_000_000)
    first = await ask()
    write("new", 1_710_000_000)
    again = await ask(If_None_Match=first.headers["ETag"])
    rest = await ask(Range="bytes=2-", If_Range=first.headers["Last-Modified"])
    dates = first.headers["Last-Modified"], again.headers["Last-Modified"]
    print("tornado", tornado.version, again.code, *dates, rest.code, rest.body)
    return again.code == 304 and dates[0] != dates[1] and (rest.code, rest.body) == (206, b"w")


sys.exit(0 if asyncio.run(main()) else 1)
PYTHON
