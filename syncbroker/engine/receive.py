"""Stored deliveries of one system, oldest first: each becomes reads by id, and one that cannot be dealt with is
set aside.

A vendor that cannot be reached now leaves them as they are. A fault of ours or of a connector counts against the one
delivery: after `TRIES` it is `poison`, kept with the kind of its fault until a person has it tried again.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from syncbroker.core.types import Micros
from syncbroker.engine import Engine, breaker, ingest
from syncbroker.errors import SyncbrokerError
from syncbroker.store import queues, runs, stops

TRIES = 5
"""How often a delivery may fail by a fault before it is set aside."""

WAIT: Micros = 2_000_000
"""How long after its first fault a delivery is tried again; doubled with each."""

SOME = 100
"""Deliveries looked up at a time."""

_log = structlog.get_logger()


def waiting(engine: Engine, system: str) -> bool:
    """Whether deliveries of a system are to be dealt with now."""
    with engine.store.read() as tx:
        return not stops.is_stopped(tx, system) and bool(queues.due_deliveries(tx, system, engine.now(), 1))


def receive_due(engine: Engine, system: str, told: Callable[[], None]) -> int:
    """Everything that was delivered for a system; how many deliveries. `told`: something of it is to be decided."""
    done = 0
    while numbers := _due(engine, system):
        engine.holder.check()
        if breaker.closed(engine, breaker.reads(system)):
            return done
        if receive_some(engine, numbers, system):
            told()
        done += len(numbers)
        if len(numbers) < SOME:  # whoever asked looks once more when it is over
            break
    return done


def receive_some(engine: Engine, numbers: list[int], system: str) -> int:
    """Deliveries together; how many observations they led to. After a fault one by one, to find whose it is."""
    try:
        with breaker.reading(engine, system):
            return ingest.receive(engine, *numbers)
    except SyncbrokerError:
        raise
    except Exception as error:  # noqa: BLE001  # it is told below, where it is known whose it is
        _log.info("fault", work="receive", system=system, kind=type(error).__name__, deliveries=len(numbers))
    return sum(receive_one(engine, number, system) for number in numbers)


def receive_one(engine: Engine, number: int, system: str) -> int:
    """One delivery; how many observations it led to. A fault is noted, an error of the system is raised."""
    try:
        with breaker.reading(engine, system):
            return ingest.receive(engine, number)
    except SyncbrokerError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, the other deliveries go on
        _log.exception("fault", work="receive", system=system, delivery=number)
        with engine.store.write() as tx:
            poisoned = queues.note_fault(
                tx, number, type(error).__name__, engine.now(), tries=TRIES, wait=WAIT
            )
            runs.count(tx, {("poison_delivery", system, ""): int(poisoned)})
        return 0


def _due(engine: Engine, system: str) -> list[int]:
    with engine.store.read() as tx:
        if stops.is_stopped(tx, system):
            return []
        return queues.due_deliveries(tx, system, engine.now(), SOME)
