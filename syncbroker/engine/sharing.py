"""Who may decide at the same time. On PostgreSQL any number of processes do; SQLite has one writer.

Every transaction that changes records takes the lock `decide`, before anything else.

*Shared*, by who keeps to records that it locks at once and in order: a chunk of settled observations, a claim, the
settling of writes. It waits for another one only where both need the same record. So that deciding chunks do not, each
works on shards of its own (`store.shards`), which belong to it until it ends.

*Alone*, by who may reach further: observations that are not linked (whose are they?), deletions, renames, merges, the
answers of people, undo. Nobody else decides then.

What of a shared chunk reaches further than was thought stops it with `NotAlone`; it is undone and done again alone.

What several need at the end of their transactions is taken in one order: match keys that a record came to have,
windows of guards, new shapes of decisions, references that wait, counters. There is no ring to wait in; where one is
closed by something rare, the database ends it, and `Busy` has the transaction done again.
"""

from __future__ import annotations

from typing import NamedTuple

from syncbroker.core.types import Micros
from syncbroker.store import queues, shards
from syncbroker.store.database import Tx
from syncbroker.store.queues import Waiting

DECIDE = "decide"

AT_ONCE = 4
"""Shards that one transaction takes at most, where none of them fills it: few waiting observations still share their
commits, and another worker finds some too."""


class NotAlone(Exception):
    """What is being decided reaches further than the records that it holds."""


class Turn(NamedTuple):
    """What one transaction is to decide. `more`: something is due, though this transaction found none of it."""

    rows: list[Waiting]
    shared: bool
    more: bool = True


def take(tx: Tx, run: int, now: Micros, limit: int) -> Turn:
    """The next observations of a run that are due, with the locks under which they may be decided.

    Where all that is due is in the hands of other workers, wait until one of them has ended.
    """
    if tx.sqlite:
        rows = queues.take(tx, run, now, limit)
        return Turn(rows, shared=False, more=bool(rows))
    waiting = shards.due(tx, run, now)
    if not waiting:
        return Turn([], shared=True, more=False)
    if waiting[0] == shards.ALONE:
        tx.serialise(DECIDE)
        return Turn(queues.take(tx, run, now, limit, shards.ALONE), shared=False)
    tx.serialise(DECIDE, shared=True)
    return Turn(_free(tx, run, now, limit, [one for one in waiting if one != shards.ALONE]), shared=True)


def _free(tx: Tx, run: int, now: Micros, limit: int, waiting: list[int]) -> list[Waiting]:
    rows: list[Waiting] = []
    held = 0
    for shard in waiting:
        if tx.serialised(_name(shard)):
            held += 1
            rows += queues.take(tx, run, now, limit - len(rows), shard)
            if len(rows) >= limit or held == AT_ONCE:
                break
    if not held:
        tx.serialise(_name(waiting[0]))
        rows = queues.take(tx, run, now, limit, waiting[0])
    return rows


def _name(shard: int) -> str:
    return f"shard {shard}"
