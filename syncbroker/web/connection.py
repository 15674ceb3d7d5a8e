"""One connection, bounded in every direction: what uvicorn's own protocol leaves open.

Headers must come within a time and a size, there are so many connections at once and no more, and whatever is no HTTP
is answered once, told once and counted once, like any other request.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from http import HTTPStatus
from typing import Any, cast

import h11
import orjson
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from syncbroker.web.counts import Counts
from syncbroker.web.limits import Seldom

HEADER_SECONDS = 10.0
"""How long the headers of a request may take, counted from the first byte, or from when the connection was made."""

HEADER_BYTES = 65_536
"""How long the headers of a request may be."""

LINGER_SECONDS = 1.0
"""How long a client has to read why it was turned away."""

CONNECTIONS = 512
"""How many connections there may be at a time. Each may be sending a body of the largest size."""

MESSAGES = {
    400: "this is no HTTP request",
    408: "the request did not come in time",
    431: "the headers are too long",
    501: "no transfer encoding but chunked is understood",
    503: "too many connections",
}

_log = structlog.get_logger()


class _Silent(logging.Logger):
    """Takes no line: what uvicorn would say of a request is told by us, with what we know of it."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # logging's own name
        return level < 0


_silent = _Silent("uvicorn")


class _Joined:
    """A transport that sends what is written within one step of the event loop at once: an answer is one packet, and
    one call into the kernel."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if data:
            if not self._parts:
                self._loop.call_soon(self._flush)
            self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def _flush(self) -> None:
        if self._parts:
            joined = b"".join(self._parts)
            self._parts.clear()
            self._transport.write(joined)


class Connection(H11Protocol):
    """`counts` and `seldom` are those of all connections of a server.

    A request's `state` has `whole` when it came in one piece, so that nobody need wait for its body.
    """

    def __init__(self, *given: Any, counts: Counts, seldom: Seldom, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logger = self.access_logger = _silent
        self.access_log = False
        self._counts, self._seldom = counts, seldom
        self._deadline: asyncio.TimerHandle | None = None
        self._over = False  # answered by us; what still comes is not looked at

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", _Joined(transport, self.loop))
        if len(self.connections) > CONNECTIONS:
            self._end(503, "crowded")
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        if not self._over and self._begun():
            self._tell(400, "broken_off")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._rest()
            if self.conn.their_state is h11.DONE and self.scope is not None:
                self.scope["state"]["whole"] = True
        elif self._begun() and self._deadline is None:
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """Called in the handler of the error that says what is wrong."""
        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        exchange: RequestResponseCycle | None = (
            self.cycle
        )  # None before the first request, whatever its type says
        if exchange is None or exchange.response_complete:
            self._end(status, "malformed")
        else:  # within a body: the application hears that it ended, answers nobody, tells and counts
            self._over = True
            self._rest()
            self.transport.close()

    # ---- inside ----

    def _begun(self) -> bool:
        """A part of a request is there, and not all of its headers."""
        return self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._late)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self._begun():
            self._end(408, "too_slow")
        elif self.conn.their_state is h11.IDLE:
            self._over = True  # it was opened and never used
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
