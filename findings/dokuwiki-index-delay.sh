#!/usr/bin/env bash
# DokuWiki 2022-07-31b (Debian's package dokuwiki 0.0.20220731.a-2): every page that was edited in the last five days says
# <meta name="robots" content="noindex,nofollow">, by its setting indexdelay. Not the age of
# a page counts but its last change, so an edit of the start page closes the whole wiki to a crawler that obeys nofollow, and
# opens it again five days later, though no rule of the site was changed. What is collected daily breaks off after each
# edit, and a wiki whose start page is edited every few days is never open.
# Seen on 2026-11-30: "noindex,nofollow" for a page changed four days before, "index,follow" for one changed six days before.
# Needs dokuwiki, php-cli and python3. Exits 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
cp -rL /usr/share/dokuwiki "$folder/wiki" 2>/dev/null || true
rm -rf "$folder/wiki/conf" "$folder/wiki/data" "$folder/wiki/inc/preload.php"
cp -rL /etc/dokuwiki "$folder/wiki/conf"
cd "$folder/wiki"
mkdir -p data/{pages,meta,cache,index,locks,media,media_meta,media_attic,attic,tmp,log}
printf '<?php\n$conf["useacl"] = 0;\n$conf["savedir"] = "./data";\n$conf["updatecheck"] = 0;\n' >conf/local.php
for days in 4 6; do
    echo "====== Page ======" >"data/pages/d$days.txt"
    touch -d "$days days ago" "data/pages/d$days.txt"
done
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
php -d display_errors=0 -S "127.0.0.1:$port" -t . >"$folder/log" 2>&1 &
server=$!
python3 - "$port" <<'PYTHON'
import re
import sys
import time
import urllib.request


def said(name):
    url = f"http://127.0.0.1:{sys.argv[1]}/doku.php?id={name}"
    for _ in range(100):
        try:
            page = urllib.request.urlopen(url, timeout=60).read().decode()
            return re.search(r'<meta name="robots" content="([^"]*)"', page)[1]
        except OSError:
            time.sleep(0.1)


new, old = said("d4"), said("d6")
print("dokuwiki", open("VERSION").read().strip(), "| changed 4 days ago:", new, "| 6 days ago:", old)
sys.exit(0 if (new, old) == ("noindex,nofollow", "index,follow") else 1)
PYTHON
