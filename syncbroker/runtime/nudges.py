"""Messages that say "look at this": ids only, on Redis between processes, or in the memory of one.

They may be lost, repeated and late. So a Redis that is away is no reason to wait or to stop: what cannot be
sent is done by this process, if it works, and found by some clock, if not.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import dramatiq
import structlog
from dramatiq.brokers.stub import StubBroker

AWAY = 2.0
"""Seconds after a failure during which nothing is sent."""

TIMEOUT = 2.0
"""Seconds that one call to Redis may take."""

FULL = 5000
"""With so many messages waiting in a queue nobody seems to work; what is sent then is left out."""

COUNTED = 1.0
"""Seconds for which the length of a queue is remembered."""

_log = structlog.get_logger()


class Kind(NamedTuple):
    """`name` of the actor, its queue, and its `urgency`: 0 is done first."""

    name: str
    queue: str
    urgency: int


RECEIVE = Kind("receive_system", "webhooks", 0)
SETTLE = Kind("settle_now", "decisions", 1)
DELIVER = Kind("deliver_system", "writes", 2)
PULL = Kind("pull_source", "polls", 3)
SWEEP = Kind("sweep_source", "sweeps", 4)
BACKFILL = Kind("backfill_source", "backfills", 5)
KINDS = (RECEIVE, SETTLE, DELIVER, PULL, SWEEP, BACKFILL)


def make_broker(redis_url: str) -> dramatiq.Broker:
    """Redis when there is a URL, else the memory of this process. No middleware: what failed is found in the store."""
    if not redis_url:
        return StubBroker(middleware=[])
    import redis  # noqa: PLC0415  # only where it is used
    from dramatiq.brokers.redis import RedisBroker  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    logging.getLogger("dramatiq").setLevel(logging.CRITICAL + 1)  # each consumer would tell of each failure
    client = redis.Redis.from_url(
        redis_url,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
    broker: dramatiq.Broker = RedisBroker(client=client, middleware=[], namespace="syncbroker")  # type: ignore[no-untyped-call]
    return broker


class Nudges:
    """The way out for messages. `here`: does what a message says in this process, when Redis is away."""

    def __init__(self, broker: dramatiq.Broker) -> None:
        self.broker = broker
        self.here: Callable[[str, tuple[object, ...]], None] | None = None
        self._remote = not isinstance(broker, StubBroker)
        self._lock = threading.Lock()
        self._away = 0.0
        self._told = False
        self._sizes: dict[str, tuple[float, int]] = {}
        self._spare: ThreadPoolExecutor | None = None
        self._closed = False
        for kind in KINDS:
            broker.declare_queue(kind.queue)

    def send(self, kind: Kind, *ids: object) -> None:
        """Announce something; never raises, and never waits for long."""
        if self._closed:
            return
        if not self._remote:
            self._enqueue(kind, ids)
        elif self._away > time.monotonic() or not self._sent(kind, ids):
            self._do_here(kind, ids)

    def aside(self, job: Callable[..., None], *given: Any, **more: Any) -> None:
        """Have a thread of its own do something of this process, which no other one could."""
        with self._lock:
            if self._spare is None:
                self._spare = ThreadPoolExecutor(max_workers=64, thread_name_prefix="aside")
            spare = self._spare
        if not self._closed:
            spare.submit(job, *given, **more)

    def check(self) -> None:
        """Look whether a Redis that was away is back, so that it is told even when there is nothing to send."""
        if self._told and not self._closed and self._away <= time.monotonic():
            self._tried(self.broker.client.ping)  # type: ignore[attr-defined]  # the Redis broker's

    def close(self) -> None:
        self._closed = True
        if self._spare is not None:
            self._spare.shutdown(wait=False, cancel_futures=True)
        if self._remote:
            self.broker.close()
            self.broker.client.close()  # type: ignore[attr-defined]  # the Redis broker's

    def _enqueue(self, kind: Kind, ids: tuple[object, ...]) -> None:
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=kind.queue, actor_name=kind.name, args=ids, kwargs={}, options={}
        )
        self.broker.enqueue(message)

    def _sent(self, kind: Kind, ids: tuple[object, ...]) -> bool:
        def enqueue() -> None:
            if self._size(kind.queue) < FULL:
                self._enqueue(kind, ids)

        return self._tried(enqueue)

    def _tried(self, ask: Callable[[], object]) -> bool:
        """Whether Redis answered. That it is away, and that it is back, is told once."""
        from redis.exceptions import RedisError  # noqa: PLC0415  # only where it is used

        try:
            ask()
        except (RedisError, OSError) as error:
            with self._lock:
                self._away = time.monotonic() + AWAY
                first, self._told = not self._told, True
            if first:
                _log.warning("redis away", work="nudge", error=type(error).__name__)
            return False
        if self._told:
            self._told = False
            _log.info("redis back", work="nudge")
        return True

    def _size(self, queue: str) -> int:
        at, size = self._sizes.get(queue, (0.0, 0))
        if time.monotonic() - at > COUNTED:
            size = int(self.broker.do_qsize(queue))  # type: ignore[attr-defined]  # the Redis broker's
            self._sizes[queue] = (time.monotonic(), size)
        return size

    def _do_here(self, kind: Kind, ids: tuple[object, ...]) -> None:
        if self.here is not None:
            self.aside(self.here, kind.name, ids)
