"""What is said about a file: its name and type as a site gives them, its size, its hash and its place."""

import hashlib
import mimetypes
import re
import unicodedata
from collections.abc import Callable
from pathlib import PurePath
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from scraper.model import Headers
from scraper.ops.patterns import pattern
from scraper.ops.printable import HIDDEN

FOLDER = "files"
_OCTETS = "application/octet-stream"
_LONGEST_NAME = 150  # characters; file systems take 255 bytes
_EXTENSION = pattern(r"\.[a-z0-9]{1,8}")
_NAME = pattern(r"filename\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;\s]+)", re.IGNORECASE)
_CODED_NAME = pattern(r"filename\*\s*=\s*\"?(utf-8|iso-8859-1)'[^']*'([^;\s\"]+)", re.IGNORECASE)


def facts_of(name: str, kind: str, size: int, digest: str) -> dict[str, Any]:
    """What a record says about a file; `path` is relative to the spider's data folder."""
    extension = PurePath(name).suffix.lower()
    if not _EXTENSION.fullmatch(extension):
        extension = mimetypes.guess_extension(kind) or ""
    path = f"{FOLDER}/{digest[:2]}/{digest}{extension}"
    return {"name": name, "path": path, "type": kind, "size": size, "sha256": digest}


def facts_of_content(content: bytes, name: str, kind: str) -> dict[str, Any]:
    """The same for what is saved nowhere: in a test, or without a data folder."""
    return facts_of(name, kind, len(content), hashlib.sha256(content).hexdigest())


Keeper = Callable[[bytes, str, str], dict[str, Any]]
"""What saves a content under a name and a type: That of `SavedFiles` or `facts_of_content`."""


# what a site says about a file ------------------------------------------------------------------------------
def name_of(headers: Headers, url: str) -> str:
    """A file's name by Content-Disposition (RFC 6266), else by its URL: one word without any folder."""
    said = headers.get("content-disposition", "")
    if (coded := _CODED_NAME.search(said)) is not None:
        name = unquote_to_bytes(coded[2]).decode(coded[1], "replace")
    elif (plain := _NAME.search(said)) is not None:
        name = re.sub(r"\\(.)", r"\1", plain[1][1:-1]) if plain[1].startswith('"') else plain[1]
    else:
        name = ""
    last = urlsplit(url).path.rstrip("/").rpartition("/")[2]
    return safe_name(name) or safe_name(unquote_to_bytes(last).decode("utf-8", "replace")) or "file"


def safe_name(name: str) -> str:
    """A name of a site without folders and without what is hidden or bound to no name; it may be empty."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    last = HIDDEN.sub("", last).strip(" .\t")
    if len(last) <= _LONGEST_NAME:
        return last
    stem, dot, extension = last.rpartition(".")
    if not dot or len(extension) > 10:
        return last[:_LONGEST_NAME]
    return f"{stem[: _LONGEST_NAME - len(extension) - 1]}.{extension}"


def type_of(headers: Headers, name: str) -> str:
    """A file's media type: as it is said, or guessed from its name where nothing is said."""
    said = (headers.getall("content-type") or [""])[-1].partition(";")[0].strip().lower()
    if re.fullmatch(r"[\w.+-]{1,80}/[\w.+-]{1,80}", said) and said not in (_OCTETS, "binary/octet-stream"):
        return said
    return mimetypes.guess_type(name)[0] or _OCTETS
