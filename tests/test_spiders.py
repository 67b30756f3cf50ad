"""The spiders that come with the project read pages in the shape of the sites that they are for."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from scraper.model import Headers, Request, Response
from scraper.parsing.page import Page
from scraper.spider import Spider
from scraper.spider.links import seeds
from scraper.spider.parse_result import parse_page
from scraper.spider.rules import rules_of
from scraper.testing.bookshop import Bookshop
from scraper.testing.catalogue import SIZES, books
from scraper.testing.shopfront import OLD_PATH
from scraper.testing.shopfront import page as shop_page

SPIDERS = Path(__file__).resolve().parent.parent / "spiders"
HTML = Headers([("Content-Type", "text/html; charset=utf-8")])


def spider(name: str, **params: str) -> Spider:
    """An instance of the one spider in spiders/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, SPIDERS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (cls,) = (
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Spider) and thing.__module__ == name
    )
    made = cls()
    made.params = params
    return made


def page(url: str, html: str) -> Page:
    return Page(Request(url), Response(url, 200, HTML, html.encode()))


def parsed(callback: Any, url: str, html: str) -> tuple[list[Any], list[str]]:
    """Records and URLs that a callback yields for a page."""
    things = list(callback(page(url, html)))
    links = [thing.url for thing in things if isinstance(thing, Request)]
    return [thing for thing in things if not isinstance(thing, Request)], links


@pytest.mark.parametrize("name", sorted(path.stem for path in SPIDERS.glob("*.py")))
def test_every_spider_can_start_and_says_what_it_brings(name: str) -> None:
    one = spider(name)
    assert one.name == name and one.key and (one.__doc__ or "").endswith(".")
    assert all(seed.url.startswith(("https://", "http://127.0.0.1")) for seed in seeds(one, rules_of(one)))


def test_quotes_have_text_author_and_tags() -> None:
    html = """
    <div class="row"><div class="col-md-8">
    <div class="quote" itemscope itemtype="http://schema.org/CreativeWork">
      <span class="text" itemprop="text">“Measure twice, cut once.”</span>
      <span>by <small class="author" itemprop="author">A Carpenter</small>
        <a href="/author/A">(about)</a></span>
      <div class="tags">Tags: <meta class="keywords" content="care,wood" />
        <a class="tag" href="/tag/care/page/1/">care</a>
        <a class="tag" href="/tag/wood/page/1/">wood</a></div>
    </div>
    <div class="quote"><span class="text">“Untagged.”</span><small class="author">Nobody</small></div>
    <nav><ul class="pager"><li class="next"><a href="/page/2/">Next <span>&rarr;</span></a></li></ul></nav>
    </div></div>"""
    records, links = parsed(spider("quotes").parse, "https://quotes.toscrape.com/", html)
    assert records == [
        {"text": "Measure twice, cut once.", "author": "A Carpenter", "tags": ["care", "wood"]},
        {"text": "Untagged.", "author": "Nobody", "tags": []},
    ]
    assert links == ["https://quotes.toscrape.com/page/2/"]


def test_a_list_of_books_leads_to_the_books_and_the_next_list() -> None:
    html = """<ol class="row"><li><article class="product_pod">
    <div class="image_container"><a href="catalogue/a-tale_1/index.html"><img src="x.jpg"></a></div>
    <h3><a href="catalogue/a-tale_1/index.html" title="A Tale">A Ta...</a></h3></article></li></ol>
    <ul class="pager"><li class="current">Page 1 of 2</li>
    <li class="next"><a href="catalogue/page-2.html">next</a></li></ul>"""
    _, links = parsed(spider("books").parse, "https://books.toscrape.com/", html)
    base = "https://books.toscrape.com/catalogue/"
    assert links == [f"{base}a-tale_1/index.html", f"{base}page-2.html"]


def test_a_book_has_its_price_stock_and_stars() -> None:
    html = """<ul class="breadcrumb"><li><a href="../../index.html">Home</a></li>
    <li><a href="../category/books_1/index.html">Books</a></li>
    <li><a href="../category/books/poetry_2/index.html">Poetry</a></li><li class="active">A Tale</li></ul>
    <div class="col-sm-6 product_main"><h1>A Tale</h1><p class="price_color">£51.77</p>
    <p class="instock availability"><i class="icon-ok"></i> In stock (22 available) </p>
    <p class="star-rating Three"><i class="icon-star"></i></p></div>
    <div id="product_description" class="sub-header"><h2>Product Description</h2></div><p>Once.</p>
    <table class="table table-striped"><tr><th>UPC</th><td>a897fe39</td></tr>
    <tr><th>Price (excl. tax)</th><td>£51.77</td></tr>
    <tr><th>Price (incl. tax)</th><td>£51.77</td></tr></table>
    <li><article class="product_pod"><p class="star-rating Five"></p></article></li>"""
    one = spider("books")
    url = "https://books.toscrape.com/catalogue/a-tale_1/index.html"
    got = parse_page(
        one, Page(Request(url, one.parse_book), Response(url, 200, HTML, html.encode())), rules_of(one)
    )
    assert not got.rejected and got.records[0].line == (
        '{"upc":"a897fe39","title":"A Tale","category":"Poetry","price":51.77,"stock":22,"stars":3,'
        f'"description":"Once.","url":"{url}"}}'
    )


# the bookshop -----------------------------------------------------------------------------------------------
def test_the_front_page_of_the_bookshop_leads_to_its_categories_and_books() -> None:
    _, links = parsed(spider("bookshop").parse, "http://127.0.0.1:8907/", shop_page("/") or "")
    assert len([link for link in links if "/category/" in link]) == len(SIZES)
    assert not [link for link in links if "checkout" in link or "basket" in link]


def test_a_category_of_the_bookshop_leads_to_its_books_and_its_next_page() -> None:
    url = "http://127.0.0.1:8907/category/mystery"
    _, links = parsed(spider("bookshop").parse, url, shop_page("/category/mystery") or "")
    assert f"{url}?page=2" in links and len(links) == 21
    _, links = parsed(spider("bookshop").parse, url, shop_page("/category/mystery?page=2") or "")
    assert f"http://127.0.0.1:8907{OLD_PATH}" in links and len(links) == SIZES["Mystery"] - 20


def test_a_book_of_the_bookshop_is_read_whole() -> None:
    book = books()[5]
    url = f"http://127.0.0.1:8907{book.path}"
    (record,), _ = parsed(spider("bookshop").parse_book, url, shop_page(book.path) or "")
    assert record == {
        "isbn": book.isbn,
        "title": book.title,
        "author": book.author,
        "category": book.category,
        "price": book.price / 100,
        "stock": book.stock,
        "rating": book.rating,
        "year": book.year,
        "url": url,
    }


def test_the_bookshop_opens_before_its_run_and_closes_after_it() -> None:
    with Bookshop() as elsewhere:
        port = elsewhere.url().rsplit(":", 1)[1].strip("/")
    one = spider("bookshop", port=port)
    one.opened()
    assert one.shop and one.shop.url() == next(iter(one.start()))
    one.closed(None)


# the Python documentation -----------------------------------------------------------------------------------
def definitions(html: str, url: str = "https://docs.python.org/3/library/x.html") -> list[Any]:
    return parsed(spider("pydocs").parse, url, html)[0]


def sig(anchor: str, prefix: str, name: str, arguments: str = "()", kind: str = "") -> str:
    """A `dt` as Sphinx writes it."""
    return (
        f'<dt class="sig sig-object py"{f" id={anchor}" if anchor else ""}>\n'
        + (
            f'<em class="property"><span class="pre">{kind}</span><span class="w"> </span></em>'
            if kind
            else ""
        )
        + (
            f'<span class="sig-prename descclassname"><span class="pre">{prefix}</span></span>'
            if prefix
            else ""
        )
        + f'<span class="sig-name descname"><span class="pre">{name}</span></span>{arguments}'
        + f'<a class="headerlink" href="#{anchor}" title="Permalink to this definition">¶</a></dt>'
    )


def test_a_function_of_the_documentation() -> None:
    arguments = (
        '<span class="sig-paren">(</span><em class="sig-param"><span class="n">path</span></em>, '
        '<em class="sig-param"><span class="o">*</span><span class="n">paths</span></em>'
        '<span class="sig-paren">)</span>'
    )
    html = f"""<dl class="py function">{sig("os.path.join", "os.path.", "join", arguments)}
    <dd><p>Join segments, e.g. of a
    <em>path</em>. The rest.</p><p>More.</p></dd></dl>"""
    assert definitions(html) == [
        {
            "kind": "function",
            "module": "os.path",
            "name": "join",
            "signature": "os.path.join(path, *paths)",
            "summary": "Join segments, e.g. of a path.",
            "url": "https://docs.python.org/3/library/x.html#os.path.join",
        }
    ]


def test_several_ways_to_call_one_class_are_one_record() -> None:
    html = f"""<dl class="py class">{sig("range", "", "range", "(stop)", "class")}
    {sig("", "", "range", "(start, stop)", "class")}
    <dd><p>A range</p></dd></dl>"""
    (record,) = definitions(html)
    assert record["signature"] == "class range(stop)\nclass range(start, stop)"
    assert (record["module"], record["summary"]) == ("builtins", "A range")


def test_two_names_with_one_description_are_two_records() -> None:
    html = f"""<dl class="py function">{sig("m.a", "m.", "a")}{sig("m.b", "m.", "b")}
    <dd><p>Both. Yes.</p></dd></dl>"""
    assert [(r["name"], r["summary"]) for r in definitions(html)] == [("a", "Both."), ("b", "Both.")]


def test_a_signature_that_is_broken_over_lines_is_put_together() -> None:
    arguments = (
        '<span class="sig-paren">(</span><dl>\n'
        '<dd><em class="sig-param"><span class="n">file</span></em>,</dd>\n'
        '<dd><em class="sig-param"><span class="n">mode</span><span class="o">=</span>\'r\'</em>,</dd>\n'
        '</dl>\n\n<span class="sig-paren">)</span>'
    )
    html = f"""<dl class="py function">{sig("open", "", "open", arguments)}<dd><p>Open it.</p></dd></dl>"""
    (record,) = definitions(html)
    assert (record["signature"], record["summary"]) == ("open(file, mode='r')", "Open it.")


@pytest.mark.parametrize(
    ("anchor", "prefix", "name", "expected"),
    [
        ("unittest.mock.patch.object", "patch.", "object", ("unittest.mock", "patch.object")),
        ("functools.cache", "@functools.", "cache", ("functools", "cache")),
        ("thread.exit", "_thread.", "exit", ("_thread", "exit")),
        ("import__", "", "__import__", ("builtins", "__import__")),
        ("decimal.Inexact", "", "Inexact", ("decimal", "Inexact")),
    ],
)
def test_module_and_name(anchor: str, prefix: str, name: str, expected: tuple[str, str]) -> None:
    (record,) = definitions(f'<dl class="py function">{sig(anchor, prefix, name)}<dd></dd></dl>')
    assert (record["module"], record["name"], record["summary"]) == (*expected, "")


def test_notes_and_methods_are_no_summary_and_no_record() -> None:
    html = f"""<dl class="py exception">{sig("m.E", "m.", "E", kind="exception")}
    <dd><div class="deprecated"><p>Deprecated since 3.9.</p></div><p class="audit-hook">Raises an event.</p>
    <p>Raised late.</p><dl class="py method">{sig("m.E.f", "", "f")}<dd><p>No.</p></dd></dl></dd></dl>"""
    (record,) = definitions(html)
    assert (record["kind"], record["summary"]) == ("exception", "Raised late.")


def test_only_pages_of_the_same_documentation_are_followed() -> None:
    html = """<a href="a.html#x">a</a> <a href="a.html">a</a> <a href="../index.html">up</a>
    <a href="sub/">sub</a>
    <a href="../../2/b.html">older</a> <a href="https://peps.python.org/b.html">pep</a>
    <a href="../genindex-A.html">index</a>
    <a rel="nofollow" href="../_sources/library/a.rst.txt">source</a>"""
    base = "https://docs.python.org/3/"
    _, links = parsed(spider("pydocs").parse, f"{base}library/x.html", html)
    assert links == [f"{base}library/a.html", f"{base}index.html", f"{base}library/sub/"]
    copy = spider("pydocs", start="http://127.0.0.1:8000/library/index.html")
    _, links = parsed(copy.parse, "http://127.0.0.1:8000/library/index.html", html)
    assert links == ["http://127.0.0.1:8000/library/a.html", "http://127.0.0.1:8000/library/sub/"]
