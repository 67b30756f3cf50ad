"""Slotted dataclasses, mostly frozen, that cost little: to define, as a run defines a hundred, and to make.

`dataclass(frozen=True, slots=True)` compiles six methods for each class, and its constructor sets each field
through `object.__setattr__`. Here all classes share their methods but the constructor, which sets the slots
themselves and is compiled when some instances have been made: in a short run most classes make two or three.
What the standard library knows of a dataclass, it finds out when somebody asks for it, by `fields` say: few
are ever asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from operator import attrgetter
from threading import RLock
from typing import Any, TypeVar, dataclass_transform

_ASKED_FOR = ("__dataclass_fields__", "__dataclass_params__")
_MADE_SLOWLY = 20  # instances: as many take as long as compiling the constructor does
_making = RLock()  # a base is made within its subclass
T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class as `dataclass(frozen=True, slots=True)` does.

    Fields of its own and of its bases go by position; `__post_init__`, `ClassVar`, `InitVar` and `kw_only`
    are not known.
    """
    return _made(cls, is_frozen=True)  # type: ignore[no-any-return]


@dataclass_transform(field_specifiers=(field,))
def slotted(cls: type[T]) -> type[T]:
    """Make a class as `dataclass(slots=True)` does, with the same bounds: its values can be changed."""
    return _made(cls, is_frozen=False)  # type: ignore[no-any-return]


def _made(cls: Any, *, is_frozen: bool) -> Any:
    """The class with a slot for each field; `__given__`: the default of each or MISSING, its bases first."""
    own = {name: cls.__dict__.get(name, MISSING) for name in cls.__annotations__}
    inherited: dict[str, Any] = {}
    for base in reversed(cls.__mro__[1:-1]):
        inherited |= base.__dict__.get("__given__", {})
    given = inherited | own
    values = _values_of(given)
    left = iter(range(_MADE_SLOWLY))

    def first(self: Any, *args: Any, **named: Any) -> None:
        if next(left, None) is None or not _is_filled(self, given, args, named):
            made.__init__ = _constructor(made)
            made.__init__(self, *args, **named)

    body: dict[str, Any] = {
        "__repr__": _repr,
        "__eq__": lambda self, other: (
            values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented
        ),
        "__hash__": (lambda self: hash(values(self))) if is_frozen else None,
        **(_FROZEN if is_frozen else {}),
        **cls.__dict__,
        **{name: _OfDataclass(cls, name) for name in _ASKED_FOR},
        "__init__": first,
        "__given__": given,
        "__match_args__": tuple(given),
        "__slots__": tuple(name for name in own if name not in inherited),
        "__qualname__": cls.__qualname__,
    }
    for name in (*own, "__dict__", "__weakref__"):
        body.pop(name, None)
    made = type(cls)(cls.__name__, cls.__bases__, body)
    return made


class _OfDataclass:
    """What `dataclass` makes of a `plain` class, for the one with slots: when somebody asks for it."""

    def __init__(self, plain: type[Any], name: str) -> None:
        self._plain = plain
        self._name = name

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        known = self._plain.__dict__
        if self._name not in known:
            with _making:
                if self._name not in known:
                    dataclass(init=False, repr=False, eq=False)(self._plain)
        return known[self._name]


def _values_of(given: Mapping[str, Any]) -> Callable[[Any], Any]:
    """What is compared of the values of a class."""
    compared = [name for name, one in given.items() if not isinstance(one, Field) or one.compare]
    return attrgetter(*compared) if compared else _no_values


def _is_filled(value: Any, given: Mapping[str, Any], args: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    """Set all fields; False, with none set, if the arguments do not fit: the constructor says why."""
    filled = dict(zip(given, args, strict=False))
    if len(args) > len(given) or named.keys() & filled or named.keys() - given:
        return False
    filled |= named
    for name, one in given.items():
        if name not in filled:
            filled[name] = _default(one)
    if any(one is MISSING for one in filled.values()):
        return False
    for name in given:
        object.__setattr__(value, name, filled[name])
    return True


def _default(given: Any) -> Any:
    if not isinstance(given, Field):
        return given
    return given.default if given.default_factory is MISSING else given.default_factory()


def _constructor(cls: Any) -> Callable[..., None]:
    """The constructor of a class, compiled: arguments by position or name, each to its slot."""
    known: dict[str, Any] = {"_MISSING": MISSING}
    arguments, lines = ["self"], ["pass"]
    is_frozen = cls.__setattr__ is _refuse
    for name, given in cls.__given__.items():
        factory = given.default_factory if isinstance(given, Field) else MISSING
        default = given.default if isinstance(given, Field) else given
        known[f"_set_{name}"] = getattr(cls, name).__set__
        known[f"_default_{name}"] = default
        known[f"_factory_{name}"] = factory
        value = name
        if factory is not MISSING:
            arguments.append(f"{name}=_MISSING")
            value = f"_factory_{name}() if {name} is _MISSING else {name}"
        else:
            arguments.append(name if default is MISSING else f"{name}=_default_{name}")
        lines.append(f"_set_{name}(self, {value})" if is_frozen else f"self.{name} = {value}")
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
    names = list(cls.__given__)
    kept = ", ".join(f"self.{name} if {name} is _MISSING else {name}" for name in names)
    arguments = ", ".join(["self", *(["*"] if names else []), *(f"{name}=_MISSING" for name in names)])
    known = {"_MISSING": MISSING, "_cls": cls}
    exec(f"def __replace__({arguments}):\n return _cls({kept})", known)
    cls.__replace__ = known["__replace__"]
    return cls.__replace__(self, **changes)


def _no_values(self: object) -> tuple[()]:
    return ()


def _repr(self: Any) -> str:
    given: Mapping[str, Any] = self.__given__
    shown = (name for name, one in given.items() if not isinstance(one, Field) or one.repr)
    return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def _refuse(self: object, name: str, value: object = None) -> None:
    raise FrozenInstanceError(f"cannot change field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__given__]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__given__, state, strict=True):
        object.__setattr__(self, name, value)


_FROZEN = {
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__getstate__": _state,
    "__setstate__": _set_state,
    "__replace__": _first_replace,
}
