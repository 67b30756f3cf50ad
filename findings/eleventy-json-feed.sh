#!/usr/bin/env bash
# @11ty/eleventy-plugin-rss 3.0.0 (npm, with @11ty/eleventy 3.1.8): the JSON Feed of its feedPlugin has titles escaped as
# HTML, its Atom feed has them as text. JSON Feed 1.1: title is plain text. So a title of such a feed reads
# "Fish &amp; chips"; a reader that shows it as the specification says shows the entity.
# Seen on 2026-11-29: JSON "Fish &amp; chips", Atom (after XML) "Fish & chips".
# Needs node and npm. Exits 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund @11ty/eleventy@3.1.8 @11ty/eleventy-plugin-rss@3.0.0 >/dev/null
cat >eleventy.config.mjs <<'JS'
import { feedPlugin } from "@11ty/eleventy-plugin-rss";
export default function (config) {
  for (const type of ["json", "atom"])
    config.addPlugin(feedPlugin, {
      type, outputPath: `/feed.${type}`, collection: { name: "posts", limit: 0 },
      metadata: { language: "en", title: "t", base: "https://a.example/", author: { name: "Ann" } },
    });
}
JS
printf -- '---\ntitle: "Fish & chips"\ntags: posts\ndate: 2024-01-01\n---\nHello\n' >one.md
npx eleventy --quiet
python3 - <<'PYTHON'
import json
import re
import sys
from html import unescape

said = json.load(open("_site/feed.json"))["items"][0]["title"]
atom = unescape(re.search("<entry>.*?<title[^>]*>(.*?)</title>", open("_site/feed.atom").read(), re.S)[1])
print(f"JSON {said!r}, Atom {atom!r}")
sys.exit(0 if (said, atom) == ("Fish &amp; chips", "Fish & chips") else 1)
PYTHON
