"""Why a system held something else than the broker believed, when only a sweep found it (design section 8).

The cause is derived from evidence: what the link held and was sent, the system's own version of the record, the
vendor's actor, and what the rules made of the edit. Where nothing else is known, it is an event that was missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from syncbroker.core.observe import Edit, Timing
from syncbroker.core.plan import Seen
from syncbroker.core.resolve import Kind
from syncbroker.core.state import LinkState
from syncbroker.core.types import Actor, Micros

FOREIGN: frozenset[Kind] = frozenset({"drift_corrected", "edit_ignored", "edit_proposed", "edit_reverted"})


class Cause(msgspec.Struct, frozen=True):
    """`name` is one of `store.drift.CAUSES`. `why` says how it is known, without values."""

    name: str
    why: str


def cause_of(
    edit: Edit, kind: Kind, before: LinkState, stamp: Micros | None, actor: Actor | None, timing: Timing
) -> Cause:
    """The cause of a difference that was an edit. `before`: the link before the sweep saw it; `kind`: the outcome."""
    if edit.first and before.fields:
        return Cause("mapping_changed", "the field was not read before")
    ours = edit.field in before.ours
    untouched = timing.stamped and stamp is not None and stamp <= before.order
    if ours and untouched and edit.seen.value in edit.before.known:
        return Cause(
            "lost_write", "our write was confirmed, and the record's version says nobody changed it since"
        )
    if ours and untouched:
        return Cause("rewritten_by_system", "the record's version says nobody changed it since our write")
    if ours and actor is not None and actor.origin == "automation":
        return Cause("rewritten_by_system", "the vendor names an automation, after our write")
    if kind in FOREIGN:
        return Cause("foreign_edit", "an edit that may not decide")
    told = f"; the vendor names {actor.origin}" if actor is not None and actor.origin != "unknown" else ""
    return Cause("missed_event", f"an edit that no event or poll brought{told}")


def reformatted(before: LinkState, seen: Mapping[str, Seen]) -> Iterator[str]:
    """Fields that are written in another way and mean the same."""
    for name, now in seen.items():
        state = before.fields.get(name)
        if state is None or state.invalid or now.invalid:
            continue
        if state.raw != now.raw and state.value == now.value:
            yield name
