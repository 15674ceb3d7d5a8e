"""Two records of ours become one. Nothing is lost: links move, values meet under their own rules, the rest is derived.

A write that is under way must be settled before, so that its answer finds the link where it left it. Everything else is
one transaction; only the references of other records follow afterwards, in chunks (`referrers`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from syncbroker.core.merging import Meeting, meet
from syncbroker.core.plan import Plan
from syncbroker.core.referring import repoint
from syncbroker.core.state import NOTHING, UNSEEN, Golden, LinkState, Record
from syncbroker.core.types import Value
from syncbroker.engine import Engine, collisions, referrers, sharing
from syncbroker.engine.finish import finish
from syncbroker.engine.workspace import Workspace
from syncbroker.errors import BadAnswer, Missing, Retry
from syncbroker.store import merges, queues, records, runs
from syncbroker.store.decisions import Cause, Outcome


class FieldMerge(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one field. `kind` is that of the decision, `why` its reason."""

    field: str
    survivor: Value
    absorbed: Value
    after: Value
    kind: str
    why: str
    review: bool = False


class LinkMerge(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one link: it moves, moves as a duplicate, or (a planned create) is dropped."""

    system: str
    external_id: str | None
    what: str


class MergeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a merge does or did. `merge` is its number, 0 for a plan."""

    merge: int = 0
    entity: str
    survivor: str
    absorbed: str
    fields: list[FieldMerge]
    links: list[LinkMerge]


def merge(
    engine: Engine, survivor: str, absorbed: str, person: str, *, only_plan: bool = False
) -> MergeReport:
    """Merge `absorbed` into `survivor` (or tell what that would do).

    Retry while a write to one of them is under way; Missing or BadAnswer when they cannot be merged.
    """
    referrers.catch_up(engine)
    with engine.store.write() as tx:
        tx.serialise(sharing.DECIDE)
        ws = Workspace(engine, tx, queues.LIVE, actor=person)
        report = join(ws, survivor, absorbed, "a person merged them", person=person)
        if only_plan:
            return report
        carry(ws, survivor, absorbed)
        finish(ws)
        number = ws.decided[survivor]
    referrers.catch_up(engine)
    return msgspec.structs.replace(report, merge=number)


def join(ws: Workspace, survivor: str, absorbed: str, why: str, *, person: str = "") -> MergeReport:
    """All that happens to the two records, in memory."""
    s, a = _both(ws, survivor, absorbed)
    plan, cause = ws.plan(survivor), Cause("merge", at=ws.now)
    before = merges.Before(
        survivor=dict(s.golden),
        absorbed=dict(a.golden),
        links=[link.n for link in a.links if link.status != "planned"],
        person=person,
        why=why,
    )
    _forget_each_other(ws, plan, s, a)
    theirs = dict(a.golden)
    ws.add(
        survivor,
        Outcome(kind="merged", after=absorbed, why=f"{absorbed} was merged into it: {why}", cause=cause),
    )
    ws.add(
        absorbed, Outcome(kind="merged", after=survivor, why=f"merged into {survivor}: {why}", cause=cause)
    )
    links, demoted = _move_links(ws, s, a, cause)
    fields = _meet_all(ws, plan, s, theirs, before.links, cause)
    ws.rekey(survivor)
    ws.drop_record(absorbed)
    buried = _tombstones(ws, plan, s, absorbed)
    ws.merged.append((survivor, absorbed, msgspec.structs.replace(before, demoted=demoted, buried=buried)))
    return MergeReport(entity=s.entity, survivor=survivor, absorbed=absorbed, fields=fields, links=links)


def carry(ws: Workspace, survivor: str, absorbed: str) -> None:
    """What lies outside the two records and is about the absorbed one is about the survivor from now on."""
    merges.repoint_reviews(ws.tx, absorbed, survivor)
    collisions.close_pair(ws, survivor, absorbed, "merged")
    key = runs.secret_key(ws.tx)
    digest = records.digest(key, "record", survivor)
    for _, gone, before in ws.merged:
        if gone == absorbed:
            rows = [(system, object_, digest, ws.now, "merged") for system, object_ in before.buried]
            records.bury(ws.tx, rows)


def still(ws: Workspace, found: Sequence[Record]) -> None:
    """Retry or BadAnswer while something is being done to one of the records."""
    numbers = [link.n for record in found for link in record.links]
    rows = queues.outbox_rows(ws.tx, numbers)
    for record in found:
        for link in record.links:
            if link.open:
                raise Retry(
                    f"{link.system} is being written to just now, and its answer must come first",
                    hint="try again in a minute; `syncbroker sync` settles what waits",
                    system=link.system,
                )
            if link.n in rows and rows[link.n].op == "delete":
                raise BadAnswer(
                    f"the record {record.id} is about to be deleted in {link.system}",
                    hint="let that be done first (syncbroker sync)",
                )


def _both(ws: Workspace, survivor: str, absorbed: str) -> tuple[Record, Record]:
    ids = ws.load([survivor, absorbed])
    for id_ in (survivor, absorbed):
        if id_ not in ids:
            into = merges.survivors(ws.tx, [id_]).get(id_, "")
            hint = f"it was merged into {into}" if into else "see: syncbroker explain"
            raise Missing(f"there is no record {id_}", hint=hint)
    s, a = ws.records[survivor], ws.records[absorbed]
    if survivor == absorbed:
        raise BadAnswer("a record cannot be merged into itself", hint="name two records")
    if s.entity != a.entity:
        raise BadAnswer(
            f"one of them is a {s.entity} and the other a {a.entity}", hint="merge records of one entity"
        )
    if s.entity not in ws.engine.plans:
        raise BadAnswer(f"the mapping no longer has the entity {s.entity}", hint="put it back first")
    still(ws, [s, a])
    return s, a


def _forget_each_other(ws: Workspace, plan: Plan, s: Record, a: Record) -> None:
    """Where one referred to the other there is nothing to refer to any more."""
    lead = {a.id: s.id}
    for record in (s, a):
        was, states = dict(record.golden), dict(record.by_number)
        repoint(plan, record, lead)
        for name in plan.referring:
            golden = record.golden.get(name)
            if golden is not None and golden.value == s.id:
                record.golden[name] = NOTHING
            if record.golden.get(name) != was.get(name):
                moved, record.golden[name] = record.golden[name], was[name]
                ws.put_golden(record.id, name, moved)
        for n, link in list(record.by_number.items()):
            if link is not states[n]:
                ws.put_link(link, record.id, record.entity)


# ------------------------------------------------------------------------------------------------ links


def _move_links(ws: Workspace, s: Record, a: Record, cause: Cause) -> tuple[list[LinkMerge], list[int]]:
    """The absorbed record's links become the survivor's; a second one of a system is a duplicate."""
    found, demoted = [], []
    theirs = {link.system for link in a.links if link.status != "planned"}
    for record in (a, s):
        for link in record.links:
            if link.status == "planned" and (record is a or link.system in theirs):
                ws.drop_link(link.n)
                found.append(LinkMerge(system=link.system, external_id=None, what="create not needed"))
    for link in a.links:
        own = next((one for one in s.links if one.system == link.system and one.primary), None)
        moved, what = link, "moved"
        if own is not None and link.primary:
            what = "moved as a duplicate"
            ws.count("duplicate_link", link.system, link.object)
            if own.status == "gone" and link.status == "live":
                what = "moved; the survivor's own is gone there"
                ws.put_link(demote(ws, own), s.id, s.entity)
                demoted.append(own.n)
            else:
                moved = demote(ws, link)
                demoted.append(link.n)
        ws.put_link(moved, s.id, s.entity)
        why = f"it was a link of {a.id}" + ("" if moved.primary else ", and is a duplicate here")
        ws.add(s.id, Outcome(kind="linked", system=link.system, link=link.n, why=why, cause=cause))
        found.append(LinkMerge(system=link.system, external_id=link.external_id, what=what))
    return found, demoted


def demote(ws: Workspace, link: LinkState) -> LinkState:
    """A duplicate decides nothing, so nothing is asked about its fields."""
    fields = dict(link.fields)
    for name, state in link.fields.items():
        if state.review:
            ws.close(state.review, "its link became a duplicate")
            fields[name] = replace(state, review=0)
    return replace(link, primary=False, fields=fields)


def _tombstones(ws: Workspace, plan: Plan, s: Record, absorbed: str) -> list[tuple[str, str]]:
    """Where the absorbed record was not to be created, and the survivor is not linked."""
    digest = records.digest(runs.secret_key(ws.tx), "record", absorbed)
    linked = {link.system for link in s.links if link.status in ("live", "gone")}
    return [
        (system, reader.rule.object)
        for system, reader in plan.readers.items()
        if system not in linked and records.buried(ws.tx, system, reader.rule.object, [digest])
    ]


# ------------------------------------------------------------------------------------------------ fields


def linked_to(plan: Plan, record: Record, name: str) -> tuple[str, ...]:
    """Systems that hold the field on the record and may decide it, in rank order."""
    live = {one.system for one in record.links if one.primary and one.status == "live"}
    return tuple(
        system
        for system in plan.fields[name].rule.rank
        if system in live and system in plan.readers and plan.readers[system].pulls(name)
    )


def _meet_all(
    ws: Workspace, plan: Plan, s: Record, theirs: dict[str, Golden], came: Sequence[int], cause: Cause
) -> list[FieldMerge]:
    found = []
    for name, field in plan.fields.items():
        own, other = s.golden.get(name, NOTHING), theirs.get(name, NOTHING)
        linked = linked_to(plan, s, name) if field.rule.policy == "enforce" else ()
        met = meet(field.rule, own, other, linked)
        if met is None:
            continue
        golden, review = _question(ws, s, name, own, other, met)
        if golden != own:
            ws.put_golden(s.id, name, golden)
        verdict = met.verdict
        if verdict is not None and verdict.let_stand:
            _let_stand(ws, s, name, other.value, came)
        kind = verdict.kind if verdict else "conflict_queued" if golden.frozen is not None else "agreed"
        ws.add(
            s.id,
            Outcome(
                kind=kind,
                field=name,
                system=met.question.system if met.question else "",
                policy=field.rule.policy,
                place=plan.places[name],
                why=met.why,
                winner=verdict.winner if verdict else golden.source,
                after=golden.value,
                question=met.question,
                cause=cause,
                review=review,
            ),
        )
        found.append(
            FieldMerge(
                field=name,
                survivor=own.value,
                absorbed=other.value,
                after=golden.value,
                kind=kind,
                why=met.why,
                review=golden.frozen is not None,
            )
        )
    return found


def _question(
    ws: Workspace, s: Record, name: str, own: Golden, other: Golden, met: Meeting
) -> tuple[Golden, int]:
    """The golden value with the one review that asks about it, if it waits for a person."""
    golden = met.golden
    if golden.frozen is None:
        ws.close(own.review, "agreed")
        ws.close(other.review, "merged")
        return replace(golden, review=0) if golden.review else golden, 0
    review = ws.ask(
        "conflict",
        entity=s.entity,
        record_id=s.id,
        field=name,
        number=own.review or other.review,
        body={"candidates": golden.frozen, "why": met.why},
    )
    if other.review and other.review != review:
        ws.close(other.review, "merged")
    return replace(golden, review=review), review


def _let_stand(ws: Workspace, s: Record, name: str, value: Value, came: Sequence[int]) -> None:
    """Where the rule lets a difference stand, the absorbed record's systems keep what they have."""
    for n in came:
        link = s.by_number.get(n)
        state = link.fields.get(name, UNSEEN) if link is not None else UNSEEN
        if link is not None and not state.invalid and state.value == value:
            kept = replace(state, ignored=(state.value,))
            ws.put_link(replace(link, fields={**link.fields, name: kept}), s.id, s.entity)
