"""Frozen values: what a dataclass of the standard library promises, at less cost."""

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any

import pytest

from scraper.model import frozen as module
from scraper.model.frozen import frozen, slotted
from scraper.model.frozen import replace as replaced


@frozen
class Ours:
    """The same as `Theirs`."""

    url: str
    wait: float = 1.5
    names: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False)
    seen: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Theirs:
    """A dataclass as the standard library makes it."""

    url: str
    wait: float = 1.5
    names: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False)
    seen: int = field(default=0, compare=False)


@frozen
class Deeper(Ours):
    """A subclass."""

    depth: int = 0


@frozen
class Bearer(Ours):
    """One of which few are made."""


@frozen
class Used(Ours):
    """One of which so many were made that its constructor is compiled."""


for _ in range(module._MADE_SLOWLY + 1):
    Used("u")


@frozen
class Bare:
    """No fields."""


@pytest.mark.parametrize("cls", [Ours, Used, Theirs])
def test_it_is_made_shown_compared_and_copied_as_a_dataclass(cls: Any) -> None:
    one = cls("u", names=["a"], secret="s", seen=3)
    assert repr(one) == f"{cls.__name__}(url='u', wait=1.5, names=['a'], seen=3)"
    assert asdict(one) == {"url": "u", "wait": 1.5, "names": ["a"], "secret": "s", "seen": 3}
    assert one == cls("u", 1.5, ["a"], "s", 4) != replace(one, wait=2)
    assert one != ("u", 1.5, ["a"], "s", 3) and cls("u") != Deeper("u")
    assert hash(cls("u", names=())) == hash(cls("u", 1.5, (), seen=9)) != hash(cls("v", names=()))
    assert cls("u").names is not cls("u").names
    assert copy.copy(one) == pickle.loads(pickle.dumps(one)) == one
    assert cls.__match_args__ == tuple(one.name for one in fields(cls))


@pytest.mark.parametrize("cls", [Ours, Theirs])
def test_it_cannot_be_changed(cls: Any) -> None:
    one = cls("u")
    with pytest.raises(FrozenInstanceError, match="'url'"):
        one.url = "v"
    with pytest.raises(FrozenInstanceError):
        del one.url
    with pytest.raises((FrozenInstanceError, TypeError)):
        one.other = 1
    assert not hasattr(one, "__dict__")


@pytest.mark.parametrize("cls", [Ours, Used, Theirs])
def test_it_holds_values_that_cannot_be_compared(cls: Any) -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = None  # type: ignore[assignment]

    odd = Odd()
    assert cls("u", names=odd).names is odd


@pytest.mark.parametrize("cls", [Ours, Used, Theirs])
@pytest.mark.parametrize("wrong", [(), ("u", 1, [], "", 0, 0)])
def test_arguments_too_many_or_too_few_are_an_error(cls: Any, wrong: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"__init__\(\)"):
        cls(*wrong)
    with pytest.raises(TypeError, match="unexpected keyword argument 'no'"):
        cls("u", no=1)


class Odd:
    """A value that cannot be compared with others, as an array of numpy."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value is ambiguous")


@pytest.mark.parametrize("cls", [Bearer, Theirs])
def test_a_value_is_taken_whatever_it_is(cls: Any) -> None:
    odd = Odd()
    assert cls(odd).url is odd and cls(url=odd).url is odd


def test_a_subclass_has_the_fields_of_its_base_first() -> None:
    deep = Deeper("u", depth=2)
    assert (deep.url, deep.wait, deep.depth) == ("u", 1.5, 2)
    assert deep == Deeper("u", depth=2) != Deeper("u", depth=3)
    assert Bare() == Bare() and repr(Bare()) == "Bare()"


def test_a_copy_with_other_values_is_that_of_dataclasses() -> None:
    for one in (Ours("u", names=["a"], secret="s", seen=3), Deeper("u", depth=2)):
        other = replaced(one, wait=2.0, seen=4)
        assert other == replace(one, wait=2.0) and other.seen == 4 and type(other) is type(one)
        assert replaced(one) == one and replaced(one).names is one.names
    with pytest.raises(TypeError, match="no"):
        replaced(Bare(), no=1)


def test_the_standard_library_makes_a_dataclass_of_it_once_somebody_asks_for_its_fields(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[type[Any]] = []

    def making(**said: bool) -> Any:
        return lambda cls: made.append(cls) or dataclass(**said)(cls)  # type: ignore[func-returns-value]

    monkeypatch.setattr(module, "dataclass", making)

    @frozen
    class Later(Ours):
        """Not asked for yet."""

        depth: int = field(default=0, repr=False)

    class Plain(Later):
        """One of another kind, with the same fields."""

    one = Later("u", depth=2)
    assert one == replaced(one, wait=1.5) == copy.copy(one) and "depth" not in repr(one)
    assert not made
    names = ["url", "wait", "names", "secret", "seen", "depth"]
    assert [field.name for field in fields(Plain)] == [field.name for field in fields(one)] == names
    assert len(made) == 1 and asdict(one)["depth"] == 2


@slotted
class Ticking:
    """One that can be changed."""

    name: str
    count: int = 0
    marks: list[int] = field(default_factory=list)


def test_a_slotted_value_is_a_dataclass_that_can_be_changed() -> None:
    one = Ticking("a", marks=[1])
    one.count += 1
    assert (repr(one), one) == ("Ticking(name='a', count=1, marks=[1])", Ticking("a", 1, [1]))
    assert copy.copy(one) == pickle.loads(pickle.dumps(one)) == replace(one) == one
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    with pytest.raises(AttributeError):
        one.other = 1  # type: ignore[attr-defined]
