"""What an interrupt (Ctrl-C) does while a command has no handler of its own."""

import signal
from types import FrameType


def end_at_once() -> None:
    """Let an interrupt end the process quietly from now on, unless it is ignored."""
    _on_interrupt(signal.SIG_DFL)


def raise_outside_imports() -> None:
    """Let an interrupt raise KeyboardInterrupt, so that a command can tidy up; an import just ends.

    Imports run code whose errors Python prints and goes on after, as if nobody had interrupted.
    """
    _on_interrupt(_raise_or_end)


def _on_interrupt(handler: "signal._HANDLER") -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _raise_or_end(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        frame = frame.f_back
    raise KeyboardInterrupt
