"""A delivery that has come in, without a web server."""

from __future__ import annotations

from syncbroker.core.types import Micros
from syncbroker.store import deliveries
from syncbroker.store.database import Tx
from syncbroker.store.deliveries import Arrival, Request


def arrive(tx: Tx, system: str, dedupe: str, received: Micros, request: Request, body: bytes) -> int:
    """Kept as the web server keeps it; its number."""
    one = Arrival(system=system, dedupe=dedupe, received=received, request=request, body=body)
    (placed,) = deliveries.store(tx, [one])
    return placed.number
