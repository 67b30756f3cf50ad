"""Where the pages of a spider's run come from, if not from the web: kept in the store, for every host to see.

A run that parses archived pages sends no request. A helper of another machine, or a later command, has to
know that: half of such a run would be from the network.
"""

import json
from hashlib import blake2b

from scraper.app.archived.archive_home import archive_home_of
from scraper.app.options import Prepared
from scraper.runs.archive.reading import archive_files
from scraper.store import Store

_KIND = "page source"
_ARCHIVE = "page source: archive"


def keep_source(prepared: Prepared, store: Store) -> bool:
    """Note what the run that is about to begin reads; before it begins, so that no helper sees it without.

    Whether the spider's last run read an archive, and this one asks the web.
    """
    name = prepared.loaded.name
    if store.holder(name) is not None:
        return False  # that of the run which goes on is to stay
    if prepared.options.is_offline:
        store.keep_note(_ARCHIVE, name, archive_digest(prepared))
        store.keep_note(_KIND, name, json.dumps([str(file) for file in prepared.options.replay]))
        return False
    return store.drop_note(_KIND, name) if name in store.notes(_KIND) else False


def source_of(store: Store, spider: str) -> list[str] | None:
    """The files that the spider's last run reads (none: its archive); None where it asks the web."""
    text = store.notes(_KIND).get(spider)
    found: list[str] | None = None if text is None else json.loads(text)
    return found


def has_archive(prepared: Prepared, store: Store) -> bool:
    """Whether the archive that the spider's last run reads can be read here: all of it."""
    return store.notes(_ARCHIVE).get(prepared.loaded.name) == archive_digest(prepared)


def archive_digest(prepared: Prepared) -> str:
    """A digest of the names and sizes of a spider's archives."""
    folders = archive_home_of(prepared).folders() if not prepared.options.replay else []
    files = sorted(
        f"{folder.name}/{file.name} {file.stat().st_size}"
        for folder in folders
        for file in archive_files(folder)
    )
    return blake2b("\n".join(files).encode(), digest_size=16).hexdigest()
