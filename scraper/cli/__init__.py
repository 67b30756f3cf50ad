"""The command line: the table of commands. A command's module is imported when it is called."""

import gc
import os
import resource
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from scraper.cli.failures import LEAST_FILES, Caller, few_files, guarded
from scraper.errors import UsageError
from scraper.ops.interrupts import end_at_once, raise_outside_imports

COMMANDS = {
    "run": ("running", "Crawl: start a run, or resume one that did not end."),
    "work": ("work", "Help a run that is under way, here or on another host."),
    "store": ("store", "Copy a project between SQLite and PostgreSQL."),
    "list": ("spiders", "The spiders that can be run, with their last run and its verdict."),
    "new": ("spiders", "Write a spider for a page, and its test."),
    "fetch": ("one_url", "Send one polite request: status, headers and body."),
    "shell": ("shell", "Open a page at a Python prompt, to try selectors."),
    "explain": ("one_url", "Tell whether a URL would be fetched, and if not, why."),
    "runs": ("history", "The last runs, newest first."),
    "show": ("history", "One run: its counts, its verdict and the reasons."),
    "audit": ("history", "Prove the politeness of a run, domain by domain."),
    "changes": ("records", "What the last accepted run added, changed and removed."),
    "export": ("records", "Write a spider's current records to a file of any format."),
    "reparse": ("reparse", "Parse the archived pages again, without one request."),
    "check": ("checking", "Parse the saved pages offline and compare with the saved records."),
    "accept": ("records", "Take over the records of a run that was not OK, after a look at it."),
    "cookies": ("admin", "List, import or forget the cookies of a spider."),
    "cron": ("cron", "The crontab line that runs a spider, or its systemd timer."),
    "serve": ("serve", "Serve the project over HTTP: a dashboard, spiders, runs, records, polite fetches."),
    "token": ("token", "Who may use the service: add, list and revoke tokens."),
    "doctor": ("admin", "Is this machine ready: Python, packages, data, contact, cron."),
}

EPILOG = """\b
Begin with:
  python -m scraper run bookshop                    a shop on this machine, no network
  python -m scraper new shop https://shop.example/  a spider of your own
\b
Exit codes: 0 healthy, 1 not healthy, 2 could not start, 75 try again later, 77 login refused."""


class Commands(click.Group):
    """The commands by name; each is imported when it is asked for, because most need what others do not."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command, with the options that all have."""
        if cmd_name not in COMMANDS:
            return None
        command: Any = getattr(import_module(f"scraper.cli.{COMMANDS[cmd_name][0]}"), f"{cmd_name}_command")
        found: click.Command = command
        if all(option.name != "verbose" for option in found.params):
            found.params.append(verbose_option())
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; a wrong name is answered with the nearest one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(unknown_command(name), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The names and what they do, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def unknown_command(name: str) -> str:
    """What to say about a command that is none."""
    # Imported here: needed for a slip of the hand only.
    from scraper.settings import values

    near = "--help" if name == "help" else values.nearest(name, COMMANDS)
    there = f"did you mean {near}?" if near else f"there is {', '.join(COMMANDS)}"
    return f"no command {name[:40]!r}: {there}"


def verbose_option() -> click.Option:
    """`-v`, which every command knows."""
    return click.Option(
        ["-v", "--verbose"],
        is_flag=True,
        expose_value=False,
        callback=_note_verbose,
        help="Show the traceback of an error.",
    )


def _note_verbose(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    caller: Caller = ctx.find_root().obj
    caller.is_verbose |= value


def _version_option() -> click.Option:
    return click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_tell_version,
        help="Show the version.",
    )


def _tell_version(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        # Imported here: a command reads the settings when it needs them.
        from scraper.settings import PRODUCT, VERSION

        click.echo(f"{PRODUCT} {VERSION}")
        ctx.exit()


commands = Commands(
    "scraper",
    help="A polite web scraper: nothing lost, nothing doubled, forget it in cron.",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[verbose_option(), _version_option()],
)


def main() -> NoReturn:
    """Run a command and exit with its code."""
    caller = Caller()
    _open_standard_streams()
    code = guarded(lambda: invoke(caller.arguments, caller), caller)
    end_at_once()
    gc.freeze()  # the system takes all memory back at once: the interpreter need not look for garbage first
    sys.exit(code)


def _open_standard_streams() -> None:
    """Where one is closed (`>&-`), the next file would take its number, and be written to as the terminal."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for the rest of the process


def check_files() -> None:
    """Let ourselves open as many files as we need; UsageError where the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < LEAST_FILES:
        wanted = 1024 if hard == resource.RLIM_INFINITY else min(hard, 1024)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        if wanted < LEAST_FILES:
            raise UsageError(few_files(f"only {soft} open files are allowed here"))


def invoke(arguments: list[str], caller: Caller) -> Any:
    """Run a command; what it raises goes on."""
    # Not `commands.main`: that ends the process itself where a pipe is closed.
    check_files()
    raise_outside_imports()
    with commands.make_context(caller.short_program, list(arguments) or ["--help"], obj=caller) as context:
        return commands.invoke(context)
