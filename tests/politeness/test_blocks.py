import pytest

from scraper.model import Headers
from scraper.politeness.blocks import MAX_PAGE, refusal
from tests.politeness.innocents import innocents
from tests.politeness.walls import WALLS

HTML = Headers([("Content-Type", "text/html"), ("Server", "cloudflare")])

CLOUDFLARE = b"""<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title></head><body>
<noscript>Enable JavaScript and cookies to continue</noscript><script>(function(){
window._cf_chl_opt={cvId:'3'};}());</script></body></html>"""
CLOUDFLARE_OLD = b"""<html><head><title>Just a moment...</title></head><body>
<h1>Checking your browser before accessing shop.example</h1></body></html>"""
DATADOME = b"""<html><head><title>shop.example</title></head><body><script>var dd={'rt':'c'}</script>
<script src="https://ct.captcha-delivery.com/c.js"></script></body></html>"""
HUMAN = b"""<html><head><title>Access to this page has been denied</title></head><body>
<div id="px-captcha"></div><script>window._pxAppId='PX1';</script></body></html>"""
IMPERVA = b"""<html style="height:100%"><head><META NAME="ROBOTS" CONTENT="NOINDEX, NOFOLLOW"></head><body>
<iframe id="main-iframe" src="/_Incapsula_Resource?CWUDNSAI=5&xinfo=1" frameborder=0>Request unsuccessful.
Incapsula incident ID: 1-2</iframe></body></html>"""
IMPERVA_SCRIPT = b"""<html><head><META NAME="robots" CONTENT="noindex,nofollow">
<script src="/_Incapsula_Resource?SWJIYLWA=5074,719d">
</script>
<body>
</body></html>"""
AKAMAI = b"""<html><head><title>&nbsp;</title>
<meta http-equiv="refresh" content="5; URL='/p?bm-verify=AAQA'" />
</head><body></body></html>"""
SUCURI = b"""<html><title>You are being redirected...</title><noscript>Javascript is required.</noscript>
<script>var s={},u,e=eval,w=String.fromCharCode,sucuri_cloudproxy_js='',S='cz0n';</script></html>"""
KASADA = b"""<html><head></head><body><script>window.KPSDK={};KPSDK.now=1;</script>
<script src="/149e/ips.js?x"></script></body></html>"""
ANUBIS = b"""<!doctype html><html><head><title>Making sure you&#39;re not a bot!</title>
<script id="anubis_challenge" type="application/json">{"rules":{}}</script></head><body></body></html>"""
DDOS_GUARD = b"""<html><head><title>DDoS-Guard</title>
<script src="/.well-known/ddos-guard/js-challenge/i.js"></script>
</head><body></body></html>"""
F5 = b"""<html><head><title>Request Rejected</title></head><body>The requested URL was rejected.
Please consult with your administrator.<br><br>Your support ID is: 1234567890<br></body></html>"""
AMAZON = b"""<html><head><title dir="ltr">Amazon.com</title></head><body>
<form method="get" action="/errors/validateCaptcha" name="">
<input type="text" name="x"></form></body></html>"""
CAPTCHA = b"""<html><head><title>Are you a robot?</title></head><body><form action="/check">
<div class="h-captcha" data-sitekey="1"></div><input type="submit"></form>
<script src="https://js.hcaptcha.com/1/api.js" async></script></body></html>"""


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "401 Unauthorized"),
        (403, "403 Forbidden"),
        (407, "407 Proxy Authentication Required"),
        (451, "451 Unavailable For Legal Reasons"),
    ],
)
def test_four_statuses_are_refusals_whatever_the_page(status: int, reason: str) -> None:
    assert refusal(status, HTML, b"") == reason
    assert refusal(status, HTML, b"<title>Sorry</title>" + b"x" * 2 * MAX_PAGE) == reason


@pytest.mark.parametrize("status", [200, 301, 304, 400, 404, 410, 429, 500, 503])
def test_other_statuses_alone_are_none(status: int) -> None:
    assert refusal(status, HTML, b"<html><head><title>Hello</title></head><body>Text</body></html>") is None


@pytest.mark.parametrize(
    ("page", "name"),
    [
        (CLOUDFLARE, "Cloudflare"),
        (CLOUDFLARE_OLD, "Cloudflare"),
        (HUMAN, "HUMAN"),
        (IMPERVA, "Imperva"),
        (IMPERVA_SCRIPT, "Imperva"),
        (AKAMAI, "Akamai"),
        (SUCURI, "Sucuri"),
        (KASADA, "Kasada"),
        (ANUBIS, "Anubis"),
        (DDOS_GUARD, "DDoS-Guard"),
        (F5, "F5"),
        (AMAZON, "Amazon"),
        (CAPTCHA, "Captcha"),
    ],
)
@pytest.mark.parametrize("status", [200, 403, 503])
def test_challenge_pages_are_known_by_their_own_tags(status: int, page: bytes, name: str) -> None:
    reason = refusal(status, HTML, page)
    assert reason is not None and reason.startswith(name) and f"(status {status})" in reason


def test_a_page_that_is_titled_like_the_site_is_known_where_it_was_refused() -> None:
    assert refusal(403, HTML, DATADOME) == "DataDome challenge page (status 403)"
    assert refusal(429, HTML, DATADOME) == "DataDome challenge page (status 429)"


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("CF-Mitigated", "challenge", "Cloudflare"),
        ("x-amzn-waf-action", "captcha", "AWS WAF"),
        ("X-Vercel-Mitigated", "challenge", "Vercel"),
        ("sg-captcha", "challenge", "SiteGround"),
    ],
)
@pytest.mark.parametrize("status", [200, 202, 403, 405, 429, 503])
def test_a_challenge_may_be_told_by_a_field_alone(status: int, field: str, value: str, name: str) -> None:
    reason = refusal(status, Headers([(field, value)]), b"x" * 2 * MAX_PAGE)
    assert reason is not None and reason.startswith(name)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (b"<TITLE>Access Denied</TITLE><p>Reference&#32;&#35;18&#46;1", "Akamai block page (status 403)"),
        (b"<title>Attention Required! | Cloudflare</title>", "Cloudflare block page (status 403)"),
        (b"<p>Request unsuccessful. Incapsula incident ID: 1-2</p>", "Imperva block page (status 403)"),
    ],
)
def test_a_refused_page_names_who_refused(page: bytes, reason: str) -> None:
    assert refusal(403, HTML, page) == reason
    assert refusal(200, HTML, page) is None


ARTICLE = b"""<html><head><title>How Cloudflare's "Just a moment..." page works</title></head><body>
<p>Sites show "Checking your browser" or "Access Denied ... Reference #18.1" and ask: are you a robot?</p>
<pre>&lt;script&gt;window._cf_chl_opt={}&lt;/script&gt; &lt;div id="px-captcha"&gt;
/_Incapsula_Resource?SWJIYLWA=1
sucuri_cloudproxy_js='' window.KPSDK={} captcha-delivery.com __cf_chl_tk
anubis_challenge</pre></body></html>"""
CONTACT = b"""<html><head><title>Security check</title></head><body><form method="post">
<input type="email" name="mail"><textarea name="text"></textarea><div class="g-recaptcha"></div>
<script src="https://www.google.com/recaptcha/api.js"></script></form></body></html>"""
SHOP = b"""<html><head><title>Tea</title>
<script src="/cdn-cgi/challenge-platform/scripts/jsd/main.js"></script>
<script src="https://js.datadome.co/tags.js"></script>
<script src="https://www.google.com/recaptcha/api.js?render=1">
</script></head><body><p>Green tea, 5 EUR</p>
<script src="/_Incapsula_Resource?SWJIYLWA=1&ns=1" async></script>
</body></html>"""
BARE_TITLE = (
    b"<html><head><title>Just a moment...</title></head><body><p>A poem about waiting.</p></body></html>"
)
WIKI = (
    b"<html><head><title>CAPTCHA</title><script src='https://js.hcaptcha.com/1/api.js'></script></head><body>"
    + b"<p>A captcha is a test. <a href='/wiki/Turing'>Turing</a></p>" * 40
    + b"</body></html>"
)
JSON_IN_PAGE = b"""<html><body><script id="__DATA__" type="application/json">
{"text": "They set window._cf_chl_opt and sucuri_cloudproxy_js"}</script><p>An article.</p></body></html>"""


@pytest.mark.parametrize("page", [ARTICLE, CONTACT, SHOP, BARE_TITLE, WIKI, JSON_IN_PAGE])
def test_pages_about_captchas_or_with_one_in_a_form_are_pages(page: bytes) -> None:
    assert refusal(200, HTML, page) is None


@pytest.mark.parametrize("page", [ARTICLE, CONTACT, SHOP, WIKI, JSON_IN_PAGE])
def test_an_article_without_a_title_is_still_an_article(page: bytes) -> None:
    assert refusal(200, HTML, page.replace(b"title>", b"b>")) is None


def test_a_site_in_maintenance_refuses_nobody() -> None:
    page = b"<html><title>Maintenance</title><body>Back soon. Reference&#32;&#35;1</body></html>"
    assert refusal(503, HTML, page) is None
    assert refusal(503, HTML, SHOP) is None


def test_large_pages_are_read_for_real() -> None:
    assert refusal(200, HTML, CLOUDFLARE + b" " * MAX_PAGE) is None


@pytest.mark.parametrize(
    "junk", [b"", b"\x00" * 5000, b"<title", b"<title>" * 7000, b'{"a": 1}', b"\xff\xfe<\x00"]
)
def test_any_bytes_have_an_answer(junk: bytes) -> None:
    assert refusal(200, Headers(), junk) is None


@pytest.mark.parametrize("name", WALLS)
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", ""])
def test_a_wall_with_success_is_known_by_its_live_marks_in_any_language(name: str, kind: str) -> None:
    headers = Headers([("Content-Type", kind)] if kind else [])
    assert refusal(200, headers, WALLS[name].encode()) is not None


@pytest.mark.parametrize(("name", "kind", "body"), list(innocents()), ids=[one[0] for one in innocents()])
def test_what_only_speaks_of_a_wall_is_none(name: str, kind: str, body: str) -> None:
    assert refusal(200, Headers([("Content-Type", kind)]), body.encode()) is None


def test_the_innocent_corpus_is_large_enough_to_mean_something() -> None:
    assert len(list(innocents())) >= 60
