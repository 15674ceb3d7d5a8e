"""What vendors deliver: proven on the raw body, stored, answered. Nothing is acted upon here.

The answer says 2xx as soon as the delivery is in the store; what follows is the workers' business. `identity` says
what makes a delivery the same as one that came before. Vendors differ in what they repeat:

    Stripe, Zendesk   the same event with its id in the body, under a new signature
    HubSpot           the same events with their ids, but the body counts the attempts
    Mailchimp         the same form, without any id; two changes within a second may look alike

Where the vendor gives ids, a repeat of what was dealt with is left alone. Where it does not, the digest of method,
query and body stands for one, and what was dealt with is dealt with once more: deliveries are hints that cause a read,
and a read too many costs a call, while an event dropped because it looks like an older one would be missed until the
next poll.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from syncbroker.engine import Engine
from syncbroker.errors import BadDelivery, Retry, StoreUnusable, SyncbrokerError
from syncbroker.sdk.connector import Delivery, Identifies
from syncbroker.settings import Settings
from syncbroker.store import deliveries
from syncbroker.store.deliveries import Arrival
from syncbroker.web.limits import USUAL_DELIVERIES, Bucket
from syncbroker.web.writer import Writer

BODY_SECONDS = 20.0
"""How long a vendor may take to send a body."""

RETRY_AFTER = 10
"""Seconds after which a vendor may deliver again when the store cannot take anything now."""

FULL_RETRY_AFTER = 30
"""The same while too many deliveries wait. Zendesk tries again only where it is told less than a minute."""

LARGE = 65_536
"""Bodies over this are proven in a thread, so that nobody waits for the digest of a megabyte."""

TYPES = ("application/json", "application/x-www-form-urlencoded", "text/plain")
"""What bodies may call themselves, besides `application/...+json` and nothing at all."""

NOT_KEPT = frozenset(
    "accept accept-encoding accept-language authorization baggage connection content-length cookie forwarded host "
    "proxy-authorization te traceparent tracestate transfer-encoding user-agent via x-real-ip".split()
)
"""Headers that say nothing about the event: of the connection, of the way here, or somebody's credentials."""


PREFIX = "/webhooks/"
"""What the path of every endpoint begins with; the system follows, and a secret where the vendor signs nothing."""

METHODS = ("GET", "HEAD", "POST")

ACCEPTED = {outcome: JSONResponse({"status": outcome}) for outcome in ("stored", "known")}
"""What a vendor is answered, by outcome."""


class Declined(Exception):
    """A request that is answered with an error, and counted as `outcome`. No text of it quotes the request."""

    def __init__(
        self, status: int, outcome: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.outcome, self.message, self.headers = status, outcome, message, headers


class Webhooks:
    """The endpoint of every system: an ASGI application by itself, since what routing and its layers cost is a good
    part of a request."""

    def __init__(self, engine: Engine, settings: Settings, writer: Writer) -> None:
        self._engine = engine
        self._settings = settings
        self._writer = writer
        self._taken = {
            name: connector
            for name, connector in engine.connectors.items()
            if any(spec.events for spec in connector.objects.values())
        }
        self._identifying = {name: one for name, one in self._taken.items() if isinstance(one, Identifies)}
        self._buckets = {
            name: Bucket(*(engine.mapping.systems[name].deliveries or USUAL_DELIVERIES))
            for name in self._taken
        }

    @property
    def systems(self) -> list[str]:
        """Those that deliver webhooks."""
        return list(self._taken)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whatever is asked under `/webhooks/`; what is to be told of it in the log goes into the request's `told`."""
        answer = await self._answer(scope, receive)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        told: dict[str, Any] = scope["told"]
        system, _, secret = scope["path"].removeprefix(PREFIX).partition("/")
        try:
            self._check_address(scope["method"], system, secret)
            told["system"] = system
            return await self._received(scope, receive, system, secret)
        except Declined as why:
            told |= {"outcome": why.outcome, "reason": why.message}
            return problem(why.status, why.message, why.headers)

    async def _received(self, scope: Scope, receive: Receive, system: str, secret: str) -> Response:
        told: dict[str, Any] = scope["told"]
        headers, repeated = _headers(scope)
        _check_form(headers)
        body = await _whole_body(scope, receive, headers, self._settings.max_delivery)
        delivery = Delivery(
            method=scope["method"],
            url=public_url(scope, headers.get("host", ""), self._settings.public_url),
            headers=headers,
            query=dict(QueryParams(scope["query_string"])) if scope["query_string"] else {},
            body=body,
            received=self._engine.now(),
            secret=secret,
            repeated=repeated,
        )
        told["size"] = len(delivery.body)
        connector = self._taken[system]
        try:
            if delivery.method == "GET" and (answer := connector.answer_check(delivery)) is not None:
                told["outcome"] = "checked"
                return PlainTextResponse(answer)
            if len(delivery.body) > LARGE:
                await run_in_threadpool(connector.authenticate, delivery)
            else:
                connector.authenticate(delivery)
            self._admit(system)
            key, certain = identity(self._identifying.get(system), delivery)
            placed = await self._writer.put(
                Arrival(
                    system=system,
                    dedupe=key,
                    received=delivery.received,
                    request=kept(delivery),
                    body=delivery.body,
                    trace=told["trace"],
                    certain=certain,
                )
            )
        except BadDelivery as error:
            raise Declined(error.status or 400, "refused", error.message) from None
        except (Retry, StoreUnusable) as error:
            told["error"] = error.message
            later = {"Retry-After": str(RETRY_AFTER)}
            raise Declined(503, "not_stored", "nothing can be stored now", later) from None
        except SyncbrokerError as error:
            told["error"] = error.message
            later = {"Retry-After": str(RETRY_AFTER)}
            raise Declined(503, "not_stored", "this system is not set up", later) from None
        outcome = "stored" if placed.new else "known"
        told |= {"outcome": outcome, "delivery": placed.number}
        return ACCEPTED[outcome]

    def _check_address(self, method: str, system: str, secret: str) -> None:
        if system not in self._taken or "/" in secret:
            raise Declined(404, "nothing_here", "no webhooks are taken here")
        if method not in METHODS:
            raise Declined(405, "nothing_here", "not with this method", {"Allow": ", ".join(METHODS)})

    def _admit(self, system: str) -> None:
        """Only what is proven counts: a stranger cannot use up what a vendor may send."""
        if self._writer.full(system):
            later = {"Retry-After": str(FULL_RETRY_AFTER)}
            raise Declined(503, "full", "too many deliveries wait to be dealt with", later)
        wait = self._buckets[system].take()
        if wait:
            later = {"Retry-After": str(max(1, round(wait)))}
            raise Declined(429, "limited", "more deliveries than this system may send", later)


def _headers(scope: Scope) -> tuple[dict[str, str], frozenset[str]]:
    """Every header's last value, and those that came more than once."""
    found: dict[str, str] = {}
    repeated: list[str] = []
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1")
        if name in found:
            repeated.append(name)
        found[name] = value.decode("latin-1")
    return found, frozenset(repeated)


def _check_form(headers: Mapping[str, str]) -> None:
    """Declined for an encoding or a type of content that no vendor sends: it is not even read."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        closes = {"Accept-Encoding": "identity", "Connection": "close"}
        raise Declined(415, "unsupported", "bodies are taken as they are, not compressed", closes)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind not in TYPES and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Declined(415, "unsupported", "no content type that vendors send", {"Connection": "close"})


async def _whole_body(scope: Scope, receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """The raw body; Declined as soon as it is longer than `limit` bytes, without taking in the rest."""
    too_large = Declined(413, "too_large", f"larger than {limit} bytes", {"Connection": "close"})
    announced = headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit:
        raise too_large
    try:
        if scope["state"].get("whole"):  # it is here already: nobody need watch the clock
            body = await _body(receive, limit)
        else:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(receive, limit)
    except TimeoutError:
        raise Declined(408, "too_slow", "the body did not come in time", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Declined(400, "broken_off", "the body is incomplete") from None
    if body is None:
        raise too_large
    return body


async def _body(receive: Receive, limit: int) -> bytes | None:
    """None when it is too long. ClientDisconnect."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
        size += len(parts[-1])
        if size > limit:
            return None
    return b"".join(parts)


def public_url(scope: Scope, host: str, public: str) -> str:
    """The URL as the vendor knows it, and signed it: `public` (scheme and host) where the broker is behind a proxy.

    Path and query are as they were sent, percent signs and all.
    """
    path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
    query = scope.get("query_string", b"").decode("latin-1")
    base = public.rstrip("/") or f"{scope['scheme']}://{host}"
    return f"{base}{path}?{query}" if query else base + path


def identity(connector: Identifies | None, delivery: Delivery) -> tuple[str, bool]:
    """What makes an authenticated delivery the same when it comes again, and whether that is certain: see above."""
    given = connector.delivery_id(delivery) if connector is not None else ""
    if given:
        return _digest(b"id", given.encode("utf-8", "replace")), True
    query = "&".join(f"{name}={value}" for name, value in sorted(delivery.query.items()))
    return _digest(delivery.method.encode(), query.encode("utf-8", "replace"), delivery.body), False


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def kept(delivery: Delivery) -> deliveries.Request:
    """What is stored beside the body: neither the URL's secret nor anything about the way the request came."""
    url = delivery.url
    if delivery.secret:
        path, mark, query = url.partition("?")
        url = path.rpartition("/")[0] + "/-" + mark + query
    return deliveries.Request(
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
