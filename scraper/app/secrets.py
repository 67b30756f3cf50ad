"""What of a run is secret: settings, the parameters and the environment that its logins use."""

from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any
from urllib.parse import urlsplit

from scraper.ops.secrets import Redaction, is_secret_name, may_leave, secrets_of_url
from scraper.settings import Settings
from scraper.spider import Spider

_VARIABLES = frozenset({"PASSWORD", "PASSWD", "PASS", "PW", "PWD", "TOKEN", "SECRET", "KEY", "APIKEY"})


def redaction_of(
    settings: Settings, spider: Spider, hidden: frozenset[str], environ: Mapping[str, str]
) -> Redaction:
    """The redaction of a run. `hidden`: parameters that came from a file or a prompt."""
    found = Redaction(_of_settings(settings))
    said = _words_of(spider)
    for name, value in spider.params.items():
        if name in hidden or name in said or is_secret_name(name):
            found.add([str(value)])
    found.add(value for name, value in environ.items() if name in said or _is_secret_variable(name))
    return found


def _of_settings(settings: Settings) -> Iterator[str]:
    for auth in settings.auth.values():
        yield from (auth.password or auth.user, f"{auth.user}:{auth.password}")
    for fields in settings.headers.values():
        yield from (value for name, value in fields.items() if not may_leave(name))
    urls = [url for urls in settings.proxies.values() for url in urls]
    if settings.store and urlsplit(settings.store).password:  # its user alone is no key
        urls.append(settings.store)
    for url in urls:
        yield from secrets_of_url(url)
    if settings.notify and not settings.notify.startswith("mailto:"):
        yield settings.notify.partition("://")[2].partition("/")[2]


def _is_secret_variable(name: str) -> bool:
    """Whether the environment holds a secret under a name; those of sockets and files are none."""
    return name != "PWD" and name.upper().rpartition("_")[2] in _VARIABLES


def _words_of(spider: Spider) -> frozenset[str]:
    """The words in a spider's own login, which takes its secrets from parameters or variables by name."""
    login: Any = type(spider).login
    if login is Spider.login or not hasattr(login, "__code__"):
        return frozenset()
    return frozenset(_constants(login.__code__))


def _constants(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _constants(constant)
