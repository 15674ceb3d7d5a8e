"""What this process did since it began: every line of the log and every piece of the engine's news, counted.

Labels are names of systems, words of the product and HTTP status codes: their number is bounded, and no label ever
holds an id or a value.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from syncbroker.store.drift import CAUSES

FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "api_calls": (
        "Calls to systems, by method and HTTP status; status 0: no answer.",
        ("system", "method", "status"),
    ),
    "api_rate_limited": ("Calls that a system answered with 429.", ("system",)),
    "budget_wait_seconds": ("Time that calls waited for the system's rate budget.", ("system",)),
    "decisions": ("Outcomes decided by this process, by kind.", ("kind",)),
    "drift_found": ("Differences that only a sweep found, by cause.", ("system", "cause")),
    "events": ("Lines of the log, by event and system; event fault is a bug.", ("event", "system")),
    "received": ("Deliveries that were read at their system.", ("system",)),
    "requests": ("HTTP requests by route and status.", ("route", "status")),
    "writes": ("Writes that a system answered, by operation and answer.", ("system", "op", "answer")),
}
"""Name without prefix and `_total` -> help, label names."""


class Counts(Collector):
    """(family, label values) -> amount. Any thread may add."""

    def __init__(self) -> None:
        self._amounts: dict[str, Counter[tuple[str, ...]]] = {name: Counter() for name in FAMILIES}
        self._lock = threading.Lock()

    def add(self, family: str, *labels: str, by: float = 1) -> None:
        with self._lock:
            self._amounts[family][labels] += by  # type: ignore[assignment]  # seconds are counted as well

    def expect(self, systems: Iterable[str]) -> None:
        """Show what alerts watch at 0: `increase` misses the first of a series that begins with it."""
        for system in ("", *systems):
            self.add("events", "fault", system, by=0)
        for system in systems:
            self.add("api_rate_limited", system, by=0)
            for cause in CAUSES:
                self.add("drift_found", system, cause, by=0)

    def note(self, system: str, method: str, _path: str, status: int) -> None:
        """A call to a system was answered, or not (0)."""
        self.add("api_calls", system, method, str(status))
        if status == 429:
            self.add("api_rate_limited", system)

    def waited(self, system: str, seconds: float) -> None:
        """A call waited so long for its place in the rate budget."""
        self.add("budget_wait_seconds", system, by=seconds)

    def line(self, _logger: Any, _method: str, found: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A processor of the log: what is logged is counted, whether or not it is written."""
        event = found.get("event")
        self.add("events", str(event), str(found.get("system") or ""))
        if event == "request":
            self.add("requests", str(found.get("route")), str(found.get("status")))
        return found

    def told(self, event: str, fields: Mapping[str, Any]) -> None:
        """The engine's news."""
        if event == "decided":
            for kind, count in fields["kinds"].items():
                self.add("decisions", kind, by=count)
        elif event == "drift":
            self.add("drift_found", fields["system"], fields["cause"], by=fields["count"])
        elif event == "received":
            self.add("received", fields["system"])
        elif event == "written":
            self.add("writes", fields["system"], fields["op"], fields["answer"])

    def collect(self) -> Iterable[CounterMetricFamily]:
        with self._lock:
            amounts = {name: dict(of) for name, of in self._amounts.items()}
        for name, (text, labels) in FAMILIES.items():
            family = CounterMetricFamily(f"syncbroker_{name}", text, labels=labels)
            for values, amount in sorted(amounts[name].items()):
                family.add_metric(values, amount)
            yield family


def telling(counts: Counts, log: Callable[..., None]) -> Callable[..., None]:
    """The engine's `tell`: counted and logged."""

    def tell(event: str, **fields: Any) -> None:
        counts.told(event, fields)
        log(event, **fields)

    return tell
