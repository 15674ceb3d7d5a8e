"""The steps of a delivery one by one, so that a test can do something between two of them."""

from __future__ import annotations

from collections.abc import Iterable

from syncbroker.core.types import Receipt
from syncbroker.engine import Engine, deliver
from syncbroker.engine.deliver import Delivered
from syncbroker.engine.settle import Answer, Claim


def write(engine: Engine, batch: list[Claim]) -> None:
    """Call the vendor, and settle its answer."""
    deliver.settle_answers(engine, deliver.send(engine, batch).answers, Delivered())


def answered(engine: Engine, pairs: Iterable[tuple[Claim, Receipt]]) -> Answer:
    """An answer that arrives just now."""
    return Answer(list(pairs), engine.now(), engine.now())
