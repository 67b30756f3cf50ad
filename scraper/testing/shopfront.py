"""The pages of the bookshop, as HTML."""

from collections.abc import Callable, Iterable
from functools import cache, partial
from html import escape

from scraper.testing.catalogue import SIZES, Book, books, slug

PER_PAGE = 20
BUSY, MOVED, GONE = (books()[place] for place in (32, 76, 122))  # the books whose pages are special
OLD_PATH = f"/book/{MOVED.number}"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title} | The Bookshop</title>
<link rel="icon" href="data:,">
</head>
<body>
<header>
<a href="/">The Bookshop</a>
<nav><a href="/checkout/basket">Basket</a> <a rel="nofollow" href="/account/">Your account</a></nav>
</header>
<main>
<h1>{title}</h1>
{body}
</main>
<footer>Invented books, real HTTP.</footer>
</body>
</html>
"""
_SHELF = '<li><a class="category" href="{path}">{name}</a> <small>{size} books</small></li>\n'
_TEASER = """<li class="book"><article>
<h3><a href="{path}">{title}</a></h3>
<p class="author">{author}</p>
<p class="price">{price}</p>
<a rel="nofollow" href="{path}?add-to-basket=1">Add to basket</a>
</article></li>
"""
_BOOK = """<ul class="breadcrumb"><li><a href="/">Home</a></li><li><a href="{shelf}">{category}</a></li></ul>
<article class="product">
<p class="author">by <span>{author}</span></p>
<p class="price">{price}</p>
<p class="availability">{stock}</p>
<p class="rating" title="{rating} of 5">{stars}</p>
<div class="description"><p>{description}</p></div>
<table class="facts">
<tr><th>ISBN</th><td class="isbn">{isbn}</td></tr>
<tr><th>Published</th><td class="year">{year}</td></tr>
</table>
</article>"""
_ROBOTS = """# Welcome. The baskets and accounts are our visitors' own.
User-agent: *
Disallow: /checkout/
Disallow: /account/

Sitemap: {sitemap}
"""
_SITEMAP = """<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
{urls}</urlset>
"""


def page(path: str) -> str | None:
    """The HTML at a path with its query; None where there is none."""
    build = _public().get(path) or _private().get(path)
    return build() if build else None


def paths() -> tuple[str, ...]:
    """Every page that everybody may see."""
    return tuple(_public())


def robots(sitemap_url: str) -> str:
    """The shop's robots.txt."""
    return _ROBOTS.format(sitemap=sitemap_url)


def sitemap(urls: Iterable[str]) -> str:
    """A sitemap of these URLs."""
    return _SITEMAP.format(urls="".join(f"<url><loc>{escape(url)}</loc></url>\n" for url in urls))


@cache
def _public() -> dict[str, Callable[[], str]]:
    pages: dict[str, Callable[[], str]] = {"/": _front}
    for category, size in SIZES.items():
        for number in range(1, _last_page(size) + 1):
            pages[_shelf_path(category, number)] = partial(_shelf, category, number)
    return pages | {book.path: partial(_book, book) for book in books() if book is not GONE}


def _private() -> dict[str, Callable[[], str]]:
    return {
        "/checkout/basket": partial(_document, "Your basket", "<p>It is empty.</p>"),
        "/account/": partial(_document, "Your account", "<p>Please sign in.</p>"),
    }


def _front() -> str:
    shelves = "".join(
        _SHELF.format(path=_shelf_path(name), name=name, size=size) for name, size in SIZES.items()
    )
    loved = [book for book in books() if book.rating == 5][:6]
    return _document(
        "Books for every shelf", f'<ul class="shelves">\n{shelves}</ul>\n<h2>Loved</h2>\n{_list(loved)}'
    )


def _shelf(category: str, number: int) -> str:
    shelf = [book for book in books() if book.category == category]
    last = _last_page(len(shelf))
    links = [f"<li>Page {number} of {last}</li>"]
    if number > 1:
        links.insert(
            0, f'<li class="previous"><a href="{_shelf_path(category, number - 1)}">previous</a></li>'
        )
    if number < last:
        links.append(f'<li class="next"><a href="{_shelf_path(category, number + 1)}">next</a></li>')
    listed = _list(shelf[(number - 1) * PER_PAGE : number * PER_PAGE])
    return _document(
        category, f'<p>{len(shelf)} books</p>\n{listed}\n<ul class="pager">{"".join(links)}</ul>'
    )


def _book(book: Book) -> str:
    body = _BOOK.format(
        shelf=_shelf_path(book.category),
        category=book.category,
        author=escape(book.author),
        price=_price(book),
        stock=f"In stock ({book.stock} available)" if book.stock else "Out of stock",
        rating=book.rating,
        stars="★" * book.rating + "☆" * (5 - book.rating),
        description=escape(book.description),
        isbn=book.isbn,
        year=book.year,
    )
    return _document(book.title, body)


def _list(shelf: Iterable[Book]) -> str:
    return f'<ol class="books">\n{"".join(map(_teaser, shelf))}</ol>'


def _teaser(book: Book) -> str:
    path = OLD_PATH if book is MOVED else book.path
    return _TEASER.format(path=path, title=escape(book.title), author=escape(book.author), price=_price(book))


def _price(book: Book) -> str:
    return f"£{book.price / 100:.2f}"


def _last_page(size: int) -> int:
    return -(-size // PER_PAGE)


def _shelf_path(category: str, number: int = 1) -> str:
    return f"/category/{slug(category)}" + (f"?page={number}" if number > 1 else "")


def _document(title: str, body: str) -> str:
    return _PAGE.format(title=escape(title), body=body)


NOT_FOUND = _document("Not found", "<p>We do not have that.</p>")
