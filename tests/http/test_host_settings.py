"""What the settings say for a host, and how a domain gets its proxy."""

from pathlib import Path
from typing import Any

import pytest

from scraper import settings as settings_of
from scraper.app.session_opener import check_proxies, host_settings_for, session_opener
from scraper.errors import UsageError
from scraper.http.host_settings import HostSettings, lay_over
from scraper.ops.clock import SystemClock
from scraper.politeness.rate_limiter import RateLimiter
from scraper.settings import Settings
from scraper.settings.http_values import Auth
from scraper.store import Lease


def settings(**given: Any) -> Settings:
    return settings_of.load(given, (), Path("/nowhere"), {})


def test_a_host_has_the_terms_of_the_nearest_name_it_is_below() -> None:
    found = settings(
        auth={"*.example.org": "a:1111", "*.deep.example.org": "b:2222"},
        headers={"Accept": "text/html", "*.example.org": {"X-Key": "k"}},
        verify={"www.example.org": False},
    )
    assert host_settings_for(found, "https://x.deep.example.org").auth == Auth("basic", "b", "2222")
    www = host_settings_for(found, "https://www.example.org")
    assert www.auth == Auth("basic", "a", "1111")
    assert www.headers == {"Accept": "text/html", "X-Key": "k"}
    assert www.verify is False
    other = host_settings_for(found, "https://example.com")
    assert (other.auth, other.headers) == (None, {"Accept": "text/html"})


def test_without_a_word_about_verify_the_environment_decides() -> None:
    assert host_settings_for(settings(), "https://a.example").verify is None
    assert host_settings_for(settings(verify=True), "https://a.example").verify is True


def test_a_domain_keeps_its_proxy_whatever_else_comes_or_goes() -> None:
    urls = [f"http://p{number}.example:3128" for number in range(5)]
    domains = [f"d{number}.com" for number in range(200)]
    before = {name: host_settings_for(settings(proxies=urls), f"https://{name}").proxy for name in domains}
    assert set(before.values()) == set(urls)
    assert all(
        host_settings_for(settings(proxies=urls), f"https://www.{name}").proxy == before[name]
        for name in domains
    )
    fewer = {name: host_settings_for(settings(proxies=urls[1:]), f"https://{name}").proxy for name in domains}
    assert all(fewer[name] == before[name] for name in domains if before[name] != urls[0])


def test_socks_without_its_package_is_told_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_proxies(settings(proxies="http://p.example:1"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"PySocks.*scraper\[socks\]"):
        check_proxies(settings(proxies="socks5h://p.example:1"))


def test_credentials_become_a_field_and_stand_in_no_text() -> None:
    bearer = HostSettings(auth=Auth("bearer", "", "t0ken"))
    assert bearer.lines() == {"Authorization": "Bearer t0ken"}
    umlaut = HostSettings({"authorization": "old"}, Auth("basic", "ü", "p:w"))
    assert umlaut.lines() == {"Authorization": "Basic w7w6cDp3"}
    assert HostSettings(auth=Auth("digest", "u", "pw")).lines() == {}
    secret = HostSettings({"X-Key": "kkkk"}, Auth("basic", "u", "pppp"), "http://u:qqqq@p.example:1")
    assert not [word for word in ("kkkk", "pppp", "qqqq") if word in repr(secret)]
    assert secret.secrets == {"pppp", "qqqq", "u:qqqq"}
    keys = HostSettings(auth=Auth("basic", "k3y-alone", ""), proxy="http://pr0xy%2Bkey:@p.example:1")
    assert keys.secrets == {"k3y-alone", "pr0xy%2Bkey", "pr0xy+key"}


def test_a_field_is_the_same_in_any_case() -> None:
    lines = {"Accept": "a", "X": "1"}
    lay_over(lines, {"accept": "b"})
    assert lines == {"accept": "b", "X": "1"}


def test_a_session_is_opened_with_who_we_are_and_what_was_kept() -> None:
    clock = SystemClock()
    opened = session_opener(settings(contact="me@example.org"), clock)
    kept = '{"cookies": [], "is_logged_in": true, "login_pages": ["a.example/login"]}'
    session = opened(Lease("a.example", 1, 0.0, session=kept), RateLimiter(clock, 1.0))
    assert session.headers["From"] == "me@example.org" and session.is_logged_in
    assert session.is_login_page("https://a.example/login?x")
