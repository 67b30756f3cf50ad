"""The options of a run as typed, and what they result in: the spider, its settings and its outputs."""

import importlib.util
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, replace
from hashlib import blake2b, scrypt
from pathlib import Path
from typing import TYPE_CHECKING

from scraper import settings
from scraper.app.secrets import redaction_of
from scraper.errors import UsageError
from scraper.model.frozen import frozen
from scraper.ops.secrets import Redaction, is_secret_name
from scraper.runs import health
from scraper.runs.archive.reading import Answers
from scraper.runs.files import RunFiles
from scraper.runs.health import Health
from scraper.runs.record_types import columns_of
from scraper.runs.records import key_fields
from scraper.runs.sinks import STDOUT, Layout, Sink, shown, sink_for
from scraper.settings import Settings
from scraper.spider import Spider, discovery
from scraper.spider.discovery import LoadedSpider
from scraper.spider.identity import ParseInputs
from scraper.spider.outside import paths_of
from scraper.spider.rules import Rules, found_domains, rules_of
from scraper.store import Run, Store

if TYPE_CHECKING:  # few runs have parse processes
    from scraper.engine.parse_pool import ParseProcess


@frozen
class Options:
    """The options of `run`, as typed. `hidden`: parameters from a file or a prompt, which nobody is to see.

    `is_offline`: pages come from the archive, not from the network. `replay`: WARC files that stand for it;
    `answers` of `Prepared` is what was read from them. `limit`: records of a sample. `program`:
    how this program is called here, for commands that are shown. `failed`: the run of which only
    the URLs that failed are asked for again. `with_meta`: outputs tell where each record comes from.
    `ray`: the address of a cluster on which the workers are placed.
    `is_embedded`: the process belongs to the caller of `scraper.run`, who keeps its signals and timers.
    """

    spider: str
    data: Path = Path("data")
    outputs: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    fresh: bool = False
    is_offline: bool = False
    hidden: tuple[str, ...] = ()
    limit: int | None = None
    program: str = "python -m scraper"
    replay: tuple[Path, ...] = ()
    failed: str = ""
    with_meta: bool = False
    is_embedded: bool = False
    ray: str = ""

    @property
    def is_alone(self) -> bool:
        """Whether the process that was started does all the work."""
        return self.workers == 1 and not self.ray


# What parsing looks at: another value, and no page stands as it was.
_PARSING = ("render", "allowed_domains", "max_depth", "max_links", "obey_nofollow", "headers", "user_agent")
_OF_ONE_TRY = ("max_pages", "max_time")


@frozen
class Prepared:
    """A spider ready to run: loaded, with its settings read and its outputs known to be writable.

    `forks`: parse processes that wait for their orders.
    """

    loaded: LoadedSpider
    spider: Spider
    settings: Settings
    health: Health
    sinks: tuple[Sink, ...]
    options: Options
    redaction: Redaction = field(default_factory=Redaction)
    answers: Answers | None = None
    forks: "tuple[ParseProcess, ...]" = ()


def prepare(
    options: Options, loaded: LoadedSpider | None = None, chosen: Mapping[str, object] | None = None
) -> Prepared:
    """Read all that can be wrong before anything is touched; raises UsageError.

    `loaded`: the spider, where it need not be found by name; `chosen`: settings over its own.
    """
    _refuse_twins(options.outputs)
    loaded = loaded or discovery.find(options.spider)
    spider = loaded.spider()
    spider.params = dict(options.params)
    own = {**loaded.spider.settings, **chosen} if chosen else loaded.spider.settings
    found = settings.load(own, options.overrides, Path.cwd(), os.environ)
    if not options.is_offline and may_render(found, loaded):
        # Imported on first use: few runs render.
        from scraper.browser import chromium

        chromium.check(found.browser)
    return Prepared(
        loaded,
        spider,
        found,
        health.declared(loaded.spider.health),
        tuple(
            sink_for(target, layout_of(loaded.spider), csv_safe=found.csv_safe) for target in options.outputs
        ),
        options,
        redaction_of(found, spider, frozenset(options.hidden), os.environ),
    )


def may_render(found: Settings, loaded: LoadedSpider) -> bool:
    """Whether a run may need a browser: by its settings, or because the spider's code speaks of it."""
    return found.render != "never" or bool({"render", "Render"} & loaded.code.words)


def with_params(prepared: Prepared, params: Mapping[str, str]) -> Prepared:
    """A spider that is ready to run with other params."""
    prepared.spider.params = dict(params)
    return replace(prepared, options=replace(prepared.options, params=dict(params)))


def having_opened(prepared: Prepared, looked_at: Sequence[str]) -> Prepared:
    """A spider whose `opened` was called, and has looked at these."""
    loaded = prepared.loaded
    outside = replace(loaded.code.outside, opened=paths_of(looked_at))
    return replace(prepared, loaded=replace(loaded, code=replace(loaded.code, outside=outside)))


def rules_for(prepared: Prepared, allowed_domains: Collection[str] | None = None) -> Rules:
    """The rules of the spider by its settings; `allowed_domains`: those that the run has found."""
    found = prepared.settings
    return rules_of(
        prepared.spider,
        allowed_domains=found.allowed_domains if allowed_domains is None else allowed_domains,
        max_depth=found.max_depth,
        obey_nofollow=found.obey_nofollow,
        max_links=found.max_links,
    )


def files_for(prepared: Prepared, run: Run) -> RunFiles:
    """The files of a run, without its secrets and for whom the settings say."""
    data, is_shared = prepared.options.data, prepared.settings.share
    return RunFiles(data, run.spider, run.id, prepared.redaction, is_shared=is_shared)


def inputs_of(prepared: Prepared, rules: Rules, code: str | None = None) -> ParseInputs:
    """What the parse of every page of a run depends on; `code`: where the run has it from the store."""
    own = prepared.loaded.code
    is_deep = prepared.settings.max_depth is not None
    code = code_for(prepared) if code is None else code
    named = frozenset(own.outside.files()) | own.outside.code
    inputs = ParseInputs(code, own.words, is_deep, outside_now(prepared), named)
    return inputs.within(found_domains(prepared.spider, rules, prepared.settings.allowed_domains))


def outside_now(prepared: Prepared) -> str:
    """A hash of the files, variables and attributes that the spider's code names, as they are now."""
    return prepared.loaded.code.outside.hash(prepared.spider)


def code_for(prepared: Prepared) -> str:
    """The hash that a run is begun with and has to go on with."""
    return parse_code(prepared.loaded.code.hash, prepared.spider.params, prepared.settings)


def parse_code(code: str, params: Mapping[str, str], found: Settings) -> str:
    """The hash of a spider's code and all else that goes into each parse; `code` where that is nothing."""
    default = Settings()
    values = {name: getattr(found, name) for name in _PARSING}
    chosen = {name: value for name, value in values.items() if value != getattr(default, name)}
    if found.auth:
        # Who asks, not the password: another one of the same account opens the same pages.
        chosen["auth"] = {place: auth.user or auth.password for place, auth in found.auth.items()}
    # Neither does another password; another key or token may well.
    own = {name: value for name, value in params.items() if "pass" not in name.lower() and name != "pwd"}
    if not (own or chosen):
        return code
    text = json.dumps([code, open_params(own), chosen, _digest_of_secrets(own)], sort_keys=True, default=str)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def account_of(spider: Spider) -> str:
    """Whose login a spider's session is, as a hash: what `login` was given. Empty where it has none."""
    if type(spider).login is Spider.login or not spider.params:
        return ""
    text = json.dumps([open_params(spider.params), _digest_of_secrets(spider.params)], sort_keys=True)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _digest_of_secrets(params: Mapping[str, str]) -> str:
    """Slow to make, so that nobody finds a weak secret by trying (RFC 7914)."""
    secrets = sorted((name, value) for name, value in params.items() if is_secret_name(name))
    if not secrets:
        return ""
    text = json.dumps(secrets).encode("utf-8", "surrogatepass")
    return scrypt(text, salt=b"scraper: params", n=1 << 14, r=8, p=1, dklen=16).hex()


def kept_params(params: Mapping[str, str], hidden: Collection[str] = ()) -> dict[str, str | None]:
    """The params as a run keeps them: of secrets the name alone."""
    known = open_params(params, hidden)
    return {name: known.get(name) for name in params}


def open_params(params: Mapping[str, str], hidden: Collection[str] = ()) -> dict[str, str]:
    """The params that may be kept: those that are not `hidden` and not named like secrets."""
    return {name: value for name, value in params.items() if name not in hidden and not is_secret_name(name)}


def command_of(prepared: Prepared) -> list[str]:
    """The words of the command that goes on with a run, without its secrets: `-` has them asked for."""
    options = prepared.options
    if options.replay:
        files = [word for file in options.replay for word in ("--replay", str(file))]
        words = ["run", options.spider, *files, "--fresh"]
    elif options.is_offline:
        words = ["reparse", options.spider, "--fresh"]
    else:
        words = ["run", options.spider]
    words += ["--workers", str(options.workers)] if options.workers > 1 else []
    words += ["--ray", options.ray] if options.ray else []
    for override in options.overrides:
        name, _, value = override.partition("=")
        if name == "store" and "@" not in value:
            words += ["--store", value]
        elif name not in _OF_ONE_TRY:
            words += ["--set", f"{name}=***" if settings.is_secret(name) else override]
    for name, value in options.params.items():
        words += ["--param", f"{name}={'-' if name in options.hidden or is_secret_name(name) else value}"]
    return (
        words
        + [word for output in options.outputs for word in ("-o", shown(output))]
        + (["--with-meta"] if options.with_meta else [])
    )


def layout_of(spider: type[Spider]) -> Layout:
    """What a spider says about the tables of its records."""
    return Layout(key_fields(spider.key), columns_of(spider.record))


def _refuse_twins(outputs: Sequence[str]) -> None:
    places = [one if one == STDOUT else str(Path(one).resolve()) for one in outputs]
    for n, place in enumerate(places):
        if place in places[:n]:
            raise UsageError(f"-o names {shown(outputs[n])} twice", "one of them would overwrite the other")


def open_store(
    data: Path,
    url: str | None = None,
    *,
    is_shared: bool = False,
    is_light: bool = False,
    is_awaited: bool = False,
) -> Store:
    """The store of a project: SQLite in the data folder, unless a URL names another or a PostgreSQL server.

    `is_shared`: its files are for the folder's group too. `is_light`: it is read now and then, with little
    memory. `is_awaited`: a server that is away just now is waited for.
    """
    # Imported here: commands that only read files start without a database.
    from scraper.store.sqlite.store import SqliteStore

    if url is None:
        return SqliteStore(data / "scraper.db", is_shared=is_shared, is_light=is_light)
    if url.startswith("sqlite:///"):
        return SqliteStore(Path(url.removeprefix("sqlite:///")), is_shared=is_shared, is_light=is_light)
    if url.startswith(("postgresql://", "postgres://")):
        if importlib.util.find_spec("psycopg") is None:
            raise UsageError("a store on PostgreSQL needs psycopg", "pip install 'scraper[postgres]'")
        # Imported here: an extra, which most projects do without.
        from scraper.store.postgres import PostgresStore

        return PostgresStore(url, locks=data / "locks", is_shared=is_shared, is_awaited=is_awaited)
    raise UsageError(
        f"store {url.partition(':')[0]}: is not known",
        "write sqlite:///path/to/file.db or postgresql://host/database",
    )
