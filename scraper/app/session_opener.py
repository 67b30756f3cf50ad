"""Creates a domain's session from the settings: identity, credentials, proxies, reachable addresses."""

import importlib.util
from collections.abc import Callable, Collection
from hashlib import blake2b
from ipaddress import ip_network
from urllib.request import getproxies

from scraper import settings as settings_of
from scraper.errors import UsageError
from scraper.http.adapter import budget, most_sockets
from scraper.http.body import ACCEPTED
from scraper.http.host_settings import HostSettings
from scraper.http.reach import Reach
from scraper.http.session import DomainSession
from scraper.ops.clock import Clock
from scraper.politeness.rate_limiter import RateLimiter
from scraper.settings import Settings
from scraper.spider import Spider
from scraper.spider.rules import Rules
from scraper.store import Lease
from scraper.urls import domain_of, host_of


def session_opener(
    settings: Settings,
    clock: Clock,
    origins: Collection[str] = frozenset(),
    account: str | None = None,
    reach: Reach | None = None,
) -> Callable[[Lease, RateLimiter], DomainSession]:
    """How a domain's session is made: who we say we are, and what the settings say for this domain.

    `origins`: where the spider starts, which is where its secrets may go. `account`: whose login it is.
    `reach`: which addresses are asked.
    """
    sender = settings_of.sender(settings)
    identity = {"User-Agent": settings_of.agent(settings), "Accept-Encoding": ACCEPTED}
    if sender:
        identity["From"] = sender

    most_origins, _ = budget(most_sockets(), threads_of(settings))

    def open_session(lease: Lease, limiter: RateLimiter) -> DomainSession:
        session = DomainSession(
            lease.domain,
            headers=identity,
            timeout=settings.timeout,
            max_body=settings.max_body,
            connections=settings.concurrency,
            origins=origins,
            limiter=limiter,
            clock=clock,
            host_settings=lambda origin: host_settings_for(settings, origin, origins),
            reach=reach,
            most_origins=most_origins,
        )
        session.account = account
        if settings.render_delay is not None:
            session.render_delay = settings.render_delay, settings.delay
        session.adapter.legacy = settings.legacy_tls
        session.load(lease.session)
        return session

    return open_session


def reach_of(settings: Settings, spider: Spider, rules: Rules) -> Reach:
    """The addresses that a spider's hosts may have: it names those it starts from and `allowed_domains`."""
    named = settings.allowed_domains or spider.allowed_domains
    hosts = {host_of(origin) for origin in rules.origins}
    hosts |= {host_of(f"http://{name}/") for name in ([named] if isinstance(named, str) else named)}
    return reach_from(settings, hosts)


def reach_from(settings: Settings, hosts: set[str]) -> Reach:
    """The addresses that hosts may have which a person named, and what the setting `reach` adds."""
    networks = []
    for one in settings.reach:
        try:
            networks.append(ip_network(one))
        except ValueError:
            hosts.add(one)
    return Reach(hosts, networks)


def host_settings_for(settings: Settings, origin: str, own: Collection[str] = frozenset()) -> HostSettings:
    """What the settings say for an origin; proxy and verification by the nearest name it is below.

    `own`: the origins that the spider starts from.
    """
    host, domain = host_of(origin), domain_of(origin)
    names = [host]
    while names[-1] != domain and "." in names[-1]:
        names.append(names[-1].partition(".")[2])
    is_said = settings.source("verify") != settings_of.DEFAULT
    proxies = settings_of.for_domain(settings.proxies, *names) or ()
    return HostSettings(
        settings_of.headers_for(settings, origin, own),
        settings_of.for_origin(settings.auth, origin, own),
        # The highest draw: a proxy that comes or goes moves only the domains that were drawn to it.
        max(proxies, key=lambda proxy: blake2b(f"{domain} {proxy}".encode()).digest(), default=""),
        settings_of.for_domain(settings.verify, *names) if is_said else None,
    )


def robots_via(settings: Settings, own: Collection[str] = frozenset()) -> Callable[[str], str]:
    """Who asks for an origin's robots.txt: a hash of the proxy and the credentials; empty without."""
    of_environment = getproxies()

    def via(origin: str) -> str:
        found = host_settings_for(settings, origin, own)
        proxy = found.proxy or of_environment.get(origin.partition(":")[0], "")
        digest = found.auth if found.auth is not None and found.auth.kind == "digest" else None
        words = [proxy, found.lines().get("Authorization", ""), digest.password if digest else ""]
        return blake2b("\n".join(words).encode(), digest_size=8).hexdigest() if any(words) else ""

    return via


def check_proxies(settings: Settings) -> None:
    """Raise UsageError for a SOCKS proxy without the package that speaks to it."""
    wanted = [url for urls in settings.proxies.values() for url in urls if url.startswith("socks")]
    if wanted and importlib.util.find_spec("socks") is None:
        raise UsageError("a SOCKS proxy needs PySocks", "pip install 'scraper[socks]'")


def threads_of(settings: Settings) -> int:
    """The setting, unless the system lets us open too few connections for it."""
    return max(1, min(settings.threads, most_sockets() // 2))
