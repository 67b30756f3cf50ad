"""`Request`: what to fetch, and how it is rendered."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Render:
    """How a page is rendered, in this order: `fill` (CSS: text), `click`, `scroll` to its end so many times,
    run `script`, wait for `wait_for`; each but the script waits up to `timeout` seconds for its element.

    An element is named by a CSS query, or as `text=...` by a text in it. `screenshot`: keep a picture of it.
    """

    wait_for: str = ""
    click: Collection[str] = ()
    fill: Mapping[str, str] = field(default_factory=dict)
    scroll: int = 0
    script: str = ""
    screenshot: bool = False
    timeout: float = 30.0

    def __post_init__(self) -> None:
        clicks = (self.click,) if isinstance(self.click, str) else tuple(self.click)
        object.__setattr__(self, "click", clicks)
        object.__setattr__(self, "fill", dict(self.fill))

    def __hash__(self) -> int:
        return hash((self.wait_for, self.click, tuple(self.fill.items()), self.scroll, self.script))

    def said(self) -> dict[str, Any]:
        """What differs from a plain rendering, JSON-able: the keywords that make this again."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        plain = Render()
        return {name: value for name, value in values.items() if value != getattr(plain, name)}


@dataclass(frozen=True, init=False)  # it has its own, and one that is not used costs a millisecond
class Request:
    """One thing to fetch and the name of the spider method that parses it.

    `params` are added to the URL's query; `data` is a form (mapping) or text; `json` any JSON value.
    `meta` (JSON-able) travels to `page.meta`. Higher `priority` goes first. `max_age` (seconds): a copy
    younger than this is not asked for again; `modified_at` (epoch seconds): nor is one fetched after this,
    when the site says that the page changed last. `handle_statuses`: those of error pages and redirects that
    the callback gets, beside the spider's own. `budget`: the most pages that are asked for on from it, itself
    among them, or (most, name), which requests of that name share. `render`: whether, or how, a browser
    renders the page (None: as the setting says). A request is known by its method, URL, body, the header
    fields that it sets, how it is rendered, and its callback, and is made once a run; with `dont_filter` it
    is made each time.
    """

    url: str
    callback: str = "parse"
    method: str = "GET"
    headers: Mapping[str, str] | None = None
    params: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | str | None = None
    json: Any = None
    meta: Mapping[str, Any] | None = None
    priority: int = 0
    max_age: float | None = None
    dont_filter: bool = False
    handle_statuses: Collection[int] = ()
    modified_at: float | None = None
    budget: int | tuple[int, str] | None = None
    render: bool | Render | None = None

    def __init__(
        self,
        url: str,
        callback: str | Callable[..., Any] = "parse",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | str | None = None,
        json: Any = None,
        meta: Mapping[str, Any] | None = None,
        priority: int = 0,
        max_age: float | None = None,
        dont_filter: bool = False,
        handle_statuses: Collection[int] = (),
        modified_at: float | None = None,
        budget: int | tuple[int, str] | None = None,
        render: bool | Render | Mapping[str, Any] | None = None,
    ) -> None:
        # Stored by name, so that a frontier outlives the process that filled it.
        name = callback if isinstance(callback, str) else getattr(callback, "__name__", repr(callback))
        # A page has many links: at once, as setting one after the other in a frozen class costs more.
        self.__dict__.update(
            url=url,
            callback=name,
            method=method.upper(),
            headers=headers,
            params=params,
            data=data,
            json=json,
            meta=meta,
            priority=priority,
            max_age=max_age,
            dont_filter=dont_filter,
            handle_statuses=tuple(handle_statuses),
            modified_at=modified_at,
            budget=tuple(budget) if isinstance(budget, list) else budget,
            render=Render(**render) if isinstance(render, Mapping) else render,
        )

    def at_each(self, urls: Iterable[str]) -> "Iterator[Request]":
        """The same request for other URLs."""
        # What is not said is as the class has it: a page has many links, and most say only their URL.
        said = {
            name: value for name, value in vars(self).items() if name not in _OF_ALL or value != _OF_ALL[name]
        }
        said.pop("url", None)
        return (_said_at(url, said) for url in urls) if said else map(_plain.__getitem__, urls)


def _said_at(url: str, said: Mapping[str, Any]) -> Request:
    made = object.__new__(Request)
    made.__dict__.update(said, url=url)
    return made


class _Plain(dict[str, Request]):
    """Requests that say their URL alone: most links stand on many pages, and frozen values can be shared."""

    def __missing__(self, url: str) -> Request:
        made = object.__new__(Request)
        made.__dict__["url"] = url
        if len(url) <= _LONGEST_CACHED:
            if len(self) >= _CACHED:
                self.clear()
            self[url] = made
        return made


_CACHED = 100_000  # about 24 MB beside their URLs; as many as the links that are kept of them
_LONGEST_CACHED = 300  # characters
_plain = _Plain()
_OF_ALL = {one.name: one.default for one in fields(Request)}

SAVE = "save"
"""The callback of a request for a file."""
