"""What a spider's code names that is no code: files, variables of the environment, what `opened` has set."""

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from hashlib import blake2b, file_digest
from pathlib import Path
from types import ModuleType

from scraper.model.frozen import frozen
from scraper.ops.looks import is_foreign
from scraper.ops.patterns import pattern

_WHOLE = 64 * 1024 * 1024  # bytes; of a larger file size and time are taken for its content
_LOADS = frozenset(("import_module", "__import__", "exec_module", "load_module"))
_ASKS = frozenset(("environ", "getenv", "environb", "expandvars"))
# Another one with every login or start: only what is named as a whole is meant.
_OF_SESSION = pattern(
    "INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_.*|SSH_.*|XDG_SESSION_ID|SHLVL|(?:OLD)?PWD|WINDOWID"
)
_SHORTEST = 3  # letters of a text that a variable's name may begin or end with


@frozen
class Outside:
    """Where the inputs of a spider may be that are no code.

    `texts`: the short texts in its code; a file that a callback reads by a name that is put together is not
    among them. `folders`, `code`: those of its modules, and their files. `asks`: whether it looks at the
    environment; `loads`: whether it may load modules that it does not name. `read`: the files that were read
    while it was loaded, `opened`: by its `opened`.
    """

    texts: frozenset[str] = frozenset()
    folders: tuple[str, ...] = ()
    asks: bool = False
    code: frozenset[str] = frozenset()
    loads: bool = False
    read: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()

    def hash(self, spider: object) -> str:
        """What they hold now, for `spider` after its `opened`; empty where there is nothing."""
        return _digest([*sorted(map(_told, self.files())), *self._variables(), *_attributes(spider)])

    def named(self) -> str:
        """What the files and variables hold that stand in the code by name; empty where there are none."""
        return _digest([*sorted(map(_told, self._named_files())), *self._variables()])

    def files(self) -> Iterator[str]:
        """The real paths of all files that may have gone into a parse."""
        more = filter(os.path.isfile, (*self.opened, *(_loaded() if self.loads else ())))
        found = (path for path in map(os.path.realpath, more) if path not in self.code)
        yield from dict.fromkeys((*self._named_files(), *found))

    def _named_files(self) -> Iterator[str]:
        texts = sorted(text for text in self.texts if text.strip("./"))
        places = added = dict.fromkeys((os.getcwd(), *self.folders))
        for _ in range(2):  # Path("tables") / "2026" / "rates.csv"
            found = (os.path.join(place, text) for place in added for text in texts if text[0] != "/")
            added = dict.fromkeys([path for path in found if path not in places and os.path.isdir(path)])
            places = places | added
        named = (os.path.join(place, text) for place in places for text in texts)
        found = (os.path.realpath(path) for path in (*named, *self.read) if os.path.isfile(path))
        yield from (path for path in dict.fromkeys(found) if path not in self.code)

    def _variables(self) -> Iterator[str]:
        parts = tuple(text for text in self.texts if len(text) >= _SHORTEST)
        text = "\n".join(self.texts)
        for name, value in sorted(os.environ.items()) if self.asks else ():
            # `f"SHOP_{kind}"` and `"$SHOP_RATE"` name a variable too.
            is_put_together = not _OF_SESSION.fullmatch(name) and (
                (len(name) >= _SHORTEST and name in text) or name.startswith(parts) or name.endswith(parts)
            )
            is_named = name in self.texts or is_put_together
            # As with params: another password opens the same pages.
            if is_named and "pass" not in name.lower():
                yield f"{name}={value}"


def outside_of(
    texts: Iterable[str],
    folders: Iterable[str],
    words: frozenset[str],
    files: Iterable[str] = (),
    looked_at: Iterable[str] = (),
) -> Outside:
    """What a code with these texts and names, in these folders and files, may look at."""
    is_name = (text for text in texts if text and "\n" not in text and "\0" not in text)
    code = frozenset(os.path.realpath(file) for file in files if file)
    asks, loads = bool(words & _ASKS), bool(words & _LOADS)
    return Outside(frozenset(is_name), tuple(dict.fromkeys(folders)), asks, code, loads, paths_of(looked_at))


def paths_of(looked_at: Iterable[str]) -> tuple[str, ...]:
    """The files and databases among what was looked at."""
    return tuple(sorted({one.removeprefix("the database ") for one in looked_at}))


def _digest(told: Sequence[str]) -> str:
    text = "\n".join(told).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=8).hexdigest() if told else ""


def _told(path: str) -> str:
    return f"{Path(path).name} {_content(path)}"


def _loaded() -> Iterator[str]:
    """The files of modules that are loaded and are the project's, but for its spiders."""
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        is_spider = name.startswith("scraper_spiders.") or name == "__main__"
        if isinstance(file, str) and not is_spider and not is_foreign(file):
            yield file


def _content(path: str) -> str:
    try:
        found = os.stat(path)
        if found.st_size > _WHOLE:
            return f"{found.st_size} {found.st_mtime_ns}"
        with open(path, "rb") as file:
            return file_digest(file, "blake2b").hexdigest()
    except OSError:
        return ""  # the spider cannot read it either


def _attributes(spider: object) -> Iterator[str]:
    """What stands on the spider itself, as far as it is data; its params count elsewhere."""
    for name, value in sorted(vars(spider).items()):
        if name != "params":
            with suppress(Exception):  # its repr may raise what it likes
                yield f"{name}: {_plain(value)}"


class _NoData(Exception):
    """What says nothing by itself, such as a connection or a lock."""


def _plain(value: object) -> str:
    """A value as text that is the same in every process."""
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{_plain(key)}: {_plain(one)}" for key, one in value.items())) + "}"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_plain, value)))}}}"
    if isinstance(value, list | tuple | deque):
        return f"[{', '.join(map(_plain, value))}]"
    if callable(value) or isinstance(value, ModuleType):
        raise _NoData
    is_whole = isinstance(value, Enum) or not hasattr(value, "__dict__")
    if is_whole and type(value).__repr__ is not object.__repr__:
        # Numbers, texts, dates, decimals, patterns: their repr says it all, unless it tells where they are.
        told = repr(value)
        if " at 0x" in told:
            raise _NoData
        return told
    fields = getattr(value, "__dict__", None)
    if not fields:
        raise _NoData
    return f"{type(value).__qualname__}{_plain(fields)}"
