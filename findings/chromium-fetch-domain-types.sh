#!/usr/bin/env bash
# Chromium 156 (Debian's chromium), DevTools protocol: the type of one and the same request differs by domain.
# Network.requestWillBeSent calls a fetch() Fetch and an EventSource EventSource; Fetch.requestPaused calls both XHR,
# though its resourceType is of the same type, Network.ResourceType, which has all three.
# Seen on 2026-11-29 with 156.0.8078.108 through playwright 1.65.2: {"/events": ["EventSource", "XHR"], "/data": ["Fetch", "XHR"]}.
# Needs chromium and python3 with venv. Exits 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chromium --version
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q playwright==1.65.2
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import base64
import json
import sys
from urllib.parse import urlsplit

from playwright.async_api import async_playwright

PAGE = b"<script>new EventSource('/events'); fetch('/data').catch(() => 0)</script>"
types = {"/events": ["", ""], "/data": ["", ""]}


async def main():
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = await browser.new_page()
        cdp = await page.context.new_cdp_session(page)

        def told(at, event):
            path = urlsplit(event["request"]["url"]).path
            if path in types:
                types[path][at] = event.get("type") or event.get("resourceType")

        async def paused(event):
            told(1, event)
            if urlsplit(event["request"]["url"]).path == "/":
                answer = {"responseCode": 200, "responseHeaders": [{"name": "Content-Type", "value": "text/html"}]}
                answer["body"] = base64.b64encode(PAGE).decode()
                await cdp.send("Fetch.fulfillRequest", {"requestId": event["requestId"], **answer})
            else:
                await cdp.send("Fetch.failRequest", {"requestId": event["requestId"], "errorReason": "Aborted"})

        cdp.on("Network.requestWillBeSent", lambda event: told(0, event))
        cdp.on("Fetch.requestPaused", lambda event: asyncio.ensure_future(paused(event)))
        await cdp.send("Network.enable")
        await cdp.send("Fetch.enable", {"patterns": [{"urlPattern": "*"}]})
        await page.goto("http://site.invalid/")
        for _ in range(100):
            if all(all(pair) for pair in types.values()):
                break
            await asyncio.sleep(0.1)
        await browser.close()


asyncio.run(main())
print(json.dumps(types))
sys.exit(0 if types == {"/events": ["EventSource", "XHR"], "/data": ["Fetch", "XHR"]} else 1)
PYTHON
