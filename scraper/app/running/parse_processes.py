"""Parse processes of `run`, `reparse` and `check --workers N`: how they start, and what they are told."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from scraper.app.options import Prepared
from scraper.engine.parse_pool import ParsePool
from scraper.spider import Rules


def parse_pool(prepared: Prepared, rules: Rules, size: int, orders: Mapping[str, Any]) -> ParsePool:
    """So many processes, which start with the first page. `orders`: their `work` and more."""
    line = json.dumps(
        {
            "options": asdict(prepared.options),
            "allowed_domains": sorted(rules.allowed_domains),
            "origins": sorted(rules.origins),
            **orders,
        },
        default=str,
    )

    def start() -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "scraper.app.running.parse_process"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
        return process

    return ParsePool(start, size)
