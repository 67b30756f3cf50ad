"""The end of the process that started this one."""

import ctypes
import signal

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def die_with_parent() -> None:
    """A parent that is killed takes us along, so that the same command can start again at once (Linux)."""
    try:
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    except (OSError, AttributeError):
        pass  # elsewhere it is noticed later
