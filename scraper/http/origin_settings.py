"""The settings of a session for one origin, and what changes when a redirect leads to another."""

import os
import urllib.request
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import requests
from requests.auth import AuthBase, HTTPDigestAuth

from scraper.http.tls import Verify
from scraper.model.frozen import frozen
from scraper.ops.secrets import may_leave


@frozen
class OriginSettings:
    """What holds for an origin; `asked`: the session's `verify` when this was found out.

    `lines`: header fields of the settings, basic and bearer credentials among them. `is_home`: it belongs to
    the session's domain. `is_own`: what somebody put on the session (fields, credentials, parameters, a
    certificate) is meant for it. `needs_more`: a proxy or digest, which only the ordinary way knows.
    """

    asked: Any
    verify: Verify
    lines: Mapping[str, str]
    digest: HTTPDigestAuth | None
    is_home: bool
    is_own: bool
    needs_more: bool

    def for_foreigners(self) -> "OriginSettings":
        """What holds where somebody else's page asks: nothing secret of ours goes along."""
        lines = {name: value for name, value in self.lines.items() if may_leave(name)}
        return replace(self, lines=lines, digest=None, is_own=False)


def names_proxies(environment: Mapping[str, str]) -> bool:
    """Whether the environment, or on some systems a setting outside it, may name a proxy."""
    is_elsewhere = urllib.request.getproxies is not urllib.request.getproxies_environment
    return is_elsewhere or any(name.lower().endswith("_proxy") for name in environment)


def merged_without_proxies(
    session: requests.Session,
    url: Any,
    proxies: MutableMapping[str, str] | None,
    stream: bool | None,
    verify: Any,
    cert: Any,
) -> Any:
    """What `merge_environment_settings` of `requests` says where the environment names no proxy."""
    if verify is None or verify is True:
        verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or verify
    own: Any = SimpleNamespace(
        trust_env=False,
        proxies=session.proxies,
        stream=session.stream,
        verify=session.verify,
        cert=session.cert,
    )
    return requests.Session.merge_environment_settings(own, url, proxies, stream, verify, cert)


def bare(url: str) -> str:
    """A URL without its query, for messages."""
    return url.partition("?")[0][:200]


def take_off_secrets(prepared: requests.PreparedRequest, identity: Collection[str]) -> None:
    """Remove the header fields that another origin may not see; those named in `identity` stay."""
    headers: Any = prepared.headers
    for name in list(headers):
        # The cookies are those for the new URL already, and the proxy is the same.
        is_new = name.lower() in ("cookie", "proxy-authorization")
        if not (is_new or name.lower() in identity or may_leave(name)):
            del headers[name]


def readdress(
    prepared: requests.PreparedRequest, own: Mapping[str, Any], old: OriginSettings, new: OriginSettings
) -> None:
    """Change a redirected request from the settings of one origin to those of another.

    `own`: the header fields of the session.
    """
    headers: Any = prepared.headers
    for name, value in old.lines.items():
        if headers.get(name) == value:
            del headers[name]
    if new.is_own:
        headers.update({name: value for name, value in own.items() if name not in headers})
    if old.digest is not new.digest or not new.is_own:
        hooks = prepared.hooks["response"]
        prepared.hooks["response"] = [
            hook for hook in hooks if not isinstance(getattr(hook, "__self__", None), AuthBase)
        ]
    headers.update(new.lines)
    if new.digest is not None and new.digest is not old.digest:
        prepared.prepare_auth(new.digest)


def proxies_of_hop(given: Mapping[str, str] | None, own: str, of_settings: Collection[str]) -> dict[str, str]:
    """The proxies of a redirect's hop: that which the settings name for its host, unless a caller named some.

    `of_settings`: those that the settings named for hosts before.
    """
    given = dict(given or {})
    if not {*given.values()} <= {*of_settings, *urllib.request.getproxies().values()}:
        return given
    return {"http": own, "https": own} if own else {}  # `requests` adds those of the environment


def no_auth(request: Any) -> Any:
    """Credentials that add nothing, so that `requests` looks for no others."""
    return request


def without_session_params(own: Any, params: Any) -> Any:
    """A request's parameters without those that a session adds to each; None is "leave it out"."""
    if isinstance(params, str | bytes) or not isinstance(own, Mapping):
        return params
    return {**dict.fromkeys(own), **dict(params or {})}
