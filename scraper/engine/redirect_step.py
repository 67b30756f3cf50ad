"""Turns a redirect into its next request: a URL of the frontier, with rules and delay of its own."""

from dataclasses import replace

from scraper.http import redirects
from scraper.http.request_body import body_of
from scraper.model import Denied, Entry, Failed, NewUrl, Outcome, Redirected, Request
from scraper.ops.secrets import names_secret
from scraper.parsing.page import Page
from scraper.politeness.retry import is_safe
from scraper.politeness.scope import refusal as out_of_scope
from scraper.spider.identity import identity_of, request_text
from scraper.urls import canonical, domain_of, variant

_MOST_REPEATS = 2  # of a URL that redirects to itself with a cookie


def redirected(
    entry: Entry, page: Page, status: int, location: str | None, allowed_domains: frozenset[str]
) -> Outcome:
    """What becomes of a request whose answer leads elsewhere."""
    request = page.request
    hop = redirects.next_hop(status, request.method, entry.url, location)
    if hop is None:
        return Failed(f"status {status} without a Location", "bad redirect")
    if isinstance(hop, Failed):
        return hop
    if entry.hops >= redirects.MAX_HOPS:
        return Failed(f"more than {redirects.MAX_HOPS} redirects", "too many redirects")
    target = hop.url.partition("#")[0]
    identity = canonical(target)
    reason = out_of_scope(target, allowed_domains)
    if identity is None or reason is not None:
        return Denied(_moved(entry, target) or f"redirect to {target[:200]}: {reason or 'not a URL'}")
    # With a new cookie the same URL may well answer otherwise, but hardly a third time.
    is_same = hop.method == request.method and target == entry.url
    if is_same and (entry.hops >= _MOST_REPEATS or "set-cookie" not in page.headers):
        return Failed("redirects to itself", "redirect loop")
    if entry.url == request.url.partition("#")[0] and entry.hops >= 2 * _MOST_REPEATS:
        return Failed(f"redirects in a circle, by {target[:200]}", "redirect loop")
    if hop.keeps_body and not hop.keeps_secrets and _has_secret(request, page):
        return Denied(f"redirect to {target[:200]}: it would take a password to another origin")
    following = replace(
        request,
        method=hop.method,
        headers=redirects.headers_for(hop, request.headers) if request.headers else None,
        data=request.data if hop.keeps_body else None,
        json=request.json if hop.keeps_body else None,
    )
    return Redirected(
        NewUrl(
            domain=domain_of(target),
            fp=_hop_fingerprint(entry, request, following, identity),
            url=target,
            request=request_text(following, target),
            priority=redirects.FIRST,
            depth=entry.depth,
            hops=entry.hops + 1,
        )
    )


def _has_secret(request: Request, page: Page) -> bool:
    """Whether what a request sent holds a secret, by its names or as one that we were told."""
    text = (body_of(request)[0] or b"").decode("utf-8", "replace")
    return names_secret(text) or (page.has_session and page.session.redaction.has(text))


def _hop_fingerprint(entry: Entry, request: Request, following: Request, identity: str) -> bytes:
    """By what the next hop is known: the page behind a form belongs to what was sent, not to its URL."""
    fp, source = identity_of(following, identity), identity_of(request, canonical(entry.url) or "")
    if fp == source:
        return entry.fp  # to set a cookie, or to have its URL spelled in another way
    # Further hops of such a request have a fingerprint that is not their URL's.
    is_own = request.dont_filter or not is_safe(request.method) or entry.fp != source
    return variant(fp, entry.fp) if is_own else fp


def _moved(entry: Entry, target: str) -> str:
    """What to write where a start page has moved to another domain; empty where none has."""
    if entry.depth or domain_of(target) == entry.domain:
        return ""
    return f'the start page moved outside allowed_domains, write start_urls = ["{target[:140]}"]'
