"""How many requests ended how, by system, since the process began: what the metrics show of the ways in.

Names of systems are those of the mapping; whatever a stranger asked for counts under "".
"""

from __future__ import annotations

import threading
from collections import Counter

OUTCOMES = {
    "stored": "a delivery that is new",
    "known": "one that had come before",
    "checked": "a vendor's check of the URL, answered",
    "refused": "not proven: signature, time or secret URL are wrong, or a header came twice",
    "unsupported": "a content type or encoding that no vendor uses",
    "too_large": "a body over the limit",
    "too_slow": "headers or a body that did not come in time",
    "broken_off": "a request that ended before it was whole",
    "malformed": "no HTTP",
    "limited": "more deliveries per time than the system may send",
    "full": "too many deliveries wait to be dealt with",
    "not_stored": "the store could not take it, or the system is not set up",
    "nothing_here": "a path or method that there is not",
    "crowded": "more connections than are taken at a time",
    "fault": "a fault of the broker or of a connector",
}
"""Every outcome and what it means."""


class Requests:
    """(system, outcome) -> how often. Any thread may note and look."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def note(self, system: str, outcome: str) -> None:
        with self._lock:
            self._counts[system, outcome] += 1

    def all(self) -> dict[tuple[str, str], int]:
        """A copy."""
        with self._lock:
            return dict(self._counts)
