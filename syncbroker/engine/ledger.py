"""The drift ledger: a sweep's finding is noted with its cause, and healed when nothing differs any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from syncbroker.core import drift, fanout
from syncbroker.core.observe import Edit
from syncbroker.core.resolve import Kind
from syncbroker.core.state import NOTHING, UNSEEN, LinkState, Record
from syncbroker.engine.judge import Case
from syncbroker.engine.workspace import Workspace
from syncbroker.store import drift as store
from syncbroker.store.drift import Finding

SWEEP = "sweep"


def note_fields(
    ws: Workspace, case: Case, before: LinkState, edits: Iterable[Edit], kinds: Mapping[str, Kind]
) -> None:
    """What a sweep found on a known link. `before`: the link as it was; `kinds`: what became of each edit."""
    s, edited = case.sighting, set[str]()
    for edit in edits:
        edited.add(edit.field)
        if edit.late:
            continue
        cause = drift.cause_of(edit, kinds[edit.field], before, s.stamp, s.actor, case.source.timing)
        _note(ws, case, before, cause, edit.field)
    for name in drift.reformatted(before, case.seen):
        if name not in edited:
            why = "written in another way, with the same meaning"
            _note(ws, case, before, drift.Cause("format_only", why), name)


def note_record(ws: Workspace, case: Case, link: LinkState, cause: drift.Cause) -> None:
    """A whole record that only a sweep found to be there, or to be gone."""
    _note(ws, case, link, cause, "")


def _note(ws: Workspace, case: Case, link: LinkState, cause: drift.Cause, field: str) -> None:
    s = case.sighting
    evidence = {"why": cause.why, "stamp": s.stamp, "known": link.order}
    if s.actor is not None:
        evidence["actor"] = s.actor.origin
    ws.findings.append(
        Finding(
            run=ws.run,
            entity=case.plan.entity.name,
            record_id=ws.home.get(link.n, ""),
            link=link.n,
            system=link.system,
            object=link.object,
            field=field,
            cause=cause.name,  # type: ignore[arg-type]  # core names only what the store knows; a test says so
            found=ws.now,
            evidence=evidence,
        )
    )


def close(ws: Workspace) -> None:
    """Write what was found in this transaction, and heal what it put in order."""
    found = [
        replace(one, healed=ws.now) if _in_order(ws, one.link, one.field) else one for one in ws.findings
    ]
    store.add(ws.tx, found)
    if not store.any_open(ws.tx):
        return
    links = {n for id_ in ws.touched for n in ws.records[id_].by_number} | ws.ended_links
    stored = store.open_on(ws.tx, links & ws.stored)
    store.heal(ws.tx, [n for n, link, field in stored if _in_order(ws, link, field)], ws.now)


def _in_order(ws: Workspace, n: int, field: str) -> bool:
    """Nobody is owed the field, nobody is asked about it; of a whole record, that it is not known to be missing."""
    if n not in ws.home:
        return n not in ws.queued  # the link ended: there is nothing left that could differ
    record = ws.records[ws.home[n]]
    if not field:
        return record.by_number[n].status != "gone"
    golden = record.golden.get(field, NOTHING)
    return golden.frozen is None and not any(_differs(ws, record, link, field) for link in record.links)


def _differs(ws: Workspace, record: Record, link: LinkState, field: str) -> bool:
    plan = ws.plan(record.id)
    reader = plan.readers.get(link.system)
    if reader is None or field not in plan.fields or not reader.pushes(field):
        return False
    if not link.primary or link.status != "live":
        return False
    state = link.fields.get(field, UNSEEN)
    return state.blocked or fanout.owes(plan.fields[field].rule, record.golden.get(field, NOTHING), state)
