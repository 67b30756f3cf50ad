#!/usr/bin/env bash
# Privoxy 3.0.34 (Debian's package privoxy): a host whose name does not resolve is answered 404, though no server of that name
# was asked; one that does not take the connection is answered 503. RFC 9110 15.6.3 and 15.6.5 have 502 and 504 for a
# proxy. To a crawler 404 says other things: of robots.txt that there is none, so that all is allowed (RFC 9309 2.3.1.3),
# of a page that it is gone. So a name server that fails for a moment looks like a site that took its pages down.
# squid 5.7 answers 503 and tinyproxy 1.11.1 500 to the same request.
# Seen on 2026-11-30: "404 No such domain" for a name, "503 Connect failed" for a port without a server.
# Needs privoxy and python3. Exits 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'kill "${proxy:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
privoxy --version
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'listen-address 127.0.0.1:%s\ntoggle 0\nconfdir /etc/privoxy\n' "$port" >"$folder/config"
privoxy --no-daemon "$folder/config" >"$folder/log" 2>&1 &
proxy=$!
python3 - "$port" <<'PYTHON'
import socket
import sys
import time

proxy = "127.0.0.1", int(sys.argv[1])
for _ in range(100):
    try:
        socket.create_connection(proxy).close()
        break
    except OSError:
        time.sleep(0.1)


def said(url):
    with socket.create_connection(proxy, 60) as opened:
        host = url.split("/")[2]
        opened.sendall(f"GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return opened.makefile("rb").readline().decode().strip()


name, port = said("http://no-such-host.invalid/robots.txt"), said("http://127.0.0.1:1/robots.txt")
print(name, "|", port)
sys.exit(0 if " 404 " in name and " 503 " in port else 1)
PYTHON
