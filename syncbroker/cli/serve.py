"""`serve`, `worker`, `scheduler`: the broker as it runs by itself. SIGTERM or Ctrl-C ends it, with exit code 0."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json
from syncbroker.errors import StoreUnusable, SyncbrokerError

if TYPE_CHECKING:
    from syncbroker.engine import Engine
    from syncbroker.metrics.counts import Counts
    from syncbroker.metrics.page import Page
    from syncbroker.settings import Settings
    from syncbroker.web.counts import Requests
    from syncbroker.workers import Workers

STOP_SECONDS = 5.0
"""How long the beginning may go on once the process is to end."""

BEGIN_SECONDS = 2.0
"""How long after a failure the beginning is tried again."""

SYNCED_SECONDS = 0.2
"""When it is first looked whether everything was read since the start; each further look waits half as long again."""

SYNCED_LONGEST = 5.0
"""Seconds between two such looks at most."""


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

    Everything in one process, until it is interrupted. With Redis and PostgreSQL, beside any number of others.

    The first line of output says where it listens; the log goes to standard error, one JSON object per line.
    """
    from syncbroker.settings import read_settings

    settings = read_settings()
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    _run(settings.model_copy(update=changes), web=True, worker=worker, as_json=as_json)


def worker() -> None:
    """Keep the systems in agreement, without webhooks.

    With PostgreSQL and Redis any number may run, beside those that take the webhooks.
    """
    from syncbroker.settings import read_settings

    _run(read_settings(), web=False, worker=True, as_json=False)


def scheduler() -> None:
    """Announce what is due, and do nothing of it.

    Workers do so by themselves; this is for a set-up in which they come and go. Any number may run.
    """
    from syncbroker.cli import logs
    from syncbroker.errors import BadSetting
    from syncbroker.metrics.counts import Counts
    from syncbroker.settings import read_settings
    from syncbroker.web.counts import Requests
    from syncbroker.workers import Scheduler

    settings = read_settings()
    if not settings.redis_url:
        hint = "set SYNCBROKER_REDIS_URL, or run `syncbroker worker`, which follows the schedule by itself"
        raise BadSetting("a scheduler tells workers through Redis, and there is none", hint=hint)
    counts = Counts()
    logs.configure(settings.log_level, count=counts.line)
    stop = threading.Event()
    with _signals(stop), opened(calls=counts) as engine, ExitStack() as stack:
        _page(settings, engine, counts, Requests(), stack)
        clock = Scheduler(engine, settings.tick, settings.redis_url)
        clock.start()
        stop.wait()
        clock.stop()


def _run(settings: Settings, *, web: bool, worker: bool, as_json: bool) -> None:
    import structlog

    from syncbroker.cli import logs
    from syncbroker.metrics.counts import Counts, telling
    from syncbroker.web.counts import Requests
    from syncbroker.workers import Sender, Workers

    counts = Counts()
    logs.configure(settings.log_level, count=counts.line)
    log = structlog.get_logger()

    def line(event: str, **fields: Any) -> None:
        (log.error if event == "fault" else log.info)(event, **fields)

    tell = telling(counts, line)
    stop = threading.Event()
    failed: list[SyncbrokerError] = []
    with _signals(stop), opened(works=worker, calls=counts, tell=tell) as engine, ExitStack() as stack:
        requests = Requests()
        page = _page(settings, engine, counts, requests, stack)
        workers = Workers(engine, settings.tick, settings.redis_url) if worker else None
        beginning = threading.Thread(target=_begin, args=(workers, stop, failed), name="begin", daemon=True)
        if web:
            from syncbroker.web.app import make_app
            from syncbroker.web.server import listen, serving, url_of
            from syncbroker.web.writer import writing

            listening = listen(settings.host, settings.port)
            sender = workers or Sender(settings.redis_url)
            if isinstance(sender, Sender):
                stack.callback(sender.close)
            writer = stack.enter_context(writing(engine.store, sender.nudge, settings.max_waiting))
            synced = partial(_synced, workers)
            app = make_app(engine, settings, writer, synced, requests, page=page)
            stack.enter_context(serving(app, listening, requests))
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


def _synced(workers: Workers | None) -> bool:
    return workers is None or workers.synced


def _page(
    settings: Settings, engine: Engine, counts: Counts, requests: Requests, stack: ExitStack
) -> Page | None:
    """The metrics for the port of `serve`; None where they are served on a port of their own, or not at all."""
    from syncbroker.metrics.page import Page

    if not settings.metrics:
        return None
    page = Page(
        engine, counts, token=settings.metrics_token, requests=requests.all, bound=settings.max_waiting
    )
    if not settings.metrics_port:
        return page
    from syncbroker.web.app import make_metrics_app
    from syncbroker.web.counts import Requests
    from syncbroker.web.server import listen, serving

    stack.enter_context(
        serving(make_metrics_app(page), listen(settings.host, settings.metrics_port), Requests())
    )
    return None


def _ended(workers: Workers, beginning: threading.Thread) -> bool:
    beginning.join(STOP_SECONDS)
    return workers.stop() and not beginning.is_alive()


def _begin(workers: Workers, stop: threading.Event, failed: list[SyncbrokerError]) -> None:
    """Catch up, then work. Without a store the process ends; anything else is tried again."""
    import structlog

    log = structlog.get_logger()
    while not stop.is_set():
        try:
            workers.begin()
            break
        except StoreUnusable as error:
            failed.append(error)
            stop.set()
            return
        except SyncbrokerError as error:
            log.warning("put off", work="begin", system=error.system, error=error.message)
            stop.wait(BEGIN_SECONDS)
        except Exception:  # a fault in the beginning must not keep later work from being done
            log.exception("fault", work="begin")
            break
    if not stop.is_set():
        workers.start()
    pause = SYNCED_SECONDS
    while not stop.wait(pause):
        pause = min(pause * 1.5, SYNCED_LONGEST)
        with suppress(SyncbrokerError):  # it is asked again, and what fails is in the log where it failed
            if workers.synced:
                log.info("synced")
                return


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
