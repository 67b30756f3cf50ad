"""Forms as a browser reads and submits them."""

from pathlib import Path
from typing import Any

import pytest

from scraper.errors import SpiderError
from scraper.http.request_body import body_of
from scraper.model import Headers, Request, Response
from scraper.parsing.forms import Form
from scraper.parsing.page import Page

HERE = "https://a.example/dir/page?x=1"


def page_of(body: str, kind: str = "text/html; charset=utf-8") -> Page:
    return Page(Request(HERE), Response(HERE, 200, Headers([("Content-Type", kind)]), body.encode()))


def form_of(inside: str, attributes: str = 'method="post"') -> Form:
    return page_of(f"<form {attributes}>{inside}</form>").form()


def sent(inside: str, attributes: str = 'method="post"', button: str = "", **values: Any) -> str:
    body = form_of(inside, attributes).submission(values, button).body
    assert body is not None
    return body.decode()


@pytest.mark.parametrize(
    ("inside", "values", "body"),
    [
        ('<input name=a value=1><input type=hidden name=t value="x y">', {}, "a=1&t=x+y"),
        ("<input name=a value=1>", {"a": 2}, "a=2"),
        ("<input name=a value=1><input name=b>", {"a": None}, "b="),
        ("<input value=nameless><input name=a>", {"a": "é"}, "a=%C3%A9"),
        ("<input name=a disabled><input name=b>", {}, "b="),
        ("<fieldset disabled><input name=a></fieldset><input name=b>", {}, "b="),
        ("<fieldset disabled><legend><input name=a></legend></fieldset>", {}, "a="),
        ("<input type=checkbox name=a><input type=checkbox name=b checked>", {}, "b=on"),
        ("<input type=checkbox name=a value=yes>", {"a": True}, "a=yes"),
        ("<input type=checkbox name=a checked><input name=b>", {"a": False}, "b="),
        (
            "<input type=checkbox name=a value=1><input type=checkbox name=a value=2>",
            {"a": ["1", 2]},
            "a=1&a=2",
        ),
        ("<input type=radio name=a value=1 checked><input type=radio name=a value=2 checked>", {}, "a=2"),
        ("<input type=radio name=a value=1 checked><input type=radio name=a value=2>", {"a": 2}, "a=2"),
        ("<select name=a><option>one<option value=2>two</select>", {}, "a=one"),
        ("<select name=a><option>one<option selected value=2>two</select>", {}, "a=2"),
        ("<select name=a multiple><option>one<option>two</select>", {}, ""),
        ("<select name=a multiple><option>one<option>two</select>", {"a": ["one", "two"]}, "a=one&a=two"),
        ("<textarea name=a>\none\ntwo</textarea>", {"a": "x\ny"}, "a=x%0D%0Ay"),
        ("<input name=a><button name=go value=1>Go</button><button name=no>No</button>", {}, "a=&go=1"),
        ("<input name=a><button type=button name=js>JS</button><input type=reset name=r>", {}, "a="),
        ("<input type=image name=map><input type=submit name=s value=S>", {}, "map.x=0&map.y=0"),
        ("<input type=hidden name=_charset_>", {}, "_charset_=UTF-8"),
        ("<input name='user[name]'>", {"user[name]": "ada"}, "user%5Bname%5D=ada"),
    ],
)
def test_a_form_sends_what_a_browser_sends(inside: str, values: dict[str, Any], body: str) -> None:
    assert sent(inside, **values) == body


def test_controls_elsewhere_that_name_the_form_belong_to_it() -> None:
    page = page_of(
        "<form id=f method=post><input name=a form=other></form><input name=b form=f><form id=other></form>"
    )
    assert page.form("#f").names == ("b",)
    assert page.form("#other").names == ("a",)


@pytest.mark.parametrize(
    ("attributes", "url"),
    [
        ("", "https://a.example/dir/page?a=1"),
        ('action="search?old=1#top"', "https://a.example/dir/search?a=1"),
        ('action="//b.example/s"', "https://b.example/s?a=1"),
        ('action=" "', "https://a.example/dir/page?a=1"),
        ('action="http://[bad" method=dialog', "https://a.example/dir/page?a=1"),
    ],
)
def test_get_puts_the_fields_in_place_of_the_query(attributes: str, url: str) -> None:
    found = form_of("<input name=a value=1>", attributes).submission({})
    assert (found.method, found.url, found.body) == ("GET", url, None)


def test_a_base_element_moves_the_action() -> None:
    page = page_of('<base href="https://c.example/x/"><form method=post action=in></form>')
    assert page.form().submission({}).url == "https://c.example/x/in"


def test_a_button_can_be_chosen_and_may_change_where_the_form_goes() -> None:
    form = form_of("<button name=a>A</button><input type=submit value=Save formaction=/save formmethod=get>")
    assert form.submission({}, "Save").url == "https://a.example/save?"
    with pytest.raises(SpiderError, match="no button 'Delete'"):
        form.submission({}, "Delete")


def test_multipart_is_written_as_rfc_7578_says() -> None:
    form = form_of('<input name="a&quot;b" value="1">', 'method=post enctype="multipart/form-data"')
    found = form.submission({})
    boundary = found.content_type.partition("boundary=")[2]
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="a%22b"\r\n\r\n1\r\n--{boundary}--\r\n'
    assert found.body == part.encode()


def test_the_pages_encoding_is_that_of_its_forms() -> None:
    page = page_of("<form method=post><input name=a></form>", "text/html; charset=iso-8859-1")
    assert page.form().submission({"a": "é€☃"}).body == b"a=%E9%80%26%239731%3B"


def test_a_field_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(SpiderError, match=r"no field 'pasword' \(it has user, password\)"):
        sent("<input name=user><input name=password type=password>", pasword="x")


def test_a_choice_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(SpiderError, match=r"no choice 'fr' \(it has 'de', 'en'\)"):
        sent("<select name=lang><option>de<option>en</select>", lang="fr")


def test_a_form_that_is_not_there_is_told_with_those_that_are() -> None:
    page = page_of('<form id="search"></form><form name="news"></form>')
    with pytest.raises(SpiderError, match=r"no form 'form#login'.*it has form#search, form\[name=news\]"):
        page.form("form#login")
    with pytest.raises(SpiderError, match="it has none"):
        page_of("nothing").form()


def test_of_several_forms_the_first_that_has_the_fields_is_meant() -> None:
    page = page_of("<form action=/a><input name=q></form><form action=/b><input name=user></form>")
    assert page.form().action == "https://a.example/a"
    assert page.form(names=["user"]).action == "https://a.example/b"
    assert page.form(names=["pasword"]).action == "https://a.example/a"


def test_a_hostile_form_costs_little() -> None:
    nested = "<fieldset>" * 200 + "<input name=a>" * 9000
    assert form_of(nested).names == ("a",)
    with pytest.raises(SpiderError, match="more than 10000 fields"):
        form_of("<input name=a>" * 10_001)


def test_a_button_is_pressed_by_name_value_or_text_or_none_is() -> None:
    inside = "<input name=q><button name=do value=1>Save  it</button><button name=do value=2>Drop it</button>"
    assert sent(inside) == "q=&do=1"
    assert sent(inside, button="2") == sent(inside, button="Drop it") == "q=&do=2"
    assert form_of(inside, "method=post").submission({}, None).body == b"q="
    with pytest.raises(SpiderError, match="no button 'x'"):
        sent(inside, button="x")


def test_a_file_is_a_path_or_a_name_with_content(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    form = form_of("<input type=file name=f>", "method=post enctype=multipart/form-data")
    body = form.submission({"f": tmp_path / "a.csv"}).body or b""
    assert b'filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n1,2' in body
    assert b'filename="n"' in (form.submission({"f": ("n", b"x")}).body or b"")
    with pytest.raises(SpiderError, match="takes a file"):
        form.submission({"f": "a.csv"})
    with pytest.raises(SpiderError, match="cannot be read"):
        form.submission({"f": tmp_path / "gone"})


def test_a_request_with_a_password_goes_over_plain_http_to_no_other_origin() -> None:
    inside = "<input name=user><input type=password name=p>"
    away = form_of(inside, "method=post action=http://a.example/in")
    with pytest.raises(SpiderError, match="plain http to another origin"):
        away.request({"user": "ada", "p": "s3cret"})
    assert away.request({"user": "ada"}).url == "http://a.example/in"
    assert form_of(inside, "method=post action=/in").request({"p": "s3cret"}).url == "https://a.example/in"


def test_a_form_that_is_filled_in_is_submitted_as_a_request() -> None:
    form = form_of("<input name=q><input name='a[b]'><button name=go value=1>Go</button>")
    filled = form.fill({"a[b]": 1}, q="tea").fill(q="tea & milk")
    request = filled.submit("Go", "parse_list", priority=1)
    assert (request.method, request.callback, request.priority) == ("POST", "parse_list", 1)
    assert request.data == "q=tea+%26+milk&a%5Bb%5D=1&go=1"
    assert form.submit(None).data == "q=&a%5Bb%5D="


@pytest.mark.parametrize("kind", ["multipart/form-data", "text/plain"])
def test_a_request_sends_a_form_in_the_charset_of_its_page(kind: str) -> None:
    form = page_of(
        f"<form method=post enctype={kind}><input name=q>", "text/html; charset=windows-1252"
    ).form()
    expected = form.submission({"q": "€é"}).body
    body, _ = body_of(form.request({"q": "€é"}))
    assert body == expected and b"\x80\xe9" in body


def test_a_postback_is_a_request_that_presses_no_button() -> None:
    inside = (
        "<input type=hidden name=__EVENTTARGET><input type=hidden name=__EVENTARGUMENT>"
        "<input type=hidden name=__VIEWSTATE value='/wE='><input type=submit name=search value=Go>"
    )
    values = {"__EVENTTARGET": "grid$next", "__EVENTARGUMENT": ""}
    request = form_of(inside, "method=post action=list.aspx").request(values, None, "parse_list", priority=1)
    assert (request.url, request.method, request.callback) == (
        "https://a.example/dir/list.aspx",
        "POST",
        "parse_list",
    )
    assert request.data == "__EVENTTARGET=grid%24next&__EVENTARGUMENT=&__VIEWSTATE=%2FwE%3D"
    assert (request.headers or {})["Content-Type"] == "application/x-www-form-urlencoded"
    assert form_of("<input name=q>", "").request({"q": "x"}).url == "https://a.example/dir/page?q=x"
