"""The window of a rate budget in Redis, where several processes count their calls into one.

Time is Redis's own, so that clocks of hosts may differ. When Redis is away each process counts for itself, with
its share of the calls: as many processes as were seen last share them evenly. When it comes back it begins
with an empty window.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import structlog
from pyrate_limiter import Rate, RateItem

if TYPE_CHECKING:
    from pyrate_limiter import RedisBucket
    from redis import Redis

TIMEOUT = 1.0
"""Seconds that one call to Redis may take."""

AWAY = 5.0
"""Seconds for which Redis is not asked after a failure."""

SEEN = 60
"""Seconds for which a process that calls counts as one that shares."""

_log = structlog.get_logger()


def connect(redis_url: str) -> Redis:
    """A client that gives up soon, and does not connect before it is asked."""
    from redis import Redis  # noqa: PLC0415  # only where it is used
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    return Redis.from_url(
        redis_url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
    )


class SharedWindow:
    """Of one system. `calls` per `seconds`, by all processes together."""

    def __init__(self, client: Redis, system: str, calls: int, seconds: float) -> None:
        self._client, self._system = client, system
        self._rates = [Rate(calls, max(1, round(seconds * 1000)))]
        self._key = f"syncbroker:budget:{system}:{calls}:{seconds:g}"
        self._id = uuid4().hex
        self._lock = threading.Lock()
        self._bucket: RedisBucket | None = None
        self._away_until = 0.0
        self._told = False
        self._noted = 0.0
        self._sharing = 1

    @property
    def sharing(self) -> int:
        """How many processes called the system lately, as far as is known."""
        return self._sharing

    def take(self) -> float | None:
        """0.0 when a place was taken, else the seconds until one may be free. None: Redis is away."""
        from redis.exceptions import RedisError  # noqa: PLC0415  # only where it is used

        with self._lock:
            if time.monotonic() < self._away_until:
                return None
            try:
                wait = self._take()
            except (RedisError, OSError) as error:
                self._bucket = None  # its script may be gone, too
                self._away_until = time.monotonic() + AWAY
                if not self._told:
                    self._told = True
                    _log.warning("redis away", work="budget", system=self._system, error=type(error).__name__)
                return None
            if self._told:
                self._told = False
                _log.info("redis back", work="budget", system=self._system)
            return wait

    def _take(self) -> float:
        from pyrate_limiter import RedisBucket  # noqa: PLC0415  # only where it is used

        seconds, micros = self._client.time()
        now = seconds * 1000 + micros // 1000
        if self._bucket is None:
            self._bucket = cast("RedisBucket", RedisBucket.init(self._rates, self._client, self._key))
        bucket, call = self._bucket, RateItem("call", now)
        bucket.leak(now)
        if bucket.put(call):
            self._note(seconds)
            return 0.0
        wait = bucket.waiting(call)
        return max(1, wait if isinstance(wait, int) else 0) / 1000

    def _note(self, now: int) -> None:
        """Be counted among those that share, and count them."""
        if time.monotonic() < self._noted:
            return
        self._noted = time.monotonic() + SEEN / 6
        members = f"syncbroker:sharing:{self._system}"
        with self._client.pipeline() as pipe:
            pipe.zadd(members, {self._id: now})
            pipe.zremrangebyscore(members, 0, now - SEEN)
            pipe.zcard(members)
            pipe.expire(members, SEEN * 2)
            pipe.pexpire(self._key, self._rates[0].interval * 2 + 1000)
            self._sharing = max(1, int(pipe.execute()[2]))
