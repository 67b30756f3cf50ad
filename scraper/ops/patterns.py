"""Regular expressions that are compiled when they are first used.

A run meets few of those that answers may call for; compiling one takes about as long as loading a module.
"""

import re
from typing import Any, AnyStr, cast


def pattern(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """What `re.compile` gives, but later."""
    return cast("re.Pattern[AnyStr]", _Pattern(source, flags))


class _Pattern:
    """A pattern until somebody asks for one of its methods, which is kept then in its own name."""

    def __init__(self, source: str | bytes, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, found)
        return found
