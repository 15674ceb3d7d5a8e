"""Records that are decided again without an observation: because time has passed, or something outside them changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from sqlalchemy import select

from syncbroker.core.types import Micros
from syncbroker.engine import Engine, isolating, sharing
from syncbroker.engine.finish import finish
from syncbroker.engine.workspace import Workspace
from syncbroker.store import queues, tables, waits

CHUNK = 1000
"""Records per transaction."""


AGAIN: Micros = 3_600_000_000
"""When a record is looked at again whose time has come, and deciding it met a fault."""


def wake(engine: Engine) -> tuple[int, Counter[str]]:
    """Because time has passed: authority lapsed, or a deletion's grace is over. (records, outcomes by kind).

    A record that a fault comes of keeps its alarm for later; it is told, and the others are decided.
    """
    kinds, taken = Counter[str](), list[str]()

    def decide(some: Sequence[str]) -> None:
        with engine.store.write() as tx:
            tx.serialise(sharing.DECIDE)
            ids = waits.take_alarms(tx, engine.now(), some)
            ws = Workspace(engine, tx, queues.LIVE)
            for id_ in ws.load(ids):
                if ws.records[id_].entity in engine.plans:
                    ws.touch(id_)
            outcomes = finish(ws)
        kinds.update(outcomes)
        taken.extend(ids)

    def strike(id_: str, fault: Exception) -> None:
        with engine.store.write() as tx:
            waits.set_alarms(tx, {id_: engine.now() + AGAIN})
        engine.tell("fault", work="wake", ids=[id_], error=isolating.described(fault))

    while True:
        with engine.store.read() as tx:
            due = waits.due_alarms(tx, engine.now(), CHUNK)
        if not due:
            return len(taken), kinds
        isolating.isolate(due, decide, strike)


def rederive(
    engine: Engine, entity: str, progress: Callable[[int], None] = lambda _: None, *, run: int = queues.LIVE
) -> None:
    """What is owed for every record of an entity, from what each system holds now; staged by `run`, if there is one.

    Needed when something outside the records changed: a first read was completed (creates may go there from now on),
    or the mapping changed.
    """
    after = ""
    while True:
        with engine.store.write() as tx:
            tx.serialise(sharing.DECIDE)
            r = tables.records.c
            query = select(r.id).where(r.entity == entity, r.id > after).order_by(r.id).limit(CHUNK)
            ids = [row[0] for row in tx.run(query)]
            if not ids:
                return
            after = ids[-1]
            ws = Workspace(engine, tx, run, stages=run != queues.LIVE)
            ws.load(ids)
            for id_ in ids:
                ws.touch(id_)
                ws.read_anew(id_)
                for link in ws.records[id_].links:
                    if link.rules != ws.plan(id_).version:
                        ws.put_link(link, id_, entity)
            finish(ws)
        progress(len(ids))
