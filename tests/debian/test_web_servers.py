"""Debian's web servers answer 304 to the real command, also for pages that they compress."""

from pathlib import Path

import pytest

from benchmarks.web_servers import SERVERS, Server, measure

pytestmark = pytest.mark.debian


@pytest.mark.parametrize("server", SERVERS[:4], ids=lambda server: server.name.partition(",")[0])
def test_a_compressed_page_that_did_not_change_is_answered_with_304(server: Server, tmp_path: Path) -> None:
    seen = measure(server, tmp_path, is_idle_measured=False)
    assert seen is not None, f"{server.name} is missing: .ci/run installs it"
    assert "not compressed" not in seen.etag
    assert seen.revisits == ["304", "304"]
