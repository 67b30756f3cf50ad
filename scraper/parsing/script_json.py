"""The JSON that pages carry in their scripts: of a script with an id, or of a variable that a script sets."""

import base64
import html
import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any
from urllib.parse import unquote

from lxml import etree

from scraper.errors import SpiderError
from scraper.ops.patterns import pattern

_SCRIPTS: Any = etree.XPath("//script[not(@src)]")
_COMMENT = pattern(r"\A\s*<!--|-->\s*\Z")
_SPACE = r"(?:\s|/\*.{0,200}?\*/)*+"
_OR = pattern(r"[\w$.\[\]\"']{1,200}\s*(?:\|\||\?\?)\s*")  # S = window.S || {...}
_PARSE = pattern(r"JSON\.parse\(\s*(?:(?:window\.)?(decodeURIComponent|unescape|atob)\(\s*)?(?=[\"'`])")
_LITERAL = pattern(
    r""""((?:[^\\"\r\n]++|\\.)*+)"|'((?:[^\\'\r\n]++|\\.)*+)'|`((?:[^\\`$]++|\\.|\$(?!\{))*+)`""", re.DOTALL
)
_ESCAPE = pattern(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_LINE_ENDS = ("\n", "\r", "\r\n", "\u2028", "\u2029")
_MOST_PLACES = 100  # of a page that set a variable


class _None(ValueError):
    """What stands there is no value that can be read."""


def json_in_scripts(root: Any, path: str) -> Any:
    """The JSON of the script with an id, or of a variable that a script sets, and what a path finds in it.

    `path`: `__NEXT_DATA__.props.pageProps`, `window.__STATE__`, `data.items.0`, `App.state`. Of several
    places that set a variable, the first whose value has what the path asks for and is not empty counts.
    SpiderError for none.
    """
    wanted = path.removeprefix("window.")
    scripts = [(script.get("id") or "", "".join(script.itertext())) for script in _SCRIPTS(root)]
    why: SpiderError | None = None
    nothing: list[Any] = []
    for read, text, name, rest in _places(scripts, wanted):
        try:
            value = walk(read(text), rest, path)
        except _None:
            why = why or SpiderError(f"{name} is no value that can be read without running its script")
        except SpiderError as error:
            why = error
        else:
            if value or isinstance(value, bool | int | float):
                return value
            nothing.append(value)
    if nothing:
        return nothing[0]
    ids = ", ".join(filter(None, (name for name, _ in scripts))) or "none"
    name = wanted.partition(".")[0]
    raise why or SpiderError(
        f"no script has the id {name!r} or sets a variable of that name", f"ids: {ids[:200]}"
    )


_Place = tuple[Callable[[str], Any], str, str, str]


def _places(scripts: list[tuple[str, str]], wanted: str) -> Iterator[_Place]:
    """How and where values may stand that a path begins with, their names, and what is left of the path."""
    for name, text in scripts:
        if name and (wanted + ".").startswith(name + "."):
            yield _of_script, text, name, wanted[len(name) + 1 :]
    steps = wanted.split(".")
    for count in range(len(steps), 0, -1):
        first, *others = map(re.escape, steps[:count])
        named = first + "".join(rf"(?:\.{one}|\[[\"']{one}[\"']\])" for one in others)
        place = re.compile(rf"(?<![\w$]){named}[\"']?\]?{_SPACE}=(?![=>]){_SPACE}", re.DOTALL)
        found = (text[one.end() :] for _, text in scripts for one in place.finditer(text))
        for text in islice(found, _MOST_PLACES):
            yield _of_variable, text, ".".join(steps[:count]), ".".join(steps[count:])


def _of_script(text: str) -> Any:
    text = _COMMENT.sub("", text).strip().removesuffix(";")
    if '"' not in text:
        text = html.unescape(text)
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return _of_variable(text)


def _of_variable(text: str) -> Any:
    text = text[other.end() :] if (other := _OR.match(text)) else text
    try:
        if wrapped := _PARSE.match(text):
            return json.loads(_unwrapped(_string(text[wrapped.end() :]), wrapped[1]), strict=False)
        if text[:1] in ("'", "`"):
            return _string(text)
        return json.JSONDecoder(strict=False).raw_decode(text)[0]
    except (ValueError, RecursionError):
        pass
    if text[:1] not in ("{", "["):
        raise _None
    try:
        import chompjs  # optional
    except ImportError:
        raise SpiderError("it is JavaScript, not JSON", "pip install 'scraper[extract]'") from None
    try:
        return chompjs.parse_js_object(text)
    except (ValueError, RecursionError):
        raise _None from None


def _string(text: str) -> str:
    """A JavaScript string literal at the beginning of a text; ValueError where it is none."""
    literal = _LITERAL.match(text)
    if literal is None:
        raise ValueError("no string")
    value = _ESCAPE.sub(_unescaped, next(part for part in literal.groups() if part is not None))
    # Two escapes that are one character beyond U+FFFF.
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code:
        return chr(min(int(code, 16), 0x10FFFF))
    return "" if found[4] in _LINE_ENDS else _LETTERS.get(found[4], found[4])


def _unwrapped(text: str, by: str | None) -> str:
    if by == "atob":
        return base64.b64decode(text).decode("latin-1")
    return unquote(text) if by else text


def walk(value: Any, rest: str, path: str) -> Any:
    """What the rest of a path leads to in a value; SpiderError where it leads nowhere."""
    steps = rest.split(".") if rest else []
    while steps:
        step = steps.pop(0)
        while isinstance(value, dict) and step not in value and steps:
            step = f"{step}.{steps.pop(0)}"  # a name with dots in it
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, ValueError, TypeError):
            has = ", ".join(map(str, value))[:200] if isinstance(value, dict) else type(value).__name__
            raise SpiderError(f"{path} has no {step!r}", f"there is {has}") from None
    return value
