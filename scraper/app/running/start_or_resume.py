"""Which run a command works on: a new one, or the unfinished one that it resumes."""

from scraper.app.options import Options, Prepared, code_for, kept_params, open_params, with_params
from scraper.app.project import find_run
from scraper.app.running.run_inputs import has_other_files, note_anew
from scraper.engine.domain_stats import DomainStats
from scraper.errors import UsageError
from scraper.store import Run, Store


def start_or_resume(prepared: Prepared, store: Store, *, was_offline: bool) -> tuple[Prepared, Run, str]:
    """Start a run, or resume the unfinished one, with its params.

    A run whose pages so far were parsed by other code or with other files, or come from an archive, is not
    resumed; the last value then says so.
    """
    if prepared.options.failed:
        return _reopened(prepared, store)
    last = next(iter(store.runs(prepared.loaded.name, 1)), None)
    open_run = last if last is not None and last.state != "ended" and not prepared.options.fresh else None
    if open_run is not None and store.holder(open_run.spider) is None:
        prepared = with_params(prepared, _same_params(open_run, prepared.options))
    code = code_for(prepared)
    note, is_anew = "", False
    if open_run is not None and open_run.code and open_run.code != code:
        note = (
            f"run {open_run.id} was begun with other code (or settings that parsing depends on): "
            "a new run parses its pages again"
        )
    elif open_run is not None and was_offline:
        note = f"run {open_run.id} parsed archived pages and did not get to the end: a new run asks the site"
    elif is_anew := open_run is not None and has_other_files(prepared, store, open_run):
        note = (
            f"run {open_run.id} was begun with other files or variables (the spider's code names them): "
            "a new run parses its pages again"
        )
    found = store.start_run(
        prepared.loaded.name,
        code,
        params=kept_params(prepared.spider.params, prepared.options.hidden),
        fresh=prepared.options.fresh or bool(note),
    )
    if is_anew:
        note_anew(store, found)
    return prepared, found, note


def _reopened(prepared: Prepared, store: Store) -> tuple[Prepared, Run, str]:
    """Go on with a spider's last run, with what failed in it alone, whatever code parsed the rest."""
    spider, options = prepared.loaded.name, prepared.options
    if options.fresh or options.is_offline:
        raise UsageError("--failed resumes the last run", "leave --fresh and --replay out")
    named, last = find_run(store, options.failed), next(iter(store.runs(spider, 1)), None)
    if last is None or named.id != last.id:
        is_other = named.spider != spider
        text = f"is a run of {named.spider}" if is_other else f"is not the last run of {spider}"
        hint = f"what failed then was asked for again by {last.id}: --failed {last.id}" if last else ""
        raise UsageError(f"run {named.id} {text}", "" if is_other else hint)
    prepared = with_params(prepared, _same_params(last, options))
    domain_stats = {name: DomainStats.from_json(text) for name, text in store.domain_stats(last).items()}
    kept = {name: stats.without_failures().to_json() for name, stats in domain_stats.items()}
    count = store.reopen_run(last, kept)
    if not count:
        raise UsageError(f"nothing failed in run {last.id}", f"run {spider} asks for all of it again")
    found = store.start_run(spider, code_for(prepared))
    return prepared, found, f"{count} URLs that failed are asked for again"


def _same_params(begun: Run, options: Options) -> dict[str, str]:
    """The params of a run that goes on: its own, and secrets given again; UsageError for others."""
    given = options.params
    if begun.params is None:
        return dict(given)
    kept = {name: value for name, value in begun.params.items() if value is not None}
    hint = "leave that param out to go on, or add --fresh to give the run up and begin anew"
    for name, value in sorted(open_params(given, options.hidden).items()):
        if kept.get(name) != value:
            was = f"with --param {name}={kept[name]}" if name in kept else f"without --param {name}"
            raise UsageError(f"run {begun.id} of {begun.spider} was begun {was} and has not ended", hint)
    for name in begun.params.keys() - kept.keys() - given.keys():
        text = f"run {begun.id} of {begun.spider} was begun with --param {name}, whose value is not kept"
        raise UsageError(text, f"give it again: --param {name}=-")
    return {**kept, **given}
