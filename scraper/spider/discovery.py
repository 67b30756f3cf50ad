"""Finding spiders: by name in a folder or in installed packages, or by path; and loading them."""

import ast
import importlib.util
import linecache
import re
import sys
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from scraper.errors import SpiderError
from scraper.model.frozen import frozen
from scraper.ops.looks import looking
from scraper.spider import Spider
from scraper.spider.code import Code, code_of, code_of_class

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

FOLDER = Path("spiders")
GROUP = "scraper.spiders"
_PACKAGE = "scraper_spiders"  # under which their modules stand


@frozen
class LoadedSpider:
    """A spider class, where it is from, and its code: its module and those of the project that it imports."""

    spider: type[Spider]
    name: str
    path: Path
    code: Code

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        lines = (self.spider.__doc__ or "").strip().splitlines()
        return lines[0] if lines and self.spider.__doc__ != Spider.__doc__ else ""


@frozen
class BrokenSpider:
    """A file that should hold a spider, and what is wrong with it."""

    name: str
    path: Path
    reason: str


def find(name: str, folder: Path = FOLDER) -> LoadedSpider:
    """The spider of a name or path. SpiderError where there is none, it is broken, or two share the name."""
    if "://" in name:
        raise SpiderError(f"{name[:80]!r} is a URL, no spider", "new NAME URL writes a spider for it")
    if name.endswith(".py") or "/" in name:
        return load(Path(name))
    file = folder / f"{name}.py"
    if name.isidentifier() and file.is_file():
        found = load(file)
        _refuse_twins([found, *_named(found.name, _others(folder, file))])
        return found
    entries = list_all(folder)
    named = [entry for entry in entries if isinstance(entry, LoadedSpider) and entry.name == name]
    if not named:
        named = [_load_entry(point) for point in _entry_points() if point.name == name]
    if not named:
        raise _unknown(name, folder, entries)
    _refuse_twins(named)
    return named[0]


def of_class(spider: type[Spider]) -> LoadedSpider:
    """A spider class that somebody has at hand: imported, or written in a notebook or a script."""
    if not (isinstance(spider, type) and issubclass(spider, Spider)):
        raise SpiderError(f"{spider!r:.100} is no Spider class", "write class Name(Spider)")
    if spider.name == "__main__":  # the module's name, which says nothing here
        spider.name = spider.__name__.lower()
    where = getattr(sys.modules.get(spider.__module__), "__file__", None)
    file = Path(where) if where else None
    if file is None or not file.is_file() or "<locals>" in spider.__qualname__:
        code = code_of_class(spider)
        return LoadedSpider(spider, spider.name, file or Path(spider.__module__), code)
    name = spider.__module__
    code = code_of(
        _parsed(file.read_bytes(), file), name, name.partition(".")[0], str(file.parent), str(file)
    )
    return LoadedSpider(spider, spider.name, file, code)


def list_all(folder: Path = FOLDER) -> list[LoadedSpider | BrokenSpider]:
    """Every spider that can be found by name; files that do not load are there as broken."""
    found: list[LoadedSpider | BrokenSpider] = []
    for file in _files(folder):
        try:
            found.append(load(file))
        except SpiderError as error:
            found.append(BrokenSpider(file.stem, file, str(error)))
    names = {entry.name for entry in found}
    for point in _entry_points():
        if point.name in names:
            continue
        try:
            found.append(_load_entry(point))
        except SpiderError as error:
            found.append(BrokenSpider(point.name, Path(point.value), str(error)))
    return found


def load(file: Path) -> LoadedSpider:
    """The spider in a file. SpiderError names file and line of what is wrong."""
    try:
        source = file.read_bytes()
    except OSError as error:
        raise SpiderError(f"{file}: {(error.strerror or 'cannot be read').lower()}") from None
    tree = _parsed(source, file)
    with looking() as looked_at:
        module = _module(file, tree)
    spider = _only_spider(module, str(file))
    code = code_of(tree, folder=str(file.parent), file=str(file), looked_at=looked_at)
    return LoadedSpider(spider, spider.name, file, code)


def _files(folder: Path) -> list[Path]:
    # Helpers that spiders import have a leading underscore or hold no Spider class at all.
    return sorted(file for file in folder.glob("*.py") if not file.name.startswith("_") and _is_spider(file))


def _is_spider(file: Path) -> bool:
    """Whether a file mentions spiders, or cannot be read: then its error is told when it is loaded."""
    try:
        source = file.read_bytes()
        return b"Spider" in source or b"CrawlRules" in source
    except OSError:
        return True


def _others(folder: Path, file: Path) -> list[Path]:
    return [other for other in _files(folder) if other != file]


def _named(name: str, files: list[Path]) -> Iterator[LoadedSpider]:
    """The spiders of a name. Only files that seem to say it are run: a broken file is no other's trouble."""
    says = re.compile(rb"name\b[^=\n]*=\s*[\"']" + re.escape(name).encode() + rb"[\"']")
    for file in files:
        try:
            if file.stem == name or says.search(file.read_bytes()):
                found = load(file)
                if found.name == name:
                    yield found
        except (SpiderError, OSError):
            continue


def _refuse_twins(found: list[LoadedSpider]) -> None:
    if len(found) > 1:
        places = " and ".join(str(entry.path) for entry in found)
        raise SpiderError(f"two spiders are named {found[0].name}: {places}", "give one another name")


def _unknown(name: str, folder: Path, entries: list[LoadedSpider | BrokenSpider]) -> SpiderError:
    from difflib import get_close_matches

    names = sorted({entry.name for entry in entries})
    near = get_close_matches(name, names, 1, 0.5)
    broken = [entry for entry in entries if isinstance(entry, BrokenSpider)]
    there = f"there is {', '.join(names)}" if names else f"{folder}/ has no spider"
    if not names and not folder.is_dir():
        there = f"no {folder}/ here: change to your project's folder"
    hints = [f"did you mean {near[0]}?"] if near else []
    hints += [f"{entry.path} does not load: {entry.reason.splitlines()[0]}" for entry in broken]
    return SpiderError(f"no spider is named {name!r}: {there}", "; ".join(hints))


# loading ----------------------------------------------------------------------------------------------------
def _parsed(source: bytes, file: Path) -> ast.Module:
    try:
        return ast.parse(source, str(file))
    except SyntaxError as error:
        raise _syntax_error(error, file) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise SpiderError(f"{file}: cannot be read as Python: {error}") from None


def _syntax_error(error: SyntaxError, file: Path) -> SpiderError:
    head = f"{error.filename or file}, line {error.lineno}: {error.msg}"
    text = (error.text or "").rstrip("\n")
    if not text.strip():
        return SpiderError(head)
    left = len(text) - len(text.lstrip())
    caret = " " * max((error.offset or 1) - 1 - left, 0) + "^"
    return SpiderError(f"{head}\n    {text.strip()}\n    {caret}")


def _module(file: Path, tree: ast.Module) -> ModuleType:
    """Run a spider's module, under a name of its own so that it hides no other module."""
    spec = importlib.util.spec_from_file_location(f"{_PACKAGE}.{file.stem}", file)
    if spec is None:
        raise SpiderError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Helpers beside the spider can be imported; last, so that a spider called json.py hides nothing.
    if (place := str(file.parent.resolve())) not in sys.path:
        sys.path.append(place)
    # Where dataclasses, pydantic and typing look for the names of annotations.
    sys.modules[spec.name] = module
    try:
        exec(compile(tree, str(file), "exec"), module.__dict__)
    except SpiderError:
        raise
    except SyntaxError as error:  # of a helper beside it
        raise _syntax_error(error, file) from None
    except (Exception, SystemExit) as error:
        raise _load_error(error, file) from None
    return module


def _load_error(error: BaseException, file: Path) -> SpiderError:
    """The deepest line of the user's own code, and what went wrong there."""
    linecache.checkcache(str(file))
    folder = str(file.parent.resolve())
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if str(Path(frame.filename).resolve()).startswith(folder)]
    own = [frame for frame in inside if "site-packages" not in frame.filename]
    at = f"{own[-1].filename}, line {own[-1].lineno}" if own else str(file)
    line = f"\n    {own[-1].line}" if own and own[-1].line else ""
    hint = ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"install it, or put {error.name}.py beside the spider"
        if error.name == _PACKAGE:
            hint = "a spider's file is in no package: leave the dot out (`from words import ...`)"
    return SpiderError(f"{at}: {type(error).__name__}: {error}{line}", hint)


def _only_spider(module: ModuleType, where: str) -> type[Spider]:
    here = [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Spider) and thing.__module__ == module.__name__
    ]
    # A class that others of the file inherit from is their common part, not one more spider.
    found = [cls for cls in dict.fromkeys(here) if not any(cls in other.__mro__[1:] for other in here)]
    if not found:
        raise SpiderError(f"{where} has no Spider class", "write class Name(Spider)")
    if len(found) > 1:
        names = ", ".join(cls.__name__ for cls in found)
        raise SpiderError(f"{where} has several Spider classes: {names}", "keep one in each file")
    return found[0]


# installed packages -----------------------------------------------------------------------------------------
@cache
def _entry_points() -> "tuple[EntryPoint, ...]":
    from importlib.metadata import entry_points  # its first import takes as long as ten of our modules

    return tuple(entry_points(group=GROUP))


def _load_entry(point: "EntryPoint") -> LoadedSpider:
    try:
        with looking() as looked_at:
            thing = point.load()
    except (Exception, SystemExit) as error:
        raise SpiderError(f"{point.value} does not load: {type(error).__name__}: {error}") from None
    spider = _only_spider(thing, point.value) if isinstance(thing, ModuleType) else thing
    if not (isinstance(spider, type) and issubclass(spider, Spider)):
        raise SpiderError(f"{point.value} is no Spider class")
    spider.name = spider.__dict__.get("name") or point.name
    file = Path(getattr(sys.modules[spider.__module__], "__file__", None) or point.value)
    source = file.read_bytes() if file.is_file() else repr(spider).encode()
    name = spider.__module__
    package, folder = name.partition(".")[0], str(file.parent)
    code = code_of(_parsed(source, file), name, package, folder, str(file), looked_at)
    return LoadedSpider(spider, point.name, file, code)
