#!/usr/bin/env bash
# markdownify 1.2.3: a link whose text is its target is written in CommonMark's short form for absolute URIs, also
# where the target is none. <a href="/a">/a</a> becomes "</a>", which CommonMark reads as a closing HTML tag: the
# link and its text are gone. CommonMark 0.31.2, 6.5: an autolink is an absolute URI, a scheme and a colon first.
# The option autolinks=False writes [/a](/a).
# Seen on 2026-11-29:
#   '</a>'            by default
#   '[/a](/a)'        with autolinks=False
#   See  now          what CommonMark shows of the first
# Exits 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q markdownify==1.2.3 markdown-it-py==4.3.0
"$folder/venv/bin/python" - <<'PYTHON'
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from markdownify import markdownify

page = '<p>See <a href="/a">/a</a> now</p>'
short, long = markdownify(page).strip(), markdownify(page, autolinks=False).strip()
print(repr(short), repr(long))


class Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.text, self.links = "", []

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attrs):
        self.links += [dict(attrs).get("href")] if tag == "a" else []


read = {}
for name, text in (("default", short), ("autolinks=False", long)):
    read[name] = Text()
    read[name].feed(MarkdownIt("commonmark").render(text))
    print(name, repr(read[name].text.strip()), read[name].links)
assert short == "See </a> now", "it is written in another way now"
assert long == "See [/a](/a) now"
assert "/a" not in read["default"].text and not read["default"].links, "nothing is lost any more"
assert read["autolinks=False"].links == ["/a"]
PYTHON
