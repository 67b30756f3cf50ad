"""What a spider's code names that is no code: files, variables of the environment, what `opened` has set."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import Enum
from hashlib import blake2b, file_digest
from pathlib import Path
from types import ModuleType

from scraper.model.frozen import frozen

_WHOLE = 64 * 1024 * 1024  # bytes; of a larger file size and time are taken for its content
_ASKS = frozenset(("environ", "getenv", "environb"))


@frozen
class Outside:
    """Where the inputs of a spider may be that are no code.

    `texts`: the short texts in its code; what is not among them, such as a name that is put together, is not
    seen. `folders`: those of its modules. `asks`: whether it looks at the environment.
    """

    texts: frozenset[str] = frozenset()
    folders: tuple[str, ...] = ()
    asks: bool = False

    def hash(self, spider: object) -> str:
        """What they hold now, for `spider` after its `opened`; empty where there is nothing."""
        files = (f"{Path(path).name} {_content(path)}" for path in self.files())
        told = [*files, *self._variables(), *_attributes(spider)]
        return (
            blake2b("\n".join(told).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
            if told
            else ""
        )

    def files(self) -> Iterator[str]:
        """The real paths of the files that the code names."""
        texts = sorted(text for text in self.texts if text.strip("./") and not text.endswith(".py"))
        places = dict.fromkeys((os.getcwd(), *self.folders))
        for _ in range(2):  # Path("tables") / "2026" / "rates.csv"
            found = (os.path.join(place, text) for place in places for text in texts if text[0] != "/")
            places |= dict.fromkeys([path for path in found if os.path.isdir(path)])
        named = (os.path.join(place, text) for place in places for text in texts)
        yield from dict.fromkeys(os.path.realpath(path) for path in named if os.path.isfile(path))

    def _variables(self) -> Iterator[str]:
        for name in sorted(self.texts) if self.asks else ():
            # As with params: another password opens the same pages.
            if name in os.environ and "pass" not in name.lower():
                yield f"{name}={os.environ[name]}"


def outside_of(texts: Iterable[str], folders: Iterable[str], words: frozenset[str]) -> Outside:
    """What a code with these texts and names, in these folders, may look at."""
    is_name = (text for text in texts if text and "\n" not in text and "\0" not in text)
    return Outside(frozenset(is_name), tuple(dict.fromkeys(folders)), bool(words & _ASKS))


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
