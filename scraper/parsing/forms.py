"""Forms as browsers fill and submit them (HTML 4.10.22): what is hidden stays, what is named is set."""

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import Any

from scraper.errors import SpiderError
from scraper.model import Request
from scraper.model.frozen import frozen
from scraper.parsing.encoding import written
from scraper.parsing.form_data import (
    MULTIPART,
    PLAIN,
    URLENCODED,
    Pair,
    Upload,
    multipart,
    plain,
    uploads,
    urlencoded,
)
from scraper.urls import origin_of

BUTTONS = frozenset({"submit", "image"})
SWITCHES = frozenset({"checkbox", "radio"})


@frozen
class Field:
    """One control: `kind` is the input's type, or "select", "textarea". `is_on`: it is sent as things stand.

    `options`: what a select offers, `chosen`: what of it is selected; `text`: what stands on a button;
    `direction`: name and value that tell how the text runs (`dirname`).
    """

    name: str
    kind: str
    value: str = ""
    is_on: bool = True
    options: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    action: str = ""
    method: str = ""
    enctype: str = ""
    text: str = ""
    direction: tuple[str, str] | None = None


@frozen
class Submission:
    """What is to be sent: `body` None with GET, whose fields stand in the URL."""

    method: str
    url: str
    body: bytes | None = None
    content_type: str = ""


@frozen
class Form:
    """A form of a page: where it goes, how, and its controls in the order of the page."""

    page: str
    action: str
    method: str = "GET"
    enctype: str = URLENCODED
    encoding: str = "utf-8"
    fields: tuple[Field, ...] = field(default=())
    filled: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The page's URL without its query, for messages."""
        return self.page.partition("?")[0][:200]

    @property
    def names(self) -> tuple[str, ...]:
        """The names that can be filled in, each once."""
        return tuple(dict.fromkeys(one.name for one in self.fields if one.name and one.kind not in BUTTONS))

    @property
    def secrets(self) -> frozenset[str]:
        """The names of password fields."""
        return frozenset(one.name for one in self.fields if one.kind == "password")

    def fill(self, fields: Mapping[str, Any] | None = None, **values: Any) -> "Form":
        """The form with these values in it; `fields` takes names that are no Python names."""
        return replace(self, filled={**self.filled, **(fields or {}), **values})

    def submit(self, button: str | None = "", callback: Any = "parse", **request: Any) -> Request:
        """The filled form as a Request to yield; see `submission` for values and `button`."""
        return self.request({}, button, callback, **request)

    def submission(self, values: Mapping[str, Any], button: str | None = "") -> Submission:
        """The request that a browser would send; SpiderError for a name or a choice that the form has not.

        A value: text or a number; True or False for a checkbox; a list for several; None leaves it out; a
        path or (name, content) for a file. `button`: name, value or text of the button to press; without it
        the first one is, and None presses none, as scripts do.
        """
        values = {**self.filled, **values}
        unknown = [name for name in values if name not in self.names]
        if unknown:
            has = ", ".join(self.names) or "none"
            raise SpiderError(f"the form at {self.place} has no field {unknown[0]!r}", f"it has {has}")
        pressed = None if button is None else self._button(button)
        pairs = list(self._pairs(values, pressed))
        return self._sent(pairs, pressed)

    def request(
        self, values: Mapping[str, Any], button: str | None = "", callback: Any = "parse", **request: Any
    ) -> Request:
        """The submission as a Request for a spider to yield; keywords are those of Request. No files."""
        values = {**self.filled, **values}
        sent = self.submission(values, button)
        is_secret = any(values.get(name) for name in self.secrets)
        if is_secret and sent.url.startswith("http:") and origin_of(sent.url) != origin_of(self.page):
            raise SpiderError(
                f"the form at {self.place} would send the password over plain http to another origin",
                "if that is right, write that address with http:// in a Request of your own",
            )
        if sent.body is None:
            return Request(sent.url, callback, **request)
        if any(one.kind == "file" and one.name in values for one in self.fields):
            raise SpiderError("a Request holds no file", "send it with page.session.submit(page, ...)")
        headers = {"Content-Type": sent.content_type, **(request.pop("headers", None) or {})}
        text = sent.body.decode("utf-8", "surrogateescape")  # it may be in another charset
        return Request(sent.url, callback, "POST", headers=headers, data=text, **request)

    def _button(self, wanted: str) -> Field | None:
        buttons = [one for one in self.fields if one.kind in BUTTONS]
        if not wanted:
            return buttons[0] if buttons else None
        for one in buttons:
            if wanted in (one.name, one.value, one.text):
                return one
        has = ", ".join(repr(one.text or one.value or one.name) for one in buttons) or "none"
        raise SpiderError(f"the form at {self.place} has no button {wanted!r}", f"it has {has}")

    def _pairs(self, values: Mapping[str, Any], pressed: Field | None) -> Iterator[Pair]:
        given = {name: _texts(value) for name, value in values.items()}
        for one in self.fields:
            if one.kind in BUTTONS:
                yield from _pressed(one) if one is pressed else ()
            elif one.kind == "file":
                files = uploads(one.name, values[one.name]) if one.name in values else [Upload()]
                yield from ((one.name, file) for file in files)
            elif one.kind == "hidden" and one.name.lower() == "_charset_" and one.name not in given:
                yield one.name, written(self.encoding)
            elif one.name in given:
                yield from self._given(one, given)
            elif one.name and one.is_on:
                yield from (
                    (one.name, value) for value in (one.chosen if one.kind == "select" else (one.value,))
                )
            if one.direction is not None:
                yield one.direction

    def _given(self, one: Field, given: dict[str, Any]) -> Iterator[Pair]:
        wanted = given[one.name]
        if one.kind in SWITCHES:
            if isinstance(wanted, bool):
                yield from [(one.name, one.value)] if wanted else []
                return
            self._check_choice(
                one.name, wanted, [each.value for each in self.fields if each.name == one.name]
            )
            yield from [(one.name, one.value)] if one.value in wanted else []
            return
        if one.options:
            self._check_choice(one.name, wanted, one.options)
        yield from ((one.name, value) for value in _lines(wanted))
        given[one.name] = []  # a name that stands twice is filled in once

    def _check_choice(self, name: str, wanted: Any, options: Any) -> None:
        for value in _lines(wanted):
            if value not in options:
                has = ", ".join(map(repr, list(options)[:30]))
                raise SpiderError(f"the field {name!r} has no choice {value[:80]!r}", f"it has {has}")

    def _sent(self, pairs: list[Pair], pressed: Field | None) -> Submission:
        action = (pressed and pressed.action) or self.action
        method = (pressed and pressed.method) or self.method
        enctype = (pressed and pressed.enctype) or self.enctype
        if method == "GET":
            self._check_secrets(pairs)
            head, _, _ = action.partition("#")[0].partition("?")
            return Submission("GET", f"{head}?{urlencoded(pairs, self.encoding)}")
        if enctype == MULTIPART:
            body, kind = multipart(pairs, self.encoding)
            return Submission("POST", action, body, kind)
        if enctype == PLAIN:
            return Submission("POST", action, plain(pairs, self.encoding), PLAIN)
        return Submission("POST", action, urlencoded(pairs, self.encoding).encode(), URLENCODED)

    def _check_secrets(self, pairs: list[tuple[str, str | Upload]]) -> None:
        """A URL stands in logs and histories: no password goes into one."""
        sent = [name for name, value in pairs if value and name in self.secrets]
        if sent:
            raise SpiderError(
                f"the form at {self.place} has no method=post: the password in {sent[0]!r} would stand in "
                "the URL; on the site a script sends it",
                "look where it sends it, and do the same: session.post(URL, data={...})",
            )


def _texts(value: Any) -> Any:
    """A value as given: a switch, or a list of texts."""
    if isinstance(value, bool):
        return value
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list | tuple | set | frozenset) else [str(value)]


def _lines(wanted: Any) -> list[str]:
    """Texts; True stands for a field that only says that it is there."""
    return ["true" if wanted else "false"] if isinstance(wanted, bool) else wanted


def _pressed(button: Field) -> Iterator[Pair]:
    if button.kind == "image":
        prefix = f"{button.name}." if button.name else ""
        yield from ((f"{prefix}x", "0"), (f"{prefix}y", "0"))
    elif button.name:
        yield button.name, button.value
