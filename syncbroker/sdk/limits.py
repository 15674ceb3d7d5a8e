"""A system's rate budget: how many calls may leave within a window, minus the share that is left to others.

The vendor's limit holds for everybody who uses the account. `reserve` keeps a share of it free, so that people and
other integrations are not locked out by the broker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from syncbroker.errors import BadSetting, RateLimited
from syncbroker.sdk.shared_limits import SharedWindow

if TYPE_CHECKING:
    from redis import Redis


class RateBudget:
    """A sliding window over the calls of one system, shared by all threads of this process, and by all processes where
    there is a `SharedWindow`."""

    def __init__(
        self,
        calls: int,
        seconds: float,
        *,
        reserve: float = 0.0,
        patience: float = 60.0,
        system: str = "",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        redis: Redis | None = None,
    ) -> None:
        """`calls` per `seconds` as the vendor states it; `reserve` 0..1 is left to others, at least one call stays.

        `patience`: the longest that `acquire` blocks, seconds. `clock` is monotonic, seconds.
        `redis`: where all processes count; without it, and while it is away, each counts for itself.
        """
        if calls < 1 or seconds <= 0 or not 0 <= reserve < 1:
            raise BadSetting(
                f"a rate of {calls} calls per {seconds:g} s with a reserve of {reserve:.0%} leaves nothing to use",
                hint="write limits such as {rate: 100/10s, reserve: 20%}",
                system=system,
            )
        self.calls = max(1, int(calls * (1 - reserve) + 1e-9))
        self.seconds = seconds
        self._patience = patience
        self._system = system
        self._clock = clock
        self._sleep = sleep
        self._shared = SharedWindow(redis, system, self.calls, seconds) if redis is not None else None
        self._own = InMemoryBucket([Rate(self.calls, max(1, round(seconds * 1000)))])
        self._share = self.calls
        # the bucket wants its items in the order of their times
        self._lock = threading.Lock()

    def acquire(self) -> None:
        """Take the next place, waiting for it; RateLimited when it would not come within `patience` seconds."""
        waited = 0.0
        while wait := self._try():
            if waited + wait > self._patience:
                raise RateLimited(
                    f"the rate budget of {self.calls} calls per {self.seconds:g} s is used up",
                    delay=wait,
                    system=self._system,
                )
            self._sleep(wait)
            waited += wait

    def _try(self) -> float:
        """0.0 when a place was taken, else the seconds until one may be free."""
        if self._shared is not None:
            wait = self._shared.take()
            if wait is not None:
                return wait
        return self._try_alone(self.calls if self._shared is None else self.calls // self._shared.sharing)

    def _try_alone(self, share: int) -> float:
        """The same, in this process alone. `share`: its part of the calls."""
        with self._lock:
            if (share := max(1, share)) != self._share:
                self._share = share
                self._own = InMemoryBucket([Rate(share, max(1, round(self.seconds * 1000)))])
            call = RateItem("call", int(self._clock() * 1000))
            self._own.leak(call.timestamp)
            if self._own.put(call):
                return 0.0
            wait = self._own.waiting(call)
        return max(1, wait if isinstance(wait, int) else 0) / 1000
