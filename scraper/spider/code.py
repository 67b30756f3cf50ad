"""What a spider's code is made of: its own file and the project's modules that it imports, however far."""

import ast
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType, FunctionType

from scraper.errors import SpiderError
from scraper.model.frozen import frozen
from scraper.spider.outside import Outside, outside_of

_OWN_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = ("site-packages", "dist-packages")
_KNOWN_FOREIGN = sys.stdlib_module_names | {"scraper"}
_LOADERS = frozenset(("import_module", "__import__"))
_SHORT = 64  # characters of a text that may be a name


@frozen
class Code:
    """`hash` of a spider's code, its `words` (names and short texts), and what it may look at `outside`."""

    hash: str
    words: frozenset[str]
    outside: Outside = Outside()


@frozen
class _Import:
    """One import: `name` as seen from a module, `parts` what is taken from it and may be a module itself."""

    name: str
    level: int = 0
    parts: tuple[str, ...] = ()


def code_of(
    tree: ast.Module,
    module: str = "",
    package: str = "",
    folder: str = ".",
    file: str = "",
    looked_at: Sequence[str] = (),
) -> Code:
    """The code behind a spider's module. `package`: the one whose installed modules count as the project's.

    `folder`, `file`: where it is. `looked_at`: what was read while it was loaded. Comments, blank lines and
    layout do not count.
    """
    folders, files, imported = [folder], [file], _imported(tree, module, package)
    trees = {"": tree}
    for name, (one, place) in imported.items():
        trees[name] = one
        folders.append(str(Path(place).parent))
        files.append(place)
    dumps = {name: ast.dump(one) for name, one in trees.items()}
    text = dumps.pop("") + "".join(f"\n{name}\n{dumps[name]}" for name in sorted(dumps))
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    nodes = [node for one in trees.values() for node in ast.walk(one)]
    texts = set(_texts(nodes))
    words = frozenset((*_names_of(nodes), *map(str.lower, texts)))
    return Code(digest, words, outside_of(texts, folders, words, files, looked_at))


def code_of_class(spider: type) -> Code:
    """The code behind a class that no file holds, as one of a notebook: what its functions were compiled to.

    With them go the functions that they name of the same module, and the class's plain values.
    """
    found = _Compiled(spider.__module__)
    for kind in spider.__mro__:
        if kind is object or kind.__module__.partition(".")[0] == "scraper":
            continue
        for name, value in sorted(vars(kind).items()):
            if isinstance(value, FunctionType) or not name.startswith("__"):
                found.told.append(name)
                found.add(getattr(value, "__func__", value))
    digest = blake2b("\n".join(found.told).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    words = frozenset(found.words)
    return Code(digest, words, outside_of(found.texts, (), words))


class _Compiled:
    """What the functions of a module were compiled to, each once."""

    def __init__(self, module: str) -> None:
        self.told: list[str] = []
        self.words: set[str] = set()
        self.texts: set[str] = set()
        self._module = module
        self._seen: set[int] = set()

    def add(self, value: object) -> None:
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, FunctionType):
            self.add(value.__code__)
            for name in _names_in(value.__code__):
                other = value.__globals__.get(name)
                if isinstance(other, FunctionType) and other.__module__ == self._module:
                    self.add(other)
        elif isinstance(value, CodeType):
            self.told += [value.co_code.hex(), *value.co_names, *value.co_varnames]
            self.words |= set(value.co_names)
            for constant in value.co_consts:
                self.add(constant)
        else:
            self._add_plain(value)

    def _add_plain(self, value: object) -> None:
        if isinstance(value, str | int | float | bytes | tuple | list | dict | frozenset | set | None):
            # The elements of a set come in another order in each process.
            self.told.append(repr(sorted(map(repr, value)) if isinstance(value, set | frozenset) else value))
        if isinstance(value, str) and len(value) <= _SHORT:
            self.words.add(value.lower())
            self.texts.add(value)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _imported(tree: ast.Module, module: str, package: str) -> dict[str, tuple[ast.Module, str]]:
    """The project's modules that a module imports, and those that they import, by their full names.

    Each with the file that it is in.
    """
    found: dict[str, tuple[ast.Module, str]] = {}
    # A spider's module is no package, so what is relative in it starts at the package that holds it.
    to_read = [(one, module.rpartition(".")[0]) for one in _imports(tree)]
    while to_read:
        one, base = to_read.pop()
        for name in _names(one, base):
            if name in found or (spec := _spec(name)) is None or not _is_of_project(spec, package):
                continue
            read = _read(spec)
            found[name] = read, spec.origin or "."
            home = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
            to_read += [(further, home) for further in _imports(read)]
    return found


def _imports(tree: ast.Module) -> Iterator[_Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield _Import(node.module or "", node.level, tuple(alias.name for alias in node.names))
        elif isinstance(node, ast.Call) and _called(node) in _LOADERS and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                name = first.value.lstrip(".")
                yield _Import(name, len(first.value) - len(name))


def _called(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def _names(one: _Import, base: str) -> Iterator[str]:
    """The full names of all modules that an import runs, packages first."""
    if one.level:
        home = base.split(".")
        above = home[: len(home) - one.level + 1] if base else []
        whole = ".".join([*above, *filter(None, [one.name])])
    else:
        whole = one.name
    pieces = whole.split(".") if whole else []
    if pieces and pieces[0] in _KNOWN_FOREIGN:
        return
    yield from (".".join(pieces[: n + 1]) for n in range(len(pieces)))
    yield from (f"{whole}.{part}" if whole else part for part in one.parts if part != "*")


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is, without running anything."""
    path: list[str] | None = None
    spec = None
    try:
        for n, _ in enumerate(pieces := name.split(".")):
            spec = PathFinder.find_spec(".".join(pieces[: n + 1]), path)
            if spec is None:
                return None
            path = list(spec.submodule_search_locations or ())
    except (ImportError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return spec


def _is_of_project(spec: ModuleSpec, package: str) -> bool:
    """Whether a module is the user's own: neither Python's, nor installed, nor ours."""
    if package and spec.name.partition(".")[0] == package:
        return True
    if spec.origin in ("built-in", "frozen"):
        return False
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return bool(places) and not any(_is_foreign(Path(place).resolve()) for place in places)


def _is_foreign(place: Path) -> bool:
    roots = (_OWN_PACKAGE, *(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")))
    return any(name in place.parts for name in _INSTALLED) or any(
        place.is_relative_to(root) for root in roots
    )


def _read(spec: ModuleSpec) -> ast.Module:
    """A module's code as a tree; what is no Python text (an extension module) as the hash of its bytes."""
    try:
        content = Path(spec.origin).read_bytes() if spec.origin else b""
    except OSError as error:
        raise SpiderError(f"{spec.origin}: {(error.strerror or 'cannot be read').lower()}") from None
    try:
        return ast.parse(
            content if spec.origin and spec.origin.endswith(".py") else repr(blake2b(content).digest())
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.parse(repr(content))  # it is imported where that is no harm


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) <= _SHORT:
            yield node.value


def _names_of(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.keyword) and node.arg == "render":
            yield node.arg
