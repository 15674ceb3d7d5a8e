"""Fields that come back to an earlier value again and again: one by one they wait for a person, and when there are
many of them at once, the field is paused for the system (design rule 9)."""

from __future__ import annotations

from msgspec.structs import replace

from syncbroker.engine.workspace import Workspace
from syncbroker.store import waits

MANY = 10
"""So many records fought over at once mean that the system does it to the field, not a person to a record."""


def note(ws: Workspace, entity: str, system: str, field: str) -> None:
    """A field became contested on one more record: pause it there when that makes too many."""
    ws.reach()  # the others are counted
    if (system, entity, field) in ws.paused:
        return
    many = ws.contested(entity, field, system)
    if many < MANY:
        return
    why = f"{system} puts earlier values of {field} back, on {many} records at once"
    review = ws.ask(
        "contested",
        entity=entity,
        record_id=None,
        field=field,
        system=system,
        body={"paused": True, "why": why, "records": many},
    )
    ws.paused.add((system, entity, field))
    waits.pause(
        ws.tx,
        waits.Pause(system=system, entity=entity, field=field, since=ws.now, why=why, review=review),
    )


def settle(ws: Workspace, record_id: str, field: str) -> None:
    """A person has decided: counting starts anew."""
    for link in ws.records[record_id].links:
        state = link.fields.get(field)
        if state is not None and state.flips:
            calm = {**link.fields, field: replace(state, flips=0)}
            ws.put_link(replace(link, fields=calm), record_id, ws.records[record_id].entity)
