"""What a run was begun with beside its code: files and variables that the code names, the spider's values."""

from scraper.app.options import Prepared, outside_now
from scraper.store import Run, Store

_INPUTS = "inputs"  # of notes: what a spider's open run was begun with
_ANEW = "begun anew"  # of notes: the run that was begun since the one before it had other files or variables


def has_other_files(prepared: Prepared, store: Store, begun: Run) -> bool:
    """Whether files or variables have changed since a run began, so that its pages are to be parsed anew.

    Not where it was begun for that itself: a spider that writes to its own files would never end.
    """
    run, _, before = store.notes(_INPUTS).get(begun.spider, "").partition(" ")
    if run != begun.id or store.notes(_ANEW).get(begun.spider) == begun.id:
        return False
    return before.partition(" ")[0] != _named(prepared)


def note_anew(store: Store, run: Run) -> None:
    """Note that a run was begun for other files or variables."""
    store.keep_note(_ANEW, run.spider, run.id)


def other_inputs(prepared: Prepared, store: Store, run: Run) -> str:
    """What to say where a run goes on with other files, variables or values than it was begun with."""
    now = f"{run.id} {_named(prepared)} {outside_now(prepared)}"
    begun = store.notes(_INPUTS).get(run.spider, "")
    if begun == now:
        return ""
    if run.is_resumed and begun.startswith(f"{run.id} "):
        return (
            f"files or values that the spider reads have changed since run {run.id} began: its first "
            "pages were parsed with what was there then (--fresh begins anew, the next run mends it)"
        )
    store.keep_note(_INPUTS, run.spider, now)
    return ""


def _named(prepared: Prepared) -> str:
    return prepared.loaded.code.outside.named() or "-"
