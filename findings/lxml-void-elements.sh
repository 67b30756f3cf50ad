#!/usr/bin/env bash
# lxml 6.1.3 (libxml2 2.14.6): the HTML parser, which reads tokens by the HTML Standard, takes the void elements
# wbr, source and track for containers. What follows becomes their content: in <picture> the img is a child
# of source, and text behind <wbr> is inside of it. HTML Standard 13.1.2: void elements have no end tag and no content.
# Seen on 2026-11-29:
#   <picture><source srcset="a"><img src="b"></source></picture>
#   <p>a<wbr>b</wbr></p>
# Exits 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q lxml==6.1.3
"$folder/venv/bin/python" - <<'PYTHON'
from lxml import etree, html

page = "<!DOCTYPE html><html><head><title>x</title></head><body><picture><source srcset=a><img src=b></picture><p>a<wbr>b</p></body></html>"
tree = html.document_fromstring(page)
print("lxml", etree.LXML_VERSION, "libxml2", etree.LIBXML_VERSION)
print(etree.tostring(tree.body, method="xml").decode())
assert tree.find(".//picture/source/img") is not None, "img is no longer within source"
assert tree.find(".//wbr").text == "b", "text is no longer within wbr"
assert tree.find(".//picture/img") is None
PYTHON
