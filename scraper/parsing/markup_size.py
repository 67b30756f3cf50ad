"""How much memory the tree of a page would take, told from its text before it is parsed."""

from scraper.errors import PageTooLarge

_MOST_MEMORY = 256 * 2**20  # bytes that the tree of a page may take, as far as its text tells
_ELEMENT, _ATTRIBUTE, SOUP = 130, 250, 4  # bytes a tag and an attribute, as measured; the soup's are larger


def check_size(text: str, times: int = 1) -> None:
    """Raise PageTooLarge for markup whose tree would fill the memory: a few letters make an element."""
    if times * len(text) * _ATTRIBUTE <= _MOST_MEMORY:
        return
    size = times * (text.count("<") * _ELEMENT + text.count("=") * _ATTRIBUTE)
    if size > _MOST_MEMORY:
        most = _MOST_MEMORY // 2**20
        raise PageTooLarge(f"its markup would take {size // 2**20:,} MiB of memory, more than {most} MiB")
