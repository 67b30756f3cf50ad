"""Records as they are stored: what a spider yields becomes one line of JSON and a key.

JSON knows few types; the others become text: dates and times ISO 8601, Decimal, UUID and paths
`str()`, an Enum its value, a set a sorted list. Bytes, NaN, infinities and names that are no text are errors.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from pathlib import PurePath
from typing import Any
from uuid import UUID

from scraper.errors import RecordError, SpiderError
from scraper.model import RecordLine
from scraper.ops.disk import one_line

_ATOMS = frozenset((str, int, float, bool, type(None)))
_AS_TEXT = (Decimal, UUID, PurePath)
_DEEPEST = 50  # levels of nesting; nobody means more, and JSON readers give up at some point
_LONGEST_KEY = 200  # characters; longer keys are hashed

# Of whose class each kind of record is known, and what to write for an element of a page instead.
_MARKS = ("__dataclass_fields__", "__attrs_attrs__", "model_dump")
_ADVICE = {"bs4": ": write .text", "parsel": ": write .get()", "lxml": ": write .text_content()"}

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode

Schema = Callable[[Any], dict[str, Any]]


def is_record(thing: object) -> bool:
    """Whether `thing` is something that a spider may yield as a record."""
    if isinstance(thing, Mapping):
        return True
    # Of its type, since some objects (an element of BeautifulSoup) answer to every attribute themselves.
    kind = type(thing)
    return kind is not type and any(hasattr(kind, mark) for mark in _MARKS)


def line_of(record: Any, key: Sequence[str] = (), schema: Schema | None = None) -> RecordLine:
    """A record's line and key; RecordError names the field that stands in the way."""
    if schema is not None:
        record = schema(record)
    if type(record) is not dict or not _is_flat(record):
        record = _clean_fields(fields_of(record), "", 0)
    if not record:
        raise RecordError("a record without a field")
    try:
        line = _encode(record)
    except ValueError:  # NaN, infinity or a monstrous integer: the slow way knows the field
        record = _clean_fields(record, "", 0)
        line = _encode(record)
    if not line.isascii():
        line = one_line(_scalar(line))
    return RecordLine(_key(record, key) if key else _hash(line), line)


def fields_of(record: Any) -> Mapping[str, Any]:
    """The fields of a record of any kind, in their order."""
    if isinstance(record, Mapping):
        return record
    if hasattr(type(record), "__dataclass_fields__"):
        return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    if hasattr(type(record), "__attrs_attrs__"):
        return {field.name: getattr(record, field.name) for field in record.__attrs_attrs__}
    dumped: dict[str, Any] = record.model_dump()
    return dumped


def _is_flat(record: dict[Any, Any]) -> bool:
    """Whether JSON can have the record as it is: text names, plain values or lists of them."""
    for name, value in record.items():
        if type(name) is not str:
            return False
        kind = type(value)
        if kind in _ATOMS:
            continue
        if kind is not list or not _ATOMS.issuperset(map(type, value)):
            return False
    return True


def _clean_fields(fields: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    cleaned = {}
    for name, value in fields.items():
        if not isinstance(name, str) or isinstance(name, Enum):
            raise RecordError(
                f"{f'field {path}' if path else 'a field'} has the name {brief(name)}: names are text",
                field=path,
            )
        inner = f"{path}.{name}" if path else name
        cleaned[str(name)] = value if type(value) in (str, bool, type(None)) else _clean(value, inner, depth)
    return cleaned


def _clean(value: Any, path: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise RecordError(f"field {path[:80]}... is nested more than {_DEEPEST} levels deep", field=path)
    if isinstance(value, Enum):
        return _clean(value.value, path, depth + 1)
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, int | float):
        return _number(value, path)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, _AS_TEXT) else _clean_many(value, path, depth + 1)


def _number(value: float | None, path: str) -> float | None:
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(f"field {path} is {value}: JSON has no such number, write None", field=path)
    if isinstance(value, int) and not -(1 << 4096) < value < 1 << 4096:
        raise RecordError(f"field {path} is an integer of more than 1,200 digits", field=path)
    return value


def _clean_many(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, list | tuple):
        return [_clean(one, f"{path}[{n}]", depth) for n, one in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((_clean(one, path, depth) for one in value), key=_encode)
    if is_record(value):
        return _clean_fields(fields_of(value), path, depth)
    if isinstance(value, bytes | bytearray | memoryview):
        raise RecordError(f"field {path} is bytes: decode them to text", field=path)
    makers = (kind.__module__.partition(".")[0] for kind in type(value).__mro__)
    advice = next((_ADVICE[maker] for maker in makers if maker in _ADVICE), "")
    raise RecordError(f"field {path} is {brief(value)}, which JSON cannot hold{advice}", field=path)


def brief(value: object) -> str:
    """A value as a message shows it, with its type."""
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _scalar(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced: UTF-8 cannot hold them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _key(record: Mapping[str, Any], key: Sequence[str]) -> str:
    """Identity of a cleaned record across runs: the JSON list of its key fields, hashed where it is long."""
    try:
        values = [record[name] for name in key]
    except KeyError as missing:
        raise RecordError(
            f"key field {missing} is missing", f"fields: {', '.join(record)[:200]}", missing.args[0]
        ) from None
    if all(value is None for value in values):
        raise RecordError(f"key field {', '.join(map(repr, key))} is None", field=key[0])
    text = _scalar(_encode(values))
    return text if len(text) <= _LONGEST_KEY else _hash(text)


def key_fields(key: str | Sequence[str]) -> tuple[str, ...]:
    """A spider's `key` as names."""
    names = (key,) if isinstance(key, str) else tuple(key)
    if not all(isinstance(name, str) and name for name in names):
        raise SpiderError(f"key is {key!r}", 'write key = ("field", ...)')
    return names
