# ruff: noqa: E501 - markup is set as it comes
"""What a page says to machines."""

import pytest

from scraper.errors import SpiderError
from scraper.ops.clock import cpu_seconds
from tests.parsing.test_page import page


def test_json_ld_is_given_object_by_object() -> None:
    got = page(
        '<script type="application/ld+json">{"@type": "Book", "name": "a"}</script>'
        '<script type="Application/LD+JSON">[{"@type": "A"}, {"@type": "B"}]</script>'
        '<script type="application/ld+json">\n//<![CDATA[\n{"@graph": [{"@type": "C"}]}\n//]]></script>'
        '<script type="application/ld+json">{broken</script><script type="application/ld+json">{"a": "x\ny"}</script>'
    )
    assert [one.get("@type") for one in got.jsonld] == ["Book", "A", "B", "C", None]


@pytest.mark.parametrize(
    ("script", "types"),
    [
        ('{"@type": "A", /* said "so" */ "b": ["x,]", 1,],} // end', ["A"]),
        ('{"@type": "A"};\n{"@type": "B"}', ["A", "B"]),
        ("{&quot;@type&quot;: &quot;A&quot;}", ["A"]),
        ('[null, "x", [{"@type": "A"}], {"@graph": [{"@graph": {"@type": "B"}}]}]', ["A", "B"]),
        ('{"@type": "A", "@graph": [{"@type": "B"}]}', ["A", "B"]),
        ("[" * 100_000, []),
        ('{"a":' * 100_000, []),
        ('"' + '\\"' * 500_000, []),
        ("/*" * 500_000, []),
    ],
    ids=range(9),
)
def test_json_ld_is_read_as_it_is_meant_and_only_objects_are_given(script: str, types: list[str]) -> None:
    got = page(f'<script type="application/ld+json">{script}</script>')
    assert [one["@type"] for one in got.jsonld] == types


def test_open_graph_gives_names_and_lists_of_what_stands_more_than_once() -> None:
    got = page(
        '<meta property="og:title" content="T"><meta property="og:image" content="1">'
        '<meta property="og:image" content="2"><meta name="x" content="y">'
        '<meta name="twitter:card" content="summary">'
    )
    assert got.opengraph == {"og:title": "T", "og:image": ["1", "2"], "twitter:card": "summary"}


def test_many_open_graph_values_of_one_name_take_no_longer_than_others() -> None:
    got = page("<meta property=og:image content=1>" * 100_000)
    assert len(got.tree.findall(".//meta")) == 100_000
    began = cpu_seconds()
    assert len(got.opengraph["og:image"]) == 100_000
    assert cpu_seconds() - began < 2


@pytest.mark.parametrize(
    ("markup", "path", "value"),
    [
        ('<script id="__NEXT_DATA__" type="application/json">{"props": {"a": [1, 2]}}</script>', "__NEXT_DATA__.props.a.1", 2),
        ('<script>window.__STATE__ = {"a": "}"};window.x=1</script>', "window.__STATE__", {"a": "}"}),
        ('<script>var x = 1; const data = [{"a": 1}];</script>', "data.0.a", 1),
        ('<script>window["app"] = {"a": null}</script>', "app", {"a": None}),
        (r"""<script>window.S = JSON.parse('{"a": "it\'s \x41"}');</script>""", "S.a", "it's A"),
        (r"""<script>window.S = JSON.parse("{\"a\": 1}");</script>""", "S", {"a": 1}),
        (r"""<script>S = JSON.parse('{"a": "x\\\"y \ud83d\ude00 it\'s \\n"}')</script>""", "S.a", 'x"y \U0001f600 it\'s \n'),
        ('<script>S = JSON.parse(decodeURIComponent("%7B%22a%22%3A1%7D"))</script>', "S.a", 1),
        ('<script>S = JSON.parse(window.atob(`eyJhIjoxfQ==`))</script>', "S.a", 1),
        ('<script>window.S = window.S || {};</script><script>/* S = old */ window.S = {"a": 1}</script>', "S.a", 1),
        ('<script>S = load(); S = {}; S = {"a": 1}</script>', "S", {"a": 1}),
        ('<script>S = window.S || []</script>', "S", []),
        ('<script>App = {}; App["state"] = {"a": 1}</script>', "window.App.state.a", 1),
        ('<script id="my.data" type="application/json">{"a.b": {"c": 1}}</script>', "my.data.a.b.c", 1),
        ('<script id="d">{&quot;a&quot;: 1}</script>', "d.a", 1),
    ],
)  # fmt: skip
def test_json_in_scripts_is_found_by_id_or_variable(markup: str, path: str, value: object) -> None:
    assert page(markup).json(path) == value


def test_a_path_leads_into_a_json_body_too() -> None:
    got = page('{"data": {"items": [{"a.b": 1}]}}', kind="application/vnd.api+json")
    assert got.json("data.items.0.a.b") == 1
    with pytest.raises(SpiderError, match=r"data\.x has no 'x'"):
        got.json("data.x")
    with pytest.raises(ValueError, match="nested too deep"):
        page("[" * 100_000, kind="application/json").json()


def test_json_that_is_not_there_says_what_is() -> None:
    got = page('<script id="data" type="application/json">{"a": {"b": 1}}</script>')
    with pytest.raises(SpiderError, match=r"no script has the id 'x'"):
        got.json("x")
    with pytest.raises(SpiderError, match=r"data\.a\.c has no 'c'"):
        got.json("data.a.c")
    with pytest.raises(SpiderError, match=r"S is no value that can be read|scraper\[extract\]"):
        page(f"<script>S = {'[' * 100_000}</script>").json("S")


def test_a_table_is_rows_by_column_names() -> None:
    got = page(
        "<table><tr><th>Name<th>Price<tr><td>Tea<td>5 <b>EUR</b><tr><td>Milk</table>"
        "<table><tr><td>a<td>b</table><table></table>"
    )
    assert got.tables() == [
        [{"Name": "Tea", "Price": "5 EUR"}, {"Name": "Milk", "Price": ""}],
        [{"1": "a", "2": "b"}],
    ]


def test_cells_that_span_rows_and_columns_stand_in_each() -> None:
    got = page(
        "<table><thead><tr><th rowspan=2>Town<th colspan=2>People<tr><th>2020<th>2021</thead>"
        "<tr><td rowspan=2>Ulm<td>1<td>2<tr><td colspan=2>3<tr><td>Bonn<td>4<td>5<td>extra</table>"
    )
    assert got.tables("table") == [
        [
            {"Town": "Ulm", "People 2020": "1", "People 2021": "2", "4": ""},
            {"Town": "Ulm", "People 2020": "3", "People 2021": "3", "4": ""},
            {"Town": "Bonn", "People 2020": "4", "People 2021": "5", "4": "extra"},
        ]
    ]


def test_no_cell_spans_beyond_its_group_of_rows_and_spans_are_read_as_browsers_do() -> None:
    got = page(
        "<table><thead><tr><th rowspan=9>A<th colspan=' +2px'>B</thead><tbody><tr><td>1<td>2<td rowspan=0>3"
        "<tr><td>4<td>5</tbody><tbody><tr><td>6</table>"
    )
    assert got.tables() == [
        [
            {"A": "1", "B": "2", "B 2": "3"},
            {"A": "4", "B": "5", "B 2": "3"},
            {"A": "6", "B": "", "B 2": ""},
        ]
    ]


def test_the_text_of_a_cell_is_what_a_browser_shows_with_a_blank_for_each_break() -> None:
    got = page(
        "<table><tr><th>Na<br>me<tr><td><p>a</p><p>b<i>c</i></p><ul><li>d<li>e</ul>"
        "<tr><td>f<!-- no -->g<script>no()</script><style>no</style>h</table>"
    )
    assert got.tables() == [[{"Na me": "a bc d e"}, {"Na me": "fgh"}]]


def test_a_table_that_spans_without_end_is_refused_or_bounded() -> None:
    assert len(page("<table><tr><td colspan=999999999>x</table>").tables()[0][0]) == 1000
    rows = "<tr><td colspan=1000 rowspan=0>x" + "<tr>" * 2000
    wide = "<tr>" + "<td colspan=1000>x" * 500
    for cells in (rows, wide + "<tr><td>x" * 2000, f"{wide}</table><table>" * 3):
        with pytest.raises(SpiderError, match="more than 1,000,000 cells"):
            page(f"<table>{cells}</table>").tables()


def test_tables_repeat_no_text_without_end() -> None:
    text = "x" * 100_000
    for markup in (
        "<table><tr><td>" * 200 + text * 4,
        f"<table><tr><td colspan=900>{text}</table>",
        f"<table><tr><th colspan=900>{text}<tr><td>1</table>",
        f"<table><tr><th>{text}{'<tr><td>1' * 900}</table>",
    ):
        with pytest.raises(SpiderError, match="more than 67,108,864 characters"):
            page(markup).tables()
    assert len(page("<table><tr><td>" * 10 + text).tables()) == 10


def test_objects_of_json_ld_cost_the_same_however_many_lists_stand_around_them() -> None:
    objects = "[" * 800 + '{"a": 1},' * 50_000 + "{}" + "]" * 800  # took three seconds
    began = cpu_seconds()
    assert len(page(f'<script type="application/ld+json">{objects}</script>').jsonld) == 50_001
    assert cpu_seconds() - began < 1.5


def test_links_may_be_chosen_by_pattern_and_by_place() -> None:
    got = page('<nav><a href="/a">a</a></nav><ul><li><a href="/b?x=1">b</a><a href="/b?x=2">c</a></ul>')
    assert got.links(allow=r"/b") == ["https://example.org/b?x=1", "https://example.org/b?x=2"]
    assert got.links(deny=[r"x=1", r"/a$"]) == ["https://example.org/b?x=2"]
    assert (
        got.links(css="nav")
        == got.links(css="nav a")
        == got.links(css="nav a::attr(href)")
        == ["https://example.org/a"]
    )
    assert got.links(allow="x=", deny="x=2", css="ul") == ["https://example.org/b?x=1"]


@pytest.mark.parametrize("name", ["microdata", "rdfa"])
def test_microdata_and_rdfa_are_read_where_extruct_is_installed(name: str) -> None:
    pytest.importorskip("extruct")
    got = page('<div itemscope itemtype="http://schema.org/Book"><b itemprop="name">a</b></div>'
               '<p vocab="http://schema.org/" typeof="Book"><i property="name">b</i></p>')  # fmt: skip
    assert "Book" in str(getattr(got, name))


def test_a_library_that_parses_again_gets_no_element_of_thousands_of_attributes() -> None:
    pytest.importorskip("extruct")
    got = page("<p " + " ".join(f"a{n}" for n in range(2_001)) + ">x")
    with pytest.raises(SpiderError, match="more than 2,000 attributes"):
        _ = got.microdata
