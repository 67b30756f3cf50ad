"""Forms as browsers fill and submit them (HTML 4.10.21): what is hidden stays, what is named is set.

`read` takes any element that looks like lxml's: `tag`, `get`, `iter`, `itertext`, `getparent`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

from scraper.errors import SpiderError
from scraper.urls import join

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
PLAIN = "text/plain"

_BUTTONS = frozenset({"submit", "image"})
_SWITCHES = frozenset({"checkbox", "radio"})
_NEVER_SENT = frozenset({"button", "reset"})
_MOST_FIELDS = 10_000
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Field:
    """One control: `kind` is the input's type, or "select", "textarea". `is_on`: it is sent as things stand.

    `options`: what a select offers, `chosen`: what of it is selected.
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


@dataclass(frozen=True, slots=True)
class Submission:
    """What is to be sent: `body` None with GET, whose fields stand in the URL."""

    method: str
    url: str
    body: bytes | None = None
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a page: where it goes, how, and its controls in the order of the page."""

    page: str
    action: str
    method: str = "GET"
    enctype: str = URLENCODED
    encoding: str = "utf-8"
    fields: tuple[Field, ...] = field(default=())

    @property
    def place(self) -> str:
        """The page's URL without its query, for messages."""
        return self.page.partition("?")[0][:200]

    @property
    def names(self) -> tuple[str, ...]:
        """The names that can be filled in, each once."""
        return tuple(dict.fromkeys(one.name for one in self.fields if one.name and one.kind not in _BUTTONS))

    @property
    def secrets(self) -> frozenset[str]:
        """The names of password fields."""
        return frozenset(one.name for one in self.fields if one.kind == "password")

    def submission(self, values: Mapping[str, Any], button: str = "") -> Submission:
        """The request that a browser would send; SpiderError for a name or a choice that the form has not.

        A value: text or a number; True or False for a checkbox; a list for several; None leaves it out.
        `button`: name or value of the button to press; without it the first one is.
        """
        unknown = [name for name in values if name not in self.names]
        if unknown:
            has = ", ".join(self.names) or "none"
            raise SpiderError(f"the form at {self.place} has no field {unknown[0]!r}", f"it has {has}")
        pressed = self._button(button)
        pairs = list(self._pairs(values, pressed))
        return self._sent(pairs, pressed)

    def _button(self, wanted: str) -> Field | None:
        buttons = [one for one in self.fields if one.kind in _BUTTONS]
        if not wanted:
            return buttons[0] if buttons else None
        for one in buttons:
            if wanted in (one.name, one.value):
                return one
        has = ", ".join(repr(one.name or one.value) for one in buttons) or "none"
        raise SpiderError(f"the form at {self.place} has no button {wanted!r}", f"it has {has}")

    def _pairs(self, values: Mapping[str, Any], pressed: Field | None) -> Iterator[tuple[str, str]]:
        given = {name: _texts(value) for name, value in values.items()}
        for one in self.fields:
            if one.kind in _BUTTONS:
                if one is pressed:
                    yield from _pressed(one)
            elif one.kind == "hidden" and one.name == "_charset_" and one.name not in given:
                yield one.name, self.encoding
            elif one.name in given:
                yield from self._given(one, given)
            elif one.name and one.is_on:
                yield from ((one.name, value) for value in (one.chosen if one.options else (one.value,)))

    def _given(self, one: Field, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        wanted = given[one.name]
        if one.kind in _SWITCHES:
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

    def _sent(self, pairs: list[tuple[str, str]], pressed: Field | None) -> Submission:
        action = (pressed and pressed.action) or self.action
        method = (pressed and pressed.method) or self.method
        enctype = (pressed and pressed.enctype) or self.enctype
        if method == "GET":
            query = _urlencoded(pairs, self.encoding)
            head, _, _ = action.partition("#")[0].partition("?")
            return Submission("GET", f"{head}?{query}")
        if enctype == MULTIPART:
            body, kind = _multipart(pairs, self.encoding)
            return Submission("POST", action, body, kind)
        if enctype == PLAIN:
            text = "".join(f"{name}={value}\r\n" for name, value in pairs)
            return Submission("POST", action, _encoded(text, self.encoding), PLAIN)
        return Submission("POST", action, _urlencoded(pairs, self.encoding).encode(), URLENCODED)


def _texts(value: Any) -> Any:
    """A value as given: a switch, or a list of texts."""
    if isinstance(value, bool):
        return value
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list | tuple | set | frozenset) else [str(value)]


def _lines(wanted: Any) -> list[str]:
    """Texts with the line ends of forms; True stands for a field that only says that it is there."""
    if isinstance(wanted, bool):
        return ["true" if wanted else "false"]
    return ["\r\n".join(one.replace("\r\n", "\n").replace("\r", "\n").split("\n")) for one in wanted]


def _pressed(button: Field) -> Iterator[tuple[str, str]]:
    if button.kind == "image":
        prefix = f"{button.name}." if button.name else ""
        yield from ((f"{prefix}x", "0"), (f"{prefix}y", "0"))
    elif button.name:
        yield button.name, button.value


def _encoded(text: str, encoding: str) -> bytes:
    try:
        return text.encode(encoding, "xmlcharrefreplace")
    except LookupError:
        return text.encode("utf-8", "replace")
    except UnicodeEncodeError:
        return text.encode(encoding, "replace")


def _urlencoded(pairs: list[tuple[str, str]], encoding: str) -> str:
    return urlencode([(_encoded(name, encoding), _encoded(value, encoding)) for name, value in pairs])


def _multipart(pairs: list[tuple[str, str]], encoding: str) -> tuple[bytes, str]:
    """RFC 7578; the boundary comes from the content, so that it cannot stand in it by chance."""
    parts = []
    for name, value in pairs:
        quoted = _encoded(name, encoding).replace(b"\r", b"%0D").replace(b"\n", b"%0A").replace(b'"', b"%22")
        parts.append(
            b'Content-Disposition: form-data; name="' + quoted + b'"\r\n\r\n' + _encoded(value, encoding)
        )
    boundary = blake2b(b"\0".join(parts), digest_size=16).hexdigest().encode()
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return body + b"--" + boundary + b"--\r\n", f"{MULTIPART}; boundary={boundary.decode()}"


# reading ----------------------------------------------------------------------------------------------------
def read(element: Any, base: str, page: str, encoding: str = "utf-8") -> Form:
    """The form that an element is; `base`: what its action is relative to, `page`: the page's URL."""
    accepted = (element.get("accept-charset") or "").replace(",", " ").split()
    form = Form(
        page=page,
        action=_action(element.get("action"), base, page),
        method=_method(element.get("method")) or "GET",
        enctype=_enctype(element.get("enctype")) or URLENCODED,
        encoding=_encoding(accepted[0] if accepted else encoding),
    )
    controls = (_field(control, base, page) for control in _controls(element))
    return replace(form, fields=tuple(_one_radio([one for one in controls if one is not None])))


def _encoding(name: str) -> str:
    # The encodings that a browser never writes (HTML 4.10.21.6).
    return "utf-8" if name.lower().startswith(("utf-16", "replacement", "x-user-defined")) else name


def _action(action: str | None, base: str, page: str) -> str:
    if not action or not action.strip():
        return page.partition("#")[0]
    return join(base, action) or page


def _method(method: str | None) -> str:
    return {"post": "POST", "get": "GET"}.get((method or "").strip().lower(), "")


def _enctype(enctype: str | None) -> str:
    wanted = (enctype or "").strip().lower()
    return wanted if wanted in (URLENCODED, MULTIPART, PLAIN) else ""


def _controls(form: Any) -> Iterator[Any]:
    """The controls in it, and those elsewhere that name it in their `form` attribute."""
    name = form.get("id")
    root = form
    while (parent := root.getparent()) is not None:
        root = parent
    inside = set(form.iter("input", "select", "textarea", "button"))
    count = 0
    for control in root.iter("input", "select", "textarea", "button"):
        owner = control.get("form")
        if (control in inside and owner in (None, name)) or (name and owner == name):
            count += 1
            if count > _MOST_FIELDS:
                raise SpiderError(f"a form with more than {_MOST_FIELDS} fields")
            yield control


def _field(control: Any, base: str, page: str) -> Field | None:
    if _is_disabled(control):
        return None
    name, tag = control.get("name") or "", control.tag
    if tag == "select":
        return _select(control, name)
    if tag == "textarea":
        return Field(name, "textarea", "".join(control.itertext()))
    kind = (control.get("type") or ("submit" if tag == "button" else "text")).strip().lower()
    if kind in _NEVER_SENT or (tag == "button" and kind != "submit"):
        return None
    value = control.get("value")
    if kind in _SWITCHES:
        return Field(name, kind, "on" if value is None else value, control.get("checked") is not None)
    if kind not in _BUTTONS:
        return Field(name, kind, value or "") if name else None
    action = control.get("formaction")
    return Field(
        name,
        kind,
        value or "",
        action=_action(action, base, page) if action else "",
        method=_method(control.get("formmethod")),
        enctype=_enctype(control.get("formenctype")),
    )


def _is_disabled(control: Any) -> bool:
    if control.get("disabled") is not None:
        return True
    inner, outer = control, control.getparent()
    for _ in range(_DEEPEST):
        if outer is None:
            return False
        if outer.tag == "fieldset" and outer.get("disabled") is not None:
            # What stands in the first legend stays usable.
            legend = next((child for child in outer if child.tag == "legend"), None)
            if inner is not legend:
                return True
        inner, outer = outer, outer.getparent()
    return False


def _select(control: Any, name: str) -> Field:
    options: list[str] = []
    chosen: list[str] = []
    usable: list[str] = []
    for option in control.iter("option"):
        text = option.get("value")
        value = " ".join("".join(option.itertext()).split()) if text is None else text
        options.append(value)
        if option.get("disabled") is None:
            usable.append(value)
            if option.get("selected") is not None:
                chosen.append(value)
    is_multiple = control.get("multiple") is not None
    if not is_multiple:
        # A list that shows one line has its first choice selected.
        chosen = chosen[-1:] or usable[:1]
    return Field(name, "select", is_on=bool(chosen), options=tuple(options), chosen=tuple(chosen))


def _one_radio(found: list[Field]) -> Iterator[Field]:
    """Of radio buttons with one name only the last that is on counts."""
    last = {one.name: at for at, one in enumerate(found) if one.kind == "radio" and one.is_on}
    for at, one in enumerate(found):
        yield replace(one, is_on=False) if one.kind == "radio" and last.get(one.name) != at else one
