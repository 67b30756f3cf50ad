#!/usr/bin/env bash
# feed 6.0.0 (npm): atom1() writes the type of an enclosure as "image/" and the ending of its URL, whatever type was
# given, and json1() leaves the enclosure out; rss2() writes it as given. RFC 4287 4.2.7.4: type is the media type of
# the link; JSON Feed 1.1 has attachments for it. So the type of an Atom enclosure tells nothing where this package made it.
# Seen on 2026-11-29: RSS "audio/mpeg", Atom "image/mp3", JSON none.
# Needs node and npm. Exits 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund feed@6.0.0 >/dev/null
cat >made.js <<'JS'
const { Feed } = require("feed");
const feed = new Feed({ title: "t", id: "https://a.example/", link: "https://a.example/", copyright: "none" });
feed.addItem({
  title: "one", id: "https://a.example/1", link: "https://a.example/1", date: new Date(0),
  enclosure: { url: "https://a.example/1.mp3", type: "audio/mpeg", length: 12 },
});
const found = [/<enclosure[^>]*type="([^"]*)"/, /rel="enclosure"[^>]*type="([^"]*)"/].map((pattern, n) =>
  (pattern.exec(n ? feed.atom1() : feed.rss2()) || [])[1]);
const attachments = JSON.parse(feed.json1()).items[0].attachments;
console.log(`RSS ${found[0]}, Atom ${found[1]}, JSON ${JSON.stringify(attachments)}`);
process.exit(found[0] === "audio/mpeg" && found[1] === "image/mp3" && attachments === undefined ? 0 : 1);
JS
node made.js
