"""What Debian's Chromium sends for the shapes of forms, as tests/parsing/form_answers.json holds it.

`RECORD=1 python -m pytest -m debian tests/debian/test_forms.py` writes the file anew.
"""

import contextlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.parsing.form_shapes import SHAPES, Shape, Upload

pytestmark = pytest.mark.debian
ANSWERS = Path(__file__).parent.parent / "parsing" / "form_answers.json"

# Fills in as a script would, and clicks the form's own button where no other is named.
SCRIPT = """
function fill(form, values) {
  for (const [name, given] of Object.entries(values)) {
    const list = Array.isArray(given) ? given : [given];
    for (const one of [...form.elements].filter(one => one.name === name)) {
      if (one.type === "file") {
        const chosen = new DataTransfer();
        for (const file of list) chosen.items.add(new File([file.content], file.name, {type: file.kind}));
        one.files = chosen.files;
      } else if (one.tagName === "SELECT") {
        for (const option of one.options) option.selected = list.includes(option.value);
      } else if (one.type === "checkbox" || one.type === "radio") {
        one.checked = given === true || list.includes(one.value);
      } else one.value = list[0];
    }
  }
}
function own(form) {
  const all = [...document.querySelectorAll("button, input")];
  return all.find(one => one.form === form && ["submit", "image"].includes(one.type));
}
"""


def _plain(value: Any) -> Any:
    if isinstance(value, Upload):
        return {"name": value.name, "content": value.content, "kind": value.kind}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _page(shape: Shape) -> bytes:
    press = {None: "form.submit()", "": "own(form).click()"}.get(
        shape.press, f"document.querySelector({json.dumps(shape.press)}).click()"
    )
    values = json.dumps({name: _plain(value) for name, value in shape.values.items()})
    form = "const form = document.forms[0];"
    run = f"{form} fill(form, {values}); {press}"
    script = f'{SCRIPT}\nwindow.addEventListener("load", () => {{ {run} }})'
    return f"<!DOCTYPE html><script>{script}</script>{shape.markup}".encode(
        shape.encoding, "xmlcharrefreplace"
    )


class _Recorder(BaseHTTPRequestHandler):
    answers: dict[str, list[str]]
    is_done: threading.Event

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes) -> None:
        wanted = re.fullmatch(r"/shape/(\d+)", self.path)
        filled = re.search(r"n=(\d+)", self.headers.get("Cookie", ""))
        if wanted and self.command == "GET":
            number = int(wanted[1])
            if number == len(SHAPES):
                self.is_done.set()
                return self._write(b"", "utf-8")
            # By a header: what a script sets may reach the network after the form that it sends then.
            cookie = f"n={number}; Path=/"
            return self._write(_page(SHAPES[number]), SHAPES[number].encoding, cookie)
        if filled and not self.path.endswith((".png", ".ico")):
            number = int(filled[1])
            self.answers[SHAPES[number].name] = self._recorded(number, body)
            return self._write(f'<script>location.replace("/shape/{number + 1}")</script>'.encode(), "utf-8")
        return self._write(b"", "utf-8")

    def _recorded(self, number: int, body: bytes) -> list[str]:
        kind = self.headers.get("Content-Type") or ""
        if boundary := re.search(r"boundary=(\S+)", kind):
            body = body.replace(boundary[1].encode(), b"BOUNDARY")
            kind = kind.replace(boundary[1], "BOUNDARY")
        path = self.path.replace(f"/shape/{number}", "/page")
        return [self.command, path, kind, body.decode("latin-1")]

    def _write(self, body: bytes, encoding: str, cookie: str = "") -> None:
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Type", f"text/html; charset={encoding}")
            self.send_header("Content-Length", str(len(body)))
            if cookie:
                self.send_header("Set-Cookie", cookie)
            self.end_headers()
            self.wfile.write(body)


@pytest.fixture
def sent(tmp_path: Path) -> Iterator[dict[str, list[str]]]:
    """What Chromium sends for each shape."""
    recorder = type("Recorder", (_Recorder,), {"answers": {}, "is_done": threading.Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = subprocess.Popen(
        [
            "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--lang=en-US",
            "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}", "--remote-debugging-port=0",
            f"http://127.0.0.1:{server.server_port}/shape/0",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    recorder.is_done.wait(300)
    browser.terminate()
    browser.wait()
    server.shutdown()
    yield recorder.answers


def test_chromium_sends_the_shapes_of_forms_as_recorded(sent: dict[str, list[str]]) -> None:
    assert set(sent) == {shape.name for shape in SHAPES}
    if os.environ.get("RECORD"):
        ANSWERS.write_text(json.dumps(sent, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    assert sent == json.loads(ANSWERS.read_text(encoding="utf-8"))
