"""XML as sites write it, made ready for a parser that goes on after errors.

After the first error libxml2 (2.14) drops the references to amp, lt, gt, quot and apos from all texts, but
those by number stay: so all are written by number. What begins no such reference, and no tag, is text.
"""

import re

from scraper.ops.patterns import pattern

_NUMBERS = {"amp": "&#38;", "lt": "&#60;", "gt": "&#62;", "quot": "&#34;", "apos": "&#39;"}
_MARK = pattern(
    r"(<!\[CDATA\[(?:[^\]]++|\](?!\]>))*+)|&(?!#[0-9]{1,7};|#x[0-9A-Fa-f]{1,6};)(?:(amp|lt|gt|quot|apos);)?"
    r"|<(?![A-Za-z_:/!?\u0080-\U0010FFFF])"
)


def mended(text: str) -> str:
    """The text with its references by number."""
    return _MARK.sub(_by_number, text)


def _by_number(found: re.Match[str]) -> str:
    if found[1]:
        return found[1]
    return _NUMBERS[found[2] or ("amp" if found[0] == "&" else "lt")]
