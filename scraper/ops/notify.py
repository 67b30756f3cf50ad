"""The notification about a run, by webhook or mail. If it cannot be sent, the error is returned as text.

A webhook gets one POST that Slack, Discord, Mattermost and ntfy all understand, so that no service is
guessed from a host name: a JSON object in which each finds the field it reads and passes over the others. An
ntfy topic (https://ntfy.sh/my-topic) shows title and message because header fields tell it to (since 2.10; an
older server shows the JSON). The body stays under 4 KiB, above which ntfy makes a file of it.

A webhook's path, query and password are secrets: no error text holds them.
"""

import base64
import http.client
import json
import os
import queue
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from scraper.errors import OutOfReach
from scraper.model import Verdict
from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern
from scraper.ops.printable import printable

TIMEOUT = 10.0

Judge = Callable[[str, Sequence[str]], Sequence[str]]

_MOST_REASONS = 3
_LONGEST_TITLE = 120
_LONGEST_LINE = 200
_LONGEST_TEXT = 900
_MOST_BYTES = 4000
_NTFY = {"X-Template": "yes", "X-Title": "{{.title}}", "X-Message": "{{.message}}"}
# What Mattermost and Discord read as a call to all (@channel), as a picture or a link under other words.
_MARKS = pattern(r"@(?=\w)|\](?=[(\[:])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@frozen
class Message:
    """What to tell: a title of one line, a few lines of text, and the figures for programs."""

    title: str
    text: str
    figures: Mapping[str, Any]


def should_notify(previous_verdict: str | None, verdict: str, changes: int, wants_changes: bool) -> bool:
    """Whether a run is news: its verdict is another than before (None: no run before, which counts as OK), or
    it changed records and the user asked to be told."""
    return verdict != (previous_verdict or Verdict.OK) or (wants_changes and changes > 0)


def message(
    summary: Mapping[str, Any], report_path: Path | str, previous_verdict: str | None = None
) -> Message:
    """The message on a run, from its summary (run.json)."""
    spider, verdict = (_line(summary.get(name, "?"), 60) for name in ("spider", "verdict"))
    before = f" (was {previous_verdict})" if previous_verdict and previous_verdict != verdict else ""
    reasons = summary.get("reasons") or []
    lines = [_line(reason, _LONGEST_LINE) for reason in reasons[:_MOST_REASONS]]
    if len(reasons) > _MOST_REASONS:
        lines.append(f"and {len(reasons) - _MOST_REASONS} more reasons")
    figures = {
        name: summary.get(name, 0) for name in ("records", "added", "changed", "removed", "pages", "failed")
    }
    lines.append(
        "{records} records: {added} added, {changed} changed, {removed} removed. "
        "{pages} pages, {failed} failed.".format(**figures)
    )
    text = "\n".join(lines)[:_LONGEST_TEXT] + f"\nReport: {_line(report_path, 2 * _LONGEST_LINE)}"
    named = {"spider": spider, "run_id": _line(summary.get("run_id", ""), 60), "verdict": verdict}
    return Message(_line(f"{spider}: {verdict}{before}", _LONGEST_TITLE), text, named | figures)


def send(target: str, message: Message, timeout: float = TIMEOUT, judge: Judge | None = None) -> str | None:
    """Send a message to a webhook's URL or a mailto: address; why that failed, or None. Never raises.

    `timeout` (s) bounds the whole: name look-up, connection, a server that drips its answer. `judge` gives
    those of a host's addresses that may be connected to (`Reach.allowed`); one of these is connected to.
    """
    try:
        if target.startswith("mailto:"):
            return _mail(target, message, timeout)
        return _within(timeout, target, message, judge)
    except Exception as error:
        # The error's own text may quote the target.
        return f"{_place(target)}: {type(error).__name__}"


# Webhook -------------------------------------------------------------------------------------------------


def body(message: Message) -> bytes:
    """The JSON object for a webhook, under 4 KiB."""
    room = _LONGEST_TEXT + 3 * _LONGEST_LINE
    while True:
        text = message.text[:room]
        whole = _MARKS.sub("\\g<0>\u200b", f"{message.title}\n{text}")
        fields = {
            # Slack reads &, < and > as its own marks (<!channel>): none may come from a site.
            "text": whole.translate(_ENTITIES),
            "content": whole,
            "allowed_mentions": {"parse": []},
            "title": message.title,
            "message": text,
            "run": dict(message.figures),
        }
        encoded = json.dumps(fields, ensure_ascii=False, default=str).encode("utf-8", "replace")
        if len(encoded) <= _MOST_BYTES or room < _LONGEST_LINE:
            return encoded
        room = room * 3 // 4


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: a POST would become a GET, and a secret go to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _within(timeout: float, target: str, message: Message, judge: Judge | None) -> str | None:
    """Post in a thread that is left behind when the time is up: a look-up of a name cannot be bounded."""
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(
        target=lambda: answers.put(_post(target, message, timeout, judge)), name="notify", daemon=True
    ).start()
    try:
        return answers.get(timeout=timeout)
    except queue.Empty:
        return f"{_place(target)}: no answer within {timeout:g} s"


def _post(target: str, message: Message, timeout: float, judge: Judge | None) -> str | None:
    try:
        _exchange(target, message, timeout, judge)
        return None
    except OutOfReach as error:
        return f"{_place(target)}: {error.message}"
    except HTTPError as error:
        with error:
            return f"{_place(target)}: answered {error.code}{_phrase(error.code)}"
    except Exception as error:
        return f"{_place(target)}: {_cause(error)}"


def _exchange(target: str, message: Message, timeout: float, judge: Judge | None) -> None:
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https"):
        raise ValueError("not a webhook")
    headers = {"Content-Type": "application/json", "User-Agent": "scraper-notify"} | _NTFY
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    request = urllib.request.Request(bare, body(message), headers, method="POST")
    handlers: list[Any] = [_NoRedirects()]
    # Behind a proxy it is the proxy that resolves, and the operator has named that.
    is_proxied = parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(
        parts.hostname or ""
    )
    if judge is not None and not is_proxied:
        handlers += [_CheckedHttp(judge), _CheckedHttps(judge)]
    with urllib.request.build_opener(*handlers).open(request, timeout=timeout):
        pass


def _connect(judge: Judge) -> Callable[..., socket.socket]:
    """As socket.create_connection, to an address that was judged: asked again, the name could say another."""

    def connect(address: tuple[str, int], timeout: float, source: Any = None) -> socket.socket:
        host, port = address
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        failure: OSError = OSError(f"{host} has no address")
        for one in judge(host, list(dict.fromkeys(str(each[4][0]) for each in found))):
            try:
                return socket.create_connection((one, port), timeout, source)
            except OSError as error:
                failure = error
        raise failure

    return connect


class _CheckedHttp(urllib.request.HTTPHandler):
    """Connects only to addresses that the judge allows."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self._judge = judge

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_opener(http.client.HTTPConnection, self._judge), req)


class _CheckedHttps(urllib.request.HTTPSHandler):
    """The same over TLS; the certificate is held against the host's name."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self._judge = judge

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_opener(http.client.HTTPSConnection, self._judge), req)


def _opener(kind: Any, judge: Judge) -> Any:
    def opened(host: str, **options: Any) -> Any:
        connection = kind(host, **options)
        connection._create_connection = _connect(judge)
        return connection

    return opened


def _cause(error: Exception) -> str:
    """What went wrong, in words of the system's own: others may quote the URL."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate does not hold: {reason.verify_message}"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _place(target: str) -> str:
    """The target without its secrets."""
    if target.startswith("mailto:"):
        return "mail"
    try:
        return f"webhook at {urlsplit(target).hostname}"
    except ValueError:
        return "webhook"


# Mail ----------------------------------------------------------------------------------------------------


def _mail(target: str, message: Message, timeout: float) -> str | None:
    # Cron's PATH has no sbin, where sendmail lives.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/lib"])
    program = shutil.which("sendmail", path=path)
    if program is None:
        return "mail: this machine has no sendmail (install a mail server, or use a webhook)"
    letter = EmailMessage()
    letter["To"] = unquote(target.removeprefix("mailto:").partition("?")[0])
    letter["Subject"] = message.title
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notices in answer
    letter.set_content(f"{message.text}\n", cte="quoted-printable")
    try:
        done = subprocess.run(
            [program, "-t", "-i"],
            input=letter.as_bytes(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return f"mail: sendmail did not end within {timeout:g} s"
    except OSError as error:
        return f"mail: sendmail could not be started: {error.strerror}"
    if done.returncode:
        said = _line(done.stderr[:1000].decode("utf-8", "replace"), _LONGEST_LINE)
        return f"mail: sendmail exited {done.returncode}" + (f": {said}" if said else "")
    return None


def _line(value: object, longest: int) -> str:
    """One printable line, whatever was given."""
    text = printable(" ".join(str(value)[: 2 * longest].split()))
    return text if len(text) <= longest else text[: longest - 1] + "…"
