"""Chromium: where it is, and how it is started so that nothing leaves it that was not answered by us."""

import os
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from scraper.errors import UsageError

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
INSTALL = "apt-get install chromium, or name one: --set browser=/path/to/chrome"

# Whatever the protocol does not hand to us meets a proxy that does not exist and names that do not resolve,
# also for loopback, which Chromium would otherwise ask directly.
_NO_NETWORK = (
    "--proxy-server=http://nothing.invalid:1",
    "--proxy-bypass-list=<-loopback>",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--disable-quic",
    "--dns-prefetch-disable",
    "--no-pings",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-client-side-phishing-detection",
    "--safebrowsing-disable-auto-update",
    "--no-first-run",
    "--disable-features="
    + ",".join(
        (
            "NetworkTimeServiceQuerying",
            "OptimizationHints",
            "MediaRouter",
            "DialMediaRouteProvider",
            "Translate",
            "AutofillServerCommunication",
            "CertificateTransparencyComponentUpdater",
            "Prerender2",
            "SpeculationRulesPrefetchFuture",
            "PreconnectToSearch",
            "AsyncDns",
        )
    ),
)


def arguments() -> list[str]:
    """The command line of a Chromium without a network."""
    return [*_NO_NETWORK, "--disable-dev-shm-usage", "--mute-audio"]


def find(named: str | None) -> str:
    """The browser to start: the one that is `named`, else the system's. UsageError if there is none."""
    if named is not None:
        path = shutil.which(named)
        if path is None:
            raise UsageError(f"browser {named}: no such program", INSTALL)
        return path
    for name in NAMES:
        if (path := shutil.which(name)) is not None:
            return path
    raise UsageError("rendering needs Chromium, and none was found", INSTALL)


def check(named: str | None) -> str:
    """The browser to start, with the package that drives it; UsageError that says what is missing."""
    if find_spec("playwright") is None:
        raise UsageError("rendering needs the package playwright", "pip install 'scraper[browser]'")
    return find(named)


def is_root() -> bool:
    """Whether Chromium cannot have its sandbox here: it refuses to start with one as root."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def memory_of(folder: Path) -> int:
    """Bytes that the browser started from a folder uses in all its processes; 0 where that cannot be told."""
    try:
        group = (folder / "group").read_text()
    except OSError:
        return 0
    return 1024 * sum(
        _kilobytes(process) for process in Path("/proc").glob("[0-9]*") if _is_of(process, group)
    )


def _is_of(process: Path, group: str) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[2] == group
    except (OSError, IndexError):
        return False


def _kilobytes(process: Path) -> int:
    """What a process uses, with its share of what several use (Pss)."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def write_launcher(folder: Path, chromium: str) -> Path:
    """A program in `folder` that starts Chromium under its guard, for this process."""
    guard = Path(__file__).with_name("guard.py")
    words = [sys.executable, "-I", "-S", str(guard), str(os.getpid()), str(folder), chromium]
    launcher = folder / "chromium"
    launcher.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', "utf-8")
    launcher.chmod(0o700)
    return launcher
