"""Which form of a page is meant: by a CSS query, and by the names of its fields."""

from collections.abc import Collection
from typing import Any

from scraper.errors import SpiderError
from scraper.parsing.form_controls import marked, needs_marks, read
from scraper.parsing.forms import Form
from scraper.parsing.tree import parse_html

_MOST_FORMS = 50  # looked at for the one that has the fields


def first_form(page: Any, query: str, found: list[Any], names: Collection[str]) -> Form:
    """The first of the form elements `found` that has fields of these names, else the first.

    SpiderError where there is none.
    """
    if not found:
        there = ", ".join(dict.fromkeys(_form_name(form) for form in page.tree.iter("form"))) or "none"
        place = page.url.partition("?")[0][:200]
        raise SpiderError(f"{place} has no form {query!r} (status {page.status})", f"it has {there}")
    elements, is_marked = _as_parsed(page, found[:_MOST_FORMS])
    forms = (read(one, page.base, page.url, page.encoding, is_marked=is_marked) for one in elements)
    first = next(forms)
    if set(names) <= set(first.names):
        return first
    return next((form for form in forms if set(names) <= set(form.names)), first)


def _as_parsed(page: Any, forms: list[Any]) -> tuple[list[Any], bool]:
    """The same forms, where that matters of a tree that tells where their end tags stood."""
    if not needs_marks(page.tree):
        return forms, False
    places = {form: at for at, form in enumerate(page.tree.iter("form"))}
    again = list(parse_html(marked(page.text))[0].iter("form"))
    is_marked = len(again) == len(places)
    return ([again[places[form]] for form in forms] if is_marked else forms), is_marked


def _form_name(form: Any) -> str:
    name = form.get("id") or form.get("name")
    return f"form#{name[:40]}" if form.get("id") else f"form[name={name[:40]}]" if name else "form"
