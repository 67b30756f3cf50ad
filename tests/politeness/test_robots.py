"""What a site's robots.txt asks, we do: the letter of RFC 9309, and the slips of those who write the file."""

from itertools import chain, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protego import Protego

from scraper.ops.clock import cpu_seconds
from scraper.politeness import robots
from scraper.politeness.robots import Access, RequestRate, Robots


def lines(*text: str, end: str = "\n") -> Robots:
    return robots.parse(end.join(text).encode())


def denies(pattern: str, url: str) -> bool:
    return not lines("User-agent: *", f"Disallow: {pattern}").allows("ours", url)


# --- Which rule decides ---


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        (["Disallow: /shop", "Allow: /shop/books"], "/shop/books/7", True),
        (["Allow: /shop/books", "Disallow: /shop"], "/shop/music", False),
        (["Allow: /shop", "Disallow: /shop/*/edit"], "/shop/7/edit", False),
        (["Disallow: /shop", "Allow: /shop"], "/shop", True),
        (["Disallow: /sh*p", "Allow: /shop"], "/shop", True),
        (["Disallow: /shop", "Allow: /sh*p"], "/shop", True),
        (["Disallow: /s*", "Allow: /s"], "/s", False),
        (["Disallow: /", "Allow: /$"], "/", True),
        (["Disallow: /", "Allow: /$"], "/news", False),
        (["Disallow: /a$", "Allow: /*a*$", "Disallow: /long/as/can/be"], "/a", True),
    ],
)
def test_the_longest_match_wins_and_allow_wins_a_tie(rules: list[str], path: str, allowed: bool) -> None:
    assert lines("User-agent: *", *rules).allows("ours", path) is allowed


@pytest.mark.parametrize(
    ("pattern", "path", "denied"),
    [
        ("/news", "/newsroom/1.html", True),
        ("/news/", "/news", False),
        ("/News", "/news", False),
        ("news", "/news", False),
        ("*news", "/old/news", True),
        ("/*/print", "/a/b/print?x=1", True),
        ("/*/print", "/print", False),
        ("/a*b*c", "/a-c-b-b", False),
        ("/a*b*c", "/a-c-b-c", True),
        ("/*.pdf$", "/x.pdf.pdf", True),
        ("/*.pdf$", "/x.pdf?page=2", False),
        ("/x$", "/x", True),
        ("/x$", "/x/", False),
        ("/x$/y", "/x$/y", True),
        ("/x*$", "/xyz", True),
        ("/**/***/z", "/a/b/z", True),
        ("/list;sort", "/list;sort=up", True),
        ("/*?*sid=", "/a?b=c&sid=9", True),
        ("/*aba$", "/ababa", True),
        ("/ab*ba$", "/aba", False),
    ],
)
def test_a_pattern_matches_path_and_query_from_the_first_octet(pattern: str, path: str, denied: bool) -> None:
    assert denies(pattern, path) is denied
    assert denies(pattern, f"https://user@site.test:8080{path}#part") is denied


@pytest.mark.parametrize(
    ("pattern", "path", "same"),
    [
        ("/caf%c3%a9", "/caf%C3%A9", True),
        ("/café", "/caf%C3%A9", True),
        ("/caf%C3%A9", "/café", True),
        ("/%7euser", "/~user", True),
        ("/a%2Fb", "/a/b", False),
        ("/a/b", "/a%2fb", False),
        ("/a%2fb", "/a%2Fb", True),
        ("/a b", "/a%20b", True),
        ('/a"b', "/a%22b", True),
        ("/%2A", "/anything", False),
        ("/%2a", "/*", True),
        ("/price%24", "/price$", True),
        ("/price%24", "/price", False),
        ("/100%", "/100%", True),
        ("/100%zz", "/100%zz", True),
    ],
)
def test_a_path_and_a_pattern_meet_in_one_spelling(pattern: str, path: str, same: bool) -> None:
    assert denies(pattern, path) is same


def test_a_pattern_in_another_encoding_matches_its_own_octets() -> None:
    file = robots.parse("User-agent: *\nDisallow: /café".encode("latin-1"))
    assert not file.allows("ours", "/caf%E9")
    assert file.allows("ours", "/caf%C3%A9")


@pytest.mark.parametrize("url", ["https://site.test", "https://site.test/", "https://site.test#top", "/", ""])
def test_a_url_without_a_path_is_the_root(url: str) -> None:
    assert denies("/$", url)


def test_a_query_without_a_path_belongs_to_the_root() -> None:
    assert denies("/?", "https://site.test?q=/b")


def test_the_file_itself_is_always_allowed() -> None:
    assert robots.DISALLOW_ALL.allows("ours", "https://site.test/robots.txt")
    assert not robots.DISALLOW_ALL.allows("ours", "https://site.test/robots.txt/x")
    assert not robots.DISALLOW_ALL.allows("ours", "https://site.test/")
    assert robots.ALLOW_ALL.allows("ours", "https://site.test/")


def test_an_empty_rule_forbids_nothing_and_yet_ends_its_group() -> None:
    file = lines("User-agent: a", "Disallow:", "User-agent: b", "Disallow: /")
    assert file.allows("a", "/x")
    assert not file.allows("b", "/x")


def test_to_allow_an_index_page_is_to_allow_its_folder() -> None:
    file = lines("User-agent: *", "Allow: /docs/index.html", "Disallow: /")
    assert [file.allows("ours", path) for path in ("/docs/index.html", "/docs/", "/docs", "/docs/x")] == [
        True,
        True,
        False,
        False,
    ]


def test_the_rule_that_decides_can_be_shown() -> None:
    file = lines("# us", "User-Agent: Ours", "", "Disallow: /a/*/é", "Allow: /a/")
    rule = file.rule("ours", "/a/b/%C3%A9")
    assert rule is not None
    assert (rule.line, rule.pattern, rule.allow, rule.agent) == (4, "/a/*/é", False, "ours")
    assert file.rule("ours", "/b") is None
    assert file.rule("ours", "/robots.txt") is None


# --- Which group speaks to us ---


def test_our_own_group_wins_over_the_star_wherever_it_stands() -> None:
    file = lines("User-agent: *", "Disallow: /", "User-agent: ours", "Disallow: /private")
    assert file.allows("ours", "/x")
    assert not file.allows("ours", "/private")
    assert not file.allows("theirs", "/x")


def test_a_group_without_rules_frees_its_agent_from_the_star() -> None:
    assert lines("User-agent: *", "Disallow: /", "User-agent: ours").allows("ours", "/x")


def test_groups_of_one_agent_are_one() -> None:
    file = lines(
        *("User-agent: ours", "Disallow: /a", "User-agent: *", "Disallow: /b"),
        *("User-agent: OURS", "Disallow: /c", "User-agent: *", "Disallow: /d"),
    )
    assert [file.allows("ours", path) for path in ("/a", "/b", "/c", "/d")] == [False, True, False, True]
    assert [file.allows("else", path) for path in ("/a", "/b", "/c", "/d")] == [True, False, True, False]


@pytest.mark.parametrize(
    "between", ["Sitemap: https://s.test/m.xml", "Crawl-delay: 5", "Host: s.test", "what", ""]
)
def test_other_records_end_no_group(between: str) -> None:
    file = lines("User-agent: a", between, "User-agent: b", between, "Disallow: /x", between, "Disallow: /y")
    assert [file.allows(token, path) for token in "ab" for path in ("/x", "/y")] == [False] * 4


def test_rules_before_any_group_are_nobodys() -> None:
    file = lines("Disallow: /", "Crawl-delay: 9", "User-agent: ours", "Allow: /x")
    assert file.allows("ours", "/y")
    assert file.allows("theirs", "/y")
    assert file.crawl_delay("ours") is None
    assert file.crawl_delay("theirs") is None


@pytest.mark.parametrize(
    "written", ["ours", "OURS", "Ours/2.0", "ours (+https://o.test)", "ours/1 x", "ours * x"]
)
@pytest.mark.parametrize("token", ["ours", "Ours", "Ours/1.0"])
def test_an_agent_is_known_by_its_product_token(written: str, token: str) -> None:
    assert not lines(f"User-agent: {written}", "Disallow: /").allows(token, "/x")


@pytest.mark.parametrize("written", ["oursbot", "our", "x ours", "*ours", "", "ours-news", "(ours)"])
def test_a_token_is_never_part_of_another(written: str) -> None:
    assert lines(f"User-agent: {written}", "Disallow: /").allows("ours", "/x")


@pytest.mark.parametrize("written", ["*", "* ", "* all of you"])
def test_the_star_may_be_followed_by_words(written: str) -> None:
    assert not lines(f"User-agent: {written}", "Disallow: /").allows("ours", "/x")


@pytest.mark.parametrize("token", ["bot2", "my.bot", "my_bot", "Böt"])
def test_tokens_in_use_have_digits_dots_and_more(token: str) -> None:
    file = lines(f"User-agent: {token}", "Disallow: /", "User-agent: bot", "User-agent: my", "User-agent: b")
    assert not file.allows(token.upper(), "/x")


# --- How a file is read ---


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\n\n"])
def test_a_line_may_end_in_any_way(end: str) -> None:
    file = lines("User-agent: *", "Disallow: /x", end=end)
    assert not file.allows("ours", "/x")
    rule = file.rule("ours", "/x")
    assert rule is not None and rule.line == (3 if end == "\n\n" else 2)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xef\xbb", b"\xef", b"\n", b" \t"])
def test_a_byte_order_mark_is_no_part_of_the_first_line(mark: bytes) -> None:
    assert not robots.parse(mark + b"User-agent: *\nDisallow: /x").allows("ours", "/x")


@pytest.mark.parametrize("mark", [b"\xef\x11\xbf", b"# ", b"x"])
def test_a_first_line_that_is_broken_is_skipped(mark: bytes) -> None:
    assert robots.parse(mark + b"User-agent: *\nDisallow: /x").allows("ours", "/x")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_read_too(encoding: str) -> None:
    file = robots.parse("\ufeffUser-agent: *\nDisallow: /é".encode(encoding))
    assert not file.allows("ours", "/%C3%A9")


@pytest.mark.parametrize(
    "text",
    [
        "USER-AGENT:ours\nDISALLOW:/x",
        "  User-agent :  ours  \n\t Disallow\t:\t/x\t",
        "User-agent ours\nDisallow /x",
        "Useragent: ours\nDissallow: /x",
        "User agent: ours\nDisalow: /x",
        "user_agent: ours\nDisallow: /x",
        "User-agent: ours # us\nDisallow: /x# all of it",
        "<html><body>User-agent: ours<br>\nDisallow: /x<br>\n</body>",
    ],
)
def test_common_slips_are_read_through(text: str) -> None:
    file = robots.parse(text.encode())
    assert not file.allows("ours", "/x1")
    assert file.allows("ours", "/y")


@pytest.mark.parametrize(
    "line", ["Disallow /x y", "Disallow", ":", ": /x", "No-crawl: /x", "#Disallow: /x", "\ufeffDisallow: /x"]
)
def test_a_line_that_makes_no_sense_is_skipped(line: str) -> None:
    assert lines("User-agent: *", line, "Disallow: /y").allows("ours", "/x")
    assert not lines("User-agent: *", line, "Disallow: /y").allows("ours", "/y")


def test_a_file_is_read_to_its_limit_and_cut_at_a_line_end() -> None:
    head = b"User-agent: *\nDisallow: /first\n"
    filling = b"#" * (robots.MAX_BODY - len(head) - 10) + b"\n"
    file = robots.parse(head + filling + b"Disallow: /x-is-cut-off\nDisallow: /late\n")
    assert not file.allows("ours", "/first")
    assert file.allows("ours", "/late")
    assert file.allows("ours", "/x")
    assert file.allows("ours", "/")


def test_a_file_of_the_largest_size_is_read_whole() -> None:
    tail = b"\nUser-agent: *\nDisallow: /last"
    assert not robots.parse(b"#" * (robots.MAX_BODY - len(tail)) + tail).allows("ours", "/last")


def test_a_long_line_counts_as_far_as_it_is_read() -> None:
    path = "/" + "a" * 20_000
    assert denies(path, path[:17_000])
    assert not denies(path, path[:16_000])


def test_the_hash_names_the_body() -> None:
    assert lines("a").hash == lines("a").hash != lines("b").hash


# --- Other records ---


def test_a_sitemap_is_for_everyone_wherever_it_stands() -> None:
    file = lines(
        *("Sitemap: https://s.test/1.xml", "User-agent: *", "Disallow: /", "site-map: /2.xml"),
        *("Sitemap:", "Sitemaps:https://s.test:8080/3.xml # new", "Sitemap: https://s.test/1.xml"),
    )
    assert list(file.sitemaps) == ["https://s.test/1.xml", "/2.xml", "https://s.test:8080/3.xml"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("10", 10.0), ("0.5", 0.5), ("0,5", 0.5), (".5", 0.5), ("0", 0.0), ("7 # s", 7.0), ("3 seconds", 3.0)],
)
def test_a_crawl_delay_is_in_seconds(value: str, seconds: float) -> None:
    assert lines("User-agent: *", f"Crawl-delay: {value}").crawl_delay("ours") == seconds


@pytest.mark.parametrize("value", ["", "soon", "-1", "nan", "inf", "٣"])
def test_a_crawl_delay_that_makes_no_sense_is_none(value: str) -> None:
    assert lines("User-agent: *", f"Crawl-delay: {value}").crawl_delay("ours") is None


def test_a_crawl_delay_is_for_the_agents_named_just_before_it() -> None:
    file = lines(
        *(
            "User-agent: a",
            "User-agent: b",
            "Crawl-delay: 1",
            "User-agent: c",
            "Crawl-delay: 2",
            "Disallow: /x",
        ),
        *("User-agent: d", "Disallow: /y", "Crawl-delay: 3", "User-agent: *", "Crawl-delay: 4"),
    )
    assert [file.crawl_delay(token) for token in "abcde"] == [1, 1, 2, 3, 4]
    assert [file.allows(token, "/x") for token in "abcde"] == [False, False, False, True, True]


def test_a_group_of_our_own_takes_nothing_from_the_star() -> None:
    assert (
        lines("User-agent: *", "Crawl-delay: 9", "User-agent: ours", "Disallow: /x").crawl_delay("ours")
        is None
    )


def test_of_several_delays_the_longest_counts() -> None:
    file = lines(
        "User-agent: *",
        "Crawl-delay: 2",
        "Crawl-delay: 5",
        "Crawl-delay: 3",
        "Request-rate: 1/2",
        "Request-rate: 1/9",
    )
    assert file.crawl_delay("ours") == 5
    assert file.request_rate("ours") == RequestRate(1, 9)


@pytest.mark.parametrize(
    ("value", "rate", "delay"),
    [
        ("1/5", RequestRate(1, 5), 5.0),
        ("2/1s", RequestRate(2, 1), 0.5),
        ("30/1m", RequestRate(30, 60), 2.0),
        ("100 / 1H", RequestRate(100, 3600), 36.0),
        ("8640/1d", RequestRate(8640, 86400), 10.0),
        ("1/10 0600-0845", RequestRate(1, 10, (360, 525)), 10.0),
        ("1/10s 2200 - 0400", RequestRate(1, 10, (1320, 240)), 10.0),
    ],
)
def test_a_request_rate_is_requests_in_a_time(value: str, rate: RequestRate, delay: float) -> None:
    found = lines("User-agent: *", f"Request-rate: {value}").request_rate("ours")
    assert found == rate
    assert found.delay == delay


@pytest.mark.parametrize("value", ["", "0/5", "5", "a/b", "1/", "-1/5"])
def test_a_request_rate_that_makes_no_sense_is_none(value: str) -> None:
    assert lines("User-agent: *", f"Request-rate: {value}").request_rate("ours") is None


@pytest.mark.parametrize(
    ("value", "window"),
    [
        ("0200-0630", (120, 390)),
        ("2300 0500 UTC", (1380, 300)),
        ("0000-2400", (0, 1440)),
        ("2500-2600", None),
        ("2-6", None),
    ],
)
def test_a_visit_time_is_in_minutes_of_the_day(value: str, window: tuple[int, int] | None) -> None:
    assert lines("User-agent: *", f"Visit-time: {value}").visit_time("ours") == window


NOON = 1_700_000_000 // 86_400 * 86_400 + 12 * 3600.0


@pytest.mark.parametrize(
    ("window", "wait"),
    [
        (None, 0.0),
        ((11 * 60, 13 * 60), 0.0),
        ((12 * 60, 13 * 60), 0.0),
        ((11 * 60, 12 * 60), 23 * 3600.0),
        ((13 * 60, 14 * 60), 3600.0),
        ((22 * 60, 4 * 60), 10 * 3600.0),
        ((22 * 60, 13 * 60), 0.0),
        ((0, 1440), 0.0),
        ((0, 0), 0.0),
    ],
)
def test_a_visit_waits_until_the_site_is_open(window: tuple[int, int] | None, wait: float) -> None:
    assert robots.wait_until_open(window, NOON) == wait
    assert robots.wait_until_open(window, NOON + 0.5) == pytest.approx(max(wait - 0.5, 0.0))


def test_the_longest_path_decides_about_content_usage() -> None:
    file = lines(
        *(
            "User-agent: *",
            "Disallow: /hidden",
            "Content-Usage: train-ai=n",
            "Content-Usage: /open/ train-ai=y",
        ),
        *(
            "Content-Usage: /open/*.pdf$\tsearch=n",
            "Content-Usage: /open/bare",
            "User-agent: free",
            "Disallow:",
        ),
    )
    assert file.content_usage("ours", "/x") == "train-ai=n"
    assert file.content_usage("ours", "/open/x") == "train-ai=y"
    assert file.content_usage("ours", "/open/x.pdf") == "search=n"
    assert file.content_usage("ours", "/open/bare") == "train-ai=y"
    assert file.content_usage("ours", "/hidden") is None
    assert file.content_usage("free", "/x") is None


def test_preferences_for_one_path_are_added_up() -> None:
    file = lines("User-agent: *", "Content-Usage: train-ai=n", "Content-Usage:", "Content-Usage: / search=y")
    assert file.content_usage("ours", "/x") == "train-ai=n, search=y"


# --- While there is no file ---


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        *((status, Access.PARSE) for status in (200, 203, 299)),
        *((status, Access.ALLOW_ALL) for status in (400, 401, 403, 404, 410, 451, 499)),
        *((status, Access.UNREACHABLE) for status in (None, 429, 500, 503, 599, 301, 304, 100, 0, 999)),
    ],
)
def test_only_a_refusal_frees_and_only_trouble_closes(status: int | None, meaning: Access) -> None:
    assert robots.access(status) is meaning


def test_a_site_unreachable_for_thirty_days_has_no_rules() -> None:
    assert robots.access(503, 30 * 86_400 - 1) is Access.UNREACHABLE
    assert robots.access(503, 30 * 86_400) is Access.ALLOW_ALL
    assert robots.access(None, 31 * 86_400) is Access.ALLOW_ALL
    assert robots.access(200, 31 * 86_400) is Access.PARSE


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        (None, 86_400),
        ("", 86_400),
        ("no-cache", 86_400),
        ("public, max-age=3600", 3600),
        ("MAX-AGE = 7200", 7200),
        ('max-age="900"', 900),
        ("max-age=31536000", 86_400),
        ("s-maxage=600, x-max-age=600", 86_400),
        ("max-age=0", 300),
        ("max-age=soon", 86_400),
    ],
)
def test_a_copy_lives_as_long_as_the_site_says_but_no_more_than_a_day(
    cache_control: str | None, seconds: float
) -> None:
    assert robots.lifetime(cache_control) == seconds


# --- Hostile files ---


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        (b"User-agent: *\nDisallow: /" + b"a" * 1_000_000, True),
        (b"User-agent: *\nDisallow: /\n" + b"a" * 1_000_000, False),
        (b"User-agent: *\nDisallow: /" + b"*" * 100_000, False),
        (b"User-agent: *\nDisallow: /" + b"*a" * 100_000, True),
        (b"User-agent: *\n" + b"Disallow: /*a*a*a*a*a*a*b$\n" * 18_000, True),
        (b"User-agent: a%d\n" * 15_000 + b"Disallow: /\n" * 18_000, True),
        (b"User-agent: *\nCrawl-delay: 1\n" * 8_000 + b"Disallow: /\n" * 18_000, False),
        (b"User-agent: *\nDisallow: /\0\0\0", False),
        (b"\0" * 512_001, True),
        (b"\xff\xfe" + b"\xd8" * 99_999, True),
        (b"<" * 512_000, True),
        (b"\xef\xbb\xbf", True),
        (b"\r" * 512_000, True),
    ],
    ids=lambda value: f"{value[:24]!r}" if isinstance(value, bytes) else str(value),
)
def test_no_file_can_hurt(body: bytes, allowed: bool) -> None:
    assert robots.parse(body).allows("ours", "https://site.test/" + "a" * 2_000) is allowed


@given(st.binary(max_size=400), st.text(max_size=20), st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_nothing_raises(noise: bytes, token: str, url: str) -> None:
    for body in (
        noise,
        b"User-agent: *\nDisallow: " + noise,
        b"User-agent: *\nRequest-rate:" + noise + b"\nContent-Usage:" + noise,
    ):
        file = robots.parse(body)
        assert file.allows(token, url) in (True, False)
        assert [file.crawl_delay(token), file.visit_time(token), file.content_usage(token, url)]
        file.request_rate(token)


@pytest.mark.parametrize(
    "url", ["\ud800", "/\udcff", "http://", "//", "///", "#", "?", "http:///x", "/\n/\x00", "[::1"]
)
def test_no_url_can_hurt(url: str) -> None:
    assert robots.ALLOW_ALL.allows("ours", url)
    assert not robots.DISALLOW_ALL.allows("ours", url)


def test_tens_of_thousands_of_wildcards_cost_a_url_little() -> None:
    found = lines("User-agent: *", "Disallow: /", *(f"Allow:*{number:x}" for number in range(40_000)))
    url = f"/{'g' * 1900}"
    assert not found.allows("ours", url)
    began = cpu_seconds()
    assert not any(found.allows("ours", url + "g" * more) for more in range(20))
    assert cpu_seconds() - began < 0.7  # it was 1.8 s


def test_of_very_many_wildcards_each_decides_as_it_does_alone() -> None:
    patterns = ["".join(each) for each in product("ab*", "ab*", "ab*$", "b*", "*$")]
    found = lines("User-agent: *", *(f"Disallow: /{one}" for one in patterns))
    alone = [lines("User-agent: *", f"Disallow: /{one}") for one in patterns]
    for letters in chain.from_iterable(product("abc", repeat=length) for length in range(1, 5)):
        path = f"/{''.join(letters)}"
        assert found.allows("ours", path) is all(one.allows("ours", path) for one in alone), path


# --- Against another reader, where both keep to the standard ---

# The other reader counts a last `?` as three octets.
PATTERNS = st.lists(st.sampled_from(["a", "b", "/", "*", "$", "?a", "."]), max_size=7).map(
    lambda pieces: "/" + "".join(pieces)
)
RULES = st.lists(st.tuples(st.sampled_from(["Allow", "Disallow"]), PATTERNS), min_size=1, max_size=5)
GROUPS = st.lists(st.tuples(st.sampled_from(["*", "ours", "theirs"]), RULES), max_size=4)
# An empty query is none to it.
PATHS = st.text("ab/?.", max_size=9).map(lambda path: "/" + path.rstrip("?"))


@given(GROUPS, st.lists(PATHS, min_size=1, max_size=6))
@settings(max_examples=250, deadline=None)
def test_another_reader_comes_to_the_same_answers(
    groups: list[tuple[str, list[tuple[str, str]]]], paths: list[str]
) -> None:
    text = "\n".join(
        line
        for agent, rules in groups
        for line in (f"User-agent: {agent}", *(f"{field}: {pattern}" for field, pattern in rules), "")
    )
    ours, theirs = robots.parse(text.encode()), Protego.parse(text)
    for path in paths:
        url = f"https://site.test{path}"
        assert ours.allows("ours", url) == theirs.can_fetch(url, "ours"), (text, path)
