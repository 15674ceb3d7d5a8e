"""Listening: the application on a socket, in a thread of its own, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from functools import partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from syncbroker.errors import BadSetting
from syncbroker.web.connection import Connection
from syncbroker.web.counts import Requests
from syncbroker.web.limits import Seldom

STOP_SECONDS = 3
"""How long requests that are under way may take once the server stops."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; 0 takes a free port. BadSetting when the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise BadSetting(
            f"{host} is no address to listen on: {error.strerror or error}", hint="see --host"
        ) from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(2048)
    except OSError as error:
        found.close()
        raise BadSetting(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            hint="another program may use it; choose another one with --port or SYNCBROKER_PORT",
        ) from None
    return found


def url_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def serving(app: ASGIApp, listening: socket.socket, counts: Requests) -> Iterator[None]:
    """Answer requests on the socket while the body runs. Signals stay with the main thread.

    `counts` takes what ended before it was a request.
    """
    protocol = partial(Connection, counts=counts, seldom=Seldom())
    config = uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", protocol),  # only ever called
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # it would show secret URLs; the application writes its own lines
        server_header=False,
        proxy_headers=False,  # what vendors sign is said by SYNCBROKER_PUBLIC_URL, not by a header
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="web", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS + 2)
        listening.close()
