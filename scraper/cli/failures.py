"""Errors of a command: one line on standard error, and the exit code (docs/commands.md)."""

import errno
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from scraper.errors import LeaseLost, LoginFailed, ScraperError, StoreAway, StoreBusy, StoreError, UsageError
from scraper.model.frozen import slotted
from scraper.ops.interpreter import without
from scraper.ops.printable import printable_lines
from scraper.ops.secrets import Redaction
from scraper.ops.tracebacks import message_of, origin_of

OK = 0
UNHEALTHY = 1
NOT_STARTED = 2
LATER = 75
NO_LOGIN = 77
PIPE_CLOSED = 141  # what a shell reports of a program that SIGPIPE ended
INTERRUPTED = 130
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LEAST_FILES = 64  # descriptors of the interpreter, the database, a run's files and a few connections


@slotted
class Caller:
    """How we were called. `has_fetched`: whether anything was asked of a site, which decides about code 2.

    `redaction`: what no message may hold.
    """

    is_verbose: bool = False
    has_fetched: bool = False
    arguments: list[str] = field(default_factory=lambda: sys.argv[1:])
    redaction: Redaction = field(default_factory=Redaction)

    @property
    def short_program(self) -> str:
        """The program as the documentation writes it."""
        return "python -m scraper" if sys.argv[0].endswith("__main__.py") else Path(sys.argv[0]).name

    @property
    def program(self) -> str:
        """The program as it can be typed here, where `python` may be another one or none."""
        if not sys.argv[0].endswith("__main__.py"):
            return Path(sys.argv[0]).name if shutil.which(Path(sys.argv[0]).name) else sys.argv[0]
        return f"{self.python} -m scraper"

    @property
    def python(self) -> str:
        """The interpreter as it can be typed here."""
        return _interpreter()


def _interpreter() -> str:
    running = Path(sys.executable)
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found is not None and Path(found) == running:
            return name
    return str(running.relative_to(Path.cwd())) if running.is_relative_to(Path.cwd()) else str(running)


def guarded(call: Callable[[], Any], caller: Caller) -> int:
    """The exit code of a command; what it raised is told in a line."""
    try:
        code = call()
        sys.stdout.flush()
        return code if isinstance(code, int) else OK
    except click.exceptions.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        return _close_stdout()
    except (KeyboardInterrupt, click.Abort):
        _tell(caller, "stopped")
        return INTERRUPTED
    except click.ClickException as error:
        return _tell_usage(error, caller)
    except ScraperError as error:
        return _tell_fault(error, caller)
    except Exception as error:
        return _tell_surprise(error, caller)


def _tell(caller: Caller, text: str) -> None:
    click.echo(f"{click.style('error:', fg='red')} {printable_lines(caller.redaction(text))}", err=True)


def _close_stdout() -> int:
    # Else the interpreter fails again on its way out, when it flushes what nobody reads.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED


def _let_go_of_stdout() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _close_stdout()


def _tell_usage(error: click.ClickException, caller: Caller) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "python -m scraper"
    text = error.format_message().rstrip()
    _tell(caller, f"{text[:1].lower()}{text[1:].rstrip('.')} ({path} --help shows how)")
    return NOT_STARTED


def _tell_fault(error: ScraperError, caller: Caller) -> int:
    if caller.is_verbose:
        click.echo(printable_lines(caller.redaction(traceback.format_exc().rstrip())), err=True)
    is_saved = caller.has_fetched and isinstance(error, StoreError)
    saved = "; what was fetched is saved, the same command resumes the run" if is_saved else ""
    _tell(caller, f"{error}{saved}")
    return code_of(error, has_fetched=caller.has_fetched)


def code_of(error: ScraperError, *, has_fetched: bool) -> int:
    """The exit code of an error."""
    if isinstance(error, StoreBusy | LeaseLost) or (isinstance(error, StoreAway) and error.was_there):
        return LATER
    if isinstance(error, LoginFailed):
        return NO_LOGIN
    if isinstance(error, UsageError | StoreError) and not has_fetched:
        return NOT_STARTED
    return UNHEALTHY


def _lack(error: BaseException) -> str | None:
    """What the machine or a name lacks, where that is all that is wrong."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return few_files(cause.strerror or "too many open files")
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return "the disk is full (free some space): what was written is not whole"
        if isinstance(cause, FileNotFoundError) and cause.filename is None and not _has_folder():
            return "the folder that this command was started in is gone: change to your project's folder"
        if isinstance(cause, ValueError) and "embedded null" in str(cause):
            return "a name with a NUL character is no name of a file"
        cause = cause.__cause__ or cause.__context__
    return None


def _has_folder() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def few_files(why: str) -> str:
    """What to say where the system lets us open too few files."""
    return f"{why}: a run needs {LEAST_FILES} at least (ulimit -n {LEAST_FILES})"


def _tell_surprise(error: Exception, caller: Caller) -> int:
    """An error that nobody foresaw: the spider's, told with its line, the machine's, or our own."""
    if (lack := _lack(error)) is not None:
        _tell(caller, lack)
        _let_go_of_stdout()
        return UNHEALTHY if caller.has_fetched else NOT_STARTED
    if caller.is_verbose:
        click.echo(printable_lines(caller.redaction(traceback.format_exc().rstrip())), err=True)
    what = f"{type(error).__name__}: {message_of(error)}".split("\n")[0][:300].rstrip(": ")
    origin = origin_of(error)
    hint = "" if caller.is_verbose else "; with -v before the command the traceback is shown"
    if origin.file:
        _tell(caller, f"{origin.file}, line {origin.line}: {what} (in {origin.code}){hint}")
        return UNHEALTHY if caller.has_fetched else NOT_STARTED
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and not missing.startswith("scraper"):
        _tell(caller, without(missing))
        return NOT_STARTED
    _tell(caller, f"this is a bug: {what} ({_deepest(error.__traceback__)}){hint}")
    return UNHEALTHY


def _deepest(trace: TracebackType | None) -> str:
    """The deepest line of all."""
    last = ""
    while trace is not None:
        last = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return last
