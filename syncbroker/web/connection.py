"""One connection, bounded in every direction: what uvicorn's own protocol leaves open.

Headers must come within a time and a size, there are so many connections at once and no more, and whatever is no HTTP
is answered once, told once and counted once, like any other request.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import httptools
import orjson
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from syncbroker.web.counts import Requests
from syncbroker.web.limits import Seldom

HEADER_SECONDS = 10.0
"""How long the headers of a request may take, counted from the first byte, or from when the connection was made."""

HEADER_BYTES = 65_536
"""How long the headers of a request may be."""

LINGER_SECONDS = 1.0
"""How long a client has to read why it was turned away."""

CONNECTIONS = 512
"""How many connections there may be at a time. Each may be sending a body of the largest size."""

PIPELINED = 8
"""How many requests may wait on a connection for the answer to the one before; no vendor sends even two."""

MESSAGES = {
    400: "this is no HTTP request",
    408: "the request did not come in time",
    431: "the headers are too long",
    501: "no transfer encoding but chunked is understood, and no other protocol to go on with",
    503: "too many connections",
    505: "HTTP/1.1 and 1.0 are spoken here",
}

_log = structlog.get_logger()


class _Silent(logging.Logger):
    """Takes no line: what uvicorn would say of a request is told by us, with what we know of it."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # logging's own name
        return level < 0


_silent = _Silent("uvicorn")


class _Unfit(Exception):
    """A request's headers are no such as are taken here; `status` is the answer's."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Connection(HttpToolsProtocol):
    """`counts` and `seldom` are those of all connections of a server.

    A request's `state` has `whole` once all of it is here, so that nobody need wait for its body.
    """

    def __init__(self, *given: Any, counts: Requests, seldom: Seldom, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logger = self.access_logger = _silent
        self.access_log = False
        self._counts, self._seldom = counts, seldom
        self._deadline: asyncio.TimerHandle | None = None
        self._begun = False  # a part of a request is there, and not all of its headers
        self._whole = True  # no body is coming in
        self._size = 0  # of what has come of the headers
        self._over = False  # answered by us; what still comes is not looked at

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self._end(503, "crowded")
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        if not self._over and self._begun:
            self._tell(400, "broken_off")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        super().data_received(data)
        if self._begun:
            self._size += len(data)
            if self._size > HEADER_BYTES:
                self._end(431, "malformed")
                return
        if not self._begun and (self._whole or not self.cycle.response_complete):
            self._rest()
        elif self._deadline is None:
            self._wait()

    # ---- what the parser finds ----

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            raise _Unfit(400)
        super().on_message_begin()
        self._begun, self._whole, self._size = True, False, 0

    def on_headers_complete(self) -> None:
        status = _unfit(self.parser.get_http_version(), self.headers)
        if status or self.parser.should_upgrade():  # the parser would take the body for the other protocol
            raise _Unfit(status or 501)
        self._begun = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._whole = True
        self.scope["state"]["whole"] = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Called in the handler of the error that says what is wrong."""
        error = sys.exc_info()[1]
        cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
        exchange: RequestResponseCycle | None = (
            self.cycle
        )  # None before the first request, whatever its type says
        if exchange is None or exchange.response_complete:
            self._end(cause.status if isinstance(cause, _Unfit) else 400, "malformed")
        else:  # within a body: the application hears that it ended, answers nobody, tells and counts
            self._over = True
            self._rest()
            self.transport.close()

    # ---- inside ----

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._late)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self._begun:
            self._end(408, "too_slow")
        else:  # it was opened and never used, or what was answered goes on and on
            self._over = True
            self.transport.close()

    def _end(self, status: int, outcome: str) -> None:
        """Answer by hand, whatever state the exchange is in, and close."""
        self._over = True
        self._rest()
        self._unset_keepalive_if_required()
        self._tell(status, outcome)
        body = orjson.dumps({"error": MESSAGES.get(status, MESSAGES[400])})
        later = b"Retry-After: 10\r\n" if status == 503 else b""
        self.transport.write(
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
            + b"Content-Type: application/json\r\nConnection: close\r\n"
            + later
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        if outcome == "crowded":
            self.transport.close()
        else:  # closed at once, what still comes in would make the kernel take the answer back
            self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _tell(self, status: int, outcome: str) -> None:
        self._counts.note("", outcome)
        flood = outcome == "crowded" and not self._seldom.now("", outcome)
        (_log.debug if flood else _log.warning)("request", route="?", status=status, outcome=outcome)


def _unfit(version: str, headers: Sequence[tuple[bytes, bytes]]) -> int:
    """The status that turns a request with these headers away; 0 when they will do. The parser has seen to the rest."""
    if version not in ("1.1", "1.0"):
        return 505
    size, hosts = 0, 0
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            return 501
    if size > HEADER_BYTES:
        return 431
    return 400 if hosts > 1 or (hosts == 0 and version == "1.1") else 0
