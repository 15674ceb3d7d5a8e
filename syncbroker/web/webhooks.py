"""What vendors deliver: proven on the raw body, stored, answered. Nothing is read from it here.

The answer says 2xx as soon as the delivery is in the store; what follows is the workers' business. A delivery's
identity is the digest of its method, query and body (`identity`). Vendors differ in what they repeat:

    Stripe, Zendesk   the same body with the event's id in it, under a new signature
    HubSpot           the same events, but the body counts the attempts, so a repeat is taken for a new delivery
    Mailchimp         the same form, without any id; two changes within a second may look alike

So a body that came before is no second row; but where the first one was dealt with already, it is dealt with once more.
Deliveries are hints that cause a read, and a read too many costs a call, while an event dropped because it looks like
an older one would be missed until the next poll.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from syncbroker.engine import Engine
from syncbroker.errors import BadDelivery, Retry, StoreUnusable, SyncbrokerError
from syncbroker.sdk.connector import Delivery
from syncbroker.settings import Settings
from syncbroker.store import queues

Nudge = Callable[[int, str], None]
"""(delivery, system): there is something to do; lost, it costs at most a tick."""

BODY_SECONDS = 20.0
"""How long a vendor may take to send a body."""

RETRY_AFTER = 10
"""Seconds after which a vendor may deliver again when the store cannot take anything now."""

NOT_KEPT = frozenset(
    "accept accept-encoding accept-language authorization connection content-length cookie forwarded host "
    "proxy-authorization te transfer-encoding user-agent via x-real-ip".split()
)
"""Headers that say nothing about the event: of the connection, of the way here, or somebody's credentials."""

_log = structlog.get_logger()


class TooLarge(Exception):
    """The body is longer than `max_delivery`."""


class Webhooks:
    """The endpoint of every system. `receive` is the route's handler; it runs on the event loop and stays there only
    to take in bytes."""

    def __init__(self, engine: Engine, settings: Settings, nudge: Nudge) -> None:
        self._engine = engine
        self._settings = settings
        self._nudge = nudge
        self._taken = {
            name: connector
            for name, connector in engine.connectors.items()
            if any(spec.events for spec in connector.objects.values())
        }

    @property
    def systems(self) -> list[str]:
        """Those that deliver webhooks."""
        return list(self._taken)

    async def receive(self, request: Request) -> Response:
        system = request.path_params["system"]
        if system not in self._taken:
            return problem(404, "no webhooks are taken here")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(request, self._settings.max_delivery)
        except TooLarge:
            return problem(413, f"larger than {self._settings.max_delivery} bytes", {"Connection": "close"})
        except TimeoutError:
            return problem(408, "the body did not come in time", {"Connection": "close"})
        except ClientDisconnect:
            return problem(400, "the body is incomplete")
        delivery = Delivery(
            method=request.method,
            url=public_url(request, self._settings.public_url),
            headers=dict(request.headers),
            query=dict(request.query_params),
            body=body,
            received=self._engine.now(),
            secret=request.path_params.get("secret", ""),
        )
        return await run_in_threadpool(self.take, system, delivery)

    def take(self, system: str, delivery: Delivery) -> Response:
        """Prove, store, announce, answer. An error that a vendor can do nothing about is a 503: it delivers again."""
        connector = self._taken[system]
        try:
            if delivery.method == "GET" and (answer := connector.answer_check(delivery)) is not None:
                return PlainTextResponse(answer)
            connector.authenticate(delivery)
            number, new, trace = self._store(system, delivery)
        except BadDelivery as error:
            _log.warning("delivery refused", system=system, status=error.status or 400, error=error.message)
            return problem(error.status or 400, error.message)
        except (Retry, StoreUnusable) as error:
            _log.error("delivery not stored", system=system, error=error.message)
            return problem(503, "nothing can be stored now", {"Retry-After": str(RETRY_AFTER)})
        except SyncbrokerError as error:
            _log.error("delivery not taken", system=system, error=error.message)
            return problem(503, "this system is not set up", {"Retry-After": str(RETRY_AFTER)})
        _log.info("delivery", system=system, delivery=number, size=len(delivery.body), new=new, trace=trace)
        self._nudge(number, system)
        return JSONResponse({"status": "stored" if new else "known"})

    def _store(self, system: str, delivery: Delivery) -> tuple[int, bool, str]:
        """Its number, whether it is new, and what follows it from here to the writes that it causes."""
        key = identity(delivery)
        with self._engine.store.write() as tx:
            known = queues.wake_delivery(tx, system, key)
            if known is not None:
                return known, False, ""
            request = kept(delivery)
            trace = self._engine.new_id()
            number = queues.store_delivery(
                tx, system, key, delivery.received, request, delivery.body, trace=trace
            )
            return number or 0, True, trace


async def _body(request: Request, limit: int) -> bytes:
    """The raw body; TooLarge as soon as it is longer than `limit` bytes, without taking in the rest."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit:
        raise TooLarge
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > limit:
            raise TooLarge
    return bytes(found)


def public_url(request: Request, public: str) -> str:
    """The URL as the vendor knows it, and signed it: `public` (scheme and host) where the broker is behind a proxy.

    Path and query are as they were sent, percent signs and all.
    """
    path = request.scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1") or request.url.path
    query = request.scope.get("query_string", b"").decode("latin-1")
    base = public.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"
    return f"{base}{path}?{query}" if query else base + path


def identity(delivery: Delivery) -> str:
    """What makes it the same delivery when it comes again; see the module's head."""
    digest = hashlib.sha256()
    query = "&".join(f"{name}={value}" for name, value in sorted(delivery.query.items()))
    for part in (delivery.method.encode(), query.encode("utf-8", "replace"), delivery.body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def kept(delivery: Delivery) -> queues.Request:
    """What is stored beside the body: neither the URL's secret nor anything about the way the request came."""
    url = delivery.url
    if delivery.secret:
        path, mark, query = url.partition("?")
        url = path.rpartition("/")[0] + "/-" + mark + query
    return queues.Request(
        method=delivery.method, url=url, headers=_kept(delivery.headers), query=dict(delivery.query)
    )


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name not in NOT_KEPT and not name.startswith(("x-forwarded-", "cf-", "sec-"))
    }


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as JSON; it never quotes the request."""
    return JSONResponse({"error": message}, status_code=status, headers=headers)
