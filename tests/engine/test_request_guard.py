"""What logins and callbacks may ask for by themselves, against a real server."""

import math

import pytest

from scraper.engine.request_guard import RequestGuard
from scraper.errors import RequestDenied
from scraper.http.session import DomainSession
from scraper.ops.clock import SystemClock
from scraper.politeness.rate_limiter import RateLimiter
from tests.site import Reply, Site

CLOCK = SystemClock()


def guard_of(site: Site, max_wait: float = 300.0) -> tuple[RequestGuard, RateLimiter]:
    limiter = RateLimiter(CLOCK, 0.0)
    session = DomainSession(domain=site.host, limiter=limiter, clock=CLOCK)
    names = frozenset({site.host})
    return RequestGuard(session, {}, lambda origin: None, "scraper", names, max_wait, CLOCK), limiter


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_robots_txt_asks_for_is_kept_and_the_file_not_asked_for_meanwhile(
    site: Site, status: int
) -> None:
    site["/robots.txt"] = Reply(status, headers={"Retry-After": "1000"})
    guard, limiter = guard_of(site)
    for path in ("/login", "/login", "/other"):
        with pytest.raises(RequestDenied):
            guard(site.url(path))
    assert site.paths(robots=True) == ["/robots.txt"]
    assert math.isclose(limiter.due - CLOCK.now(), 1000, abs_tol=60)


def test_robots_txt_without_a_wait_is_asked_for_once(site: Site) -> None:
    site["/robots.txt"] = "User-agent: *\nDisallow: /private\n"
    guard, _ = guard_of(site)
    guard(site.url("/login"))
    with pytest.raises(RequestDenied, match="line 2: Disallow"):
        guard(site.url("/private/1"))
    assert site.paths(robots=True) == ["/robots.txt"]


def test_a_short_wait_that_robots_txt_asks_for_is_waited_for(site: Site) -> None:
    site["/robots.txt"] = [Reply(429, headers={"Retry-After": "1"}), "User-agent: *\nDisallow: /private\n"]
    guard, _ = guard_of(site)
    guard(site.url("/login"))
    assert site.paths(robots=True) == ["/robots.txt"] * 2
