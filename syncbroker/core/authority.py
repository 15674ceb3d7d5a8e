"""Who has authority over a field now, where authority has terms: a condition, or a time after which it lapses.

An authority counts while its condition holds on the golden record as it was before the decision, and until so long
after its last edit of the field. Who may not decide, and why, is an input of the decision, so that it can be resolved
again without asking the condition or the clock.
"""

from __future__ import annotations

from collections.abc import Mapping

from syncbroker.core.plan import Plan, flat
from syncbroker.core.resolve import owner
from syncbroker.core.state import NOTHING, Record
from syncbroker.core.types import Micros, Value


def golden_values(plan: Plan, record: Record) -> dict[str, Value]:
    """The golden record as conditions see it."""
    return flat(plan, {name: one.value for name, one in record.golden.items()})


def linked(plan: Plan, record: Record, name: str) -> tuple[str, ...]:
    """The systems that are linked and whose values of the field are read, in rank order."""
    live = {link.system for link in record.links if link.primary and link.status == "live"}
    return tuple(s for s in plan.fields[name].rule.rank if s in live and plan.readers[s].pulls(name))


def barred(
    plan: Plan, record: Record, name: str, now: Micros, golden: Mapping[str, Value], edit: tuple[str, Micros]
) -> tuple[tuple[str, str], ...]:
    """(system, why) of the field's authorities that may not decide now. `edit`: who is editing it, and when.

    An edit brings back authority that had lapsed, unless the edit itself is that old.
    """
    found = []
    for system, term in plan.terms.get(name, {}).items():
        if term.condition is not None and not term.condition.holds(golden):
            found.append((system, f"not while {term.condition.text}"))
            continue
        last = edit[1] if edit[0] == system else last_edit(record, name, system)
        if term.stale_after and now - last > term.stale_after:
            found.append((system, "its authority has lapsed"))
    return tuple(found)


def owner_now(plan: Plan, record: Record, name: str, now: Micros, golden: Mapping[str, Value]) -> str:
    """The system that decides the field now, "" when none does."""
    out = barred(plan, record, name, now, golden, ("", 0))
    return owner(plan.fields[name].rule, linked(plan, record, name), out)


def last_edit(record: Record, name: str, system: str) -> Micros:
    """When a system last edited a field, as far as it is known; 0 for never."""
    golden = record.golden.get(name, NOTHING)
    times = [
        link.fields[name].edited
        for link in record.links
        if link.system == system and link.primary and name in link.fields
    ]
    return max([*times, golden.until if golden.source == system else 0])


def lapses(plan: Plan, record: Record) -> Micros:
    """When the first of the present owners loses authority by the passing of time; 0 when none does."""
    times = []
    for name, terms in plan.terms.items():
        golden = record.golden.get(name, NOTHING)
        holder = golden.owner
        if golden.frozen is None and holder in terms and terms[holder].stale_after:
            times.append(last_edit(record, name, holder) + terms[holder].stale_after + 1)
    return min(times, default=0)
