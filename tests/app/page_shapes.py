"""Pages of many shapes, written for these tests: what a first spider should see in each.

`SHAPES[name]` is (body of the page, a part of the query for its blocks, records, fields with the value of the
first record, the path of the next page).
"""

from typing import Any

NAV = (
    '<header><h1>A site</h1><nav><ul class="menu">'
    + "".join(f'<li class="menu-item"><a href="/m/{n}">Menu point number {n}</a></li>' for n in range(12))
    + "</ul></nav></header>"
)
FOOT = (
    '<footer><div class="links">'
    + "".join(
        f'<div class="link"><a href="/f/{n}">Footer link {n}</a><span>about it</span></div>' for n in range(9)
    )
    + "</div></footer>"
)


def page(body: str, head: str = "") -> str:
    """A whole page with a menu above and links below."""
    return (
        f"<!doctype html><html><head><meta charset=utf-8><title>Shape</title>{head}</head>"
        f"<body>{NAV}<main>{body}</main>{FOOT}</body></html>"
    )


def many(template: str, count: int = 8) -> str:
    """A template for each number; odd ones have another class, as striped lists do."""
    return "".join(
        template.replace("#", str(n)).replace("@", "odd" if n % 2 else "even") for n in range(1, count + 1)
    )


_LIST = page(
    '<ul class="books">'
    + many(
        '<li class="book @"><a class="title" href="/book/#">Book #</a> '
        '<span class="author">Author #</span></li>'
    )
    + '</ul><ul class="pager"><li class="prev"><a href="/p/0">previous</a></li>'
    '<li class="next"><a href="?p=2">next</a></li></ul>'
)
_CARDS = page(
    '<div class="row">'
    + many(
        '<div class="col-md-4"><div class="card"><img src="/i/#.jpg" alt="">'
        '<div class="card-body"><h5 class="card-title">Thing #</h5><p class="price">#.50 €</p>'
        '<div class="tags"><a class="tag" href="/t/1">red</a> <a class="tag" href="/t/2">blue</a></div>'
        '<a class="btn btn-primary" href="/thing/#">More</a></div></div></div>'
    )
    + '</div><nav aria-label="pages"><a class="page-link" href="?p=1">1</a> '
    '<a class="page-link" rel="next" href="?p=2">2</a></nav>'
)
_TABLE = page(
    "<table><thead><tr><th>Town</th><th>Height (m)</th><th>Notes</th></tr></thead><tbody>"
    + many("<tr><td><a href='/town/#'>Town #</a></td><td>10#</td><td>says # of it</td></tr>")
    + "</tbody></table><p><a href='/towns/2'>Next »</a></p>"
)
_OLD_TABLE = page(
    "<table border=1>"
    + many("<tr class=@><td class='code'>A-#</td><td class='qty'>#0</td></tr>")
    + '</table><div class="pagination"><a href="/x/1">«</a> <a href="/x/2">»</a></div>'
)
_TERMS = page(
    "<dl>" + many("<dt id='t#'>Term #</dt><dd>What # means, in a sentence of some length.</dd>") + "</dl>"
    '<div class="nav-links"><a class="next page-numbers" href="/terms/2/">Older terms</a></div>'
)
_FUNCTIONS = page(
    many(
        '<dl class="function"><dt class="sig"><code class="descname">fn_#</code>(x)</dt>'
        "<dd><p>Returns the number # and a little more.</p></dd></dl>"
    )
    + '<a title="next chapter" href="/ch/2">next</a>'
)
_RESULTS = page(
    '<p>About 80 results</p><ol id="results">'
    + many(
        '<li><h3><a href="/r/#?q=x">Result #</a></h3><cite>site#.example</cite>'
        "<p>Some words around the word that was looked for, number #.</p></li>"
    )
    + '</ol><div role="navigation" class="paging"><a href="?start=0">1</a>'
    '<a aria-label="Next page" href="?start=10">2</a></div>'
)
_BLOG = page(
    many(
        '<article class="post-#00 post type-post"><header class="entry-header"><h2 class="entry-title">'
        '<a href="/2026/#">Post #</a></h2>'
        '<time class="entry-date" datetime="2026-01-0#">January #</time></header>'
        '<div class="entry-summary"><p>The first sentences of post #, as far as they go.</p></div></article>'
    )
    + '<div class="nav-previous"><a href="/page/2">Older posts</a></div>'
)
_MICRODATA = page(
    many(
        '<div itemscope itemtype="https://schema.org/Product" class="p-4 css-1x2y3z">'
        '<span itemprop="name">Cup #</span>'
        '<meta itemprop="sku" content="S#"><span itemprop="price">#.20</span></div>'
    )
    + '<a id="load-next" href="/cups?page=2">Weiter</a>'
)
_HASHED = page(
    '<section class="List_root__3xK2b">'
    + many(
        '<a class="Card_link__9a8b7" href="/job/#"><h4>Job #</h4><span>Town #</span><span>Firm #</span></a>'
    )
    + "</section>"
    '<a href="/jobs/2">次へ</a>'
)
_FORUM = page(
    '<div class="topics">'
    + many(
        '<div class="topic"><div class="subject"><a href="/topic/#"><b>Topic #</b></a></div>'
        '<div class="replies">#</div>'
        '<div class="last"><a class="user" href="/u/#">user#</a> <time>2 days ago</time></div></div>'
    )
    + '</div><a class="next" href="/topics?page=2">&gt;</a>'
)
_PLAIN = page(
    "<p>Some files:</p><ul>" + many("<li><a href='file-#.pdf'>File number #</a> (#0 kB)</li>") + "</ul>"
)

# As Datasette writes it: cells by their types, in what is not the footer.
_TYPED = page(
    "<div class='not-footer has-sidebar'><table><thead><tr><th>id<th>City<th>Country</thead><tbody>"
    + many('<tr><td class="pk">#<td class="text">City #<td class="text">Country #')
    + '</tbody></table><p><a href="/rows?_next=8">Next page</a></p></div>'
)

SHAPES: dict[str, tuple[str, str, int, dict[str, Any], str]] = {
    "list": (_LIST, "book", 8, {"title": "Book 1", "author": "Author 1", "url": "/book/1"}, "/?p=2"),
    "cards": (
        _CARDS,
        "card",
        8,
        {"card_title": "Thing 1", "price": "1.50 €", "tag": ["red", "blue"], "image": "/i/1.jpg"},
        "/?p=2",
    ),
    "table": (
        _TABLE,
        "tr",
        8,
        {"town": "Town 1", "height_m": "101", "notes": "says 1 of it", "url": "/town/1"},
        "/towns/2",
    ),
    "typed": (_TYPED, "tr", 8, {"id": "1", "city": "City 1", "country": "Country 1"}, "/rows?_next=8"),
    "old_table": (_OLD_TABLE, "tr", 8, {"code": "A-1", "qty": "10"}, "/x/2"),
    "terms": (
        _TERMS,
        "dt",
        8,
        {"term": "Term 1", "definition": "What 1 means, in a sentence of some length."},
        "/terms/2/",
    ),
    "functions": (_FUNCTIONS, "function", 8, {"sig": "fn_1(x)"}, "/ch/2"),
    "results": (_RESULTS, "#results", 8, {"title": "Result 1", "url": "/r/1?q=x"}, "/?start=10"),
    "blog": (
        _BLOG,
        "post",
        8,
        {"entry_title": "Post 1", "url": "/2026/1", "datetime": "2026-01-01"},
        "/page/2",
    ),
    "microdata": (_MICRODATA, "div", 8, {"name": "Cup 1", "sku": "S1", "price": "1.20"}, "/cups?page=2"),
    "hashed": (_HASHED, "a", 8, {"title": "Job 1", "url": "/job/1"}, "/jobs/2"),
    "forum": (
        _FORUM,
        "topic",
        8,
        {"subject": "Topic 1", "replies": "1", "user": "user1", "url": "/topic/1"},
        "/topics?page=2",
    ),
    "plain": (_PLAIN, "li", 8, {"text": "File number 1 (10 kB)", "url": "/file-1.pdf"}, ""),
}
