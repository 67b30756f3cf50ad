# ruff: noqa: E501 - markup is set as it comes
"""Innocent answers, each of which says what a wall says: (name, type, body). None of them may be a refusal."""

import html
import json
from collections.abc import Iterator

from tests.politeness.walls import WALLS

_QUOTED = (
    "Anubis challenge de", "Anubis deny", "go-away meta refresh", "Aliyun acw", "Aliyun waf", "Cerberus", "CrowdSec captcha",
    "Akamai crypto challenge", "DataDome", "Cloudflare in German",
)  # fmt: skip
_STORY = (
    "<p>We looked at how this page is built, and what it asks of a browser before it lets a reader in.</p>"
)


def _page(title: str, body: str) -> str:
    return f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{body}</body></html>"


def innocents() -> Iterator[tuple[str, str, str]]:
    """Every innocent answer."""
    for image in ("/.within.website/x/cmd/anubis/static/img/happy.webp", "/.safeline/static/logo.png"):
        body = f'<p>Seen today:</p><img src="https://other.test{image}">'
        yield f"{image} shown from another host", "text/html", _page("Seen today", body)
    for name in _QUOTED:
        wall = WALLS[name]
        yield f"{name} as plain text", "text/plain; charset=utf-8", wall
        yield f"{name} in JSON", "application/json", json.dumps({"html": wall})
        yield f"{name} in JSON typed as HTML", "text/html", json.dumps([wall.replace('"', "'")])
        yield f"{name} in Markdown", "text/markdown", f"# A wall\n\n```html\n{wall}\n```\n"
        item = f"<item><description><![CDATA[{wall}]]></description></item>"
        feed = f'<?xml version="1.0"?>\n<!-- made by hand -->\n<rss version="2.0"><channel>{item}</channel></rss>'
        yield f"{name} in a feed typed as HTML", "text/html", feed
        yield f"{name} in a script file", "text/javascript", f"const page = `{wall}`;"
        yield f"{name} escaped", "text/html", _page("A wall", f"{_STORY}<pre>{html.escape(wall)}</pre>")
        yield f"{name} in a comment", "text/html", _page("A wall", f"{_STORY}<!-- {wall} -->")
        yield f"{name} in a textarea", "text/html", _page("A wall", f"{_STORY}<textarea>{wall}</textarea>")
        yield f"{name} in a template", "text/html", _page("A wall", f"{_STORY}<template>{wall}</template>")
        yield (
            f"{name} in an attribute",
            "text/html",
            _page("A wall", f'{_STORY}<p title="{wall.replace(chr(34), chr(39))}">x</p>'),
        )
        yield f"{name} live in a long article", "text/html", _page("A wall", wall + _STORY * 60)
    for title in ("Security Check", "Just a moment...", "Captcha", "Robot check", "Verify you are human"):
        v3 = '<script src="https://www.google.com/recaptcha/api.js?render=k"></script>'
        yield f"{title}: an article", "text/html", _page(title, _STORY * 3 + v3)
        yield (
            f"{title}: an article with an invisible captcha",
            "text/html",
            _page(
                title,
                f'{_STORY * 3}<div class="g-recaptcha" data-sitekey="k" data-size="invisible"></div>{v3}',
            ),
        )
        yield (
            f"{title}: an article with comments behind a captcha",
            "text/html",
            _page(
                title,
                f'{_STORY * 12}<form><div class="g-recaptcha" data-sitekey="k"></div><button>Send</button></form>',
            ),
        )
        yield (
            f"{title}: a form",
            "text/html",
            _page(
                title,
                '<form><input type="email" name="m"><div class="h-captcha"></div><button>Send</button></form>',
            ),
        )
        yield f"{title}: a short note", "text/html", _page(title, "<p>Back soon.</p>")
