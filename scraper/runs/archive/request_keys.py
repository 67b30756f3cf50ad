"""What an answer is found by where there is no network: method, URL and body of its request."""

import json
from urllib.parse import parse_qsl, urlencode

from scraper.urls import canonical, fingerprint

_FORM = "application/x-www-form-urlencoded"


def request_key(method: str, url: str, body: bytes = b"", kind: str = "") -> bytes:
    """The key of a request, however a tool has ordered a form or spaced its JSON. `kind`: the body's type."""
    kind = kind.partition(";")[0].strip().lower()
    try:
        if kind == _FORM and body:
            body = urlencode(sorted(parse_qsl(body.decode(), keep_blank_values=True))).encode()
        elif kind.endswith("json") and body:
            body = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        pass  # as it came
    return fingerprint(method.upper(), canonical(url) or url, body)
