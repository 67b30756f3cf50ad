#!/usr/bin/env bash
# Chromium 156 (Debian's chromium): an input within a datalist is submitted with its form. The HTML Standard
# (4.10.22.4, constructing the entry list, step 5.1) skips a field that has a datalist element ancestor.
# Seen on 2026-11-29 with 156.0.8078.108: "t=1&z=2", where the Standard gives "z=2".
# Needs chromium and python3. Exits 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chromium --version
python3 - "$folder" <<'PYTHON'
import http.server
import subprocess
import sys
import threading

PAGE = b"""<!DOCTYPE html><form action="/sent"><datalist id="d"><input name="t" value="1"><option value="x"></datalist>
<input name="z" list="d" value="2"></form><script>document.forms[0].submit()</script>"""
sent = []
done = threading.Event()


class Site(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path.startswith("/sent"):
            sent.append(self.path)
            done.set()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"" if self.path.startswith("/sent") else PAGE)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
threading.Thread(target=server.serve_forever, daemon=True).start()
command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={sys.argv[1]}"]
browser = subprocess.Popen([*command, "--remote-debugging-port=0", f"http://127.0.0.1:{server.server_port}/"], stderr=subprocess.DEVNULL)
done.wait(60)
browser.terminate()
browser.wait()
print(sent)
sys.exit(0 if sent == ["/sent?t=1&z=2"] else 1)
PYTHON
