"""A fetched response, ready to be parsed: what a spider may ask of it. `Document` does the reading."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from parsel import Selector, SelectorList

from scraper.errors import SpiderError
from scraper.model import Headers, Loaded, Request, Response
from scraper.parsing import extraction, hrefs
from scraper.parsing.document import Document
from scraper.parsing.encoding import decode, encoding_of
from scraper.parsing.file_facts import Keeper, facts_of_content, name_of, safe_name, type_of
from scraper.parsing.forms import Form
from scraper.parsing.markup_size import check_json
from scraper.parsing.refresh import Refresh
from scraper.parsing.sitemap import Sitemap
from scraper.politeness.page_directives import content_usage, robots_directives, tdm_reservation
from scraper.urls import join, origin_of


class Page:
    """What a spider parses: the response, one tree of it, and the links on it."""

    def __init__(
        self,
        request: Request,
        response: Response,
        *,
        depth: int = 0,
        token: str = "",
        session: Any = None,
        keep: Keeper = facts_of_content,
    ) -> None:
        self.request = request
        self.response = response
        self.depth = depth
        self._token = token
        self._session = session
        self._keep = keep
        self.saved: list[dict[str, Any]] = []
        self.has_asked = False
        self._document = Document(response)
        self._directives: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"<Page {self.status} {self.url}>"

    def with_response(self, response: Response) -> "Page":
        """The page that another response to the same request makes."""
        return Page(
            self.request,
            response,
            depth=self.depth,
            token=self._token,
            session=self._session,
            keep=self._keep,
        )

    # the response -----------------------------------------------------------------------------------------
    @property
    def url(self) -> str:
        """The final URL, after redirects."""
        return self.response.url

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    @property
    def headers(self) -> Headers:
        """The header fields of the response."""
        return self.response.headers

    @property
    def content(self) -> bytes:
        """The body, decompressed."""
        return self.response.content

    @property
    def fetched_at(self) -> float:
        """When the response arrived, epoch seconds."""
        return self.response.fetched_at

    @property
    def elapsed(self) -> float:
        """Seconds from the request to the first byte of the response."""
        return self.response.elapsed

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the request carried along."""
        return self.request.meta or {}

    def save(self, name: str | None = None) -> dict[str, Any]:
        """Keep the body as a file of the spider; its "url", "name", "path", "type", "size" and "sha256".

        `path` is relative to the spider's data folder. `name`: instead of the one that the site gives it.
        """
        given = safe_name(name) if name else ""
        if self.response.file is not None:
            facts = dict(self.response.file)
        else:
            told = given or name_of(self.headers, self.url)
            facts = self._keep(self.content, told, type_of(self.headers, told))
        self.saved.append(facts)
        return {"url": self.request.url, **facts} | ({"name": given} if given else {})

    # what a browser made of it ----------------------------------------------------------------------------
    @property
    def source(self) -> str:
        """The document as it was sent; of a page that was not rendered the same as `text`."""
        rendered = self.response.rendered
        if rendered is None:
            return self.text
        return decode(rendered.source, encoding_of(rendered.source, rendered.headers.get("content-type")))

    @property
    def responses(self) -> tuple[Loaded, ...]:
        """What the page's scripts asked for while it was rendered: `url`, `status`, `type`, `json()`."""
        rendered = self.response.rendered
        return (
            ()
            if rendered is None
            else tuple(one for one in rendered.loads if one.status and one.kind == "fetch")
        )

    @property
    def screenshot(self) -> dict[str, Any] | None:
        """The picture of a page with `Render(screenshot=True)`, kept as a file as by `save`; None without."""
        rendered = self.response.rendered
        if rendered is None or not rendered.screenshot:
            return None
        facts = self._keep(rendered.screenshot, "screenshot.png", "image/png")
        if facts not in self.saved:
            self.saved.append(facts)
        return {"url": self.request.url, **facts}

    @property
    def downloads(self) -> list[dict[str, Any]]:
        """The files that the page led to or made while it was rendered: of each what `save` tells."""
        rendered = self.response.rendered
        kept = [one for one in rendered.loads if one.file is not None] if rendered is not None else []
        self.saved += [dict(one.file or {}) for one in kept if one.file not in self.saved]
        return [{"url": one.url, **(one.file or {})} for one in kept]

    # the body ---------------------------------------------------------------------------------------------
    @property
    def encoding(self) -> str:
        """Name of the body's encoding by the Encoding Standard: BOM, header, document, then a guess."""
        return self._document.encoding

    @property
    def text(self) -> str:
        """The body as text; what cannot be decoded is U+FFFD."""
        return self._document.text

    def json(self, path: str = "") -> Any:
        """The body as JSON (UTF-8 unless it says otherwise); ValueError where it is none.

        `path`: what it leads to in the body, `page.json("data.items.0")`; of any other page, the JSON of the
        script with that id, or of the variable that a script sets, and what the rest of the path leads to:
        `page.json("__NEXT_DATA__.props.pageProps")`.
        """
        if not path:
            return self._json()
        # Imported on first use, as are tables: few spiders need them.
        from scraper.parsing.script_json import json_in_scripts, walk

        if "json" in self._document.kind:
            return walk(self._json(), path, path)
        check_json(self.content)
        return json_in_scripts(self.tree, path)

    def _json(self) -> Any:
        check_json(self.content)
        try:
            if "charset" not in self._document.kind:
                try:
                    return json.loads(self.content)
                except UnicodeDecodeError:
                    pass
            return json.loads(self.text)
        except RecursionError:
            raise ValueError("the JSON is nested too deep") from None

    def css(self, query: str) -> SelectorList[Selector]:
        """Selectors of what a CSS query finds; `::text` and `::attr(name)` give strings."""
        return self.selector.css(query)

    def xpath(self, query: str, **variables: Any) -> SelectorList[Selector]:
        """Selectors of what an XPath query finds; `$name` in it stands for a keyword argument."""
        return self.selector.xpath(query, **variables)

    @property
    def soup(self) -> Any:
        """The page as BeautifulSoup: of HTML the same tree that css and xpath see."""
        return self._document.soup

    @property
    def selector(self) -> Selector:
        """The page as one Selector of parsel, which can more, such as `remove_namespaces()`."""
        return self._document.selector

    @property
    def tree(self) -> Any:
        """The root element (lxml) under css, xpath and links; an empty document where there is no markup."""
        return self._document.tree

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the page could not be read, as far as it was looked at: sentences for the log."""
        return tuple(self._document.notes)

    def note(self, text: str) -> None:
        """Have the log say something about the page."""
        self._document.note(text)

    # what it says to machines -------------------------------------------------------------------------------
    @property
    def jsonld(self) -> list[Any]:
        """The JSON-LD objects of the page."""
        check_json(self.content)
        return extraction.json_ld(self.tree)

    @property
    def opengraph(self) -> dict[str, Any]:
        """The page's properties by name: og:title, twitter:card; of several with one name a list."""
        return extraction.open_graph(self.tree)

    @property
    def microdata(self) -> list[Any]:
        """The page's microdata items (extruct, extra `extract`)."""
        return extraction.by_extruct(self.tree, self.url, "microdata")

    @property
    def rdfa(self) -> list[Any]:
        """The page's RDFa (extruct, extra `extract`)."""
        return extraction.by_extruct(self.tree, self.url, "rdfa")

    def tables(self, query: str = "table") -> list[list[dict[str, str]]]:
        """The tables that a CSS query selects: each its rows by column names, spanning cells in each."""
        from scraper.parsing.tables import tables

        return tables(one.root for one in self.css(query))

    def text_content(self) -> str:
        """The readable main text of the page (trafilatura, extra `extract`)."""
        return extraction.main_text(self.tree)

    # links ------------------------------------------------------------------------------------------------
    def links(self, *, allow: hrefs.Patterns = (), deny: hrefs.Patterns = (), css: str = "") -> list[str]:
        """The http(s) URLs that the page links to, in its order, each once, without fragments.

        Of a sitemap, also a gzipped one, and of a feed: the URLs that it lists, further sitemaps first.
        `allow`, `deny`: regular expressions, of which one has to be found in a URL, or none; `css`: only
        links of elements that it selects or that stand in those.
        """
        if css:
            found = list(dict.fromkeys(hrefs.absolute(self.base, self._hrefs_in(css))))
        else:
            found = self._document.links()
        return hrefs.chosen(found, allow, deny) if allow or deny else found

    def _hrefs_in(self, query: str) -> Iterator[str | None]:
        for element in (one.root for one in self.css(query)):
            if isinstance(element, str):
                yield element
            else:
                yield from (link.get("href") for link in element.iter("a", "area"))

    @property
    def sitemap(self) -> Sitemap | None:
        """What a sitemap or a feed lists, known by its content; None for any other page."""
        return self._document.sitemap

    @property
    def meta_refresh(self) -> Refresh | None:
        """Where the page sends its reader by itself (meta refresh, Refresh field); None if nowhere.

        One of 5 seconds or less is followed like a redirect before a spider sees the page; a longer one is
        among its links.
        """
        return self._document.meta_refresh

    def urljoin(self, href: str) -> str:
        """`href` as an absolute URL, seen from this page; SpiderError for what is none."""
        if not isinstance(href, str):
            raise SpiderError(
                f"urljoin() got {hrefs.name_of(href)}, which is no link", "ask first whether the page has it"
            )
        url = join(self.base, href)
        if url is None:
            raise SpiderError(f"{href[:200]!r} is no URL")
        return url

    def follow(self, target: Any, callback: Any = None, **request: Any) -> Request:
        """A Request for a link: an href, or an element that has one. Keywords are those of Request."""
        href = hrefs.href_of(target)
        if href is None:
            raise SpiderError(
                f"follow() got {hrefs.name_of(target)}, which has no link",
                "ask first whether the page has it",
            )
        # What is no URL goes on as it is: scope refuses it with a reason, and the page's records are kept.
        return Request(join(self.base, href) or href, callback or "parse", **request)

    def follow_all(self, targets: Any, callback: Any = None, **request: Any) -> Iterator[Request]:
        """Requests for the links that a CSS query selects, or of hrefs or elements; others are skipped."""
        if isinstance(targets, str):
            found = hrefs.select(self.tree, targets, self._document.is_xml)
        elif isinstance(targets, Iterable):
            found = map(hrefs.href_of, targets)
        else:
            raise SpiderError(
                f"follow_all() got {hrefs.name_of(targets)}", "give a CSS query or a list of links"
            )
        asked = Request("", callback or "parse", **request)
        return asked.at_each(dict.fromkeys(hrefs.absolute(self.base, found)))

    @property
    def base(self) -> str:
        """What relative links are relative to: the page's URL, or its `<base href>` (HTML 4.2.3)."""
        return self._document.base

    # forms ------------------------------------------------------------------------------------------------
    def form(self, query: str = "form", names: Collection[str] = ()) -> Form:
        """The first form that a CSS query selects and that has fields of these names, else the first.

        SpiderError where there is none.
        """
        # Imported on first use, as few spiders send forms.
        from scraper.parsing.page_forms import first_form

        found = [one.root for one in self.css(query)]
        return first_form(self, query, [one for one in found if getattr(one, "tag", "") == "form"], names)

    @property
    def has_session(self) -> bool:
        """Whether the page came over a session, and not out of an archive or a test."""
        return self._session is not None

    @property
    def session_fields(self) -> str:
        """A digest of what somebody has the session send with each request; empty: nothing."""
        return str(self._session.own_fields()) if self._session is not None else ""

    @property
    def session(self) -> Any:
        """The session of the page's domain (a `requests.Session`): its calls wait and obey like any other."""
        if self._session is None:
            raise SpiderError("this page has no session: it is parsed without a network")
        self.has_asked = True
        return self._session

    # what the site says about use ---------------------------------------------------------------------------
    @property
    def noindex(self) -> bool:
        """Whether the site asks that this page be in no index (meta robots, X-Robots-Tag)."""
        return "noindex" in self.directives

    @property
    def nofollow(self) -> bool:
        """Whether the site asks that no link of this page be followed.

        Not of a robots.txt, which is for robots, nor of the error page in its place.
        """
        if "nofollow" not in self.directives:
            return False
        return self.url.partition("?")[0] != f"{origin_of(self.url)}/robots.txt"

    @property
    def noarchive(self) -> bool:
        """Whether the site asks that no copy of this page be kept."""
        return "noarchive" in self.directives

    @property
    def directives(self) -> frozenset[str]:
        """Directives for all robots and for ours, from the headers and the document."""
        if self._directives is None:
            fields = self.headers.getall("x-robots-tag")
            metas = self._document.metas("robots", self._token.lower() or "robots")
            said = fields or metas
            self._directives = (
                robots_directives(fields, metas, self._token, self.fetched_at) if said else frozenset()
            )
        return self._directives

    @property
    def nofollow_urls(self) -> frozenset[str]:
        """URLs that the page links to with rel=nofollow only."""
        return self._document.nofollow_urls()

    def facts(self, robots_usage: str | None = None) -> dict[str, Any]:
        """What the site says about the use of this page; empty where it says nothing.

        `noindex`, `noarchive`, `noai` ...: True; `usage`: {"train-ai": "disallow"} (Content-Usage, the field
        and `robots_usage`, what robots.txt says); `tdm_reservation`: 0 or 1, and `tdm_policy` (TDMRep).
        """
        facts: dict[str, Any] = dict.fromkeys(sorted(self.directives - {"nofollow"}), True)
        usage = content_usage(*self.headers.getall("content-usage"), robots_usage)
        if usage:
            facts["usage"] = usage
        metas = self._document.metas("tdm-reservation")
        if metas or "tdm-reservation" in self.headers:
            tdm = tdm_reservation(self.url, headers=self.headers, metas=metas)
            if tdm.reservation is not None:
                facts["tdm_reservation"] = tdm.reservation
            if tdm.policy is not None:
                facts["tdm_policy"] = tdm.policy
        return facts
