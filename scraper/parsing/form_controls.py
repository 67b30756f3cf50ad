"""The controls of a form as they stand on its page (HTML 4.10.5 to 4.10.18).

`read` takes elements of lxml. Whose a control is, the parser decides, not the tree alone: a form that begins
in a table is closed at once in the tree, and owns what follows up to its end tag all the same (13.2.6.4.4).
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, time
from typing import Any

from scraper.errors import SpiderError
from scraper.parsing.encoding import name_of
from scraper.parsing.form_data import MULTIPART, PLAIN, URLENCODED
from scraper.parsing.forms import BUTTONS, SWITCHES, Field, Form
from scraper.urls import join

_CONTROLS = ("input", "select", "textarea", "button")
_NEVER_SENT = frozenset({"button", "reset"})
_MOST_FIELDS = 10_000
_DEEPEST = 600
_END = "scraper-form-end"  # a mark where a form's end tag stands
_END_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|textarea|title|xmp|iframe|noembed|noframes)\b.*?(?:</\1|\Z)"
    r"|(</form(?=[\s/>]))",
    re.DOTALL | re.IGNORECASE,
)


def marked(text: str) -> str:
    """A page's text with a mark before each end tag of a form: no tree tells where that stood."""
    return _END_TAG.sub(lambda found: f"<script type={_END}></script></form" if found[2] else found[0], text)


def needs_marks(root: Any) -> bool:
    """Whether a control stands outside of all forms, and may still belong to one."""
    if root.find(".//form") is None:
        return False
    return any(
        control.get("form") is None and next(control.iterancestors("form"), None) is None
        for control in root.iter(*_CONTROLS)
    )


def read(element: Any, base: str, page: str, encoding: str = "utf-8", *, is_marked: bool = False) -> Form:
    """The form that an element is; `base`: what its action is relative to, `page`: the page's URL.

    `is_marked`: its tree is that of `marked` text.
    """
    accepted = filter(None, map(name_of, (element.get("accept-charset") or "").replace(",", " ").split()))
    form = Form(
        page=page,
        action=_action(element.get("action"), base, page),
        method=_method(element.get("method")) or "GET",
        enctype=_enctype(element.get("enctype")) or URLENCODED,
        encoding=_encoding(next(accepted, encoding)),
    )
    controls = list(_owned(element, is_marked))
    # Of radio buttons with one name the last that is checked counts, even where it is disabled.
    checked = {control.get("name"): control for control in controls if _is_checked_radio(control)}
    fields = (
        _field(control, base, page)
        for control in controls
        if not _is_checked_radio(control) or checked[control.get("name")] is control
    )
    return replace(form, fields=tuple(one for one in fields if one is not None))


def _is_checked_radio(control: Any) -> bool:
    return (control.get("type") or "").lower() == "radio" and control.get("checked") is not None


def _encoding(name: str) -> str:
    # The encodings that a browser never writes (Encoding 4.3).
    return "utf-8" if name.lower().startswith(("utf-16", "replacement", "x-user-defined")) else name


def _action(action: str | None, base: str, page: str) -> str:
    if not action or not action.strip():
        return page.partition("#")[0]
    return join(base, action) or page


def _method(method: str | None) -> str:
    return {"post": "POST", "get": "GET"}.get((method or "").lower(), "")


def _enctype(enctype: str | None) -> str:
    wanted = (enctype or "").lower()
    return wanted if wanted in (URLENCODED, MULTIPART, PLAIN) else ""


def _owned(form: Any, is_marked: bool) -> Iterator[Any]:
    """The controls of a form in the order of the page, by the form element pointer of the parser."""
    root, name, count = form.getroottree().getroot(), form.get("id"), 0
    pointer = None
    for one in root.iter("form", "script", *_CONTROLS):
        if one.tag == "form":
            pointer = one if is_marked else None
        elif one.tag == "script":
            pointer = None if one.get("type") == _END else pointer
        elif _owner(one, pointer, form, name) is form:
            count += 1
            if count > _MOST_FIELDS:
                raise SpiderError(f"a form with more than {_MOST_FIELDS} fields")
            yield one


def _owner(control: Any, pointer: Any, form: Any, name: str | None) -> Any:
    if next(control.iterancestors("template"), None) is not None:
        return None
    if (named := control.get("form")) is not None:
        return form if name and named == name else None
    return pointer if pointer is not None else next(control.iterancestors("form"), None)


def _field(control: Any, base: str, page: str) -> Field | None:
    if _is_disabled(control):
        return None
    name, tag = control.get("name") or "", control.tag
    if tag == "select":
        return _select(control, name)
    if tag == "textarea":
        return Field(name, "textarea", "".join(control.itertext()), direction=_direction(control))
    kind = (control.get("type") or "").lower()
    if kind in _NEVER_SENT:
        return None
    if tag == "button" or kind in BUTTONS:
        return _button(control, name, kind if tag == "input" else "submit", base, page)
    value = control.get("value")
    if kind in SWITCHES:
        return Field(name, kind, "on" if value is None else value, control.get("checked") is not None)
    if not name:
        return None
    return Field(
        name,
        kind or "text",
        _SANITIZED.get(kind, _one_line)(value or "", control),
        direction=_direction(control),
    )


def _button(control: Any, name: str, kind: str, base: str, page: str) -> Field:
    value, action = control.get("value"), control.get("formaction")
    is_input = control.tag == "input"
    # A submit button without a value sends what browsers write on it.
    label = "Submit" if is_input and kind == "submit" and value is None else value or ""
    return Field(
        name,
        kind,
        label,
        action=_action(action, base, page) if action is not None else "",
        method=_method(control.get("formmethod")),
        enctype=_enctype(control.get("formenctype")),
        text=(control.get("alt") or label) if is_input else " ".join("".join(control.itertext()).split()),
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
    options: list[tuple[str, bool, bool]] = []
    for option in control.iter("option"):
        text = option.get("value")
        value = " ".join("".join(option.itertext()).split()) if text is None else text
        group = next(option.iterancestors("optgroup"), None)
        is_usable = option.get("disabled") is None and (group is None or group.get("disabled") is None)
        options.append((value, is_usable, option.get("selected") is not None))
    chosen = [(value, is_usable) for value, is_usable, is_selected in options if is_selected]
    if control.get("multiple") is None:
        usable = [(value, True) for value, is_usable, _ in options if is_usable]
        # A list that shows one line has its first choice selected.
        shows_one = (control.get("size") or "1").strip() in ("0", "1")
        chosen = chosen[-1:] or (usable[:1] if shows_one else [])
    sent = tuple(value for value, is_usable in chosen if is_usable)
    return Field(name, "select", is_on=bool(sent), options=tuple(value for value, *_ in options), chosen=sent)


def _direction(control: Any) -> tuple[str, str] | None:
    """Name and value by which a control tells how its text runs (`dirname`, HTML 4.10.18.2)."""
    name = control.get("dirname")
    if not name:
        return None
    said = next(
        (one.get("dir").lower() for one in (control, *control.iterancestors()) if one.get("dir")), "ltr"
    )
    if said == "auto":
        text = control.get("value") or "".join(control.itertext())
        strong = next(
            (kind for kind in map(unicodedata.bidirectional, text) if kind in ("L", "R", "AL")), "L"
        )
        said = "ltr" if strong == "L" else "rtl"
    return name, "rtl" if said == "rtl" else "ltr"


# values as browsers keep them (value sanitization, HTML 4.10.5.1)
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_MONTH = re.compile(r"[0-9]{4,6}-(?:0[1-9]|1[0-2])")
_WEEK = re.compile(r"[0-9]{4,6}-W(?:0[1-9]|[1-4][0-9]|5[0-3])")
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,3})?)?")


def _one_line(value: str, _: Any) -> str:
    return value.replace("\n", "").replace("\r", "")


def _trimmed(value: str, control: Any) -> str:
    return _one_line(value, control).strip("\t\n\f\r ")


def _as_is(value: str, _: Any) -> str:
    return value


def _matching(pattern: "re.Pattern[str]") -> Callable[[str, Any], str]:
    return lambda value, _: value if pattern.fullmatch(value) else ""


def _color(value: str, _: Any) -> str:
    return value.lower() if _COLOR.fullmatch(value) else "#000000"


def _date(value: str, _: Any) -> str:
    try:
        return date.fromisoformat(value).isoformat() if len(value) == 10 else ""
    except ValueError:
        return ""


def _time(value: str, _: Any) -> str:
    try:
        return value if _TIME.fullmatch(value) and time.fromisoformat(value) else ""
    except ValueError:
        return ""


def _moment(value: str, control: Any) -> str:
    day, hour = _date(value[:10], control), _time(value[11:], control)
    return f"{day}T{hour}" if day and hour and value[10] in "T " else ""


def _range(value: str, control: Any) -> str:
    def number(text: str | None, default: float) -> float:
        return float(text) if text and _NUMBER.fullmatch(text) else default

    least, most = number(control.get("min"), 0.0), number(control.get("max"), 100.0)
    step = number(control.get("step"), 1.0)
    middle = least if most < least else least + (most - least) / 2
    wanted = max(min(number(value, middle), max(most, least)), least)
    if step > 0 and control.get("step") != "any":
        wanted = least + round((wanted - least) / step) * step
    return f"{wanted:g}"


_SANITIZED: dict[str, Callable[[str, Any], str]] = {
    "hidden": _as_is,
    "file": _as_is,
    "email": _trimmed,
    "url": _trimmed,
    "number": _matching(_NUMBER),
    "color": _color,
    "range": _range,
    "date": _date,
    "month": _matching(_MONTH),
    "week": _matching(_WEEK),
    "time": _time,
    "datetime-local": _moment,
}
