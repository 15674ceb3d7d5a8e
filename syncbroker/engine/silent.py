"""Webhooks that have gone silent: reads keep finding edits that an event should have told.

A reading that decides edits by somebody else, of an object whose webhooks tell of changes, is held against the last
delivery of its system. When none came since well before the reading before it, those edits were found without being
told. Once two readings did so, and a while has passed in which the events may still have come, the system counts as
silent, until it delivers again. One that has never delivered is not silent: its webhooks are not set up.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from syncbroker.core.types import Micros
from syncbroker.engine import Source
from syncbroker.store import hearing, runs
from syncbroker.store.database import Tx
from syncbroker.store.hearing import Untold
from syncbroker.store.runs import Cursor

GRACE: Micros = 900_000_000
"""How late an event may be, and how long before a reading its record may have been edited."""

READS = 2
"""How many readings must have found something."""

EDITS = (
    "adopted",
    "conflict_resolved",
    "conflict_queued",
    "edit_reverted",
    "edit_proposed",
    "edit_ignored",
    "deleted",
    "delete_queued",
)
"""Decisions that only an edit at the system brings about."""


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """`since`: its last delivery. `edits` were found since without being told."""

    system: str
    since: Micros
    edits: int


def note(tx: Tx, source: Source, before: Cursor, kinds: Mapping[str, int], now: Micros) -> None:
    """A reading of the object is over. `before`: how its readings stood; `kinds`: what it decided, by kind."""
    edits = sum(kinds.get(kind, 0) for kind in EDITS)
    last = max(before.pulled or 0, before.swept or 0)
    if not (source.spec.events and edits and last):
        return
    system = source.system
    if hearing.heard(tx).get(system, 0) >= last - GRACE:
        hearing.set_untold(tx, system, None)
        return
    runs.count(tx, {("untold_edit", system, source.object): edits})
    held = hearing.untold(tx).get(system) or Untold(since=last, found=now, reads=0, edits=0)
    hearing.set_untold(
        tx, system, msgspec.structs.replace(held, reads=held.reads + 1, edits=held.edits + edits)
    )


def silent(tx: Tx, now: Micros) -> dict[str, Silence]:
    """The systems whose webhooks are silent."""
    heard = hearing.heard(tx)
    return {
        system: Silence(system=system, since=heard[system], edits=one.edits)
        for system, one in hearing.untold(tx).items()
        if one.reads >= READS and one.found + GRACE <= now and 0 < heard.get(system, 0) < one.since
    }
