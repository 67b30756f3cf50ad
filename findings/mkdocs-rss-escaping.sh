#!/usr/bin/env bash
# mkdocs-rss-plugin 1.19.0 (with MkDocs 1.6.1): categories and authors stand in its RSS feed as they were written, titles are
# escaped. A page with the tag "Q & A" makes the whole feed not well-formed (XML 1.0 2.4), its JSON Feed is right.
# Seen on 2026-11-29: <title>Q &amp; A</title> beside <category>Q & A</category>.
# Exits 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q mkdocs==1.6.1 mkdocs-rss-plugin==1.19.0
cd "$folder"
mkdir docs
cat >mkdocs.yml <<'YAML'
site_name: Site
site_url: https://a.example/
plugins:
  - rss: {use_git: false, categories: [tags], date_from_meta: {as_creation: date}}
YAML
printf -- '---\ndate: 2024-01-02\ntitle: "Q & A"\ntags: ["Q & A"]\n---\nHello\n' >docs/index.md
venv/bin/mkdocs build -q 2>/dev/null
python3 - <<'PYTHON'
import re
import sys
import xml.dom.minidom

text = open("site/feed_rss_created.xml").read()
written = re.findall("<item>.*?(<title>.*?</title>).*?(<category>.*?</category>)", text, re.S)
try:
    xml.dom.minidom.parseString(text)
    error = None
except Exception as raised:
    error = raised
print(written, error)
sys.exit(0 if error and written == [("<title>Q &amp; A</title>", "<category>Q & A</category>")] else 1)
PYTHON
