"""Settings from five sources: precedence, reading of what people write, and every mistake at once."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from scraper import settings
from scraper.errors import SettingsError
from scraper.settings import Settings, http_values, values

HERE = Path(__file__).parent


def load(
    tmp_path: Path,
    *overrides: str,
    spider: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    scraper: str = "",
    pyproject: str = "",
) -> Settings:
    if scraper:
        (tmp_path / "scraper.toml").write_text(scraper, encoding="utf-8")
    if pyproject:
        (tmp_path / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    return settings.load(spider or {}, overrides, tmp_path, environ or {})


def mistakes(tmp_path: Path, *overrides: str, **sources: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, *overrides, **sources)
    return str(caught.value)


def test_without_any_source_the_polite_defaults_hold(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert (found.delay, found.concurrency, found.max_wait, found.timeout) == (1.0, 1, 300.0, (10.0, 30.0))
    assert found.max_body == 32 * 2**20
    assert found.obey_nofollow is True and found.robots_exempt == {} and found.verify == {"*": True}
    assert found.source("delay") == settings.DEFAULT


def test_there_are_fewer_than_fifty_settings() -> None:
    assert len(settings.names()) < 50


def test_the_version_is_the_one_of_the_package() -> None:
    project = tomllib.loads((HERE.parent.parent / "pyproject.toml").read_text())["project"]
    assert project.get("version", settings.VERSION) == settings.VERSION


def test_later_sources_win_and_each_value_knows_its_source(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        "max_pages=5",
        pyproject="[tool.scraper]\ndelay = 2\nthreads = 2\nretention = 2\nmax_pages = 2\nmax_attempts = 2",
        scraper="delay = 3\nthreads = 3\nretention = 3\nmax_pages = 3",
        environ={"SCRAPER_DELAY": "4", "SCRAPER_THREADS": "4", "SCRAPER_MAX_PAGES": "4", "HOME": "/root"},
        spider={"delay": 5, "max_pages": 4},
    )
    assert (found.max_attempts, found.retention, found.threads, found.delay, found.max_pages) == (
        2,
        3,
        4,
        5,
        5,
    )
    assert [
        found.source(name) for name in ("max_attempts", "retention", "threads", "delay", "max_pages")
    ] == [
        "pyproject.toml",
        "scraper.toml",
        "SCRAPER_THREADS",
        settings.SPIDER,
        settings.COMMAND_LINE,
    ]


def test_an_empty_variable_and_a_pyproject_of_others_say_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, pyproject="[tool.other]\nx = 1", environ={"SCRAPER_DELAY": ""}) == Settings()


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ("delay=0", "delay", 0.0),
        ("delay=1.5s", "delay", 1.5),
        ("max_time=50m", "max_time", 3000.0),
        ("max_time=1h30m", "max_time", 5400.0),
        ("max_time=1h 30m", "max_time", 5400.0),
        ("max_time=90", "max_time", 90.0),
        ("max_time=none", "max_time", None),
        ("max_age=2d", "max_age", 172800.0),
        ("delay=250ms", "delay", 0.25),
        ("max_body=32 MiB", "max_body", 33554432),
        ("max_body=10MB", "max_body", 10_000_000),
        ("max_body=1.5k", "max_body", 1500),
        ("max_body=4096", "max_body", 4096),
        ("timeout=5", "timeout", (5.0, 5.0)),
        ("timeout=5, 1m", "timeout", (5.0, 60.0)),
        ('timeout={"connect": 3, "read": 4}', "timeout", (3.0, 4.0)),
        ("archive=yes", "archive", True),
        ("obey_nofollow=Off", "obey_nofollow", False),
        (
            "allowed_domains=Example.org, bücher.example",
            "allowed_domains",
            ("example.org", "xn--bcher-kva.example"),
        ),
        ('allowed_domains=["a.example"]', "allowed_domains", ("a.example",)),
        ("active_hours=22:00-6:30", "active_hours", (1320, 390)),
        ("contact=ana@news.example", "contact", "ana@news.example"),
        ("contact=mailto:ana@news.example", "contact", "ana@news.example"),
        ("contact=https://news.example/bots", "contact", "https://news.example/bots"),
        ("verify=false", "verify", {"*": False}),
        ('verify={"a.example" = false}', "verify", {"a.example": False}),
        ("proxies=http://p.example:3128", "proxies", {"*": ("http://p.example:3128",)}),
        (
            "proxies=http://p.example:1,socks5h://q.example:2",
            "proxies",
            {"*": ("http://p.example:1", "socks5h://q.example:2")},
        ),
        ('proxies={"a.example": "http://p.example"}', "proxies", {"a.example": ("http://p.example",)}),
        ('headers={"Accept-Language": "de"}', "headers", {"*": {"Accept-Language": "de"}}),
        (
            'headers={"a.example": {"X-Key": "1"}, "B": "2"}',
            "headers",
            {"a.example": {"X-Key": "1"}, "": {"B": "2"}},
        ),
        ('robots_exempt={"i.example": "our own server"}', "robots_exempt", {"i.example": "our own server"}),
        ("notify=mailto:ana@news.example", "notify", "mailto:ana@news.example"),
        ("store=postgresql://db.example/x", "store", "postgresql://db.example/x"),
    ],
)
def test_text_is_read_by_the_type_of_its_setting(
    tmp_path: Path, given: str, name: str, value: object
) -> None:
    assert getattr(load(tmp_path, given), name) == value


@pytest.mark.parametrize(
    ("written", "auth"),
    [
        ("ana:pa:ss", http_values.Auth("basic", "ana", "pa:ss")),
        ("digest ana:secret", http_values.Auth("digest", "ana", "secret")),
        ("bearer abc.def", http_values.Auth("bearer", "", "abc.def")),
        ({"user": "ana", "password": "x y"}, http_values.Auth("basic", "ana", "x y")),
        ({"kind": "digest", "user": "ana", "password": "x"}, http_values.Auth("digest", "ana", "x")),
        ({"token": "abc"}, http_values.Auth("bearer", "", "abc")),
    ],
)
def test_credentials_belong_to_one_domain(tmp_path: Path, written: object, auth: http_values.Auth) -> None:
    assert load(tmp_path, spider={"auth": {"A.example": written}}).auth == {"a.example": auth}


@pytest.mark.parametrize(
    "given",
    [
        "delay=-1",
        "delay=nan",
        "delay=inf",
        "delay=1x",
        "delay=",
        "concurrency=0",
        "concurrency=1.5",
        "threads=many",
        "timeout=0",
        "timeout=1,2,3",
        "max_body=0",
        "max_body=1 parsec",
        "max_depth=-1",
        "max_pages=0",
        "max_time=0",
        "archive=maybe",
        "contact=me",
        "contact=x@y.example\nX: 1",
        "user_agent=Mozilla/5.0 (X11)",
        "user_agent=/1.0",
        "user_agent=bot/1 Chrome/120",
        "allowed_domains=https://a.example/",
        "allowed_domains=a.example:80",
        "headers=x",
        'headers={"A b": "c"}',
        'headers={"A": "c\\nB: d"}',
        'headers={"User-Agent": "x"}',
        "auth=ana:secret",
        'auth={"*": "ana:secret"}',
        'auth={"a.example": "ana"}',
        "proxies=ftp://p.example",
        "proxies=p:1",
        "verify=/no/such/bundle",
        "active_hours=25:00-03:00",
        "active_hours=03:00",
        "active_hours=03:00-03:00",
        'robots_exempt={"a.example": ""}',
        'robots_exempt={"a.example": true}',
        'robots_exempt={"*": "all of it"}',
        "robots_exempt=false",
        "retention=0",
        "notify=yes",
        "store=",
        "max_attempts=0",
        "delay=[[[[[",
    ],
)
def test_a_bad_value_is_named_with_its_source_and_what_is_expected(tmp_path: Path, given: str) -> None:
    told = mistakes(tmp_path, given)
    assert given.split("=")[0] in told and "(--set): expected" in told


def test_every_mistake_of_every_source_is_told_at_once(tmp_path: Path) -> None:
    told = mistakes(
        tmp_path,
        "concurency=2",
        "nonsense",
        pyproject="[tool.scraper]\nthreads = 0",
        scraper="delay = ",
        environ={"SCRAPER_MAX_AGE": "old"},
        spider={"delay": "fast", "DOWNLOAD_DELAY": 1},
    )
    for expected in (
        "7 settings are wrong",
        "concurency (--set): no such setting; did you mean concurrency?",
        "nonsense (--set): expected NAME=VALUE",
        "threads = 0 (pyproject.toml): expected a whole number, 1 or more",
        "scraper.toml: not valid TOML",
        "max_age = old (SCRAPER_MAX_AGE): expected a duration",
        "delay = fast (the spider's settings): expected a duration",
        "DOWNLOAD_DELAY (the spider's settings): no such setting; did you mean delay?",
    ):
        assert expected in told


def test_a_bad_value_is_a_mistake_even_where_a_later_source_overrides_it(tmp_path: Path) -> None:
    assert "scraper.toml" in mistakes(tmp_path, "delay=1", scraper="delay = -1")


def test_values_that_contradict_each_other_are_a_mistake(tmp_path: Path) -> None:
    assert "longer than max_delay = 120" in mistakes(tmp_path, "delay=3m")
    assert load(tmp_path, "delay=3m", "max_delay=5m").delay == 180.0


@pytest.mark.parametrize("odd", [[], "delay=1", 7])
def test_spider_settings_that_are_no_dict_are_a_mistake(tmp_path: Path, odd: Any) -> None:
    with pytest.raises(SettingsError, match="expected a dict"):
        settings.load(odd, (), tmp_path, {})


def test_a_tool_table_that_is_no_table_is_a_mistake(tmp_path: Path) -> None:
    assert "to be a table" in mistakes(tmp_path, pyproject="[tool]\nscraper = 3")


def test_secrets_stand_neither_in_messages_nor_in_the_settings_text(tmp_path: Path) -> None:
    found = load(tmp_path, 'auth={"a.example": "ana:hush"}', "store=postgresql://u:hush@db.example/x")
    assert "hush" not in repr(found) and "hush" not in repr(found.auth)
    for given in (
        "auth=hush",
        'auth={"a b": "x:hush"}',
        "proxies=ftp://u:hush@p",
        'headers={"A b": "hush"}',
        "notify=hush",
    ):
        assert "hush" not in mistakes(tmp_path, given)


def test_the_user_agent_says_who_asks_and_how_to_reach_them(tmp_path: Path) -> None:
    plain, named = load(tmp_path), load(tmp_path, "contact=ana@news.example")
    assert (
        settings.agent(plain).startswith(f"scraper/{settings.VERSION}") and settings.token(plain) == "scraper"
    )
    assert "ana@news.example" in settings.agent(named) and settings.sender(named) == "ana@news.example"
    assert settings.sender(load(tmp_path, "contact=https://news.example/bot")) is None


def test_an_own_user_agent_keeps_its_product_and_gains_the_contact(tmp_path: Path) -> None:
    own = load(tmp_path, "user_agent=press-bot/2.1", "contact=ana@news.example")
    assert settings.agent(own) == "press-bot/2.1 (ana@news.example)" and settings.token(own) == "press-bot"
    full = load(tmp_path, "user_agent=press-bot (ana@news.example)", "contact=ana@news.example")
    assert settings.agent(full) == "press-bot (ana@news.example)" and settings.token(full) == "press-bot"


def test_a_value_by_domain_is_found_for_the_nearest_name() -> None:
    by_domain = {"www.a.example": 1, "a.example": 2, "*": 3}
    assert settings.for_domain(by_domain, "www.a.example", "a.example") == 1
    assert settings.for_domain(by_domain, "b.a.example", "a.example") == 2
    assert settings.for_domain(by_domain, "c.example") == 3
    assert settings.for_domain({"a.example": 1}, "c.example") is None


def test_headers_of_a_domain_replace_those_for_all_whatever_their_case(tmp_path: Path) -> None:
    found = load(
        tmp_path, 'headers={"Accept-Language": "de", "X-All": "1", "a.example": {"accept-language": "fr"}}'
    )
    own = {"https://a.example"}
    assert settings.headers_for(found, "https://a.example", own) == {"accept-language": "fr", "X-All": "1"}
    assert settings.headers_for(found, "https://b.example", own) == {"Accept-Language": "de"}


def test_a_field_that_may_be_a_secret_goes_where_the_spider_starts_or_where_it_is_named(
    tmp_path: Path,
) -> None:
    found = load(tmp_path, 'headers={"X-Key": "k", "*": {"X-Token": "t", "X-Project": "p"}}')
    own = {"http://a.example"}
    assert settings.headers_for(found, "http://a.example", own) == {
        "X-Key": "k",
        "X-Token": "t",
        "X-Project": "p",
    }
    assert settings.headers_for(found, "https://b.example", own) == {"X-Token": "t", "X-Project": "p"}
    assert settings.headers_for(found, "http://b.example", own) == {"X-Project": "p"}


def test_reading_hostile_text_ends_at_once() -> None:
    for text in ("9" * 100_000, "1h" * 50_000 + "x", "[" * 100_000, "{" * 100_000, " " * 100_000):
        for read in (
            values.duration,
            values.size,
            values.table,
            values.listing,
            values.hours,
            http_values.contact,
        ):
            try:
                read(text)
            except ValueError:
                pass
