"""Where an exception came from, as the author of a spider looks for it: in the spider's own file."""

import linecache
import sys
import traceback
from pathlib import Path

from scraper.model.frozen import frozen
from scraper.ops.printable import printable

LONGEST = 8_000  # characters of a traceback
_MODULES = "scraper_spiders."  # the package under which `discovery` loads the files of spiders


@frozen
class Origin:
    """A line of a spider: its file, its number and its `code`; empty where none took part."""

    file: str = ""
    line: int = 0
    code: str = ""

    @property
    def place(self) -> str:
        """As in "shop.py, line 12"."""
        return f"{Path(self.file).name}, line {self.line}" if self.file else ""


def files_of(spider: type) -> frozenset[str]:
    """The source files of a spider's class and of what it inherits from, without this package's own."""
    names = {kind.__module__ for kind in spider.__mro__}
    modules = [sys.modules.get(name) for name in names if not name.startswith(("scraper.", "builtins"))]
    return frozenset(file for module in modules if (file := getattr(module, "__file__", None)))


def origin_of(error: BaseException, files: frozenset[str] = frozenset()) -> Origin:
    """The deepest line of a spider's own file; `files`: those of a spider that was not found by name.

    Where none took part, that of the error's cause: a StopIteration is known by it alone.
    """
    found: Origin | None = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        is_of_spider = str(frame.f_globals.get("__name__", "")).startswith(_MODULES)
        if name in files or (is_of_spider and not name.startswith("<")):  # eval and exec have no file
            linecache.checkcache(name)
            code = linecache.getline(name, line, frame.f_globals).strip()
            found = Origin(name, line, code)
    if found is None and error.__cause__ is not None:
        return origin_of(error.__cause__, files)
    return found or Origin()


def message_of(error: BaseException) -> str:
    """The text of an exception, also of one that cannot say it."""
    try:
        return str(error)
    except Exception as failed:
        return f"its __str__ raised {type(failed).__name__}"


def told(error: BaseException, files: frozenset[str] = frozenset()) -> str:
    """An exception in one line: what, where, and the line of code."""
    origin = origin_of(error, files)
    # Of a page, as likely as not: half a surrogate pair is no text for a store or a log.
    text = printable(" ".join(f"{type(error).__name__}: {message_of(error)}".split()).rstrip(": ")[:300])
    if not origin.place:
        return text
    return f"{text} ({origin.place}{f': {origin.code[:120]}' if origin.code else ''})"


def traceback_of(error: BaseException) -> str:
    """The whole traceback; of a very long one its end, where the cause stands."""
    text = "".join(traceback.format_exception(error))
    return text if len(text) <= LONGEST else f"...\n{text[-LONGEST:]}"
