"""Storage elsewhere for archives and saved files: a folder, or any file system of fsspec.

A file is there whole or not at all: an object store shows an object when all of it has come; elsewhere it
gets its name when it is whole, and its size has been read back.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from scraper.errors import ScraperError, StoreError, UsageError
from scraper.ops.disk import explained, make_folder, sync_folder

_PART = ".part"
# Of these an object is replaced as a whole; a rename would copy it.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "memory"})


class Depot(Protocol):
    """Named files. Names are relative, with slashes. Raises StoreError, StoreFull or UsageError."""

    def put(self, file: Path, name: str) -> None:
        """Copy a file there; when this returns, it is there whole."""
        ...

    def sizes(self, below: str) -> dict[str, int]:
        """The names and sizes (bytes) of the whole files below a folder, at any depth."""
        ...

    def get(self, name: str, file: Path) -> None:
        """Copy a file from there, whole."""
        ...

    def remove(self, below: str) -> None:
        """Remove a folder with all that is in it. Safe to repeat."""
        ...


def depot_of(place: str) -> Depot:
    """The depot that a setting names; UsageError where what it needs is not installed."""
    if "://" not in place:
        return FolderDepot(Path(place))
    return RemoteDepot(place)


class FolderDepot:
    """A folder, maybe one that machines share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, file: Path, name: str) -> None:
        """See `Depot`."""
        target = self.folder / name
        make_folder(target.parent, self.folder)
        _copy(file, target)

    def sizes(self, below: str) -> dict[str, int]:
        """See `Depot`."""
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            return {
                path.relative_to(self.folder).as_posix(): path.lstat().st_size
                for path in (self.folder / below).rglob("*")
                if path.is_file() and not path.is_symlink() and path.suffix != _PART
            }

    def get(self, name: str, file: Path) -> None:
        """See `Depot`."""
        _copy(self.folder / name, file)

    def remove(self, below: str) -> None:
        """See `Depot`."""
        shutil.rmtree(self.folder / below, ignore_errors=True)


class RemoteDepot:
    """A place that fsspec knows by its URL: s3, gs, abfs, sftp ..."""

    def __init__(self, url: str) -> None:
        try:
            # Imported here: an extra, and slow to load.
            from fsspec.core import url_to_fs
        except ImportError:
            told = f"{url.partition(':')[0]}:// needs fsspec"
            raise UsageError(told, "pip install 'scraper[remote]'") from None
        # Who else may read a message shall not read the password in a URL.
        self._told = f"{url.partition('://')[0]}://{url.partition('://')[2].rpartition('@')[2]}"
        with self._explained("open"):
            self._system, self._root = url_to_fs(url)
        protocol = self._system.protocol
        self._is_object_store = not _OBJECT_STORES.isdisjoint(
            (protocol,) if isinstance(protocol, str) else protocol
        )

    def put(self, file: Path, name: str) -> None:
        """See `Depot`."""
        target = self._path(name)
        with self._explained("write"):
            if self._is_object_store:
                self._system.put_file(str(file), target)
            else:
                part = f"{target}.{uuid.uuid4().hex}{_PART}"
                self._system.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
                self._system.put_file(str(file), part)
                self._system.mv(part, target)
            self._system.invalidate_cache()
            found = int(self._system.info(target)["size"])
        if found != (size := file.stat().st_size):
            raise StoreError(f"{self._told}: {name} has {found:,} bytes there and {size:,} here")

    def sizes(self, below: str) -> dict[str, int]:
        """See `Depot`."""
        with self._explained("read"):
            self._system.invalidate_cache()
            try:
                found: dict[str, Any] = self._system.find(self._path(below), detail=True)
            except FileNotFoundError:
                return {}
        start = f"{self._root.rstrip('/')}/"
        sizes = {path.removeprefix(start): int(one["size"] or 0) for path, one in found.items()}
        return {name: size for name, size in sizes.items() if not name.endswith(_PART)}

    def get(self, name: str, file: Path) -> None:
        """See `Depot`."""
        part = file.with_name(f"{file.name}.{uuid.uuid4().hex}{_PART}")  # several processes may ask for it
        try:
            with self._explained("read"):
                self._system.get_file(self._path(name), str(part))
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)

    def remove(self, below: str) -> None:
        """See `Depot`."""
        with self._explained("clean"), suppress(FileNotFoundError):
            self._system.rm(self._path(below), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn what a file system of any maker raises into one error of ours."""
        try:
            yield
        except ScraperError:
            raise
        except FileNotFoundError as error:
            raise StoreError(f"cannot {what} {self._told}: {error}") from error
        except ImportError as error:
            raise UsageError(f"{self._told}: {error}", "pip install what it names") from error
        except Exception as error:
            told = str(error).splitlines()[0][:200] if str(error) else ""
            raise StoreError(f"cannot {what} {self._told}: {type(error).__name__} {told}".rstrip()) from error


def _copy(file: Path, target: Path) -> None:
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}{_PART}")
    with explained(target):
        try:
            with file.open("rb") as source, part.open("xb") as copy:
                shutil.copyfileobj(source, copy, 2**20)
                copy.flush()
                os.fsync(copy.fileno())
            shutil.copymode(file, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    sync_folder(target.parent)
