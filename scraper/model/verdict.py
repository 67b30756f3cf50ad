"""The judgement on a run."""

from enum import StrEnum


class Verdict(StrEnum):
    """The judgement on a run."""

    OK = "OK"
    DEGRADED = "DEGRADED"
    EMPTY = "EMPTY"
    BROKEN = "BROKEN"
    BLOCKED = "BLOCKED"
    AUTH = "AUTH"
    INCOMPLETE = "INCOMPLETE"
