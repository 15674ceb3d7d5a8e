"""The application: webhooks, and the two questions that whoever runs it asks. One log line per request, of our own.

A request's path may hold a secret, its query and body personal data: only the route's name goes into the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncbroker.engine import Engine
from syncbroker.errors import SyncbrokerError
from syncbroker.metrics.page import TYPE, Page
from syncbroker.settings import Settings
from syncbroker.store import room, schema
from syncbroker.store.database import Store
from syncbroker.web.counts import Requests
from syncbroker.web.limits import Seldom
from syncbroker.web.trace import ANSWERED, trace_of
from syncbroker.web.webhooks import PREFIX, Webhooks, problem
from syncbroker.web.writer import Writer

QUIET = ("/healthz", "/readyz", "/metrics")
"""Asked all the time, by machines: told at DEBUG while all is well."""

FLOODS = frozenset({"full", "limited"})
"""Outcomes that come by the thousand: told once a minute for each system, the others at DEBUG. All are counted."""


def make_app(
    engine: Engine,
    settings: Settings,
    writer: Writer,
    synced: Callable[[], bool],
    counts: Requests,
    *,
    page: Page | None = None,
) -> ASGIApp:
    """`synced`: whether the sync with which the workers begin is over; `readyz` tells it. `page`: the metrics, where
    they are served on this port."""
    webhooks = Webhooks(engine, settings, writer)

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        try:
            await run_in_threadpool(_require_usable, engine.store)
        except SyncbrokerError as error:
            return problem(503, error.message)
        return JSONResponse({"status": "ready", "synced": synced()})

    async def metrics(request: Request) -> Response:
        return await run_in_threadpool(scraped, page, request.headers.get("authorization", ""))

    routes = [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _fault})
    app.router.redirect_slashes = False  # a redirect would repeat the secret

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        await (webhooks if scope["path"].startswith(PREFIX) else app)(scope, receive, send)

    return AccessLog(routed, frozenset(webhooks.systems), counts)


def _require_usable(store: Store) -> None:
    """The store alone: a vendor that is down makes no process less ready."""
    schema.require_current(store)
    room.require_writable(store)


def make_metrics_app(page: Page) -> ASGIApp:
    """The metrics on a port of their own, and `healthz`."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metrics(request: Request) -> Response:
        return await run_in_threadpool(scraped, page, request.headers.get("authorization", ""))

    routes = [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _fault})
    return AccessLog(app, frozenset(), Requests())


def scraped(page: Page | None, authorization: str) -> Response:
    """What a scraper is answered: the page, or that it must show the token."""
    if page is None:
        return problem(404, "there is nothing here")
    if not page.admits(authorization):
        return problem(401, "show the metrics token", {"WWW-Authenticate": "Bearer"})
    return Response(page.text(), media_type=TYPE)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    request.scope["told"]["outcome"] = "nothing_here" if status in (404, 405) else "malformed"
    return problem(
        status, {404: "there is nothing here", 405: "not with this method"}.get(status, "refused"), headers
    )


async def _fault(_request: Request, _error: Exception) -> Response:
    """A fault of ours or of a connector; the log has it (`AccessLog`), the vendor delivers again."""
    return problem(500, "a fault of the broker; its log says more")


class AccessLog:
    """ASGI middleware around everything: one line and one count for each request. Faults end here.

    `scope["told"]` takes what the handlers have to say of a request; `outcome` is one of `counts.OUTCOMES`. The answer
    names the trace.
    """

    def __init__(self, app: ASGIApp, systems: frozenset[str], counts: Requests) -> None:
        self._app = app
        self._systems = systems
        self._counts = counts
        self._seldom = Seldom()
        self._log = structlog.get_logger().bind()  # once: it costs as much as a line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 0
        given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        told: dict[str, Any] = {"trace": trace_of(given.decode("latin-1"))}
        scope["told"] = told

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (ANSWERED, told["trace"].encode())]
            await send(message)

        fault: Exception | None = None
        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001  # told with all that is known of it, and answered
            fault = error
            if not status:
                await (await _fault(Request(scope), error))(scope, receive, sending)
        finally:
            told |= {"method": scope["method"], "route": self._route(scope["path"]), "status": status}
            told["ms"] = round((time.monotonic() - begun) * 1000, 1)
            self._tell(told, fault)

    def _tell(self, told: dict[str, Any], fault: Exception | None) -> None:
        if fault is not None:
            told["outcome"] = "fault"
        outcome, system = told.get("outcome", ""), told.get("system", "")
        if outcome:
            self._counts.note(system, outcome)
        if fault is not None:
            self._log.error("fault", **told, exc_info=fault)
            return
        quiet = told["route"] in QUIET and told["status"] < 500
        if quiet or (outcome in FLOODS and not self._seldom.now(system, outcome)):
            tell = self._log.debug
        elif told["status"] >= 500:
            tell = self._log.error
        else:
            tell = self._log.warning if told["status"] >= 400 else self._log.info
        tell("request", **told)

    def _route(self, path: str) -> str:
        """The path as far as it is ours; what a stranger tried is nobody's business."""
        first, _, rest = path.removeprefix("/").partition("/")
        system = rest.partition("/")[0]
        if first == "webhooks" and system in self._systems:
            return f"/webhooks/{system}"
        return path if path in QUIET else "?"
