"""The page that Prometheus reads: this process's counts and the store's state, in a registry of its own."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Info, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from syncbroker import __version__
from syncbroker.engine import Engine
from syncbroker.metrics.counts import Counts
from syncbroker.metrics.store import StoreCollector

TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Page:
    """`more`: further collectors, of whoever counts by itself. `token`: what a scraper must show, "" for nothing."""

    def __init__(
        self, engine: Engine, counts: Counts, *, token: str = "", more: Iterable[Collector] = ()
    ) -> None:
        self._token = token.encode()
        self._registry = CollectorRegistry()
        Info("syncbroker_build", "The release that runs.", registry=self._registry).info(
            {"version": __version__}
        )
        for collector in (counts, StoreCollector(engine, time.monotonic), *more):
            self._registry.register(collector)

    def admits(self, authorization: str) -> bool:
        """Whether the header `Authorization` shows the token, where one is asked for."""
        if not self._token:
            return True
        word, _, shown = authorization.partition(" ")
        return word.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), self._token)

    def text(self) -> bytes:
        return generate_latest(self._registry)
