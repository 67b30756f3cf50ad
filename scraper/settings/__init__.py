"""Settings: typed, read from five sources; all mistakes are reported at once."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field, fields
from pathlib import Path
from typing import Any, TypeVar

from scraper.errors import SettingsError
from scraper.model.frozen import frozen
from scraper.ops.secrets import is_secret_name
from scraper.settings import http_values, origins, values

PRODUCT = "scraper"
VERSION = "0.1.0"
PROJECT_URL = ""

DEFAULT = "default"
SPIDER = "the spider's settings"
COMMAND_LINE = "--set"
ENVIRONMENT = "SCRAPER_"

T = TypeVar("T")


def _setting(default: Any, read: values.Reader, *, secret: bool = False) -> Any:
    """One setting: `secret` values stand in no message and no log."""
    metadata = {"read": read, "secret": secret}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


@frozen
class Settings:
    """Every setting. Seconds for times, bytes for sizes, minutes of the day for `active_hours`.

    `headers` and `auth` are kept by origin (`for_origin`), `proxies` and `verify` by domain (`for_domain`).
    """

    contact: str | None = _setting(None, values.optional(http_values.contact))
    user_agent: str | None = _setting(None, values.optional(http_values.user_agent))
    delay: float = _setting(1.0, values.duration)
    delay_factor: float = _setting(1.0, values.number)
    max_delay: float = _setting(120.0, values.positive(values.duration, "a duration"))
    concurrency: int = _setting(1, values.at_least(1))
    threads: int = _setting(64, values.at_least(1))
    timeout: tuple[float, float] = _setting((10.0, 30.0), http_values.timeout)
    max_attempts: int = _setting(4, values.at_least(1))
    max_wait: float = _setting(300.0, values.duration)
    max_body: int = _setting(32 * 1024 * 1024, values.positive(values.size, "a size"))
    max_file: int = _setting(2**30, values.positive(values.size, "a size"))
    file_types: tuple[str, ...] = _setting((), http_values.media_types)
    max_links: int = _setting(50_000, values.at_least(1))
    parse_timeout: float = _setting(30.0, values.positive(values.duration, "a duration"))
    max_depth: int | None = _setting(None, values.optional(values.at_least(0)))
    max_pages: int | None = _setting(None, values.optional(values.at_least(1)))
    pages_per_domain: Mapping[str, int] = _setting({}, http_values.pages_per_domain)
    max_errors: int | None = _setting(10, values.optional(values.at_least(1)))
    max_time: float | None = _setting(None, values.optional(values.positive(values.duration, "a duration")))
    allowed_domains: tuple[str, ...] = _setting((), http_values.domains)
    headers: Mapping[str, Mapping[str, str]] = _setting({}, http_values.headers, secret=True)
    auth: Mapping[str, http_values.Auth] = _setting({}, http_values.auth, secret=True)
    proxies: Mapping[str, tuple[str, ...]] = _setting({}, http_values.proxies, secret=True)
    reach: tuple[str, ...] = _setting((), http_values.reach)
    verify: Mapping[str, bool | str] = _setting({http_values.ANY_DOMAIN: True}, http_values.verify)
    max_age: float = _setting(0.0, values.duration)
    active_hours: tuple[int, int] | None = _setting(None, values.optional(values.hours))
    obey_nofollow: bool = _setting(True, values.switch)
    archive: bool = _setting(False, values.switch)
    archive_to: str | None = _setting(None, values.optional(values.text), secret=True)
    files_to: str | None = _setting(None, values.optional(values.text), secret=True)
    render: str = _setting("never", values.one_of("never", "always", "auto"))
    render_load: tuple[str, ...] = _setting((), values.some_of("image", "media", "font", "beacon", "other"))
    render_domains: tuple[str, ...] | None = _setting(None, values.optional(http_values.domains))
    render_delay: float | None = _setting(None, values.optional(values.duration))
    render_memory: int = _setting(2 * 2**30, values.positive(values.size, "a size"))
    browser: str | None = _setting(None, values.optional(values.text))
    share: bool = _setting(False, values.switch)
    csv_safe: bool = _setting(True, values.switch)
    robots_exempt: Mapping[str, str] = _setting({}, http_values.robots_exempt)
    legacy_tls: Mapping[str, str] = _setting({}, http_values.legacy_tls)
    politeness_group: Mapping[str, str] = _setting({}, http_values.politeness_group)
    retention: int = _setting(30, values.at_least(1))
    notify: str | None = _setting(None, values.optional(http_values.notify), secret=True)
    notify_changes: bool = _setting(False, values.switch)
    metrics_file: str | None = _setting(None, values.optional(values.text))
    store: str | None = _setting(None, values.optional(values.text), secret=True)
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def source(self, name: str) -> str:
        """Where a value comes from: the name of a file or a variable, SPIDER, COMMAND_LINE or DEFAULT."""
        return self.sources.get(name, DEFAULT)


@frozen
class _Given:
    """A setting as one source gives it."""

    name: str
    value: object
    source: str


class _Mistake(Exception):
    """A source that cannot be read as settings."""


_FIELDS = {each.name: each for each in fields(Settings) if "read" in each.metadata}


def names() -> tuple[str, ...]:
    """The names of all settings."""
    return tuple(_FIELDS)


def is_secret(name: str) -> bool:
    """Whether a setting's value may hold a secret."""
    return name not in _FIELDS or bool(_FIELDS[name].metadata["secret"])


def load(
    spider_settings: Mapping[str, Any],
    overrides: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
) -> Settings:
    """The settings of all sources, later ones winning: files, environment, spider, `NAME=VALUE` overrides.

    Raises SettingsError with every mistake of every source, also of those that another source overrides.
    """
    chosen: dict[str, Any] = {}
    sources: dict[str, str] = {}
    mistakes: list[str] = []
    for given in _given(spider_settings, overrides, folder, environ, mistakes):
        try:
            chosen[given.name] = _read(given)
            sources[given.name] = given.source
        except _Mistake as mistake:
            mistakes.append(str(mistake))
    settings = Settings(**chosen, sources=sources)
    mistakes += _contradictions(settings)
    if mistakes:
        count = "One setting is" if len(mistakes) == 1 else f"{len(mistakes)} settings are"
        hint = f"the settings are {', '.join(_FIELDS)}" if "no such setting" in " ".join(mistakes) else ""
        raise SettingsError("\n  ".join([f"{count} wrong:", *mistakes]), hint)
    return settings


def _given(
    spider_settings: Mapping[str, Any],
    overrides: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    mistakes: list[str],
) -> Iterator[_Given]:
    """What each source gives, in their order; a source that cannot be read is a mistake."""
    for name, path in (("pyproject.toml", ("tool", "scraper")), ("scraper.toml", ())):
        try:
            yield from _of_table(_section(folder / name, path), name)
        except _Mistake as mistake:
            mistakes.append(str(mistake))
    for variable in sorted(environ):
        # An empty variable is how cron and compose files say "not set".
        if variable.startswith(ENVIRONMENT) and environ[variable]:
            yield _Given(variable.removeprefix(ENVIRONMENT).lower(), environ[variable], variable)
    if isinstance(spider_settings, Mapping):
        yield from _of_table(spider_settings, SPIDER)
    else:
        mistakes.append(f"{SPIDER}: expected a dict of settings, not {type(spider_settings).__name__}")
    for override in overrides:
        name, equals, value = override.partition("=")
        if equals:
            yield _Given(name.strip(), value, COMMAND_LINE)
        else:
            mistakes.append(f"{override} ({COMMAND_LINE}): expected NAME=VALUE")


def _of_table(table: Mapping[Any, Any], source: str) -> Iterator[_Given]:
    return (_Given(str(name), value, source) for name, value in table.items())


def _section(file: Path, path: Sequence[str]) -> Mapping[str, Any]:
    """The settings table of a TOML file; empty where there is none."""
    try:
        written = file.read_bytes().decode("utf-8-sig")
        # Imported on first use: start-up is for what every run needs.
        import tomllib

        found: object = tomllib.loads(written)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise _Mistake(f"{file.name}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise _Mistake(f"{file.name}: not valid TOML: {error}") from None
    for name in path:
        found = found.get(name, {}) if isinstance(found, Mapping) else found
    if not isinstance(found, Mapping):
        raise _Mistake(f"{file.name}: expected [{'.'.join(path)}] to be a table of settings")
    return found


def _read(given: _Given) -> Any:
    """The value of a setting, or a _Mistake that names setting, value, source and what is expected."""
    known = _FIELDS.get(given.name)
    if known is None:
        meant = values.nearest(given.name, _FIELDS)
        advice = f"; did you mean {meant}?" if meant else ""
        raise _Mistake(f"{given.name} ({given.source}): no such setting{advice}")
    try:
        return known.metadata["read"](given.value)
    except ValueError as error:
        shown = "(its value is not shown)" if known.metadata["secret"] else f"= {_shown(given.value)}"
        raise _Mistake(f"{given.name} {shown} ({given.source}): expected {error}") from None


def _shown(value: object) -> str:
    shown = value if isinstance(value, str) and value.isprintable() else repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _contradictions(settings: Settings) -> Iterator[str]:
    """Values that are right each and wrong together."""
    if settings.delay > settings.max_delay:
        yield (
            f"delay = {settings.delay:g} ({settings.source('delay')}): longer than max_delay = "
            f"{settings.max_delay:g} ({settings.source('max_delay')}), so every domain would have to wait"
        )


def agent(settings: Settings) -> str:
    """The User-Agent: product, version, project and contact (RFC 9110 10.1.5)."""
    contact = settings.contact
    if settings.user_agent is None:
        about = "; ".join(filter(None, (f"+{PROJECT_URL}" if PROJECT_URL else "", contact)))
        return f"{PRODUCT}/{VERSION} ({about})" if about else f"{PRODUCT}/{VERSION}"
    if contact and contact not in settings.user_agent:
        return f"{settings.user_agent} ({contact})"
    return settings.user_agent


def token(settings: Settings) -> str:
    """The product token that robots.txt knows us by (RFC 9309 2.2.1)."""
    return re.split(r"[/ ]", settings.user_agent)[0] if settings.user_agent else PRODUCT


def sender(settings: Settings) -> str | None:
    """The From header (RFC 9110 10.1.2): the contact, if it is an e-mail address."""
    contact = settings.contact
    return contact if contact and "://" not in contact else None


def for_domain(by_domain: Mapping[str, T], *hosts: str) -> T | None:
    """The value of the first of `hosts` that has one of its own, else the one for all domains."""
    for name in (*hosts, http_values.ANY_DOMAIN):
        if name in by_domain:
            return by_domain[name]
    return None


def grouping(settings: Settings) -> Callable[[str], str]:
    """The politeness group of a domain: by its own name, else by the longest pattern; empty for none."""
    groups = settings.politeness_group

    def group_of(domain: str) -> str:
        names, rest = [domain], domain
        while rest := rest.partition(".")[2]:
            names.append(f"*.{rest}")
        return next((groups[name] for name in names if name in groups), "")

    return group_of if groups else lambda domain: ""


def for_origin(by_origin: Mapping[str, T], origin: str, own: Collection[str]) -> T | None:
    """The value for an origin of the nearest name that covers it; `own`: where the spider starts."""
    names = origins.covering(by_origin, origin, own)
    return by_origin[names[-1]] if names else None


def headers_for(settings: Settings, origin: str, own: Collection[str]) -> dict[str, str]:
    """The header fields for an origin: those for all, then nearer ones over them.

    What is named like a secret goes over plain http only where the spider wrote so, also from "*".
    """
    merged: dict[str, tuple[str, str]] = {}
    for name in origins.covering(settings.headers, origin, own):
        is_open = name == http_values.ANY_DOMAIN and origin.startswith("http:") and origin not in own
        merged |= {
            each.lower(): (each, value)
            for each, value in settings.headers[name].items()
            if not (is_open and is_secret_name(each))
        }
    return dict(merged.values())
