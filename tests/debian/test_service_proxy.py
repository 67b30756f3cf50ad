"""The service behind Debian's nginx as it comes: nobody who asks it is taken for this machine."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.debian.conftest import Nginx
from tests.project import Project
from tests.service.serving import serving

pytestmark = pytest.mark.debian


def test_who_comes_through_nginx_needs_a_token(
    project: Project, nginx: Callable[..., Nginx], tmp_path: Path
) -> None:
    token = project.run("token", "add", "desk", "--scope", "read").out.strip()
    with serving(project) as served:
        assert served.get("/runs").status_code == 200
        port = served.url.rpartition(":")[2]
        front = nginx(tmp_path, f"location / {{ proxy_pass http://127.0.0.1:{port}; }}")
        assert requests.get(front.url("/runs"), timeout=10).status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.get(front.url("/runs"), headers=headers, timeout=10).status_code == 200
