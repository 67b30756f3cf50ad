"""A service from its options: which parts it is made of, and what must hold before it listens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from scraper.app.admin.tokens import SCOPES, listed
from scraper.app.options import open_store
from scraper.app.project import SERVICE
from scraper.errors import ScraperError, UsageError
from scraper.model.frozen import frozen
from scraper.service.access import Access, Caller, is_loopback
from scraper.service.api import Api
from scraper.service.application import Gate, application
from scraper.service.copies import Copies
from scraper.service.copy_files import CopyFiles
from scraper.service.events import Events
from scraper.service.fetch import FetchApi, wall
from scraper.service.fetching import Fetches
from scraper.service.pages import Pages
from scraper.service.problems import Problem
from scraper.service.project import Project, check_folder
from scraper.service.quotas import Quotas
from scraper.service.reading import Reader
from scraper.service.rendering import Renderings
from scraper.service.runs import Runs
from scraper.service.server import listen, serve
from scraper.settings import Settings
from scraper.store import Store


@frozen
class ServiceOptions:
    """Where to listen, and what to serve. `store`: as typed; `names`: further hosts that are ours."""

    root: Path
    data: Path
    settings: Settings
    store: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    needs_token: bool = False
    has_mcp: bool = False


class Service:
    """The parts of one service."""

    def __init__(self, options: ServiceOptions) -> None:
        self.options = options
        access = Access(options.host.lower(), frozenset(map(str.lower, options.names)), options.needs_token)
        self.reader = Reader(self.open_store)
        self.project = Project(options.root, options.data, options.store)
        self.runs = Runs(self.reader, self.project)
        self.events = Events(self.reader, options.data)
        self.fetches = Fetches(self.open_store, options.settings)
        renderings = Renderings(self.fetches, options.settings)
        copies = Copies(files=CopyFiles(options.data / SERVICE / "copies"))
        quotas, parse_timeout = Quotas(self.reader, wall), options.settings.parse_timeout
        self.fetch = FetchApi(self.fetches, renderings, copies, quotas, wall, parse_timeout)
        self.gate = Gate(self.reader, access)
        self._api = Api(
            self.reader, self.project, self.runs, self.events, options.settings, self.fetch.metrics
        )
        self._pages: Pages | None = None
        self._mcp: Any = None

    def open_store(self) -> Store:
        """A store of its own for the thread that calls."""
        settings = self.options.settings
        return open_store(self.options.data, settings.store, is_shared=settings.share, is_light=True)

    def application(self) -> Starlette:
        """The ASGI application."""
        api = self._api
        pages = Pages(api, self.gate)
        self.gate.show_as(pages.as_page)
        self._pages = pages
        known = [*api.operations(), *self.fetch.operations(), *pages.operations()]
        if self.options.has_mcp:
            self._mcp = self.mcp_server()
            known += self._mcp.operations()
        return application(self.gate, known, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[None]:
        warming = asyncio.create_task(self._warm())
        async with self._mcp.running() if self._mcp is not None else nullcontext():
            yield
        warming.cancel()
        if self._pages is not None:
            self._pages.close()
        await asyncio.to_thread(self.fetch.close)
        self.reader.close()

    def mcp_server(self) -> Any:
        """The tools for assistants; who speaks to us without a gate is on this machine."""
        # Imported here: an extra of its own, and slow to load.
        from scraper.service.mcp_server import McpServer

        return McpServer(self._api, self.fetch, Caller(frozenset(SCOPES)))

    async def _warm(self) -> None:
        with suppress(Problem, ScraperError):
            if self._pages is not None:
                await self._pages.warm()

    def end(self) -> None:
        """Let go of everybody who listens."""
        self.events.close()


def run(options: ServiceOptions, tell: Callable[[str], None]) -> int:
    """Serve a project until a signal ends it; the exit code. UsageError where it must not listen so."""
    check_folder(options.root)
    service = Service(options)
    _check_access(service, options)
    opened = listen(options.host, options.port)
    host, port = opened.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    tell(f"serving {options.root} at http://{shown}:{port}/")
    return serve(service.application(), opened, service.end)


def speak(options: ServiceOptions) -> int:
    """Speak MCP on standard input and output until the client ends; the exit code."""
    check_folder(options.root)
    service = Service(options)
    try:
        asyncio.run(service.mcp_server().speak())
    except KeyboardInterrupt:
        pass
    finally:
        service.fetch.close()
        service.reader.close()
    return 0


def _check_access(service: Service, options: ServiceOptions) -> None:
    """UsageError where others could reach us and nobody has a token."""
    tokens = service.reader.run(listed)
    if tokens or (is_loopback(options.host) and not options.needs_token):
        return
    where = "--require-token" if is_loopback(options.host) else f"--host {options.host}"
    raise UsageError(
        f"{where} needs a token, and there is none",
        "make one first: python -m scraper token add NAME --scope read",
    )
