"""What `opened` has set on a spider, for the processes that parse for the one that has called it."""

import base64
import pickle
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from scraper.app.options import Prepared, having_opened

MOST = 4 * 2**20  # bytes: it goes through a pipe that is read byte by byte


def state_of(prepared: Prepared) -> dict[str, Any]:
    """The attributes of a spider as far as they can be pickled, and the files that were read; JSON-able."""
    kept: dict[str, bytes] = {}
    for name, value in vars(prepared.spider).items():
        if name != "params":
            with suppress(Exception):  # a connection, a lock
                kept[name] = pickle.dumps(value)
    pickled = pickle.dumps(kept)
    attributes = base64.b64encode(pickled).decode() if kept and len(pickled) <= MOST else ""
    return {"attributes": attributes, "opened": prepared.loaded.code.outside.opened}


def with_state(prepared: Prepared, state: Mapping[str, Any]) -> Prepared:
    """A spider as it was where its `opened` was called."""
    if state["attributes"]:
        for name, value in pickle.loads(base64.b64decode(state["attributes"])).items():
            with suppress(Exception):  # as where it was made of what only that process has
                setattr(prepared.spider, name, pickle.loads(value))
    return having_opened(prepared, state["opened"])
