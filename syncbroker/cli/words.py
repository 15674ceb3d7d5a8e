"""The words and forms in which commands show values, decisions and causes to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncbroker.cli.output import local, plain

if TYPE_CHECKING:
    from datetime import datetime

    from syncbroker.core.plan import Plan
    from syncbroker.engine.history import Step

KINDS = {
    "created": "records made",
    "linked": "records recognised in a system",
    "adopted": "edits taken over",
    "agreed": "systems that said the same",
    "conflict_resolved": "conflicts settled by a rule",
    "conflict_queued": "conflicts that wait for a person",
    "edit_reverted": "edits put back",
    "edit_proposed": "edits proposed to a person",
    "edit_ignored": "edits let stand",
    "overwritten_unseen": "edits that a write of ours removed",
    "standardised": "spellings made one",
    "rejected": "values or writes that cannot be",
    "match_queued": "records that a person must recognise",
    "merged": "records that became one",
    "unmerged": "records that became two again",
    "deleted": "links ended",
    "delete_queued": "deletions that wait for a person",
    "drift_corrected": "differences that only a sweep found",
    "run_held": "runs held by a guard",
    "resolved_by_person": "answers of a person",
    "undone": "values that a person set back",
}
"""What a decision of each kind did, in the plural. The order is that of summaries."""

VIA = {
    "webhook": "told by webhook",
    "poll": "found by poll",
    "sweep": "found by sweep",
    "first_read": "found by the first read",
    "write": "shown by the answer to a write",
    "read": "found by reading it again",
    "reference": "seen anew once its reference was linked",
    "mapping": "seen anew under another mapping",
    "person": "answered by a person",
    "undo": "undone by a person",
    "merge": "met when records were merged or taken apart",
}

ORIGINS = {"person": "a person", "automation": "an automation", "integration": "an integration"}

FLOWS = {"both": "<->", "pull": "-->", "push": "<--", "none": ""}
"""Which way a field flows, the system on the left and the broker on the right."""

Members = Sequence[tuple[str, str]]
"""(name, type) of each member of a field."""


def members_of(plan: Plan | None, field: str) -> Members:
    """The members of a field, none when the mapping does not have it any more."""
    found = plan.fields.get(field) if plan else None
    return [(one.name, str(one.type)) for one in found.members] if found else []


def value_text(value: Any, members: Members = (), labels: Mapping[str, str] | None = None) -> str:
    """A canonical value as a person would write it. Without members, as far as it speaks for itself."""
    if value is None:
        return "(empty)"
    if len(members) > 1 and isinstance(value, list | tuple):
        parts = zip(members, value, strict=False)
        return ", ".join(
            f"{name}: {value_text(one, [(name, type_)])}" for (name, type_), one in parts if one is not None
        )
    type_ = members[0][1] if members else ""
    if type_ == "money" and isinstance(value, list | tuple) and len(value) == 2:
        from syncbroker.core.money import major_units

        return f"{major_units(int(value[0]), str(value[1]))} {value[1]}"
    if type_ == "country":
        from syncbroker.core.countries import country_names

        return f"{country_names().get(str(value), '?')} ({value})"
    if type_ == "reference":
        label = (labels or {}).get(str(value), "")
        return plain(f"{label} ({value})" if label else value)
    return raw_text(value)


def raw_text(value: Any) -> str:
    """A vendor's own value: texts as they are, the rest as JSON."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return plain(", ".join(value))
    import msgspec

    return plain(msgspec.json.encode(value).decode())


def when(since: datetime | None, until: datetime | None) -> str:
    """When an edit was made, as exactly as it is known."""
    if since == until or until is None:
        return f"at {local(since)}" if since else "at an unknown time"
    return f"between {local(since)} and {local(until)}" if since else f"by {local(until)}"


def who(step: Step) -> str:
    """Who made the edit that a step judged."""
    if step.kind == "resolved_by_person":
        return f"{plain(step.actor)}, answering review {step.review}"
    if step.kind == "undone":
        return f"{plain(step.actor)}, undoing {plain(step.event)}"
    origin = ORIGINS.get(step.origin, "")
    if not origin:
        return f"somebody in {step.system}"
    return f"{origin} in {step.system}" + (f" ({plain(step.name)})" if step.name else "")


def cause(step: Step) -> str:
    """How the broker came to see it."""
    text = VIA.get(step.via, step.via) or "decided"
    return (
        text
        + (f" (event {plain(step.event)})" if step.event else "")
        + (f" at {local(step.seen)}" if step.seen else "")
    )
