"""An S3 server of the tests' own: moto's, a real process with a real HTTP API."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from typing import Any

BUCKET = "pages"


class ObjectStore:
    """One server with an empty bucket; it forgets all when it is stopped."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        """The bucket, as a setting names it."""
        return f"s3://{BUCKET}"

    @property
    def environment(self) -> dict[str, str]:
        """What sends S3's usual clients to this server."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def start(self) -> None:
        """Begin to answer."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        until = time.monotonic() + 60
        while True:
            try:
                self._ask("PUT", f"/{BUCKET}")
                return
            except OSError:
                assert self._process.poll() is None and time.monotonic() < until, "moto does not start"
                time.sleep(0.05)

    def stop(self) -> None:
        """Be gone, with all objects."""
        self._process.kill()
        self._process.wait()

    def names(self) -> list[str]:
        """The names of all objects."""
        import xml.etree.ElementTree as ElementTree

        listed = ElementTree.fromstring(self._ask("GET", f"/{BUCKET}?list-type=2"))
        return sorted(str(key.text) for key in listed.iter() if key.tag.endswith("}Key"))

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return answer.read()
