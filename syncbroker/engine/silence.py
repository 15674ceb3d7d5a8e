"""Webhooks that went silent: polls keep finding edits that a delivery should have told of first.

One such poll means nothing, it may have been quicker. Several in a row without any delivery between them mean that the
vendor no longer delivers, or not to us. A system whose webhook secret is not set is not expected to deliver.
"""

from __future__ import annotations

from sqlalchemy import select

from syncbroker.core.types import Micros
from syncbroker.engine import Engine
from syncbroker.store import runs, tables
from syncbroker.store.database import Tx

POLLS = 3
"""So many polls must have found edits since the last delivery."""

RUNS = 200
"""So many runs of an object are looked at."""

EDITS = frozenset(
    "adopted conflict_resolved conflict_queued edit_reverted edit_proposed edit_ignored created deleted "
    "delete_queued match_queued".split()
)
"""Outcomes that somebody's edit there led to."""


def silent(engine: Engine, tx: Tx, system: str) -> bool:
    """Whether a system that should deliver webhooks does not."""
    connector, rules = engine.connectors[system], engine.mapping.systems[system]
    objects = [name for of, name in engine.sources if of == system and connector.objects[name].events]
    if not objects or not rules.credentials.get("webhook_secret"):
        return False
    last = _last_delivery(tx, system)
    return any(_missed(tx, system, name, last) >= POLLS for name in objects)


def _last_delivery(tx: Tx, system: str) -> Micros:
    d = tables.deliveries.c
    newest = [
        tx.run(
            select(d.received)
            .where(d.state == state, d.system == system)
            .order_by(d.due.desc(), d.id.desc())
            .limit(1)
        ).scalar()
        for state in ("new", "done", "rejected", "poison")
    ]
    return max((int(at) for at in newest if at is not None), default=0)


def _missed(tx: Tx, system: str, object_: str, since: Micros) -> int:
    """Polls since then, and since the first complete read, that brought edits."""
    at = runs.cursor(tx, system, object_)
    if at.first_read is None:
        return 0
    begun = max(since, at.first_read)
    return sum(
        run.kind == "pull"
        and run.started > begun
        and bool(EDITS & {kind for kind, n in run.counts.items() if n})
        for run in runs.of_source(tx, system, object_, limit=RUNS)
    )
