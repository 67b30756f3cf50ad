"""A spider's `record`: what records are checked against, and the columns that they have in a table.

It is a dataclass, TypedDict, attrs class or pydantic model. Pydantic does the checking for all of them.
"""

import dataclasses
import types
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

from scraper.errors import RecordError, SpiderError
from scraper.runs.records import Schema, brief, fields_of

_KINDS = {bool: "bool", int: "int", float: "float", type(None): "null"}
_TEXTS = (str, date, datetime, time, Decimal, UUID, PurePath)
_LISTS = (list, tuple, set, frozenset)


def schema_of(record: Any) -> Schema | None:
    """What checks records against a spider's `record`; SpiderError where that is no such type."""
    if record is None:
        return None
    adapter = _adapter(record)
    is_model, is_attrs = _is_model(record), _is_attrs(record)
    # Pydantic lets fields pass, and drops them, that a dataclass or TypedDict does not have.
    known = None if is_model else frozenset(_hints(record))
    from pydantic import ValidationError

    def check(thing: Any) -> dict[str, Any]:
        if not (is_model and isinstance(thing, record)):
            thing = dict(fields_of(thing))  # of a dataclass too: pydantic takes an instance as it is
        if known is not None and (extra := [str(name) for name in thing if name not in known]):
            raise RecordError(f"field {', '.join(extra)[:200]} is not in {record.__name__}", field=extra[0])
        try:
            made = adapter.validate_python(thing)
            return dict(fields_of(_made(record, made) if is_attrs else made))
        except ValidationError as error:
            found = error.errors(include_url=False)[:5]
            raise RecordError("; ".join(map(_complaint, found)), field=_place(found[0])) from None
        except (ValueError, TypeError) as error:  # of a converter or validator of attrs
            raise RecordError(f"{record.__name__}: {error}"[:300]) from None

    return check


def _adapter(record: Any) -> Any:
    is_dict = is_typeddict(record) or _is_attrs(record)
    if not (is_dict or _is_model(record) or _is_dataclass(record)):
        raise SpiderError(
            f"record is {brief(record)}", "a dataclass, TypedDict, attrs class or pydantic model"
        )
    # Heavy, and most spiders declare no record.
    from pydantic import PydanticUserError, TypeAdapter

    try:
        return TypeAdapter[Any](_as_typed_dict(record) if is_dict else record)
    except (PydanticUserError, NameError) as error:
        raise SpiderError(
            f"record {record.__name__} cannot be checked: {str(error).splitlines()[0]}"
        ) from None


def _as_typed_dict(record: Any) -> Any:
    # Before Python 3.12 pydantic takes only the TypedDict of typing_extensions, its own dependency; of attrs
    # classes it knows nothing.
    from typing_extensions import TypedDict

    hints = _hints(record)
    # What a converter takes is its own affair.
    hints |= {one.name: Any for one in getattr(record, "__attrs_attrs__", ()) if one.converter}
    required = record.__required_keys__ if is_typeddict(record) else _needed(record)
    fields = {name: Required[hint] if name in required else NotRequired[hint] for name, hint in hints.items()}
    make: Any = TypedDict
    return make(record.__name__, fields)


def _needed(record: Any) -> set[str]:
    # The mark of attrs for "no default", known by its name: attrs is the spider's dependency, not ours.
    return {one.name for one in record.__attrs_attrs__ if one.init and repr(one.default).endswith("NOTHING")}


def _made(record: Any, fields: dict[str, Any]) -> Any:
    """An instance of an attrs class: its converters and validators have a say too."""
    names = {one.name: one.alias for one in record.__attrs_attrs__ if one.init}
    return record(**{names[name]: value for name, value in fields.items() if name in names})


def _place(error: Any) -> str:
    return ".".join(map(str, error["loc"]))


def _complaint(error: Any) -> str:
    where = _place(error)
    given = "" if error["type"] == "missing" else f", not {brief(error['input'])}"
    return f"field {where}: {error['msg']}{given}" if where else str(error["msg"])


# columns ----------------------------------------------------------------------------------------------------
def columns_of(record: Any) -> dict[str, frozenset[str]]:
    """The fields of a spider's `record`, in order, with the kinds of their values (`sinks.Layout`)."""
    if record is None:
        return {}
    return {name: frozenset(_kinds(hint)) for name, hint in _hints(record).items()}


def _hints(record: Any) -> dict[str, Any]:
    if _is_model(record):
        return {name: field.annotation for name, field in record.model_fields.items()}
    hints = get_type_hints(record)
    if _is_attrs(record):
        return {one.name: hints.get(one.name, Any) for one in record.__attrs_attrs__}
    if _is_dataclass(record):
        return {one.name: hints[one.name] for one in dataclasses.fields(record)}
    return hints


def _kinds(hint: Any) -> set[str]:
    """The kinds of the values that an annotation allows; none where it says nothing."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Annotated, Required, NotRequired):
        return _kinds(inner[0])
    if origin in (Union, types.UnionType):
        return _all_kinds(inner)
    if origin is Literal:
        return _all_kinds(type(value) for value in inner)
    kind = origin or hint
    if not isinstance(kind, type):
        return set()
    if issubclass(kind, Enum):
        return _all_kinds(type(member.value) for member in kind)
    if issubclass(kind, _LISTS):
        return {f"list of {one}" for one in _all_kinds(inner)} or {"list"}
    return {_plain(kind)} - {""}


def _all_kinds(hints: Iterable[Any]) -> set[str]:
    return set().union(*(_kinds(hint) for hint in hints))


def _plain(kind: type) -> str:
    if kind in _KINDS:
        return _KINDS[kind]
    if issubclass(kind, _TEXTS):
        return "text"
    is_nested = issubclass(kind, Mapping) or _is_model(kind) or _is_attrs(kind) or _is_dataclass(kind)
    return "object" if is_nested else ""


def _is_model(record: Any) -> bool:
    return isinstance(record, type) and hasattr(record, "model_fields")


def _is_attrs(record: Any) -> bool:
    return isinstance(record, type) and hasattr(record, "__attrs_attrs__")


def _is_dataclass(record: Any) -> bool:
    return isinstance(record, type) and dataclasses.is_dataclass(record)
