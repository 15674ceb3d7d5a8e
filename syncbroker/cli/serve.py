"""`serve` and `worker`: the broker as it runs by itself, until SIGTERM or Ctrl-C, which end it with exit code 0."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json
from syncbroker.errors import StoreUnusable, SyncbrokerError

if TYPE_CHECKING:
    from syncbroker.metrics.page import Page
    from syncbroker.settings import Settings
    from syncbroker.workers import Workers

STOP_SECONDS = 5.0
"""How long the first sync may go on once the process is to end."""


def serve(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on, instead of SYNCBROKER_HOST.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="The port, instead of SYNCBROKER_PORT; 0 takes a free one."),
    ] = None,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Without a worker, deliveries are only stored.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Take webhooks and keep the systems in agreement.

    Everything in one process, until it is interrupted.

    The first line of output says where it listens; the log goes to standard error, one JSON object per line.
    """
    from syncbroker.settings import read_settings

    settings = read_settings()
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    _run(settings.model_copy(update=changes), web=True, worker=worker, as_json=as_json)


def worker() -> None:
    """Keep the systems in agreement, without webhooks.

    With PostgreSQL, beside any number of others that take the webhooks.
    """
    from syncbroker.settings import read_settings

    _run(read_settings(), web=False, worker=True, as_json=False)


def _run(settings: Settings, *, web: bool, worker: bool, as_json: bool) -> None:
    import structlog

    from syncbroker.cli import logs
    from syncbroker.metrics.counts import Counts, telling
    from syncbroker.metrics.page import Page
    from syncbroker.workers import Workers

    counts = Counts()
    logs.configure(settings.log_level, count=counts.line)
    tell = telling(counts, structlog.get_logger().info)
    stop = threading.Event()
    failed: list[SyncbrokerError] = []
    with _signals(stop), opened(works=worker, calls=counts, tell=tell) as engine, ExitStack() as stack:
        page = Page(engine, counts, token=settings.metrics_token) if settings.metrics else None
        if page is not None and settings.metrics_port:
            stack.enter_context(_metrics(settings, page))
            page = None
        workers = Workers(engine, settings.tick) if worker else None
        beginning = threading.Thread(target=_begin, args=(workers, stop, failed), name="begin", daemon=True)
        if web:
            from syncbroker.web.app import make_app
            from syncbroker.web.server import listen, serving, url_of

            listening = listen(settings.host, settings.port)
            nudge = workers.nudge if workers else _nobody
            app = make_app(engine, settings, nudge, lambda: workers is None or workers.synced, page)
            stack.enter_context(serving(app, listening))
            _tell(settings, url_of(listening), list(engine.mapping.systems), as_json)
        if workers is not None:
            beginning.start()
        stop.wait()
        stack.close()
        if workers is not None and not _ended(workers, beginning) and not failed:
            # a thread hangs in a call; what it had not committed is done again, and the lock goes with the process
            sys.stdout.flush()
            os._exit(0)
    if failed:
        raise failed[0]


def _metrics(settings: Settings, page: Page) -> AbstractContextManager[None]:
    from syncbroker.web.app import make_metrics_app
    from syncbroker.web.server import listen, serving

    return serving(make_metrics_app(page), listen(settings.host, settings.metrics_port))


def _ended(workers: Workers, beginning: threading.Thread) -> bool:
    beginning.join(STOP_SECONDS)
    return workers.stop() and not beginning.is_alive()


def _begin(workers: Workers, stop: threading.Event, failed: list[SyncbrokerError]) -> None:
    """Catch up, then work. Without a store the process ends; anything else is tried again."""
    import structlog

    log = structlog.get_logger()
    try:
        summary = workers.begin()
        log.info(
            "synced", kinds=dict(summary.kinds), failed=sorted({**summary.failed, **summary.delivered.failed})
        )
    except StoreUnusable as error:
        failed.append(error)
        stop.set()
        return
    except SyncbrokerError as error:
        log.warning("put off", work="begin", system=error.system, error=error.message)
    except Exception:  # a fault in the first sync must not keep later work from being done
        log.exception("fault", work="begin")
    if not stop.is_set():
        workers.start()


def _nobody(_number: int, _system: str) -> None:
    """Without a worker here, another process finds the delivery in the store."""


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """The first signal ends the work in an orderly way, a second one at once."""

    def handler(number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


def _tell(settings: Settings, url: str, systems: list[str], as_json: bool) -> None:
    import orjson

    public = settings.public_url.rstrip("/") or url
    if as_json:
        found = {"url": url, "webhooks": {name: f"{public}/webhooks/{name}" for name in systems}}
        typer.echo(orjson.dumps(found).decode())  # one line: whoever starts this reads it while it goes on
    else:
        typer.echo(f"syncbroker serves on {url}; webhooks go to {public}/webhooks/SYSTEM (Ctrl-C ends it)")
    sys.stdout.flush()
