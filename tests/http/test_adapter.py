"""TLS and the bounds of the adapter, against a real server with certificates of its own."""

import contextlib
import itertools
import shutil
import socket
import ssl
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from scraper.errors import ConnectFailed, TimedOut, TlsFailed
from scraper.http import adapter
from scraper.http.exchange import exchange
from scraper.http.host_settings import HostSettings
from scraper.http.session import DomainSession
from scraper.http.tls import tls_context
from scraper.model import Failed, Retry
from scraper.ops.clock import SystemClock
from scraper.politeness.rate_limiter import RateLimiter
from scraper.urls import host_of
from tests.engine.test_downloader import Crowd, fetched
from tests.site import Reply, Site, page, redirect

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for certificates")
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that signs itself, for 127.0.0.1 alone, with its key in the same file."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    key = file.with_suffix(".key")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=t"
    alternative = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command.split(), *alternative, "-out", str(file), "-keyout", str(key)],
        check=True,
        capture_output=True,
    )
    file.write_text(file.read_text() + key.read_text())
    return file


@pytest.fixture
def tls_site(certificate: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(pages: dict[str, Any], host: str = "127.0.0.1") -> Site:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        site = Site(pages, host)
        site._server.socket = context.wrap_socket(site._server.socket, server_side=True)
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.stop()


def secure(site: Site, path: str = "/") -> str:
    return site.url(path).replace("http:", "https:")


def session_of(delay: float = 0.0, **by_host: HostSettings) -> DomainSession:
    names = {"127.0.0.1": "home", "127.0.0.2": "away"}
    return DomainSession(
        limiter=RateLimiter(CLOCK, delay),
        clock=CLOCK,
        host_settings=lambda origin: by_host.get(names.get(host_of(origin), ""), HostSettings()),
        timeout=(2.0, 2.0),
    )


def test_one_handshake_serves_every_page(tls_site: Callable[..., Site], certificate: Path) -> None:
    site = tls_site({"*": page()})
    session = session_of(home=HostSettings(verify=str(certificate)))
    for number in range(5):
        assert exchange(session, "GET", secure(site, f"/{number}")).response is not None
        assert session.get(secure(site, f"/x{number}")).ok
    assert {arrival.connection for arrival in site.arrivals} == {1}


def test_answers_over_tls_are_watched_like_others(tls_site: Callable[..., Site], certificate: Path) -> None:
    large = b"<title>large</title>" + b"x" * 300_000
    html = {"Content-Type": "text/html"}
    drip = Reply(200, b"<title>drip</title>", html, drip=0.005)
    site = tls_site({"/": page(title="first"), "/large": Reply(200, large, html), "/drip": drip})
    crowd = Crowd()
    session = session_of(home=HostSettings(verify=str(certificate)))
    for path, title in (("/", "first"), ("/large", "large"), ("/drip", "drip"), ("/", "first")):
        crowd.send(secure(site, path), session=session)
        assert fetched(*crowd.ends()) == [f'{{"title":"{title}"}}']
    crowd.downloader.close()
    assert {arrival.connection for arrival in site.arrivals} == {1}


def test_an_authority_that_is_not_there_fails_its_page_and_not_the_run(tls_site: Callable[..., Site]) -> None:
    crowd = Crowd()
    session = session_of(home=HostSettings(verify="/no/such/authority.pem"))
    crowd.send(secure(tls_site({"/": page()})), session=session)
    (outcome,) = crowd.ends()
    crowd.downloader.close()
    assert isinstance(outcome, Failed | Retry) and "authority.pem" in outcome.reason


@pytest.mark.parametrize("delay", [0.0, 0.08])
def test_a_server_that_closes_idle_connections_costs_no_page(
    tls_site: Callable[..., Site], certificate: Path, delay: float
) -> None:
    site = tls_site({"*": Reply(200, "x", close=True)})
    session = session_of(delay, home=HostSettings(verify=str(certificate)))
    answers = [exchange(session, "GET", secure(site)) for _ in range(4)]
    broken = [answer for answer in answers if answer.response is None]
    assert all(answer.was_idle for answer in broken) and (not broken or not delay)
    assert min(site.gaps()) >= delay


def test_an_unknown_authority_is_refused_with_its_reason(tls_site: Callable[..., Site]) -> None:
    error = exchange(session_of(), "GET", secure(tls_site({"/": page()}))).error
    assert isinstance(error, TlsFailed) and "self-signed certificate" in str(error)
    assert not error.is_transient


def test_a_certificate_for_another_name_is_refused(tls_site: Callable[..., Site], certificate: Path) -> None:
    site = tls_site({"/": page()}, host="127.0.0.2")
    error = exchange(session_of(away=HostSettings(verify=str(certificate))), "GET", secure(site)).error
    assert isinstance(error, TlsFailed) and "127.0.0.2" in str(error)
    assert not site.arrivals


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_verify_off_for_one_host_is_off_for_no_other(tls_site: Callable[..., Site]) -> None:
    away = tls_site({"/": page()}, host="127.0.0.2")
    home = tls_site({"/": redirect(secure(away)), "/ok": page()})
    session = session_of(home=HostSettings(verify=False))
    assert exchange(session, "GET", secure(home, "/ok")).response is not None
    assert session.get(secure(home, "/ok")).ok
    with pytest.raises(requests.exceptions.SSLError):
        session.get(secure(home))
    assert not away.arrivals


@pytest.mark.parametrize("way", ["get", "exchange"])
def test_the_environments_bundle_does_not_override_a_verify_that_was_set(
    tls_site: Callable[..., Site], certificate: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    site = tls_site({"/": page()})

    def is_trusted(host_settings: HostSettings) -> bool:
        session = session_of(home=host_settings)
        if way == "exchange":
            return exchange(session, "GET", secure(site)).response is not None
        try:
            return session.get(secure(site)).ok
        except requests.exceptions.SSLError:
            return False

    assert is_trusted(HostSettings())
    assert not is_trusted(HostSettings(verify=True))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", requests.certs.where())
    assert not is_trusted(HostSettings())
    assert is_trusted(HostSettings(verify=str(certificate)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert is_trusted(HostSettings(verify=False))


def test_a_context_is_loaded_once_for_all_connections(certificate: Path) -> None:
    assert tls_context(str(certificate), None) is tls_context(str(certificate), None)
    assert tls_context(True, None) is not tls_context(False, None)


def test_a_missing_bundle_is_named() -> None:
    with pytest.raises(OSError, match="/no/such/bundle"):
        session_of().get("https://127.0.0.1:9/", verify="/no/such/bundle")


def test_the_process_keeps_files_free_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for soft, most in ((64, 2), (1024, 1024 - adapter.FILES), (resource.RLIM_INFINITY, adapter.MANY_SOCKETS)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert adapter.most_sockets() == most


# SOCKS ------------------------------------------------------------------------------------------------------
def _relay(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _serve_socks(client: socket.socket) -> None:
    """SOCKS 5 without authentication, CONNECT to an IPv4 address or a name (RFC 1928)."""
    with contextlib.suppress(OSError, IndexError):  # the client left
        _greet_and_relay(client)


def _greet_and_relay(client: socket.socket) -> None:
    stream = client.makefile("rb")
    stream.read(stream.read(2)[1])
    client.sendall(b"\x05\x00")
    kind = stream.read(4)[3]
    host = socket.inet_ntoa(stream.read(4)) if kind == 1 else stream.read(stream.read(1)[0]).decode()
    server = socket.create_connection((host, int.from_bytes(stream.read(2))))
    client.sendall(b"\x05\x00\x00\x01" + bytes(6))
    threading.Thread(target=_relay, args=(server, client), daemon=True).start()
    _relay(client, server)


@pytest.fixture
def socks() -> Iterator[tuple[str, list[int]]]:
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[int] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                accepted.append(1)
                threading.Thread(target=_serve_socks, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"socks5h://127.0.0.1:{listener.getsockname()[1]}", accepted
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_socks_is_one_kept_connection_behind_the_rate_limiter(
    site: Site, tls_site: Callable[..., Site], certificate: Path, socks: tuple[str, list[int]], scheme: str
) -> None:
    pytest.importorskip("socks")
    proxy, accepted = socks
    far = tls_site({"*": page()}) if scheme == "https" else site
    far["*"] = page()
    session = session_of(0.05, home=HostSettings(proxy=proxy, verify=str(certificate)))
    url = secure(far) if scheme == "https" else far.url()
    for _ in range(3):
        answer = exchange(session, "GET", url)
        assert answer.response is not None, answer.error
    assert session.get(url).ok
    assert len(accepted) == 1 and min(far.gaps()) >= 0.05


def test_a_drip_through_a_proxy_ends_at_the_deadline_too(
    tls_site: Callable[..., Site], certificate: Path, socks: tuple[str, list[int]]
) -> None:
    pytest.importorskip("socks")
    site = tls_site({"/": Reply(200, "x" * 500, drip=0.01)})
    session = session_of(home=HostSettings(proxy=socks[0], verify=str(certificate)))
    session.timeout = (5.0, 0.1)
    assert isinstance(exchange(session, "GET", secure(site)).error, TimedOut)
    assert isinstance(
        exchange(session_of(home=HostSettings(proxy=socks[0])), "GET", secure(site)).error, TlsFailed
    )


@pytest.mark.parametrize("kind", ["socks5h", "https"])
def test_a_handshake_that_drips_through_a_proxy_ends_at_the_deadline(kind: str, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    sent: list[int] = []

    def drip(client: socket.socket, data: bytes) -> None:
        for one in data:
            client.sendall(bytes([one]))
            sent.append(one)
            threading.Event().wait(0.02)

    def serve() -> None:
        client, _ = listener.accept()
        with contextlib.suppress(OSError):
            if kind == "https":  # the proxy lets us through, and the site greets a byte at a time
                client = context.wrap_socket(client, server_side=True)
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                drip(client, b"\x16\x03\x03\x40\x00" + bytes(500))
            else:  # it tells the name that it is bound to, of 255 letters
                client.recv(65536)
                client.sendall(b"\x05\x00")
                drip(client, b"\x05\x00\x00\x03\xff" + b"n" * 257)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        proxy = f"{kind}://127.0.0.1:{listener.getsockname()[1]}"
        session = session_of(home=HostSettings(proxy=proxy, verify=str(certificate)))
        session.timeout = (0.5, 0.1)
        error = exchange(session, "GET", "https://127.0.0.1:9/").error
    assert isinstance(error, ConnectFailed | TimedOut) and len(sent) < 150, (error, len(sent))


@pytest.fixture
def connect_proxy(certificate: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A proxy that knows CONNECT alone; with TLS of its own where the test's parameter is "https"."""
    listener = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=tunnel, args=(client,), daemon=True).start()

    def tunnel(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if request.param == "https":
                client = context.wrap_socket(client, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            host, _, port = head.split()[1].decode().rpartition(":")
            server = socket.create_connection((host, int(port)))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    threading.Thread(target=serve, daemon=True).start()
    yield f"{request.param}://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


@pytest.mark.parametrize("connect_proxy", ["http", "https"], indirect=True)
@pytest.mark.parametrize("named", ["setting", "environment", "off"])
def test_a_proxy_is_held_against_the_same_authorities_as_sites_and_verify_off_says_nothing(
    tls_site: Callable[..., Site],
    certificate: Path,
    connect_proxy: str,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    site = tls_site({"*": page()})
    monkeypatch.delenv("NO_PROXY", raising=False)
    verify: Any = {"setting": str(certificate), "environment": None, "off": False}[named]
    if named == "environment":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    session = session_of(home=HostSettings(proxy=connect_proxy, verify=verify))
    for _ in range(2):
        answer = exchange(session, "GET", secure(site))
        assert answer.response is not None, answer.error
        assert session.get(secure(site)).ok
    assert not [one for one in recwarn.list if "HTTPS" in str(one.message)]
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    stranger = session_of(home=HostSettings(proxy=connect_proxy))
    assert isinstance(exchange(stranger, "GET", secure(site)).error, TlsFailed)


@pytest.fixture(params=["-tls1_1", "-tls1"])
def old_server(certificate: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """OpenSSL's own server, which answers in TLS 1.1 or 1.0 alone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["openssl", "s_server", "-www", "-accept", f"127.0.0.1:{port}", "-cert", str(certificate)]
    command += ["-key", str(certificate), request.param, "-cipher", "DEFAULT:@SECLEVEL=0"]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert server.stdout is not None
    for line in server.stdout:
        if b"ACCEPT" in line:
            break
    yield f"https://127.0.0.1:{port}/"
    server.kill()
    server.communicate()


def test_an_old_tls_is_named_and_allowed_for_its_host_alone(old_server: str, certificate: Path) -> None:
    session = session_of(home=HostSettings(verify=str(certificate)))
    refused = exchange(session, "GET", old_server).error
    assert isinstance(refused, TlsFailed) and "legacy_tls" in refused.message, refused
    session = session_of(home=HostSettings(verify=str(certificate)))
    session.adapter.legacy = {"127.0.0.1"}
    answer = exchange(session, "GET", old_server)
    assert answer.response is not None, answer.error
    assert b"s_server" in answer.response.content
    assert tls_context(True, None).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_refused_connection_is_called_so() -> None:
    error = exchange(session_of(), "GET", "http://127.0.0.1:9/").error
    assert isinstance(error, ConnectFailed) and str(error) == "connection refused"


def test_a_socks_proxy_that_is_down_is_named_as_the_cause() -> None:
    pytest.importorskip("socks")
    for url in ("http://127.0.0.1:9/", "https://127.0.0.1:9/"):
        session = session_of(home=HostSettings(proxy="socks5h://ada:secret@127.0.0.1:9"))
        error = exchange(session, "GET", url).error
        assert isinstance(error, ConnectFailed) and "SOCKS proxy did not connect" in str(error), error
        assert "secret" not in str(error)


# CONNECT ----------------------------------------------------------------------------------------------------
@pytest.fixture
def tunnel() -> Iterator[tuple[str, list[int]]]:
    """A proxy that knows CONNECT alone (RFC 9110 9.3.6), and the tunnels that it built."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[int] = []

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError, IndexError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            host, _, port = head.split(b" ")[1].decode().rpartition(":")
            server = socket.create_connection((host, int(port)))
            # Any 2xx opens a tunnel, behind 1xx answers and without a body (RFC 9110 9.3.6, 15.2).
            client.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 5\r\n\r\n")
            threading.Thread(target=_relay, args=(server, client), daemon=True).start()
            _relay(client, server)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                accepted.append(1)
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", accepted
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize(
    "line", ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway", "200 OK but no"]
)
def test_a_refused_connect_is_the_proxys_and_has_its_status(site: Site, line: str) -> None:
    head = f"HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    if line.startswith("200"):
        head = b""  # it closes without a word
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(head)

        threading.Thread(target=serve, daemon=True).start()
        session = session_of(home=HostSettings(proxy=f"http://127.0.0.1:{listener.getsockname()[1]}"))
        error = exchange(session, "GET", "https://127.0.0.1:9/").error
    assert isinstance(error, ConnectFailed) and "proxy" in str(error), error
    assert (line in str(error)) == bool(head)


def test_what_a_proxy_echoes_of_its_credentials_stands_in_no_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                told = b"ada:opensesame7 " * 9
                client.sendall(b"HTTP/1.1 407 " + told + b"\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        proxy = f"http://ada:opensesame7@127.0.0.1:{listener.getsockname()[1]}"
        session = session_of(home=HostSettings(proxy=proxy))
        error = exchange(session, "GET", "https://127.0.0.1:9/").error
    assert "refused to connect: 407 ***" in str(error) and "opens" not in str(error), error


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"a: b\r\n" * 4000)), "header fields"),
        (itertools.repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000), "header fields"),
        (
            [b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"],
            "answers for the site",
        ),
    ],
)
def test_an_answer_to_connect_is_bounded_and_no_page(answer: Iterable[bytes], told: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                client.recv(65536)
                for piece in answer:
                    client.sendall(piece)

        threading.Thread(target=serve, daemon=True).start()
        session = session_of(home=HostSettings(proxy=f"http://127.0.0.1:{listener.getsockname()[1]}"))
        error = exchange(session, "GET", "https://127.0.0.1:9/").error
    assert isinstance(error, ConnectFailed) and "the proxy" in str(error) and told in str(error), error


@pytest.mark.parametrize("way", ["exchange", "get"])
def test_a_tunnel_is_kept_and_built_again_where_it_was_closed(
    tls_site: Callable[..., Site], certificate: Path, tunnel: tuple[str, list[int]], way: str
) -> None:
    proxy, accepted = tunnel
    far = tls_site({"*": page(title="far"), "/last": Reply(200, "last", close=True)})
    session = session_of(0.05, home=HostSettings(proxy=proxy, verify=str(certificate)))

    def ask(path: str) -> bytes:
        if way == "get":
            return session.get(secure(far, path)).content
        answer = exchange(session, "GET", secure(far, path))
        assert answer.response is not None, answer.error
        return answer.response.content

    assert b"far" in ask("/1") and b"far" in ask("/2") and len(accepted) == 1
    assert ask("/last") == b"last"
    assert b"far" in ask("/3") and len(accepted) == 2
    assert min(far.gaps()) >= 0.05


def test_an_ipv6_address_without_a_port_keeps_its_last_group() -> None:
    with DomainSession("fd00::1") as session:
        connection = session.adapter.pool("http://[fd00::1]", True, None)._new_conn()
    assert (connection.host, connection.port) == ("fd00::1", 80)
