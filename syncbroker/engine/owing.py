"""What is owed after a transaction (design rule 6), against what the outbox says now.

Owing is a state, derived anew for every record that a transaction touched. Rows appear, stay, or are withdrawn; a row
whose write is under way is left to its worker. What is new may be held back by a guard (`staging`).
"""

from __future__ import annotations

import msgspec

from syncbroker.core import fanout
from syncbroker.core.state import LinkState, Record
from syncbroker.core.types import Value
from syncbroker.engine import removal, staging
from syncbroker.engine.workspace import Workspace
from syncbroker.store import queues, records, runs
from syncbroker.store.queues import Row


class Create(msgspec.Struct, frozen=True):
    """A record that a system should get. `lacks`: a required field without a value, for which the create waits."""

    record_id: str
    system: str
    values: dict[str, Value]
    lacks: str


def derive(ws: Workspace) -> None:
    """Bring the outbox rows of every touched record in line with what is owed.

    Nothing is created in a system while a review asks whether something there is the very record.
    """
    ws.touch_matched()
    ids = list(ws.touched)
    asked = ws.unmatched(ids)
    stored = [link.n for id_ in ids for link in ws.records[id_].links if link.n in ws.stored]
    existing = queues.outbox_rows(ws.tx, [n for n in stored if n not in ws.outbox])
    creates: list[Create] = []
    empties: set[int] = set()
    for id_ in ids:
        record, plan = ws.records[id_], ws.plan(id_)
        if ws.edited:
            _withhold(ws, record, existing)
        owed = fanout.owed(plan, record, ws.paused)
        if plan.entity.guard.emptied is not None:
            empties.update(n for n, values in owed.updates.items() if None in values.values())
        for link in record.links:
            if link.status in ("live", "gone"):
                row = ws.outbox.get(link.n, existing.get(link.n))
                _update(ws, link, owed.updates.get(link.n), row)
        lacking = dict(owed.missing)
        wanted = [
            system
            for system in plan.readers
            if (system in owed.creates or system in lacking) and (id_, system) not in asked
        ]
        creates.extend(
            Create(id_, system, owed.creates.get(system, {}), lacking.get(system, "")) for system in wanted
        )
        _withdraw(ws, record, set(wanted), existing)
    if creates:
        _create(ws, creates, existing)
    staging.stage(ws, existing, empties)


def _withhold(ws: Workspace, record: Record, existing: dict[int, Row]) -> None:
    """A deletion that is being carried on competes with an edit that its author had not seen."""
    edited = next((n for n in record.by_number if n in ws.edited), None)
    rows = {n: ws.outbox.get(n, existing.get(n)) for n in record.by_number}
    deletes = [n for n, row in rows.items() if row and row.op == "delete" and not record.by_number[n].open]
    if edited is None or not deletes:
        return
    for n in deletes:
        ws.outbox[n] = None
        existing.pop(n, None)
    removal.withhold(ws, record.id, edited)


def _update(ws: Workspace, link: LinkState, owed: dict[str, Value] | None, row: Row | None) -> None:
    if row is not None and (link.open or row.op == "delete"):
        return
    if not owed:
        if row is not None:
            ws.close(row.push.review, "no longer owed")
            ws.outbox[link.n] = None
            ws.count("withdrawn", link.system, link.object)
        return
    refused = row.push.refused if row is not None else {}
    still = {name: value for name, value in refused.items() if name in owed and owed[name] == value}
    if row is not None and row.state == "refused":
        if still.keys() == owed.keys():
            return
        if still.keys() != refused.keys():
            ws.close(row.push.review, "the value changed")
            still = {}
    elif row is not None and row.state in ("due", "staged"):
        trace = ws.traces.get(ws.home[link.n], row.push.trace)
        if trace != row.push.trace:
            ws.outbox[link.n] = msgspec.structs.replace(
                row, push=msgspec.structs.replace(row.push, trace=trace)
            )
        return
    made = _made(ws, link, "update")
    if row is not None and still:  # what was refused stays so, and keeps nothing else back
        kept = msgspec.structs.replace(made.push, refused=still, review=row.push.review)
        made = msgspec.structs.replace(made, push=kept)
    ws.outbox[link.n] = made


def _withdraw(ws: Workspace, record: Record, wanted: set[str], existing: dict[int, Row]) -> None:
    for link in record.links:
        if link.status != "planned" or link.system in wanted or link.open:
            continue
        row = ws.outbox.get(link.n, existing.get(link.n))
        if row is not None:
            ws.close(row.push.review, "no longer owed")
        ws.drop_link(link.n)
        ws.count("withdrawn", link.system, link.object)


def _create(ws: Workspace, creates: list[Create], existing: dict[int, Row]) -> None:
    """No create goes to an object whose first read is not complete, nor past a tombstone."""
    open_objects = runs.first_reads(ws.tx)
    key = runs.secret_key(ws.tx)
    for one in creates:
        plan = ws.plan(one.record_id)
        object_ = plan.readers[one.system].rule.object
        if (one.system, object_) not in open_objects:
            continue  # derived again when that read is complete
        if records.buried(ws.tx, one.system, object_, [records.digest(key, "record", one.record_id)]):
            continue
        link = next((link for link in ws.records[one.record_id].links if link.system == one.system), None)
        if link is None:
            n = ws.new_number("links")
            link = LinkState(n=n, system=one.system, object=object_, external_id=None, status="planned")
            ws.put_link(link, one.record_id, plan.entity.name)
        row = ws.outbox.get(link.n, existing.get(link.n))
        if (
            link.open
            or link.n in ws.outbox
            or (row is not None and row.state in (("waiting",) if one.lacks else ("due", "staged")))
        ):
            continue  # under way, settled in this very transaction, or as it should be
        if row is not None and row.state == "refused" and row.push.refused == one.values:
            continue
        if row is not None:
            ws.close(row.push.review, "the value changed")
        made = _made(ws, link, "create")
        if one.lacks:
            made = msgspec.structs.replace(made, state="waiting", error=f"waits for a value of {one.lacks}")
        ws.outbox[link.n] = made


def row(ws: Workspace, n: int, system: str, object_: str, op: queues.Op) -> Row:
    """A write that came to be owed to a link."""
    ws.made.add(n)
    return Row(
        link=n,
        system=system,
        object=object_,
        op=op,
        state="due",
        due=0,
        attempts=0,
        run=ws.run,
        push=queues.Push(since=ws.now, trace=ws.traces.get(ws.home.get(n, ""), "")),
    )


def _made(ws: Workspace, link: LinkState, op: queues.Op) -> Row:
    return row(ws, link.n, link.system, link.object, op)
