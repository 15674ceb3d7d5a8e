"""The window of a rate budget in Redis, where several processes count their calls into one.

Time is Redis's own, so that clocks of hosts may differ, and is read where the call is counted: with a time from a
step before, two at once do not see each other. When Redis is away each process counts for itself, with
its share of the calls: as many processes as were seen last share them evenly. When it comes back it begins
with an empty window.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import structlog

if TYPE_CHECKING:
    from redis import Redis
    from redis.commands.core import Script

TIMEOUT = 1.0
"""Seconds that one call to Redis may take."""

AWAY = 5.0
"""Seconds for which Redis is not asked after a failure."""

SEEN = 60
"""Seconds for which a process that calls counts as one that shares."""

_TAKE = """
local window, calls, interval, call = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', window, '-inf', now - interval)
redis.call('ZREMRANGEBYSCORE', window, now + interval, '+inf')  -- the clock was set back
if redis.call('ZCARD', window) < calls then
    redis.call('ZADD', window, now, call)
    redis.call('PEXPIRE', window, interval)
    return 0
end
return redis.call('ZRANGE', window, 0, 0, 'WITHSCORES')[2] + interval - now
"""
"""Milliseconds until a place may be free; 0 when one was taken."""

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
        self._calls, self._interval = calls, max(1, round(seconds * 1000))
        self._key = f"syncbroker:budget:{system}:{calls}:{seconds:g}"
        self._script: Script = client.register_script(_TAKE)
        self._id = uuid4().hex
        self._lock = threading.Lock()
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
        call = uuid4().hex
        wait = cast("int", self._script(keys=[self._key], args=[self._calls, self._interval, call]))
        if not wait:
            self._note()
        return wait / 1000

    def _note(self) -> None:
        """Be counted among those that share, and count them."""
        if time.monotonic() < self._noted:
            return
        self._noted = time.monotonic() + SEEN / 6
        members = f"syncbroker:sharing:{self._system}"
        now = self._client.time()[0]
        with self._client.pipeline() as pipe:
            pipe.zadd(members, {self._id: now})
            pipe.zremrangebyscore(members, 0, now - SEEN)
            pipe.zcard(members)
            pipe.expire(members, SEEN * 2)
            self._sharing = max(1, int(pipe.execute()[2]))
