"""The page that Prometheus reads: this process's counts and the store's state, in a registry of its own."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Info, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from syncbroker import __version__
from syncbroker.engine import Engine
from syncbroker.metrics.counts import Counts
from syncbroker.metrics.store import StoreCollector

TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Page:
    """`token`: what a scraper must show, "" for nothing. `requests`: (system, outcome) -> webhook requests of this
    process; `bound`: how many deliveries may wait."""

    def __init__(
        self,
        engine: Engine,
        counts: Counts,
        *,
        token: str = "",
        requests: Callable[[], Mapping[tuple[str, str], int]] = dict,
        bound: int = 0,
    ) -> None:
        self._token = token.encode()
        self._registry = CollectorRegistry()
        Info("syncbroker_build", "The release that runs.", registry=self._registry).info(
            {"version": __version__}
        )
        systems = list(engine.mapping.systems)
        counts.expect(systems)
        webhooks = Webhooks(requests, bound, systems)
        for collector in (counts, webhooks, StoreCollector(engine, time.monotonic)):
            self._registry.register(collector)

    def admits(self, authorization: str) -> bool:
        """Whether the header `Authorization` shows the token, where one is asked for."""
        if not self._token:
            return True
        word, _, shown = authorization.partition(" ")
        return word.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), self._token)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class Webhooks(Collector):
    """What became of webhook requests. They are counted where they come in, however few of them are logged.

    Those that are `refused` are there from the beginning, as in `Counts.expect`."""

    def __init__(
        self, requests: Callable[[], Mapping[tuple[str, str], int]], bound: int, systems: Iterable[str]
    ) -> None:
        self._requests = requests
        self._bound = bound
        self._none = {(system, "refused"): 0 for system in systems}

    def collect(self) -> Iterable[Metric]:
        found = CounterMetricFamily(
            "syncbroker_webhook_requests", "Webhook requests, by outcome.", labels=("system", "outcome")
        )
        for key, count in sorted({**self._none, **self._requests()}.items()):
            found.add_metric(key, count)
        yield found
        bound = GaugeMetricFamily("syncbroker_deliveries_bound", "How many deliveries may wait to be read.")
        bound.add_metric((), self._bound)
        yield bound
