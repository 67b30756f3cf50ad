"""A domain's session on real sockets: what it sends where, what it keeps, and what hostile answers cost."""

import gzip
import hashlib
import json
import pickle
import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli
import pytest
import requests
from backports import zstd
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from scraper.errors import (
    BadAnswer,
    ConnectFailed,
    FetchError,
    LoginFailed,
    RequestDenied,
    SpiderError,
    TimedOut,
    TooLarge,
    Unreadable,
)
from scraper.http.exchange import exchange
from scraper.http.host_settings import HostSettings
from scraper.http.session import DomainSession
from scraper.ops.clock import SystemClock
from scraper.politeness.rate_limiter import RateLimiter, RateLimiters
from scraper.settings.http_values import Auth
from scraper.urls import host_of
from tests.site import Arrival, Reply, Site, page, redirect

HOME, AWAY = "127.0.0.1", "127.0.0.2"
CLOCK = SystemClock()


class Counted(SystemClock):
    """The machine's clock; `slept` sums what it was asked to wait (s), which no load makes longer."""

    slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        super().sleep(seconds)


def session_of(delay: float = 0.0, clock: SystemClock = CLOCK, **arguments: Any) -> DomainSession:
    limiters = RateLimiters(clock, delay)
    session = DomainSession(
        HOME, limiter=RateLimiter(clock, delay), clock=clock, headers={"User-Agent": "bot/1"}, **arguments
    )
    session.limiters = limiters.of
    return session


def host_settings(**by_host: HostSettings) -> Callable[[str], HostSettings]:
    return lambda origin: by_host.get({HOME: "home", AWAY: "away"}.get(host_of(origin), ""), HostSettings())


# connections ------------------------------------------------------------------------------------------------
def test_one_connection_serves_every_page_both_ways(site: Site) -> None:
    site["*"] = page()
    session = session_of()
    for number in range(10):
        assert exchange(session, "GET", site.url(f"/{number}")).response is not None
        assert session.get(site.url(f"/x{number}")).ok
    assert {arrival.connection for arrival in site.arrivals} == {1}
    assert session.meter.connects == 1


def test_after_disconnect_the_next_request_opens_its_own(site: Site) -> None:
    site["/"] = page()
    session = session_of()
    exchange(session, "GET", site.url())
    assert session.open_connections == 1
    session.disconnect()
    assert not session.open_connections
    exchange(session, "GET", site.url())
    assert session.meter.connects == 2


def test_a_connection_closed_while_idle_is_replaced_without_a_word(site: Site) -> None:
    site["*"] = Reply(200, "x", close=True)
    session = session_of()
    for _ in range(3):
        answer = exchange(session, "GET", site.url())
        time_to_notice()
        assert answer.response is not None and answer.response.content == b"x"
        assert session.get(site.url()).ok
        time_to_notice()
    assert session.meter.connects == 6


def time_to_notice() -> None:
    """Until the other side's end of the connection has arrived here."""
    time.sleep(0.01)


def test_one_closed_while_we_wait_for_our_slot_is_replaced_and_keeps_the_delay(site: Site) -> None:
    site["*"] = Reply(200, "x", close=True)
    session = session_of(delay=0.1)
    answers = [exchange(session, "POST", site.url(), {}, b"once") for _ in range(3)]
    assert all(answer.response is not None for answer in answers)
    assert len(site.arrivals) == 3 and min(site.gaps()) >= 0.1


def test_a_kept_connection_that_breaks_is_told_apart(site: Site) -> None:
    site["*"] = [Reply(200, "x"), Reply(0, reset=True), Reply(200, "y")]
    session = session_of()
    exchange(session, "GET", site.url())
    broken = exchange(session, "GET", site.url())
    assert broken.was_idle and isinstance(broken.error, ConnectFailed)
    exchange(session, "GET", site.url())
    site["/new"] = Reply(0, reset=True)
    session.disconnect()
    assert not exchange(session, "GET", site.url("/new")).was_idle


def test_requests_made_by_hand_survive_a_broken_kept_connection_unless_they_change_something(
    site: Site,
) -> None:
    site["*"] = [Reply(200, "x"), Reply(0, reset=True), Reply(200, "y"), Reply(0, reset=True)]
    session = session_of(delay=0.05)
    assert session.get(site.url()).text == "x"
    assert session.get(site.url()).text == "y"
    assert min(site.gaps()) >= 0.05
    with pytest.raises(requests.ConnectionError):
        session.post(site.url(), data={"a": 1})
    assert len(site.arrivals) == 4


def test_a_request_without_an_answer_counts_from_its_end(site: Site) -> None:
    site["*"] = [Reply(200, "x"), Reply(0, reset=True, wait=0.1), Reply(200, "y")]
    session = session_of(delay=0.05)
    assert session.get(site.url()).text == "x"
    assert session.get(site.url()).text == "y"
    assert site.gaps()[1] >= 0.15


def test_origins_without_end_do_not_hold_connections_without_end(new_site: Callable[..., Site]) -> None:
    session = session_of()
    for _ in range(12):
        assert exchange(session, "GET", new_site({"/": page()}).url()).response is not None
    assert len(session.adapter.poolmanager.pools) == 8


# what goes where --------------------------------------------------------------------------------------------
def test_nothing_of_ours_goes_to_another_domain_also_after_redirects(new_site: Callable[..., Site]) -> None:
    away = new_site({"/": "away", "/robots.txt": ""}, host=AWAY)
    home = new_site({"/": redirect(away.url("/?back")), "/stay": "home"}, host=HOME)
    own = HostSettings({"X-Key": "secret-key"}, Auth("basic", "ada", "secret-basic"))
    session = session_of(host_settings=host_settings(home=own))
    session.headers["X-Token"] = "secret-token"
    session.cookies.set("sid", "secret-cookie")
    session.auth = ("ada", "secret-session")
    session.params = {"api": "secret-param"}
    assert session.get(home.url("/"), headers={"X-Own": "secret-own"}).text == "away"
    session.get(away.url("/?direct"))
    exchange(session, "GET", away.url("/robots.txt"))
    seen = "".join(f"{one.path} {json.dumps(dict(one.headers))}" for one in away.arrivals)
    assert len(away.arrivals) == 3 and "secret" not in seen and "authorization" not in seen
    assert all(one.headers["user-agent"] == "bot/1" for one in away.arrivals)
    session.auth, session.params = None, {}
    exchange(session, "GET", home.url("/stay"))
    sent = home.arrivals[-1].headers
    assert (sent["x-key"], sent["x-token"], sent["cookie"]) == (
        "secret-key",
        "secret-token",
        "sid=secret-cookie",
    )
    assert sent["authorization"] == "Basic YWRhOnNlY3JldC1iYXNpYw=="


@pytest.mark.parametrize("is_proxied", [False, True])
@pytest.mark.parametrize("is_foreign", [False, True])
def test_what_a_page_of_another_site_asks_for_goes_without_what_is_ours(
    site: Site, is_proxied: bool, is_foreign: bool
) -> None:
    site["*"] = "here"
    ours = HostSettings(
        {"X-Key": "secret-key", "Accept-Language": "fr"},
        Auth("basic", "ada", "secret-basic"),
        proxy=site.url("") if is_proxied else "",
    )
    session = session_of(host_settings=lambda origin: ours)
    session.headers["X-Token"] = "secret-token"
    session.cookies.set("sid", "secret-cookie")
    url = site.url("/api")
    assert exchange(session, "GET", url, {"x-page": "its"}, is_load=True, is_foreign=is_foreign).response
    exchange(session, "GET", url, {"cookie": "its=own"}, is_load=True, is_foreign=is_foreign)
    first, second = (one.headers for one in site.arrivals)
    names = {"x-key", "x-token", "authorization"}
    assert names & {*first} == names & {*second} == (set() if is_foreign else names)
    assert (first["accept-language"], first["user-agent"], first["x-page"]) == ("fr", "bot/1", "its")
    # Its browser knows what goes along: SameSite, `credentials`.
    assert "cookie" not in first and second["cookie"] == "its=own"


def test_netrc_is_for_calls_by_hand_alone_behind_a_proxy_too(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    site["*"] = "here"
    session = session_of(host_settings=lambda origin: HostSettings(proxy=site.url("")))
    assert exchange(session, "GET", site.url("/robots.txt")).response
    session.get(site.url("/by-hand"))
    assert ["authorization" in one.headers for one in site.arrivals] == [False, True]


def session_from(site: Site, **arguments: Any) -> DomainSession:
    """A session of a spider that starts at this site."""
    session = session_of(origins={site.url("")}, **arguments)
    session.headers["X-Token"] = "secret-token"
    session.auth, session.params = ("ada", "secret-auth"), {"api": "secret-param"}
    session.cookies.set("sid", "secret-cookie")
    return session


@pytest.mark.parametrize("way", ["by hand", "exchange", "after a redirect"])
def test_another_port_of_the_host_gets_nothing_of_ours_either(
    new_site: Callable[..., Site], way: str
) -> None:
    other = new_site({"*": "other"})
    home = new_site({"*": redirect(other.url("/x"))})
    session = session_from(home)
    if way == "by hand":
        session.get(other.url("/x"))
    elif way == "exchange":
        exchange(session, "GET", other.url("/robots.txt"))
    else:
        session.get(home.url("/"), headers={"X-Own": "secret-own", "Accept": "text/html"})
        assert "secret-token" in str(home.arrivals[0].headers) and "secret-param" in home.arrivals[0].path
    (seen,) = other.arrivals
    assert "secret" not in f"{seen.path} {dict(seen.headers)}" and "authorization" not in seen.headers


def test_where_a_login_goes_by_name_its_token_is_meant_for(new_site: Callable[..., Site]) -> None:
    api, home, other = (new_site({"*": "in"}) for _ in range(3))
    session = session_of(origins={home.url("")})

    def login(session: DomainSession) -> None:
        session.post(api.url("/token"), json={})
        session.headers["Authorization"] = "Bearer secret"

    session.log_in(login)
    for site in (api, home, other):
        exchange(session, "GET", site.url("/p"))
    assert [site.arrivals[-1].headers.get("authorization") for site in (api, home, other)] == [
        "Bearer secret",
        "Bearer secret",
        None,
    ]


PASSWORD_FORM = '<form method=post action="{action}"><input name=user><input type=password name=pw></form>'


def test_a_password_goes_over_plain_http_only_where_the_spider_wrote_so(
    new_site: Callable[..., Site],
) -> None:
    other = new_site({"*": "got it"})
    away = PASSWORD_FORM.format(action=other.url("/take"))
    home = new_site({"/login": away, "/own": PASSWORD_FORM.format(action="/take")})
    home["/take"] = "got it"
    session = session_of(origins={home.url("")})
    with pytest.raises(RequestDenied, match="would send the password over plain http to"):
        session.submit(home.url("/login"), user="ada", pw="hunter22")
    assert not other.arrivals
    session.submit(home.url("/own"), user="ada", pw="hunter22")
    assert b"hunter22" in home.arrivals[-1].body
    assert session_of(origins={home.url(""), other.url("")}).submit(home.url("/login"), pw="hunter22").ok


@pytest.mark.parametrize("status", [307, 308])
def test_no_redirect_takes_a_password_to_another_origin(new_site: Callable[..., Site], status: int) -> None:
    other = new_site({"*": "got it"})
    form = PASSWORD_FORM.format(action="/take")
    home = new_site({"/login": form, "/take": redirect(other.url("/x"), status)})
    session = session_of(origins={home.url("")})
    with pytest.raises(RequestDenied, match=f"redirects to .*{other.port}/x, and what was sent"):
        session.submit(home.url("/login"), pw="hunter22")
    with pytest.raises(RequestDenied, match="redirects to"):
        session.post(home.url("/take"), json={"api_key": "k"})
    assert session.post(home.url("/take"), data={"q": "poetry"}).text == "got it"
    assert len(other.arrivals) == 1


def test_a_form_tells_another_origin_only_ours_not_the_page(new_site: Callable[..., Site]) -> None:
    other = new_site({"*": "got it"})
    home = new_site({"/f": f'<form action="{other.url("/s")}"><input name=q></form>'})
    session_of().submit(home.url("/f?ticket=1"), q="x")
    assert other.arrivals[0].headers["referer"] == home.url("/")


def test_each_host_gets_its_own_terms_on_a_redirect(new_site: Callable[..., Site]) -> None:
    away = new_site({"/": "away"}, host=AWAY)
    home = new_site({"/": redirect(away.url())}, host=HOME)
    both = host_settings(
        home=HostSettings({"X-For": "home"}, Auth("bearer", "", "home-token")),
        away=HostSettings({"X-For": "away"}, Auth("bearer", "", "away-token")),
    )
    session_of(host_settings=both).get(home.url())
    for one, name in ((home, "home"), (away, "away")):
        assert one.arrivals[0].headers["x-for"] == name
        assert one.arrivals[0].headers["authorization"] == f"Bearer {name}-token"


def test_another_domain_is_asked_at_its_own_pace(new_site: Callable[..., Site]) -> None:
    away = new_site({"*": "away"}, host=AWAY)
    home = new_site({"*": "home"}, host=HOME)
    session = session_of(delay=0.1, clock=(clock := Counted()))
    for _ in range(3):
        session.get(home.url())
        session.get(away.url())
    assert clock.slept <= 0.4  # two waits each; six requests at one pace have five
    assert min(home.gaps()) >= 0.1 and min(away.gaps()) >= 0.1


@pytest.mark.parametrize("way", ["get", "exchange"])
def test_digest_answers_the_challenge_through_the_rate_limiter(site: Site, way: str) -> None:
    def digest(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    def answer(arrival: Arrival) -> Any:
        said = dict(re.findall(r'(\w+)="?([^",]+)', arrival.headers.get("authorization", "")))
        if not said:
            return Reply(401, "", {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'})
        secret, what = digest("ada:r:pw-digest"), digest(f"GET:{arrival.path}")
        right = digest(f"{secret}:n:{said['nc']}:{said['cnonce']}:auth:{what}")
        return "in" if said["response"] == right else 403

    site["*"] = answer
    session = session_of(
        0.05, host_settings=host_settings(home=HostSettings(auth=Auth("digest", "ada", "pw-digest")))
    )
    for path in ("/a", "/b"):
        if way == "get":
            assert session.get(site.url(path)).text == "in"
        else:
            response = exchange(session, "GET", site.url(path)).response
            assert response is not None and response.content == b"in"
    assert len(site.arrivals) == 3 and min(site.gaps()) >= 0.05


def test_a_field_of_the_request_replaces_that_of_the_session_in_any_case(site: Site) -> None:
    site["/"] = page()
    session = session_of(host_settings=host_settings(home=HostSettings({"accept-language": "de"})))
    exchange(session, "GET", site.url(), {"Accept-Language": "fr", "user-agent": "other/1"})
    raw = site.arrivals[0].headers
    assert (raw["accept-language"], raw["user-agent"]) == ("fr", "other/1")


# proxies ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", ["get", "exchange"])
def test_a_proxy_is_used_and_the_delay_counts_for_the_domain(site: Site, way: str) -> None:
    site["*"] = "by proxy"
    session = session_of(0.05, host_settings=lambda origin: HostSettings(proxy=site.url("")))
    for path in ("/1", "/2"):
        url = f"http://{HOME}:9{path}"
        assert session.get(url).ok if way == "get" else exchange(session, "GET", url).response
    assert [arrival.path for arrival in site.arrivals] == [f"http://{HOME}:9/1", f"http://{HOME}:9/2"]
    assert min(site.gaps()) >= 0.05 and session.meter.connects == 1


def test_each_hop_by_hand_goes_by_the_proxy_of_its_own_host(new_site: Callable[..., Site]) -> None:
    away, direct = f"http://{AWAY}:9/x", new_site({"*": "direct"}, host="127.0.0.3")
    hops = {f"http://{HOME}:9/away": redirect(away), f"http://{HOME}:9/direct": redirect(direct.url("/"))}
    near, far = new_site(hops), new_site({away: redirect(direct.url("/")), "*": "no"})
    settings = host_settings(home=HostSettings(proxy=near.url("")), away=HostSettings(proxy=far.url("")))
    session = session_of(host_settings=settings)
    assert session.get(f"http://{HOME}:9/away").text == "direct" and far.paths() == [away]
    assert session.get(f"http://{HOME}:9/direct").text == "direct" and len(near.arrivals) == 2
    named = session.get(f"http://{HOME}:9/away", proxies={"http": far.url("")})
    assert named.text == "no"


def test_the_environments_proxy_does_not_replace_ours(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    site["*"] = "by proxy"
    session = session_of(host_settings=lambda origin: HostSettings(proxy=site.url("")))
    assert session.get("http://127.0.0.3:9/").text == "by proxy"


def test_the_environments_proxy_is_used_where_there_is_none_of_ours(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", site.url(""))
    site["*"] = "by proxy"
    assert session_of().get("http://127.0.0.3:9/").text == "by proxy"
    monkeypatch.setenv("no_proxy", "127.0.0.3")
    with pytest.raises(requests.exceptions.ConnectionError):
        session_of().get("http://127.0.0.3:9/")


def test_a_proxy_that_is_down_is_named_as_the_cause() -> None:
    session = session_of(host_settings=lambda origin: HostSettings(proxy="http://ada:secret@127.0.0.1:9"))
    for url in (f"http://{HOME}/", f"https://{HOME}/"):
        error = exchange(session, "GET", url).error
        assert isinstance(error, ConnectFailed) and str(error) == "the proxy did not connect"


# hostile answers --------------------------------------------------------------------------------------------
BOMB = gzip.compress(b"\0" * 50_000_000)
GZ = {"Content-Encoding": "gzip"}
BR_BOMB = brotli.compress(b"\0" * 50_000_000, quality=1)  # the best quality takes a second
ENDLESS = Reply(raw=b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 4_000_000)


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Reply(200, BOMB, GZ), TooLarge, "over 1 MiB"),
        (Reply(200, gzip.compress(b"x" * 9000)[:-9], GZ), BadAnswer, "ends too early"),
        (Reply(200, b"\x1f\x8b\x08\x00 no gzip at all", GZ), BadAnswer, "damaged"),
        (Reply(200, "plain", {"Content-Encoding": "compress"}), Unreadable, "was not asked for"),
        (Reply(200, "plain, not br", {"Content-Encoding": "br"}), BadAnswer, "damaged"),
        (Reply(200, "plain, not zstd", {"Content-Encoding": "zstd"}), BadAnswer, "damaged"),
        (Reply(200, BR_BOMB, {"Content-Encoding": "br"}), TooLarge, "over 1 MiB"),
        (Reply(200, zstd.compress(b"\0" * 50_000_000), {"Content-Encoding": "zstd"}), TooLarge, "over 1 MiB"),
        (Reply(200, zstd.compress(b"x" * 9000)[:-9], {"Content-Encoding": "zstd"}), BadAnswer, "too early"),
        (Reply(200, gzip.compress(b"") * 5000, GZ), BadAnswer, "empty members"),
        (Reply(200, zstd.compress(b"") * 5000, {"Content-Encoding": "zstd"}), BadAnswer, "empty frames"),
        (Reply(200, zstd.compress(b"") * 1100, {"Content-Encoding": "zstd"}), BadAnswer, "empty frames"),
        (Reply(200, BOMB, {"Content-Encoding": ", ".join(["gzip"] * 6)}), Unreadable, "more than 5"),
        (ENDLESS, TooLarge, "over 1 MiB"),
        (Reply(200, "x" * 500, drip=0.01), TimedOut, "timed out"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2**20 + b"\r\n\r\n"), TooLarge, "256 KiB"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"\r\n"), TooLarge, "256 KiB"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Le"), BadAnswer, "ends too early"),
        (Reply(raw=b"220 ftp.example ready\r\n"), BadAnswer, ""),
        (Reply(200, "x" * 100, cut=50), BadAnswer, "ends too early"),
        (Reply(200, "x", {"Content-Length": "-5"}), FetchError, ""),
        (Reply(200, "x", {"Content-Length": "9" * 30}), FetchError, ""),
        (Reply(200, "x", {"Transfer-Encoding": "chunked"}), FetchError, ""),
        (Reply(raw=b""), ConnectFailed, "without an answer"),
    ],
)
def test_a_hostile_answer_is_one_error_with_a_reason(
    site: Site, reply: Reply, error: type[FetchError], words: str
) -> None:
    site["/"] = reply
    ends_by_itself = error not in (TimedOut, FetchError)
    session = session_of(timeout=(5.0, 5.0 if ends_by_itself else 0.1), max_body=2**20)
    answer = exchange(session, "GET", site.url())
    if answer.error is None:
        assert reply.headers == {"Content-Length": "-5"}  # read to the end of the connection, as browsers do
        return
    assert isinstance(answer.error, error) and words in str(answer.error), repr(answer.error)
    session.timeout = (5.0, 5.0)
    site["/ok"] = page()
    assert exchange(session, "GET", site.url("/ok")).response is not None


def test_the_start_of_a_long_answer_is_enough_where_no_more_is_wanted(site: Site) -> None:
    site["/robots.txt"] = Reply(200, b"a" * 2_000_000)
    site["/zipped"] = Reply(200, BOMB, GZ)
    session = session_of(max_body=2**20)
    for path in ("/robots.txt", "/zipped"):
        answer = exchange(session, "GET", site.url(path), most=1000)
        assert answer.response is not None and len(answer.response.content) == 1000
    site["/ok"] = page()
    assert exchange(session, "GET", site.url("/ok")).response is not None


@pytest.mark.parametrize(
    "body",
    [b"plain text", gzip.compress(b"plain text"), zlib.compress(b"plain text")],
    ids=["plain", "gzip", "deflate"],
)
def test_a_coding_that_lies_does_no_harm(site: Site, body: bytes) -> None:
    label = "deflate" if body[:2] == zlib.compress(b"")[:2] else "gzip"
    site["/"] = Reply(200, body, {"Content-Encoding": label})
    response = exchange(session_of(), "GET", site.url()).response
    assert response is not None and response.content == b"plain text"


def test_cookies_without_measure_are_bounded(site: Site) -> None:
    lines = [("Set-Cookie", f"c{n}=1; Path=/") for n in range(90)]
    far = ("Set-Cookie", "far=1; Expires=Fri, 01 Jan 99999 00:00:00 GMT; Path=/")
    site["/many"] = Reply(200, "", lines)
    site["/huge"] = Reply(200, "", [("Set-Cookie", "big=" + "x" * 60_000), far])
    session = session_of()
    for number in range(120):
        site[f"/{number}"] = Reply(200, "", [("Set-Cookie", f"k{number}-{n}=1; Path=/") for n in range(90)])
        exchange(session, "GET", site.url(f"/{number}"))
    assert exchange(session, "GET", site.url("/huge")).response is not None
    assert len(session.cookies) <= 180 and "big" not in session.cookies
    assert exchange(session, "GET", site.url("/many")).response is not None
    assert len(json.dumps(session.dump_changes())) < 100_000


def test_a_body_without_end_is_bounded_for_requests_by_hand_too(site: Site) -> None:
    site["/"] = Reply(200, BOMB, GZ)
    with pytest.raises(requests.RequestException):
        session_of(max_body=2**20).get(site.url())


# adapters and waits -----------------------------------------------------------------------------------------
def test_a_mounted_adapter_passes_the_rate_limiter_with_all_its_retries(site: Site) -> None:
    site["/"] = [Reply(503), Reply(503), Reply(200, "at last")]
    session = session_of(delay=0.05)
    session.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503], backoff_factor=0)))
    assert session.get(site.url()).text == "at last"
    assert len(site.arrivals) == 3 and min(site.gaps()) >= 0.05


def test_a_wait_that_the_site_asks_for_holds_the_domain(site: Site) -> None:
    site["/"] = Reply(429, "", {"Retry-After": "77"})
    session = session_of()
    session.get(site.url())
    assert isinstance(session.limiter, RateLimiter) and session.limiter.due > CLOCK.now() + 70


def test_what_is_checked_is_every_hop_before_it_is_sent(site: Site) -> None:
    def check(url: str) -> None:
        if "closed" in url:
            raise RequestDenied("closed")

    site["/"] = redirect("/closed")
    session = session_of(check=check)
    with pytest.raises(RequestDenied):
        session.get(site.url())
    assert site.paths() == ["/"]


# forms and logins -------------------------------------------------------------------------------------------
FORM = (
    "<form id=f action=/in method=post><input type=hidden name=t value=1><input name=p type=password></form>"
)


@pytest.mark.parametrize("given", ["url", "response", "page"])
def test_a_form_is_submitted_from_a_page_in_any_shape(site: Site, given: str) -> None:
    from scraper.model import Headers, Request, Response
    from scraper.parsing.page import Page

    site["/form"] = FORM
    site["/in"] = lambda arrival: arrival.body
    session, url = session_of(), site.url("/form")
    html = Headers([("Content-Type", "text/html")])
    shapes: dict[str, Any] = {
        "url": lambda: url,
        "response": lambda: session.get(url),
        "page": lambda: Page(Request(url), Response(url, 200, html, FORM.encode())),
    }
    assert session.submit(shapes[given](), form="#f", p="s3cret").text == "t=1&p=s3cret"
    assert site.arrivals[-1].headers["referer"] == url
    assert session.secrets == {"s3cret"}


def test_a_form_on_a_page_that_failed_is_not_looked_for(site: Site) -> None:
    with pytest.raises(requests.HTTPError):
        session_of().submit(site.url("/nowhere"))
    site["/"] = "no form"
    with pytest.raises(SpiderError, match="has no form"):
        session_of().submit(site.url("/"))


def test_a_login_is_kept_with_its_cookies_and_its_page(site: Site) -> None:
    site["/login"] = [Reply(200, FORM.replace("/in", "/login"), {"Content-Type": "text/html"}), "welcome"]
    first, second = session_of(), session_of()
    first.log_in(lambda session: session.submit(site.url("/login"), p="x"))
    second.load(first.dump_changes() or "")
    assert second.is_logged_in and second.has_login
    assert second.is_login_page(site.url("/login/?next=/x")) and not second.is_login_page(site.url("/"))
    assert second.dump_changes() is None


def test_a_login_page_that_comes_back_means_a_wrong_password(site: Site) -> None:
    form = Reply(422, FORM.replace("/in", "/login"), {"Content-Type": "text/html"})
    site["/login"] = [Reply(200, form.body, form.headers), form]
    with pytest.raises(LoginFailed, match=r"the login page came back: wrong password\?"):
        session_of().log_in(lambda session: session.submit(site.url("/login"), p="x"))


@pytest.mark.parametrize("sent", [{"user": "a", "p": "x"}, "user=a&p=x"])
@pytest.mark.parametrize("answer", [200, 302])
def test_a_login_posted_by_hand_that_leads_to_its_form_is_a_wrong_password_too(
    site: Site, sent: Any, answer: int
) -> None:
    html = {"Content-Type": "text/html"}
    site["/login?failed"] = Reply(200, FORM.replace("/in", "/login"), html)
    site["/login"] = (
        redirect("/login?failed") if answer == 302 else Reply(200, FORM.replace("/in", "/login"), html)
    )
    session = session_of()
    with pytest.raises(LoginFailed, match=r"the login page came back: wrong password\?"):
        session.log_in(lambda session: session.post(site.url("/login"), data=sent))
    session.log_in(lambda session: session.get(site.url("/login?failed")))
    # Somebody else's form, such as the one to change the password: it is no refusal.
    site["/login"] = Reply(200, FORM.replace("/in", "/password"), html)
    session.log_in(lambda session: session.post(site.url("/login"), data=sent))


def test_a_login_that_lives_in_headers_is_not_kept_as_one(site: Site) -> None:
    session = session_of()
    session.log_in(lambda session: session.headers.update({"Authorization": "Bearer t0ken"}))
    kept = session.dump_changes() or ""
    assert session.is_logged_in and "t0ken" not in kept
    assert not json.loads(kept or '{"is_logged_in": false}')["is_logged_in"]


def test_what_is_put_on_a_session_counts_among_the_inputs_but_for_secrets() -> None:
    session = session_of()
    assert session.own_fields() == ""
    session.headers["Authorization"] = "Bearer t0ken"
    session.headers["X-Auth-Token"] = "t0ken"
    assert session.own_fields() == ""
    seen = set()
    for currency in ("EUR", "USD", "EUR"):
        session.headers["X-Currency"] = currency
        seen.add(session.own_fields())
    session.params = {"lang": "de"}
    assert len(seen) == 2 and session.own_fields() not in {*seen, ""}


def test_a_login_that_does_nothing_is_none() -> None:
    session = session_of()
    session.log_in(lambda session: None)
    assert session.is_logged_in and not session.has_login
    assert '"is_logged_in": true' not in (session.dump_changes() or "")


@pytest.mark.parametrize("status", [400, 401, 403, 422, 500, 503])
def test_a_login_that_ends_in_an_error_has_failed(site: Site, status: int) -> None:
    site["/"] = status
    with pytest.raises(LoginFailed, match=str(status)):
        session_of().log_in(lambda session: session.get(site.url()))


# still a requests.Session -----------------------------------------------------------------------------------
def test_without_arguments_it_is_a_session_like_any_other(site: Site, new_site: Callable[..., Site]) -> None:
    away = new_site({"/": "away"}, host=AWAY)
    site["/"] = redirect(away.url())
    with DomainSession() as session:
        seen: list[int] = []
        session.hooks["response"].append(lambda answer, **_: seen.append(answer.status_code))
        assert session.get(site.url(), params={"a": 1}).text == "away"
        assert seen == [302, 200] and site.arrivals[0].path == "/?a=1"
        assert isinstance(session, requests.Session)
        session.hooks["response"].clear()
    assert pickle.loads(pickle.dumps(session)).get(away.url()).text == "away"


def test_a_copy_of_a_domains_session_is_refused() -> None:
    with pytest.raises(TypeError, match="clock"):
        pickle.dumps(session_of())


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("missing", [1, 4, 8])
def test_a_body_that_only_lacks_its_checksum_is_whole_where_its_framing_is(
    site: Site, coding: str, missing: int
) -> None:
    whole = gzip.compress(b"x" * 90_000) if coding == "gzip" else zlib.compress(b"x" * 90_000)
    missing = missing if coding == "gzip" else min(missing, 4)
    cut, named = whole[:-missing], {"Content-Encoding": coding}
    site["/length"] = Reply(200, cut, named)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\n" % coding.encode()
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    site["/chunks"] = Reply(raw=chunked % (len(cut), cut))
    site["/end"] = Reply(raw=head + b"\r\n" + cut)
    for path in ("/length", "/chunks"):
        answer = exchange(session_of(), "GET", site.url(path))
        assert answer.response is not None and answer.response.content == b"x" * 90_000, path
    # Here nobody can tell whether the connection broke.
    assert isinstance(exchange(session_of(), "GET", site.url("/end")).error, BadAnswer)


def test_a_408_that_meets_our_request_on_a_kept_connection_is_no_answer_to_it(site: Site) -> None:
    timed_out = Reply(raw=b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    site["*"] = [page(), timed_out, page(), page(), timed_out, page()]
    session = session_of()
    answers = [exchange(session, "GET", site.url()) for _ in range(3)]
    assert [answer.was_idle for answer in answers] == [False, True, False]
    assert isinstance(answers[1].error, ConnectFailed) and "408" in str(answers[1].error)
    assert session.get(site.url()).ok and session.get(site.url()).ok and len(site.arrivals) == 6


def test_a_408_on_a_new_connection_or_with_a_wait_is_an_answer(site: Site) -> None:
    site["*"] = [Reply(408), page(), Reply(408, headers={"Retry-After": "9"})]
    session = session_of()
    answers = [exchange(session, "GET", site.url()) for _ in range(3)]
    assert [answer.response.status for answer in answers if answer.response] == [408, 200, 408]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(200, gzip.compress(b"x" * 9000)[:-9], GZ), "ends too early"),
        (Reply(200, brotli.compress(b"x" * 9000)[:-3], {"Content-Encoding": "br"}), "ends too early"),
        (Reply(200, gzip.compress(b"x" * 9000) + gzip.compress(b"y" * 9000)[:20], GZ), "ends too early"),
        (Reply(200, BOMB, GZ), "over 1048576 bytes"),
    ],
)
def test_a_damaged_body_is_an_error_to_a_caller_of_the_session_too(
    site: Site, reply: Reply, words: str
) -> None:
    site["/"] = reply
    with pytest.raises(requests.RequestException, match=words):
        session_of(max_body=2**20).get(site.url())


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"plain text, labelled wrongly", "gzip"),
        (gzip.compress(b"plain text, ") + gzip.compress(b"labelled wrongly"), "gzip"),
        (zstd.compress(b"plain text, ") + zstd.compress(b"labelled wrongly"), "zstd"),
    ],
    ids=["plain", "gzip members", "zstd frames"],
)
def test_a_caller_of_the_session_reads_the_codings_that_a_run_reads(
    site: Site, body: bytes, coding: str
) -> None:
    site["/"] = Reply(200, body, {"Content-Encoding": coding})
    assert session_of().get(site.url()).text == "plain text, labelled wrongly"
