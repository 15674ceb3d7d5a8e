"""How many deliveries a system may send per time, and how often a flood is told of in the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

USUAL_DELIVERIES = (200, 1.0)
"""Deliveries per seconds of a system whose file names no limit: more than any vendor sends for long."""


class Bucket:
    """A token bucket: `count` at once, refilled over `seconds`. Used on one thread."""

    def __init__(self, count: int, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._count, self._rate, self._now = float(count), count / seconds, now
        self._left, self._at = float(count), now()

    def take(self) -> float:
        """0.0 when one may pass now; otherwise the seconds until one may."""
        now = self._now()
        self._left = min(self._count, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return (1.0 - self._left) / self._rate
        self._left -= 1.0
        return 0.0


class Seldom:
    """Whether something that happens over and over is to be told now: once a while for each name."""

    def __init__(self, seconds: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._now = seconds, now
        self._told: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def now(self, system: str, outcome: str) -> bool:
        """Names are systems of the mapping and outcomes, so that few are remembered."""
        with self._lock:
            at, last = self._now(), self._told.get((system, outcome))
            if last is not None and at - last < self._seconds:
                return False
            self._told[system, outcome] = at
            return True
