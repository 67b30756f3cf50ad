"""Would this URL be fetched? All checks in the order of a run, each with its answer; nothing is sent."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scraper import settings as settings_of
from scraper.app.one_url.held_domains import pace_of
from scraper.app.project import told_worker
from scraper.app.session_opener import robots_via
from scraper.engine.robots_cache import RobotsCache, RobotsRules
from scraper.errors import OutOfReach
from scraper.http.reach import Reach, is_local_name, kind_of
from scraper.model import Deferred
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock, second_of_day
from scraper.ops.printable import printable
from scraper.politeness import learned, scope, throttle
from scraper.politeness.limit import told_of
from scraper.politeness.throttle import State
from scraper.settings import Settings
from scraper.spider.identity import AND_MORE
from scraper.spider.rules import Rules
from scraper.store import GROUP, Store
from scraper.urls import canonical, domain_of, fingerprint, host_of, origin_of, with_callback

SAME_MOMENT = 0.001


@frozen
class Check:
    """One question and its answer; `is_open` None: it neither lets pass nor holds."""

    name: str
    told: str
    is_open: bool | None = None


@frozen
class ExplainContext:
    """Who would ask: `spider`, `rules` and `code` (`parse_code`) where one was named, and the settings.

    `reach`: which addresses may be asked; None: a person means the host.
    """

    settings: Settings
    spider: str = ""
    rules: Rules | None = None
    code: str = ""
    reach: Reach | None = None


def explain(url: str, asker: ExplainContext, store: Store | None) -> Iterator[Check]:
    """The checks of an absolute http(s) URL, in the order in which a run asks them."""
    yield Check("url", canonical(url) or url)
    yield _scope(url, asker)
    yield from _reach(url, asker)
    robots_rules = None
    if store is not None:
        clock = SystemClock(store.anchor())
        own = asker.rules.origins if asker.rules is not None else frozenset()
        robots_rules = RobotsCache(
            store, clock, asker.settings.robots_exempt, robots_via(asker.settings, own)
        ).find(origin_of(url))
    yield _robots(url, asker, robots_rules)
    if asker.spider:
        yield from _seen(url, asker, store)
    yield from _clock(url, asker, store, robots_rules)


def answer_to(checks: Sequence[Check]) -> str:
    """What the checks come to, in a sentence."""
    closed = [check for check in checks if check.is_open is False]
    if closed:
        return f"would not be fetched: {closed[0].name}: {printable(closed[0].told)}"
    if any(check.name == "robots" and check.is_open is None for check in checks):
        return "would be fetched if its robots.txt allows it"
    return "would be fetched"


def _scope(url: str, asker: ExplainContext) -> Check:
    allowed = asker.rules.allowed_domains if asker.rules is not None else frozenset({domain_of(url)})
    reason = scope.refusal(url, allowed)
    if reason is not None:
        return Check("scope", reason, False)
    if asker.rules is None:
        return Check("scope", "no trap; --spider NAME asks whether it is inside allowed_domains", True)
    return Check("scope", f"inside allowed_domains: {', '.join(sorted(allowed)[:5])}", True)


def _reach(url: str, asker: ExplainContext) -> Iterator[Check]:
    """What is said of a host that is an address; those of a name are judged when it is asked."""
    host = host_of(canonical(url) or url).strip("[]")
    if asker.reach is None or (not is_local_name(host) and kind_of(host) in ("", "malformed")):
        return
    try:
        asker.reach.check_literal(host)
    except OutOfReach as error:
        yield Check("reach", error.message, False)
    else:
        yield Check("reach", f"{host} may be asked (setting reach, or named by the spider)", True)


def _robots(url: str, asker: ExplainContext, robots_rules: RobotsRules | None) -> Check:
    origin, token = origin_of(url), settings_of.token(asker.settings)
    if robots_rules is None:
        told = f"not known yet: a run asks for {origin}/robots.txt first (--fetch-robots does it now)"
        return Check("robots", told)
    reason = None if robots_rules.exempt else robots_rules.refusal(token, url)
    return Check("robots", reason or robots_rules.told(token, url), reason is None)


def _seen(url: str, asker: ExplainContext, store: Store | None) -> Iterator[Check]:
    identity = canonical(url)
    callbacks = asker.rules.callbacks if asker.rules is not None else ()
    known = None
    if store and identity:
        plain = fingerprint("GET", identity)
        named = (with_callback(plain, callback) for callback in ("parse", *callbacks))
        known = next(filter(None, (store.lookup(asker.spider, fp) for fp in named)), None)
    if known is None:
        yield Check("seen", f"never met by {asker.spider}")
        return
    why = f": {known['reason']}" if known.get("reason") else ""
    yield Check("seen", f"{known['state']} in run {known.get('run') or 'unknown'}{why}")
    if not known.get("fetched_at"):
        return
    yield _freshness(known, asker)


def _freshness(known: Mapping[str, Any], asker: ExplainContext) -> Check:
    now = SystemClock(0.0).wall()
    age = max(0.0, now - known["fetched_at"])
    told = f"fetched {age:.0f} s ago"
    if known["inputs"].startswith(AND_MORE):
        return Check("copy", f"{told}, its callback looks at more than the page: asked for and parsed again")
    if asker.code and not re.fullmatch(rf"{asker.code}(?:[:+|].*)?", known["inputs"]):
        other = "parsed by other code or with other params or settings"
        return Check("copy", f"{told}, {other}: asked for and parsed again")
    fresh = max(known["fresh_until"] or 0.0, known["fetched_at"] + asker.settings.max_age) - now
    if fresh > 0:
        return Check("copy", f"{told}, fresh for {fresh:.0f} s more: not asked for", False)
    tags = [name for name in ("etag", "last_modified") if known.get(name)]
    asks = f"asked with its {' and '.join(tags)}" if tags else "asked for anew (no ETag or Last-Modified)"
    return Check("copy", f"{told}, {asks}")


def _clock(
    url: str, asker: ExplainContext, store: Store | None, robots_rules: RobotsRules | None
) -> Iterator[Check]:
    name, found = domain_of(url), asker.settings
    row = store.domain(name) if store is not None else None
    state = throttle.from_json(row["state"]) if row is not None else State()
    if row is not None and store is not None:
        now = SystemClock(store.anchor()).now()
        state = replace(state, limit=learned.eased(state.limit, now))
    pace = pace_of(found, settings_of.token(found), robots_rules, state)
    source = found.source("delay") if pace.source.startswith("setting") else ""
    by = f" ({source})" if source and source != settings_of.DEFAULT else ""
    yield Check("delay", f"{pace.delay:.3g} s for {name}: {pace.source}{by}")
    group, group_due = _group(name, found, store)
    if group:
        yield Check("group", f"shares its pace with the domains of {group} (politeness_group)")
    if state.limit.is_learned:
        yield Check("learned", told_of(state.limit))
    if row is None or store is None:
        yield Check("next", "now: nothing was asked of the domain yet", True)
        return
    clock = SystemClock(store.anchor())
    now = clock.now()
    due = max(row["due"], state.due, state.rest_until, group_due)
    wait = throttle.decide(throttle.rest(state, due, state.reason), pace, now, found.max_delay, math.inf)
    open_in = throttle.until_open(
        (found.active_hours,) if found.active_hours else (), second_of_day(clock.wall())
    )
    yield _next(row, state, max(due - now, open_in), wait, found.max_wait)


def _group(domain: str, found: Settings, store: Store | None) -> tuple[str, float]:
    """A domain's politeness group, and the next moment of its clock."""
    group = settings_of.grouping(found)(domain)
    row = store.domain(GROUP + group) if group and store is not None else None
    return group, row["due"] if row is not None else 0.0


def _next(row: Mapping[str, Any], state: State, wait: float, decided: float | Deferred, most: float) -> Check:
    held = f"; {told_worker(row['owner'])} visits it now" if row.get("owner") else ""
    if isinstance(decided, Deferred):
        return Check("next", decided.reason, False)
    if wait < SAME_MOMENT:
        return Check("next", f"now{held}", True)
    cause = f": {state.reason}" if state.reason and state.rest_until >= state.due else ""
    if wait > most:
        return Check("next", f"in {wait:.0f} s{cause}, which is longer than max_wait {most:g} s", False)
    return Check("next", f"in {wait:.1f} s{cause}{held}", True)
