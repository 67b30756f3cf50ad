"""Sites of thirty pages behind a limiter: `python_apps.py KIND HOST PORT LIMIT [headers] [moving]`."""

import logging
import sys

KIND, HOST, PORT, LIMIT = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
HEADERS = "headers" in sys.argv
INDEX = "".join(f'<a href="/p{number}">{number}</a>' for number in range(30))
logging.disable(logging.INFO)


def body(path: str) -> tuple[str, int]:
    """An index, thirty pages, and no robots.txt."""
    return (INDEX, 200) if path in ("", "/") else ("", 404) if "robots" in path else (f"page {path}", 200)


def flask_limiter() -> None:
    from flask import Flask
    from flask_limiter import Limiter
    from flask_limiter.util import get_remote_address

    strategy = "moving-window" if "moving" in sys.argv else "fixed-window"
    app = Flask(__name__)
    Limiter(
        get_remote_address,
        app=app,
        application_limits=[LIMIT],
        headers_enabled=HEADERS,
        strategy=strategy,
        storage_uri="memory://",
    )
    app.add_url_rule("/", "index", lambda: body(""))
    app.add_url_rule("/<path:path>", "page", lambda path: body(path))
    app.run(HOST, PORT, threaded=True)


def slowapi() -> None:
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import HTMLResponse, Response
    from slowapi import Limiter, _rate_limit_exceeded_handler
    from slowapi.errors import RateLimitExceeded
    from slowapi.util import get_remote_address

    limiter = Limiter(key_func=get_remote_address, headers_enabled=HEADERS, key_style="endpoint")
    app = FastAPI()
    app.state.limiter = limiter
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)

    @app.get("/{path:path}")
    @limiter.limit(LIMIT)
    async def page(request: Request, path: str) -> Response:
        text, status = body(path)
        return HTMLResponse(text, status)

    uvicorn.run(app, host=HOST, port=PORT, log_level="error")


def fastapi_limiter() -> None:
    import uvicorn
    from fastapi import Depends, FastAPI
    from fastapi.responses import HTMLResponse
    from fastapi_limiter.depends import RateLimiter
    from pyrate_limiter import Limiter, Rate

    count, seconds = LIMIT.split("/")
    app = FastAPI()
    limit = RateLimiter(limiter=Limiter(Rate(int(count), int(seconds) * 1000)))

    @app.get("/{path:path}", dependencies=[Depends(limit)])
    async def page(path: str) -> HTMLResponse:
        text, status = body(path)
        return HTMLResponse(text, status)

    uvicorn.run(app, host=HOST, port=PORT, log_level="error")


def django_ratelimit() -> None:
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import re_path
    from django_ratelimit.decorators import ratelimit

    settings.configure(
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="x",
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["django_ratelimit"],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        SILENCED_SYSTEM_CHECKS=["django_ratelimit.E003", "django_ratelimit.W001"],
    )
    django.setup()

    @ratelimit(key="ip", rate=LIMIT, group="all")
    def page(request, path=""):
        text, status = body(path)
        return HttpResponse(text, status=status)

    globals()["urlpatterns"] = [re_path("^(?P<path>.*)$", page)]

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    make_server(HOST, PORT, get_wsgi_application(), handler_class=Quiet).serve_forever()


def rest_framework() -> None:
    """Its windows are a second, minute, hour or day long: LIMIT is as `10/30`, and they are replaced."""
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    import django
    from django.conf import settings

    settings.configure(
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="x",
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["rest_framework"],
        REST_FRAMEWORK={"UNAUTHENTICATED_USER": None, "DEFAULT_AUTHENTICATION_CLASSES": []},
    )
    django.setup()
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import re_path
    from rest_framework.decorators import api_view, throttle_classes
    from rest_framework.throttling import SimpleRateThrottle

    count, seconds = LIMIT.split("/")

    class Throttle(SimpleRateThrottle):
        rate = LIMIT

        def parse_rate(self, rate: str) -> tuple[int, int]:
            return int(count), int(seconds)

        def get_cache_key(self, request, view) -> str:
            return "all"

    @api_view()
    @throttle_classes([Throttle])
    def page(request, path=""):
        text, status = body(path)
        return HttpResponse(text, status=status)

    globals()["urlpatterns"] = [re_path("^(?P<path>.*)$", page)]

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    make_server(HOST, PORT, get_wsgi_application(), handler_class=Quiet).serve_forever()


def litestar() -> None:
    """LIMIT is as `10/minute`."""
    import uvicorn
    from litestar import Litestar, MediaType, Response, get
    from litestar.middleware.rate_limit import RateLimitConfig

    count, unit = LIMIT.split("/")

    @get("/{path:path}", media_type=MediaType.HTML, sync_to_thread=False)
    def page(path: str) -> Response[str]:
        text, status = body(path)
        return Response(text, status_code=status)

    @get("/", media_type=MediaType.HTML, sync_to_thread=False)
    def index() -> str:
        return INDEX

    limit = RateLimitConfig(rate_limit=(unit, int(count)), set_rate_limit_headers=HEADERS)
    app = Litestar([page, index], middleware=[limit.middleware])
    uvicorn.run(app, host=HOST, port=PORT, log_level="error")


def quart() -> None:
    from datetime import timedelta

    import uvicorn
    from quart import Quart
    from quart_rate_limiter import RateLimit, RateLimiter

    count, seconds = LIMIT.split("/")
    app = Quart(__name__)
    RateLimiter(app, default_limits=[RateLimit(int(count), timedelta(seconds=int(seconds)))])

    @app.route("/", defaults={"path": ""})
    @app.route("/<path:path>")
    async def page(path: str):
        return body(path)

    uvicorn.run(app, host=HOST, port=PORT, log_level="error")


def throttled() -> None:
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse
    from throttled import RateLimiterType, Throttled, rate_limiter

    count, seconds, kind = LIMIT.split("/")
    from datetime import timedelta

    quota = rate_limiter.per_duration(timedelta(seconds=int(seconds)), int(count), burst=int(count))
    limiter = Throttled(key="all", using=RateLimiterType(kind).value, quota=quota)
    app = FastAPI()

    @app.get("/{path:path}")
    def page(path: str) -> HTMLResponse:
        if limiter.limit().limited:
            return HTMLResponse("Too Many Requests", 429)
        text, status = body(path)
        return HTMLResponse(text, status)

    uvicorn.run(app, host=HOST, port=PORT, log_level="error")


if __name__ == "__main__":
    globals()[KIND]()
