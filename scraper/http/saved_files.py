"""The files that a spider saves: by the hash of their content, each once, under no name that a site chose.

data/NAME/files/ab/ab12...ef.pdf      whole files: two digits of the SHA-256, all of it, and an extension
data/NAME/files/parts/                what is on its way; a later run goes on with it or removes it
"""

import fcntl
import hashlib
import io
import os
import shutil
import stat
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from scraper.errors import BadAnswer
from scraper.model.frozen import frozen
from scraper.ops.disk import create, explained, make_folder, open_regular, sync_folder
from scraper.parsing.file_facts import FOLDER, facts_of
from scraper.runs.depot import Depot

_PARTS = "parts"
_LONGEST_VALIDATOR = 140  # bytes; it stands in the name of a part, as Base64


@frozen
class Part:
    """What there is of a file: `size` bytes of the version that `validator` (ETag, Last-Modified) names.

    `modified`: its Last-Modified, if it had one, as `modified_of` writes it.
    """

    path: Path
    validator: str = ""
    size: int = 0
    modified: str = ""


class SavedFiles:
    """The files of one spider, in the folder `home` of the folder `data`. Raises StoreFull or UsageError.

    `most`: bytes of one file. `types`: media types that are taken, with "*" behind the slash for all; all
    where there are none. No link that stands in the folder is followed. `depot`: where whole files go; here
    are only parts then, and to ask for a file `is_slow`.
    """

    def __init__(
        self,
        home: Path,
        data: Path | None = None,
        *,
        most: int = 2**30,
        types: Collection[str] = (),
        is_shared: bool = False,
        depot: Depot | None = None,
    ) -> None:
        self.most = most
        self._depot = depot
        self._there: dict[str, dict[str, int]] = {}
        self._types = frozenset(types)
        self._home, self._data = home, data or home
        self._is_shared = is_shared
        self._mode = 0o664 if is_shared else None  # None: as the umask has it

    @property
    def is_slow(self) -> bool:
        """Whether to keep a file means to send it somewhere."""
        return self._depot is not None

    def takes(self, kind: str) -> bool:
        """Whether a media type is taken."""
        return not self._types or not self._types.isdisjoint((kind, f"{kind.partition('/')[0]}/*", "*/*"))

    # parts ------------------------------------------------------------------------------------------------
    def part(self, fp: bytes) -> Part | None:
        """What an earlier try left of the file of a request, with which a server can go on."""
        with suppress(OSError):
            for path in sorted(self._parts.glob(f"{fp.hex()}.*.part")):
                found = path.lstat()
                _, coded, *modified, _ = path.name.split(".")
                validator = _decoded(coded)
                is_ours = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
                if is_ours and validator and found.st_size:
                    return Part(path, validator, found.st_size, "".join(modified))
        return None

    def begin(self, fp: bytes, validator: str, modified: str = "") -> tuple[Path, int]:
        """A new part for a request, in the place of older ones: its path and descriptor."""
        self.discard(fp)
        coded = urlsafe_b64encode(validator.encode()).decode() if len(validator) <= _LONGEST_VALIDATOR else ""
        path = self._parts / f"{fp.hex()}.{coded}.{modified}.part"
        return path, self._create(path)

    def go_on(self, part: Part) -> int | None:
        """The descriptor of a part, to append to; None where it has changed or another process writes it."""
        with explained(part.path):
            descriptor = open_regular(part.path, os.O_RDWR | os.O_APPEND, self._mode)
        if _is_locked(descriptor) and os.fstat(descriptor).st_size == part.size:
            return descriptor
        os.close(descriptor)
        return None

    def discard(self, fp: bytes) -> None:
        """Remove the parts of a request. Safe to repeat."""
        with suppress(OSError):
            for path in self._parts.glob(f"{fp.hex()}.*"):
                path.unlink()

    def sweep(self, before: float) -> None:
        """Remove parts that nobody has written to since a moment (epoch seconds)."""
        with suppress(OSError):
            for path in self._parts.iterdir():
                if path.lstat().st_mtime < before:
                    path.unlink()

    def _create(self, path: Path) -> int:
        make_folder(path.parent, self._data, is_shared=self._is_shared)
        with explained(path):
            descriptor = create(path, self._mode or 0o644)
            if self._mode is not None:
                os.fchmod(descriptor, self._mode)
        _is_locked(descriptor)
        return descriptor

    @property
    def _parts(self) -> Path:
        return self._home / FOLDER / _PARTS

    # whole files ------------------------------------------------------------------------------------------
    def keep(self, part: Path, name: str, kind: str, said: str = "") -> dict[str, Any]:
        """Put a whole part in its place, by its content; what is to be said about it.

        BadAnswer, and the part is gone, where its SHA-256 is not the one that was `said`.
        """
        with explained(part):
            with os.fdopen(os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                digest, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
                if said not in ("", digest):
                    part.unlink()
                    raise BadAnswer("the file is not the one whose digest the server names")
                facts = facts_of(name, kind, size, digest)
                if (path := self._found(digest, size)) is not None:
                    part.unlink()
                    return facts | {"path": path}
                os.fsync(file.fileno())
            if self._depot is not None:
                return self._sent(self._depot, part, facts)
            target = self._home / facts["path"]
            make_folder(target.parent, self._data, is_shared=self._is_shared)
            part.replace(target)
        sync_folder(target.parent)
        return facts

    def keep_content(self, content: bytes, name: str, kind: str) -> dict[str, Any]:
        """Save what is in memory; what is to be said about it."""
        digest = hashlib.sha256(content).hexdigest()
        if (path := self._found(digest, len(content))) is not None:
            return facts_of(name, kind, len(content), digest) | {"path": path}
        return self.keep_copy(io.BytesIO(content), name, kind)

    def keep_copy(self, file: IO[bytes], name: str, kind: str) -> dict[str, Any]:
        """Save what an open file holds; what is to be said about it."""
        part = self._parts / f"{uuid.uuid4().hex}.part"
        with explained(part), os.fdopen(self._create(part), "wb") as copy:
            shutil.copyfileobj(file, copy)
        return self.keep(part, name, kind)

    def has(self, facts: Mapping[str, Any]) -> bool:
        """Whether a saved file is still there, and whole."""
        if self._depot is not None:
            path = str(facts["path"])
            return self._listed(self._depot, path).get(path) == int(facts["size"])
        try:
            found = (self._home / str(facts["path"])).lstat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == facts["size"]

    def _found(self, digest: str, size: int) -> str | None:
        """The path of a content that is here already, whatever extension it came with."""
        if self._depot is not None:
            listed = self._listed(self._depot, f"{FOLDER}/{digest[:2]}/")
            names = (name for name, there in sorted(listed.items()) if there == size)
            return next((name for name in names if name.startswith(f"{FOLDER}/{digest[:2]}/{digest}")), None)
        for path in sorted((self._home / FOLDER / digest[:2]).glob(f"{digest}*")):
            relative = path.relative_to(self._home).as_posix()
            if self.has({"path": relative, "size": size}):
                return relative
        return None

    # elsewhere ---------------------------------------------------------------------------------------------
    def _sent(self, depot: Depot, part: Path, facts: dict[str, Any]) -> dict[str, Any]:
        """Send a whole part to where files go; it is saved when it is there."""
        path = facts["path"]
        depot.put(part, f"{self._home.name}/{path}")
        self._listed(depot, path)[path] = facts["size"]
        part.unlink()
        return facts

    def _listed(self, depot: Depot, path: str) -> dict[str, int]:
        """The whole files there that share two digits with a path: asked for once a run."""
        folder = path.rpartition("/")[0]
        if folder not in self._there:
            start = f"{self._home.name}/"
            found = depot.sizes(f"{start}{folder}")
            self._there[folder] = {name.removeprefix(start): size for name, size in found.items()}
        return self._there[folder]


def _decoded(validator: str) -> str:
    try:
        return urlsafe_b64decode(validator).decode()
    except ValueError:
        return ""


def _is_locked(descriptor: int) -> bool:
    """Take a part for ourselves: a process that lost its domain may still be writing."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
