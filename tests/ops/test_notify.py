"""A message to a webhook or by mail: told in time, without secrets, and never an exception."""

import base64
import email
import email.policy
import json
import socket
import threading
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

import pytest

from scraper.http.reach import Reach
from scraper.ops.notify import Message, body, message, send, should_notify

SUMMARY = {
    "spider": "books",
    "run_id": "20260102-030405-ab12",
    "verdict": "DEGRADED",
    "reasons": ["price filled in 3 % of records, 98 % in the five runs before"],
    "records": 1000,
    "added": 3,
    "changed": 20,
    "removed": 1,
    "pages": 50,
    "failed": 2,
    "by_domain": {"example.org": {}},
}
NEWS = Message("books: BROKEN", "first <!channel> & @everyone\nReport: /r/report.html", {"records": 0})


class Hook:
    """A webhook on loopback that keeps what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append((self.path, dict(self.headers), sent))
                self.send_response(hook.status)
                for name, value in hook.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.stop()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sendmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a shell script in sendmail's place; it may write to the file `letter`."""

    def install(script: str) -> Path:
        letter = tmp_path / "letter"
        program = tmp_path / "bin" / "sendmail"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\nletter='{letter}'\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return letter

    return install


# When ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "changes", "wants", "told"),
    [
        ("OK", "OK", 0, False, False),
        ("OK", "BROKEN", 0, False, True),
        ("BROKEN", "OK", 0, False, True),
        ("BROKEN", "BROKEN", 0, False, False),
        ("BROKEN", "EMPTY", 0, False, True),
        (None, "OK", 7, False, False),
        (None, "EMPTY", 0, False, True),
        ("OK", "OK", 7, False, False),
        ("OK", "OK", 7, True, True),
        ("OK", "OK", 0, True, False),
        ("DEGRADED", "DEGRADED", 7, True, True),
    ],
)
def test_news_is_another_verdict_or_changes_that_were_asked_for(
    before: str | None, now: str, changes: int, wants: bool, told: bool
) -> None:
    assert should_notify(before, now, changes, wants) is told


# What ----------------------------------------------------------------------------------------------------


def test_a_message_tells_verdict_reasons_figures_and_where_the_report_is() -> None:
    told = message(SUMMARY, Path("/data/books/runs/1/report.html"), "OK")
    assert told.title == "books: DEGRADED (was OK)"
    assert told.text.splitlines() == [
        "price filled in 3 % of records, 98 % in the five runs before",
        "1000 records: 3 added, 20 changed, 1 removed. 50 pages, 2 failed.",
        "Report: /data/books/runs/1/report.html",
    ]


def test_many_long_reasons_are_cut_and_the_report_is_still_named() -> None:
    told = message({"reasons": [f"{n} " + "x" * 5000 for n in range(9)]}, "/report.html")
    assert len(told.text) < 1000 and "and 6 more reasons" in told.text
    assert told.text.endswith("Report: /report.html")


def test_a_message_of_an_empty_summary_is_still_a_message() -> None:
    assert message({}, "").title == "?: ?"


def test_what_is_not_printable_cannot_start_a_line_of_its_own() -> None:
    told = message(
        {"spider": "a\r\nBcc: x@y", "verdict": "OK\x00", "reasons": ["one\ntwo \x1b[31m\ud800"]}, "/r"
    )
    assert told.title == "a Bcc: x@y: OK\ufffd"
    assert told.text.splitlines()[0] == "one two \ufffd[31m\ufffd"


# Webhook -------------------------------------------------------------------------------------------------


def test_one_post_has_a_field_for_each_service(hook: Hook) -> None:
    assert send(f"http://{hook.place}/services/T0/secret?x=1", NEWS) is None
    [(path, headers, sent)] = hook.got
    fields = json.loads(sent)
    assert path == "/services/T0/secret?x=1" and headers["Content-Type"] == "application/json"
    assert fields["content"] == f"{NEWS.title}\n{NEWS.text}".replace("@", "@\u200b")
    assert fields["text"].startswith("books: BROKEN\nfirst &lt;!channel&gt; &amp; @\u200beveryone")
    assert fields["allowed_mentions"] == {"parse": []}
    assert fields["run"] == {"records": 0}


def test_a_site_s_words_call_nobody_and_put_no_link_or_picture_under_other_words() -> None:
    said = "not HTTP: '@channel ![x](http://a.example/i.png) [sign in](http://a.example) a@b.example'"
    fields = json.loads(body(Message("books: BROKEN", said, {})))
    for name in ("text", "content"):
        assert "@channel" not in fields[name] and "](" not in fields[name]
        assert fields[name].replace("\u200b", "").endswith(said)
    assert fields["message"] == said


def test_an_ntfy_topic_is_told_which_fields_to_show(hook: Hook) -> None:
    assert send(f"http://{hook.place}/my-topic", NEWS) is None
    [(path, headers, sent)] = hook.got
    assert path == "/my-topic" and headers["X-Template"] == "yes"
    shown = {name: headers[name].strip("{.}") for name in ("X-Title", "X-Message")}
    fields = json.loads(sent)
    assert (fields[shown["X-Title"]], fields[shown["X-Message"]]) == (NEWS.title, NEWS.text)


@pytest.mark.parametrize("letter", ["x", "<", "é", "漢", "\U0001f4da", "\ud800"])
def test_the_body_stays_below_4_kib_whatever_is_in_it(letter: str) -> None:
    sent = body(Message(letter * 120, letter * 5000, {"records": 1}))
    assert len(sent) < 4096 and json.loads(sent)["run"] == {"records": 1}


def test_a_password_in_the_url_is_sent_as_authorization_only(hook: Hook) -> None:
    assert send(f"http://us%65r:p%40ss@{hook.place}/topic", NEWS) is None
    [(path, headers, _)] = hook.got
    assert (path, headers["Host"]) == ("/topic", hook.place)
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"user:p@ss"


@pytest.mark.parametrize(("status", "told"), [(404, "404 Not Found"), (500, "500 Internal"), (599, "599")])
def test_an_answer_that_is_no_success_is_an_error_without_the_secret(
    hook: Hook, status: int, told: str
) -> None:
    hook.status = status
    error = send(f"http://us:secret@{hook.place}/secret?secret", NEWS)
    assert error is not None and told in error and "127.0.0.1" in error and "secret" not in error


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(hook: Hook, status: int) -> None:
    hook.status, hook.headers = status, {"Location": f"http://{hook.place}/elsewhere"}
    error = send(f"http://{hook.place}/secret", NEWS)
    assert error is not None and str(status) in error
    assert [path for path, _, _ in hook.got] == ["/secret"]


def test_nobody_there_is_an_error_in_the_system_s_words() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert send(f"http://127.0.0.1:{port}/secret", NEWS) == "webhook at 127.0.0.1: Connection refused"


def test_an_answer_that_drips_is_given_up_when_the_time_is_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not over.wait(0.05):
                    try:
                        connection.sendall(b"X: y\r\n")
                    except OSError:
                        return

        threading.Thread(target=drip, daemon=True).start()
        error = send(f"http://127.0.0.1:{server.getsockname()[1]}/secret", NEWS, 0.3)
        over.set()
    assert error == "webhook at 127.0.0.1: no answer within 0.3 s"


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:1/sec ret\n", "file:///etc/secret", "ftp://127.0.0.1/secret", "http://[secret",
        "secret", "http://127.0.0.1:secret/", "", "http://", "https://exa\x00mple/secret",
        "http://" + "secret" * 99 + ".x/",
    ],
)  # fmt: skip
def test_a_target_that_makes_no_sense_is_an_error_without_the_secret(target: str) -> None:
    error = send(target, NEWS, 2.0)
    assert error is not None and error.startswith("webhook")
    assert "/sec" not in error and "etc" not in error


def test_an_answer_that_is_not_http_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def mumble() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example ESMTP secret\r\n")

        threading.Thread(target=mumble, daemon=True).start()
        error = send(f"http://127.0.0.1:{server.getsockname()[1]}/", NEWS)
    assert error == "webhook at 127.0.0.1: BadStatusLine"


# Mail ----------------------------------------------------------------------------------------------------


def read(letter: Path) -> EmailMessage:
    found: Any = email.message_from_bytes(letter.read_bytes(), policy=email.policy.default)
    return cast(EmailMessage, found)


def test_mail_goes_through_sendmail_with_its_addresses_in_the_header(sendmail: Callable[[str], Path]) -> None:
    letter = sendmail('echo "X-Options: $*" > "$letter"; cat >> "$letter"')
    news = Message("livres: DÉGRADÉ", "Prix: 3 %\n" + "é" * 2000 + "\n.\nReport: /r", {})
    assert send("mailto:a@example.org,b%2Bc@example.org?subject=x", news) is None
    mail = read(letter)
    assert (mail["X-Options"], mail["To"]) == ("-t -i", "a@example.org, b+c@example.org")
    assert (mail["Subject"], mail["Auto-Submitted"]) == ("livres: DÉGRADÉ", "auto-generated")
    assert mail.get_content() == news.text + "\n"
    assert max(len(line) for line in letter.read_bytes().splitlines()) < 100


def test_a_sendmail_that_fails_is_an_error_with_what_it_said(sendmail: Callable[[str], Path]) -> None:
    sendmail('cat > /dev/null; echo "no such\nrelay" >&2; exit 67')
    assert send("mailto:a@example.org", NEWS) == "mail: sendmail exited 67: no such relay"


def test_a_sendmail_that_reads_nothing_is_no_exception(sendmail: Callable[[str], Path]) -> None:
    sendmail("exec <&-; exit 75")
    big = Message("t", "x" * 1_000_000, {})
    assert send("mailto:a@example.org", big) == "mail: sendmail exited 75"


def test_a_sendmail_that_hangs_is_ended_when_the_time_is_up(sendmail: Callable[[str], Path]) -> None:
    sendmail("exec tail -f /dev/null")
    assert send("mailto:a@example.org", NEWS, 0.2) == "mail: sendmail did not end within 0.2 s"


def test_a_sendmail_that_cannot_be_started_is_an_error(
    sendmail: Callable[[str], Path], tmp_path: Path
) -> None:
    sendmail("")
    (tmp_path / "bin" / "sendmail").write_bytes(b"#!/no/such/shell\n")
    error = send("mailto:a@example.org", NEWS)
    assert error is not None and error.startswith("mail: sendmail could not be started")


def test_an_address_cannot_add_a_header(sendmail: Callable[[str], Path]) -> None:
    letter = sendmail('cat > "$letter"')
    assert send("mailto:a@example.org%0ABcc:x@example.org", NEWS) == "mail: ValueError"
    assert not letter.exists()


def test_a_webhook_at_an_address_of_this_machine_is_sent_to_only_where_reach_names_it(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"http://{hook.place}/topic"
    error = send(target, NEWS, judge=Reach().allowed)
    assert error is not None and "loopback address" in error and "reach = " in error
    assert not hook.got
    # A name that resolves to such an address is judged by what it resolves to.
    port = int(hook.place.rpartition(":")[2])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: [(2, 1, 6, "", ("127.0.0.1", port))])
    assert "loopback" in (send(f"http://hooks.example:{port}/topic", NEWS, judge=Reach().allowed) or "")
    allowed = Reach(networks=[ip_network("127.0.0.0/8")]).allowed
    assert send(f"http://hooks.example:{port}/topic", NEWS, judge=allowed) is None
    assert len(hook.got) == 1
