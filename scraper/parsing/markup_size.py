"""How much memory the tree or the JSON of a page would take, told from its text before it is parsed."""

from scraper.errors import PageTooLarge

_MOST_MEMORY = 256 * 2**20  # bytes that the tree of a page may take, as far as its text tells
_ELEMENT, _ATTRIBUTE, SOUP = 130, 250, 4  # bytes a tag and an attribute, as measured; the soup's are larger
_MOST_OF_JSON, _MOST_TIMES = 512 * 2**20, 20  # bytes; and times its text, as much as sound JSON takes
_OBJECT, _LIST, _VALUE = 200, 80, 16  # bytes


def check_size(text: str, times: int = 1) -> None:
    """Raise PageTooLarge for markup whose tree would fill the memory: a few letters make an element."""
    if times * len(text) * _ATTRIBUTE <= _MOST_MEMORY:
        return
    size = times * (text.count("<") * _ELEMENT + text.count("=") * _ATTRIBUTE)
    if size > _MOST_MEMORY:
        most = _MOST_MEMORY // 2**20
        raise PageTooLarge(f"its markup would take {size // 2**20:,} MiB of memory, more than {most} MiB")


def check_json(text: str | bytes) -> None:
    """Raise PageTooLarge for JSON that would fill the memory: empty lists take thirty times their text."""
    if len(text) * _OBJECT <= _MOST_OF_JSON:
        return
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    size = data.count(b"{") * _OBJECT + data.count(b"[") * _LIST + data.count(b",") * _VALUE
    if size > max(_MOST_OF_JSON, _MOST_TIMES * len(data)):
        most = _MOST_OF_JSON // 2**20
        raise PageTooLarge(f"its JSON would take {size // 2**20:,} MiB of memory, more than {most} MiB")
