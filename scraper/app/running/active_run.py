"""The run that this process leads."""

from scraper.app.options import Prepared
from scraper.model.frozen import frozen
from scraper.ops.clock import Clock
from scraper.runs.files import RunFiles
from scraper.store import Run, Store


@frozen
class ActiveRun:
    """A run that this process leads: what was prepared for it, where it is kept, its files and its clock."""

    prepared: Prepared
    store: Store
    run: Run
    files: RunFiles
    clock: Clock
