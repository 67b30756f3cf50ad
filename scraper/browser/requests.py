"""What Chromium's protocol says about a request (domain `Fetch`), in our words."""

import base64
from collections.abc import Mapping
from typing import Any

_KINDS = {
    "Document": "frame",
    "Stylesheet": "stylesheet",
    "Script": "script",
    "XHR": "fetch",
    "Fetch": "fetch",
    "Preflight": "fetch",
    "EventSource": "events",
    "WebSocket": "socket",
    "Image": "image",
    "Media": "media",
    "TextTrack": "media",
    "Font": "font",
    "Ping": "beacon",
    "CSPViolationReport": "beacon",
}


def kind_of(event: Mapping[str, Any]) -> str:
    """The kind of a request that is held; of an icon, a file, a worker's script it stands in fields."""
    headers = {name.lower(): value for name, value in event["request"]["headers"].items()}
    accept = headers.get("accept", "")
    if accept == "text/event-stream":  # Chromium calls it an XHR
        return "events"
    if "prefetch" in headers.get("sec-purpose", headers.get("purpose", "")):
        return "other"  # for a page that nobody has asked for yet
    if event["resourceType"] == "Document" and not accept:
        return "download"  # of a link with the attribute `download`; a document is asked for with its types
    kind = _KINDS.get(event["resourceType"], "other")
    if kind == "other" and event["resourceType"] == "Other":
        is_script = headers.get("sec-fetch-dest", "") in ("worker", "sharedworker", "script")
        return "script" if is_script or accept == "*/*" else "image" if accept.startswith("image/") else kind
    return kind


def is_led_on(request: Mapping[str, Any]) -> bool:
    """Whether a page has asked for a document, and not we; some pages keep that to themselves."""
    return any(name.lower() in ("referer", "origin") for name in request["headers"])


def body_of(request: Mapping[str, Any]) -> bytes | None:
    """The body of a request, None where it has none."""
    entries = request.get("postDataEntries")
    if entries:
        return b"".join(base64.b64decode(entry.get("bytes", "")) for entry in entries)
    text = request.get("postData")
    return text.encode() if text is not None else None
