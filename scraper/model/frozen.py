"""Slotted dataclasses, mostly frozen, that cost little: to define, as a run defines a hundred, and to make.

`dataclass(frozen=True, slots=True)` compiles six methods for each class, and its constructor sets each field
through `object.__setattr__`. Here all classes share their methods but the constructor, which is compiled when
the first instance is made and sets the slots themselves.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class as `dataclass(frozen=True, slots=True)` does.

    Fields of its own and of its bases go by position; `__post_init__`, `InitVar` and `kw_only` are not known.
    """
    made: Any = slotted(cls)
    if "__eq__" not in cls.__dict__:
        values = _values_of(made)
        made.__hash__ = lambda self: hash(values(self))
    made.__setattr__, made.__delattr__ = _refuse, _refuse
    made.__getstate__, made.__setstate__ = _state, _set_state
    made.__replace__ = _first_replace
    return made  # type: ignore[no-any-return]


@dataclass_transform(field_specifiers=(field,))
def slotted(cls: type[T]) -> type[T]:
    """Make a class as `dataclass(slots=True)` does, with the same bounds: its values can be changed."""
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True)(cls)

    def first(self: Any, *args: Any, **named: Any) -> None:
        made.__init__ = _constructor(made)
        made.__init__(self, *args, **named)

    made.__init__ = first
    if "__eq__" not in cls.__dict__:
        values = _values_of(made)
        made.__eq__ = lambda self, other: (
            values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented
        )
        made.__hash__ = None
    if "__repr__" not in cls.__dict__:
        made.__repr__ = _repr
    return made  # type: ignore[no-any-return]


def _values_of(cls: Any) -> Callable[[Any], Any]:
    """What is compared of the values of a class."""
    compared = [one.name for one in fields(cls) if one.compare]
    return attrgetter(*compared) if compared else _no_values


def _constructor(cls: Any) -> Callable[..., None]:
    """The constructor of a class, compiled: arguments by position or name, each to its slot."""
    known: dict[str, Any] = {"_MISSING": MISSING}
    arguments, lines = ["self"], ["pass"]
    is_frozen = cls.__setattr__ is _refuse
    for one in fields(cls):
        known[f"_set_{one.name}"] = getattr(cls, one.name).__set__
        known[f"_default_{one.name}"] = one.default
        known[f"_factory_{one.name}"] = one.default_factory
        arguments.append(one.name + _default(one))
        value = one.name
        if one.default_factory is not MISSING:
            value = f"_factory_{one.name}() if {one.name} is _MISSING else {one.name}"
        lines.append(f"_set_{one.name}(self, {value})" if is_frozen else f"self.{one.name} = {value}")
    exec(f"def __init__({', '.join(arguments)}):\n " + "\n ".join(lines), known)
    made: Any = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made  # type: ignore[no-any-return]


def replace(value: T, **changes: Any) -> T:
    """A copy with other values in some fields, as `dataclasses.replace` makes it in twice the time."""
    return value.__replace__(**changes)  # type: ignore[attr-defined, no-any-return]


def _first_replace(self: Any, **changes: Any) -> Any:
    """Compile the `__replace__` of a class, and use it."""
    cls = self.__class__
    names = [one.name for one in fields(cls)]
    kept = ", ".join(f"self.{name} if {name} is _MISSING else {name}" for name in names)
    arguments = ", ".join(["self", *(["*"] if names else []), *(f"{name}=_MISSING" for name in names)])
    known = {"_MISSING": MISSING, "_cls": cls}
    exec(f"def __replace__({arguments}):\n return _cls({kept})", known)
    cls.__replace__ = known["__replace__"]
    return cls.__replace__(self, **changes)


def _default(one: "Field[Any]") -> str:
    if one.default_factory is not MISSING:
        return "=_MISSING"
    return "" if one.default is MISSING else f"=_default_{one.name}"


def _no_values(self: object) -> tuple[()]:
    return ()


def _repr(self: Any) -> str:
    shown = ", ".join(f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
    return f"{self.__class__.__qualname__}({shown})"


def _refuse(self: object, name: str, value: object = None) -> None:
    raise FrozenInstanceError(f"cannot change field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, one.name) for one in fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for one, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, one.name, value)
