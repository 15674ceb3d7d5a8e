"""One webhook endpoint in a process of its own, for `benchmarks.webhooks`: the broker's, or a bare one.

    python -m benchmarks.endpoint broker URL     # the product's application, server and writer
    python -m benchmarks.endpoint bare URL       # Starlette on the same uvicorn: HMAC, one INSERT, one commit a request

The first line of output is where it listens; it ends when its standard input does.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import EntryPoint
from pathlib import Path

import psycopg
import uvicorn
from sqlalchemy import make_url
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.server import plain
from syncbroker.bootstrap import build
from syncbroker.cli import logs
from syncbroker.sdk.registry import GROUP, Registry
from syncbroker.sdk.webhook import same, sign
from syncbroker.settings import Settings
from syncbroker.store import schema
from syncbroker.store.database import open_store
from syncbroker.web.app import make_app
from syncbroker.web.counts import Requests
from syncbroker.web.server import listen, serving, url_of
from syncbroker.web.writer import writing
from tests.support.toy_vendor import CREDENTIALS

SYSTEMS = f"""systems:
  crm:
    connector: toy
    credentials: {{token: {CREDENTIALS["token"]}, webhook_secret: {CREDENTIALS["webhook_secret"]}}}
    url: http://127.0.0.1:9
    limits: {{deliveries: 1000000/s}}
"""
ENTITY = """entity: person
links:
  crm: {object: people}
match:
  - {on: [email]}
fields:
  email: {type: email, systems: {crm: email}}
"""
TABLE = "CREATE TABLE taken (id INTEGER PRIMARY KEY, received TEXT NOT NULL, body BLOB NOT NULL)"
TABLE_PG = "CREATE TABLE taken (id BIGSERIAL PRIMARY KEY, received TEXT NOT NULL, body BYTEA NOT NULL)"


def broker(url: str, stack: ExitStack) -> str:
    """The product with nobody who works, as `serve --no-worker` has it; where it listens."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sb-bench-")))
    (folder / "systems.yaml").write_text(SYSTEMS)
    (folder / "person.yaml").write_text(ENTITY)
    store = open_store(url)
    stack.callback(store.close)
    schema.upgrade(store)
    settings = Settings(mappings=folder, database_url=url, max_waiting=100_000_000)  # type: ignore[call-arg]
    registry = Registry([EntryPoint("toy", "tests.support.toy_vendor:ToyConnector", GROUP)])
    engine = build(settings, store=store, environment={}, registry=registry)
    stack.callback(engine.close)
    counts, listening = Requests(), listen("127.0.0.1", 0)
    writer = stack.enter_context(writing(store, lambda _number, _system: None, settings.max_waiting))
    app = make_app(engine, settings, writer, lambda: True, counts)
    stack.enter_context(serving(app, listening, counts))
    return url_of(listening)


def bare(url: str, stack: ExitStack) -> str:
    """The least that is durable: the signature, one row, one commit, in a thread; where it listens."""
    keep = _sqlite(url) if url.startswith("sqlite") else _postgresql(url)

    def store(sent: str, body: bytes) -> None:
        keep(sent, body)

    async def receive(request: Request) -> JSONResponse:
        body, sent = await request.body(), request.headers["x-toy-time"]
        if not same(request.headers["x-toy-signature"], sign(CREDENTIALS["webhook_secret"], sent, ".", body)):
            return JSONResponse({"error": "wrong signature"}, status_code=401)
        await run_in_threadpool(store, sent, body)
        return JSONResponse({"status": "stored"})

    app = Starlette(routes=[Route("/webhooks/crm", receive, methods=["POST"])])
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, http="httptools", loop="uvloop", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()

    @stack.callback
    def stop() -> None:
        server.should_exit = True
        thread.join(5)

    return url_of(listening)


def _sqlite(url: str) -> Callable[[str, bytes], None]:
    """One connection and a lock: SQLite's own waiting would cost a handler with more of them far more."""
    connection = sqlite3.connect(make_url(url).database or "", check_same_thread=False, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(TABLE)
    turn = threading.Lock()

    def keep(sent: str, body: bytes) -> None:
        with turn:
            connection.execute("INSERT INTO taken (received, body) VALUES (?, ?)", (sent, body))

    return keep


def _postgresql(url: str) -> Callable[[str, bytes], None]:
    """A connection for each thread, each INSERT its own transaction: one round trip."""
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute(TABLE_PG)
    own = threading.local()

    def keep(sent: str, body: bytes) -> None:
        if not hasattr(own, "connection"):
            own.connection = psycopg.connect(plain(url), autocommit=True)
        own.connection.execute("INSERT INTO taken (received, body) VALUES (%s, %s)", (sent, body))

    return keep


def main() -> None:
    who, url = sys.argv[1:]
    with ExitStack() as stack:
        # the line of each request is written, and read by nobody
        logs.configure("INFO", stack.enter_context(Path(os.devnull).open("w")))
        print({"broker": broker, "bare": bare}[who](url, stack), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
