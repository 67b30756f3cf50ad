# ruff: noqa: E501 - markup is set as it comes
"""Shapes of forms, and how each is filled in and sent: by Chromium (tests/debian/test_forms.py) and by us.

`press`: a CSS query of the button that is clicked, None for none (`form.submit()`), "" for the form's own.
`button`: the same for us. `FORM_ANSWERS.json` beside this file holds what Chromium 156 sent.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Shape:
    name: str
    markup: str
    values: dict[str, Any] = field(default_factory=dict)
    press: str | None = None
    button: str | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Upload:
    """A file for a file input."""

    name: str
    content: str
    kind: str


def _form(inner: str, head: str = 'method="post" action="/got"') -> str:
    return f"<form {head}>{inner}</form>"


TWO = '<button name="go" value="a">First</button><input type="submit" name="go" value="b"><button name="other" value="c">Last one</button>'

SHAPES = (
    Shape("hidden and text", _form('<input type=hidden name=t value=1><input name=q value="a b">')),
    Shape("characters", _form('<input name=q value="a*b-c._~!()\'&amp;=+%/?é€ 😀">')),
    Shape("empty value and no value", _form("<input name=a><input name=b value><input value=x>")),
    Shape("get", _form("<input name=q value='x y'>", 'action="/got?old=1#part"')),
    Shape("get of nothing", _form("", 'action="/got"')),
    Shape("get without action", _form("<input name=q value=1>", "")),
    Shape("post with query", _form("<input name=q value=1>", 'method=post action="/got?keep=1#x"')),
    Shape("unknown method", _form("<input name=q value=1>", 'method=put action="/got"')),
    Shape("line ends in a textarea", _form("<textarea name=t>\n\na\nb&#13;c&#13;&#10;d</textarea>")),
    Shape("line ends in hidden", _form('<input type=hidden name=h value="a&#10;b&#13;c&#13;&#10;d">')),
    Shape("line ends in text", _form('<input name=h value="a&#10;b&#13;c"><input type=password name=p value="x&#10;y">')),
    Shape("line ends in names", _form('<input name="a&#10;b" value=1>')),
    Shape("typed line ends", _form("<textarea name=t></textarea>"), {"t": "x\ny"}),
    Shape("disabled controls", _form("<input name=a disabled value=1><select name=s disabled><option>1</select><textarea name=t disabled>x</textarea><input name=z value=2>")),
    Shape("disabled fieldset", _form("<fieldset disabled><legend><input name=l value=1></legend><legend><input name=m value=2></legend><input name=a value=3></fieldset><input name=z value=4>")),
    Shape("nested fieldset", _form("<fieldset disabled><legend><fieldset><input name=a value=1></fieldset></legend><fieldset><legend><input name=b value=2></legend></fieldset></fieldset>")),
    Shape("checkboxes", _form("<input type=checkbox name=a checked><input type=checkbox name=a value=2><input type=checkbox name=b value='' checked>")),
    Shape("checked by hand", _form("<input type=checkbox name=a value=1><input type=checkbox name=a value=2><input type=checkbox name=b value=3 checked>"), {"a": ["2"], "b": False}),
    Shape("radios", _form("<input type=radio name=r value=1 checked><input type=radio name=r value=2 checked><input type=radio name=s value=1>")),
    Shape("radio disabled last", _form("<input type=radio name=r value=1 checked><input type=radio name=r value=2 checked disabled><input name=z value=1>")),
    Shape("radio chosen", _form("<input type=radio name=r value=1 checked><input type=radio name=r value=2>"), {"r": "2"}),
    Shape("select default", _form("<select name=s><option>a  b\n c<option value=2>x</select>")),
    Shape("select selected", _form("<select name=s><option>a<option selected>b<option selected>c</select>")),
    Shape("select first disabled", _form("<select name=s><option disabled>a<option>b</select>")),
    Shape("select selected disabled", _form("<select name=s><option>a<option selected disabled>b</select><input name=z value=1>")),
    Shape("select all disabled", _form("<select name=s><option disabled>a</select><input name=z value=1>")),
    Shape("select sized", _form("<select name=s size=3><option>a<option>b</select><input name=z value=1>")),
    Shape("select sized selected", _form("<select name=s size=3><option selected>a<option selected>b</select>")),
    Shape("select multiple", _form("<select name=s multiple><option selected>a<option>b<option selected disabled>c<option selected value=d>x</select>")),
    Shape("select chosen", _form("<select name=s multiple><option selected>a<option>b<option>c</select>"), {"s": ["b", "c"]}),
    Shape("optgroup disabled", _form("<select name=s><optgroup disabled label=g><option>a<option>b</optgroup><option>c</select>")),
    Shape("optgroup selected", _form("<select name=s><optgroup label=g><option>a<option selected>b</optgroup><optgroup label=h><option>c</optgroup></select>")),
    Shape("select empty", _form("<select name=s></select><input name=z value=1>")),
    Shape("option markup", _form("<select name=s><option><b>a</b> <i>b</i></select>")),
    Shape("option empty value", _form("<select name=s><option value>all<option>b</select>")),
    Shape("template", _form("<template><input name=t value=1></template><input name=z value=2>")),
    Shape("datalist", _form("<datalist id=d><input name=t value=1><option value=x></datalist><input name=z list=d value=2>")),
    Shape("form attribute", _form("<input name=a value=1>", 'method=post action="/got" id=f') + "<input name=b value=2 form=f><input name=c value=3>"),
    Shape("form attribute away", _form("<input name=a value=1 form=other><input name=b value=2>") + "<form id=other></form>"),
    Shape("form attribute to nothing", _form("<input name=a value=1 form=none><input name=b value=2>")),
    Shape("form in a table", "<table><form method=post action=/got><tr><td><input name=a value=1></td></tr><tr><td><input name=b value=2></td></tr></form></table>"),
    Shape("form in a table, more behind", "<table><form method=post action=/got><tr><td><input name=a value=1></form></table><input name=z value=3>"),
    Shape("form in a row", "<table><tr><form method=post action=/got><td><input name=a value=1></td><td><select name=s><option>x</select></td></form></tr></table>"),
    Shape("form never closed", "<div><form method=post action=/got><input name=a value=1></div><p><input name=b value=2>"),
    Shape("form closed in a div", "<form method=post action=/got><div><input name=a value=1></form><input name=b value=2></div><input name=c value=3>"),
    Shape("form in a form", _form("<input name=a value=1><form><input name=b value=2></form><input name=c value=3>")),
    Shape("form behind the end", "<html><body><p>x</body></html>" + _form("<input name=a value=1>")),
    Shape("paragraph around a form", "<p><form method=post action=/got><input name=a value=1><div><input name=b value=2></p></form>"),
    Shape("no button", _form(TWO + "<input name=z value=1>")),
    Shape("own button", _form(TWO), press="", button=""),
    Shape("button by value", _form(TWO), press="input[type=submit]", button="b"),
    Shape("button by text", _form(TWO), press="button[name=other]", button="Last one"),
    Shape("button by name", _form(TWO), press="button[name=other]", button="other"),
    Shape("button without value", _form("<button name=go>Go</button>"), press="button", button="go"),
    Shape("submit without value", _form("<input type=submit name=go>"), press="input", button="go"),
    Shape("unknown button types", _form("<button type=button name=a value=1>a</button><button type=reset name=b>b</button><button type=what name=c value=3>c</button>"), press="button[name=c]", button=""),
    Shape("button types of inputs", _form("<input type=button name=a value=1><input type=reset name=b value=2><input type=submit name=c value=3>"), press="", button=""),
    Shape("image", _form("<input type=image name=pic value=x alt=go src=x.png>"), press="input", button="pic"),
    Shape("image without name", _form("<input type=image src=x.png>"), press="input", button=""),
    Shape("formaction", _form('<button name=a value=1 formaction="/got/other" formmethod=get>x</button><input name=q value=1>'), press="button", button="a"),
    Shape("formenctype", _form("<button formenctype=text/plain>x</button><input name=q value='1 2'><input name=r value=3>"), press="button", button=""),
    Shape("formaction empty", _form('<button formaction="" name=a value=1>x</button>'), press="button", button=""),
    Shape("button outside", _form("<input name=q value=1>", 'method=post action="/got" id=f') + "<button form=f name=go value=1>x</button>", press="button", button="go"),
    Shape("text/plain", _form("<input name=a value='1 &amp; 2'><textarea name=t>x\ny</textarea>", 'method=post enctype=text/plain action="/got"')),
    Shape("multipart", _form('<input name="a&quot;b&#10;c" value="x&#10;y"><textarea name=t>1\n2</textarea><input name=é value=ü>', 'method=post enctype=multipart/form-data action="/got"')),
    Shape("multipart of nothing", _form("", 'method=post enctype=multipart/form-data action="/got"')),
    Shape("file not chosen", _form("<input type=file name=f><input name=a value=1>", 'method=post enctype=multipart/form-data action="/got"')),
    Shape("file chosen", _form("<input type=file name=f><input name=a value=1>", 'method=post enctype=multipart/form-data action="/got"'), {"f": Upload('n"é.txt', "a\nb", "text/plain")}),
    Shape("file without a type", _form("<input type=file name=f>", 'method=post enctype=multipart/form-data action="/got"'), {"f": Upload("n.bin", "abc", "")}),
    Shape("files", _form("<input type=file name=f multiple>", 'method=post enctype=multipart/form-data action="/got"'), {"f": [Upload("a.txt", "1", "text/plain"), Upload("b.txt", "2", "text/plain")]}),
    Shape("file urlencoded", _form("<input type=file name=f><input type=file name=g>"), {"f": Upload("a b.txt", "1", "text/plain")}),
    Shape("charset field", _form("<input type=hidden name=_charset_ value=x><input type=hidden name=_CharSet_><input name=q value=é>")),
    Shape("charset of the page", _form("<input type=hidden name=_charset_><input name=q value='é€ ж'>"), encoding="windows-1252"),
    Shape("charset latin-1", _form("<input type=hidden name=_charset_><input name=q value='é€ ж'>", 'method=post accept-charset=iso-8859-1 action="/got"')),
    Shape("charset unknown", _form("<input type=hidden name=_charset_><input name=q value=é>", 'method=post accept-charset="what, koi8-r" action="/got"')),
    Shape("charset shift_jis", _form("<input name=q value='日本 é'>", 'method=post accept-charset=shift_jis action="/got"')),
    Shape("charset utf-16", _form("<input type=hidden name=_charset_><input name=q value=é>", 'method=post accept-charset=utf-16 action="/got"')),
    Shape("dirname", _form("<input name=q value=x dirname=q.dir><textarea name=t dirname=t.dir dir=rtl>y</textarea>")),
    Shape("types with rules", _form("<input type=number name=n value=abc><input type=number name=m value=1e2><input type=color name=c><input type=color name=d value='#ABCDEF'><input type=range name=r><input type=range name=u min=10 max=20><input type=date name=e value=nope><input type=date name=g value=2024-02-29>")),
    Shape("types trimmed", _form("<input type=email name=e value=' a@b.c '><input type=url name=u value=' http://x '><input type=search name=s value=' x '><input type=tel name=t value=' 1 '><input type=what name=w value=' y '>")),
    Shape("time types", _form("<input type=time name=t value=10:30><input type=time name=v value=25:00><input type=month name=m value=2024-02><input type=week name=w value=2024-W05><input type=datetime-local name=d value='2024-02-01 10:30'>")),
    Shape("upper case", "<FORM METHOD=POST ACTION=/got><INPUT NAME=A VALUE=1><SELECT NAME=S><OPTION VALUE=x SELECTED>y</SELECT></FORM>"),
    Shape("blanks in attributes", _form("<input name=' a ' value=' 1 '><input name=b type=' checkbox ' checked>", "method=' post ' action=' /got '")),
    Shape("same name twice", _form("<input name=a value=1><input name=a value=2><textarea name=a>3</textarea>")),
    Shape("readonly and hidden", _form("<input name=a value=1 readonly><input name=b value=2 hidden><div hidden><input name=c value=3></div>")),
    Shape("output and object", _form("<output name=o>1</output><object name=x></object><input name=z value=1>")),
    Shape("webforms postback", _form("<input type=hidden name=__EVENTTARGET><input type=hidden name=__EVENTARGUMENT><input type=hidden name=__VIEWSTATE value='/wE='><input type=submit name=search value=Go>"), {"__EVENTTARGET": "grid$next", "__EVENTARGUMENT": "Page$2"}),
)  # fmt: skip
