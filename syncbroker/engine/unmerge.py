"""A merge is taken apart: both records get back what they had, and what was decided since on their own links' news.

Each side starts from its values before the merge; every later decision on a field is judged again on the side that its
link came from. What cannot be told apart stays with the survivor and is listed: answers of people, and links that came
after the merge.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from syncbroker.core.merging import again, answered
from syncbroker.core.plan import Plan
from syncbroker.core.referring import repoint
from syncbroker.core.state import NOTHING, UNSEEN, FieldState, Golden, LinkState, Record
from syncbroker.core.types import Value
from syncbroker.engine import Engine, collisions, referrers, sharing
from syncbroker.engine.finish import finish
from syncbroker.engine.merge import demote, linked_to, still
from syncbroker.engine.workspace import Workspace
from syncbroker.errors import BadAnswer, Missing
from syncbroker.store import decisions, merges, queues, records, runs
from syncbroker.store.decisions import Cause, Outcome
from syncbroker.store.merges import Merge

ELSEWHERE = "decided elsewhere"
"""In a cause: the edit was first judged on the record that this one was part of, and is not in its own log."""


class FieldSides(msgspec.Struct, frozen=True, kw_only=True):
    """What both records have in one field afterwards, where that is not what the merged one has."""

    field: str
    merged: Value
    survivor: Value
    absorbed: Value


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What stays with the survivor, and why. `decision` is 0 for a link."""

    what: str
    decision: int = 0


class UnmergeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What taking a merge apart does or did. `links` go back to the absorbed record, by system and external id.

    `again`: how many later decisions were judged again, for (survivor, absorbed).
    """

    merge: int
    entity: str
    survivor: str
    absorbed: str
    fields: list[FieldSides]
    links: list[tuple[str, str | None]]
    again: tuple[int, int]
    left: list[Left]


class Side:
    """One of the two records as it is being put together again."""

    def __init__(self, record: Record, golden: dict[str, Golden]) -> None:
        self.record = record
        self.golden = dict(golden)
        self.outcomes: list[Outcome] = []
        self.had: dict[str, dict[Value, Value]] = {}

    def note(self, field: str, merged: Value) -> None:
        """What this side has while the merged record has that value."""
        self.had.setdefault(field, {})[merged] = self.golden.get(field, NOTHING).value


def find_merge(engine: Engine, name: str) -> Merge:
    """The merge of that number, or the last one that stands and that the record of that id is part of."""
    with engine.store.read() as tx:
        found = merges.by_number(tx, int(name)) if name.isdecimal() else None
        if found is None and not name.isdecimal():
            found = merges.of_absorbed(tx, name) or next(iter(merges.of_survivor(tx, name)), None)
    if found is None:
        raise Missing(f"there is no merge {name}", hint="explain of a record names the merges it is made of")
    if found.undone is not None:
        raise BadAnswer(f"merge {found.id} was taken apart before", hint="there is nothing left to do")
    return found


def unmerge(engine: Engine, number: int, person: str, *, only_plan: bool = False) -> UnmergeReport:
    """Take a merge apart (or tell what that would do).

    Retry while a write to the record is under way; BadAnswer when a later merge must be taken apart first.
    """
    referrers.catch_up(engine)
    with engine.store.write() as tx:
        tx.serialise(sharing.DECIDE)
        ws = Workspace(engine, tx, queues.LIVE, actor=person)
        merge = _check(ws, number)
        report = _part(ws, merge)
        if only_plan:
            return report
        back = [n for n in merge.before.links if ws.home.get(n) == merge.absorbed]
        merges.repoint_reviews(tx, merge.survivor, merge.absorbed, back)
        _lift(ws, merge)
        collisions.apart(ws, merge.survivor, merge.absorbed)
        finish(ws)
        merges.undo(tx, merge.id, ws.now)
        work = merges.Repointing(merge=merge.id, survivor=merge.survivor, absorbed=merge.absorbed, apart=True)
        merges.repoint(tx, work)
    referrers.catch_up(engine)
    return report


def _check(ws: Workspace, number: int) -> Merge:
    merge = merges.by_number(ws.tx, number)
    if merge is None or merge.undone is not None:
        raise BadAnswer(f"there is no merge {number} that stands", hint="see: syncbroker explain")
    into = merges.of_absorbed(ws.tx, merge.survivor)
    newest = merges.of_survivor(ws.tx, merge.survivor)[0]
    later = into if into is not None else newest if newest.id != merge.id else None
    if later is not None:
        raise BadAnswer(
            f"merge {later.id} came after it",
            hint=f"take that one apart first: syncbroker unmerge {later.id}; merge again afterwards",
        )
    if not ws.load([merge.survivor]):
        raise Missing(f"there is no record {merge.survivor} any more", hint="see: syncbroker explain")
    record = ws.records[merge.survivor]
    if record.entity not in ws.engine.plans:
        raise BadAnswer(f"the mapping no longer has the entity {record.entity}", hint="put it back first")
    still(ws, [record])
    return merge


def _part(ws: Workspace, merge: Merge) -> UnmergeReport:
    """All that happens to the two records, in memory."""
    s, plan, cause = ws.records[merge.survivor], ws.plan(merge.survivor), Cause("merge", at=ws.now)
    merged = dict(s.golden)
    ws.bring_back(merge.absorbed, s.entity, {})
    a = ws.records[merge.absorbed]
    left = _links_back(ws, s, a, merge)
    sides = (Side(s, merge.before.survivor), Side(a, merge.before.absorbed))
    _lead_on(ws, plan, sides, merge)
    left += _judge_again(ws, plan, merge, *sides)
    for side, other in (sides, sides[::-1]):
        why = f"taken apart from {other.record.id} (merge {merge.id})"
        elsewhere = Cause("merge", ELSEWHERE if side is sides[1] else "", ws.now)
        ws.add(side.record.id, Outcome(kind="unmerged", after=other.record.id, why=why, cause=cause))
        for outcome in side.outcomes:
            ws.add(side.record.id, replace(outcome, cause=elsewhere))
    for name in plan.fields:
        _settle_field(ws, name, merged, *sides)
    ws.rekey(s.id)
    ws.rekey(a.id)
    return UnmergeReport(
        merge=merge.id,
        entity=s.entity,
        survivor=s.id,
        absorbed=a.id,
        fields=_changed(plan, merged, s, a),
        links=[(link.system, link.external_id) for link in a.links],
        again=(len(sides[0].outcomes), len(sides[1].outcomes)),
        left=left,
    )


def _changed(plan: Plan, merged: dict[str, Golden], s: Record, a: Record) -> list[FieldSides]:
    found = []
    for name in plan.fields:
        was, one, other = (golden.get(name, NOTHING).value for golden in (merged, s.golden, a.golden))
        if one != was or other != was:
            found.append(FieldSides(field=name, merged=was, survivor=one, absorbed=other))
    return found


# ------------------------------------------------------------------------------------------------ links


def _links_back(ws: Workspace, s: Record, a: Record, merge: Merge) -> list[Left]:
    """The links that came with the absorbed record go back to it. Each side has one primary link per system."""
    came = set(merge.before.links)
    made = {
        outcome.link
        for decision in decisions.after(ws.tx, s.id, merge.id)
        for outcome in decision.outcomes
        if outcome.kind in ("linked", "created")
    }
    left = []
    for link in s.links:
        if link.n in came:
            ws.put_link(link, a.id, a.entity)
        elif link.status == "planned":
            ws.drop_link(link.n)  # derived anew, for each side
        elif link.n in made:
            left.append(Left(what=f"the link to {link.external_id} in {link.system}, made after the merge"))
    for record in (s, a):
        _elect(ws, record, set(merge.before.demoted))
    return left


def _elect(ws: Workspace, record: Record, before: set[int]) -> None:
    """What was primary before the merge is so again; where nothing is, the first live link becomes it."""
    by_system: dict[str, list[LinkState]] = {}
    for link in record.links:
        by_system.setdefault(link.system, []).append(link)
    for links in by_system.values():
        wanted = next((one for one in links if one.n in before), None)
        wanted = wanted or next((one for one in links if one.primary), None)
        wanted = wanted or next((one for one in links if one.status == "live"), links[0])
        for link in links:
            if link.n == wanted.n and not link.primary:
                ws.put_link(replace(link, primary=True), record.id, record.entity)
            elif link.n != wanted.n and link.primary:
                ws.put_link(demote(ws, link), record.id, record.entity)


def _lift(ws: Workspace, merge: Merge) -> None:
    """Tombstones that the survivor took over go; those of the absorbed record were never touched."""
    digest = records.digest(runs.secret_key(ws.tx), "record", merge.survivor)
    records.lift(ws.tx, [(system, object_, digest) for system, object_ in merge.before.buried])


def _lead_on(ws: Workspace, plan: Plan, sides: Iterable[Side], merge: Merge) -> None:
    """Values of before may refer to records that were merged away meanwhile."""
    if not plan.referring:
        return
    for side in sides:
        held = Record(side.record.id, side.record.entity, side.golden, {})
        values = [str(one.value) for name in plan.referring if (one := side.golden.get(name)) and one.value]
        leads = merges.survivors(ws.tx, values)
        leads.pop(merge.absorbed, None)
        repoint(plan, held, leads)


# ------------------------------------------------------------------------------------------------ fields


def _judge_again(ws: Workspace, plan: Plan, merge: Merge, s: Side, a: Side) -> list[Left]:
    """Every later decision, oldest first, on the side that its link came from."""
    came, left = set(merge.before.links), []
    others = merges.undone_since(ws.tx, merge.survivor, merge.id)
    for decision in decisions.after(ws.tx, merge.survivor, merge.id):
        theirs = {
            n
            for one in others
            if one.id < decision.id
            for n in one.before.links
            if decision.at <= (one.undone or 0)
        }
        for outcome in decision.outcomes:
            if not outcome.field or outcome.field not in plan.fields or outcome.question is None:
                continue
            cause = outcome.cause
            if outcome.link in theirs or (cause and cause.via == "merge" and cause.event != ELSEWHERE):
                continue  # of a record that came and went since, or no news but the coming and going itself
            for side in (s, a):
                side.note(outcome.field, outcome.question.golden.value)
            if outcome.link and outcome.kind != "resolved_by_person":
                _once_more(ws, plan, outcome, a if outcome.link in came else s)
            elif outcome.after != outcome.question.golden.value or outcome.question.golden.frozen is not None:
                s.golden[outcome.field] = answered(outcome.after, decision.at)
                what = f"{outcome.field}: {outcome.why} ({decision.actor})"
                left.append(Left(what=what, decision=decision.id))
    return left


def _once_more(ws: Workspace, plan: Plan, outcome: Outcome, side: Side) -> None:
    name, question = outcome.field, outcome.question
    if question is None:
        return
    field, reader = plan.fields[name], plan.readers.get(question.system)
    link = side.record.by_number.get(outcome.link)
    primary = link.primary if link is not None else question.pull
    asked, verdict = again(
        field.rule,
        side.golden.get(name, NOTHING),
        question,
        had=side.had[name],
        linked=linked_to(plan, side.record, name) if field.rule.policy == "enforce" else (),
        pull=primary and reader is not None and reader.pulls(name),
        can_push=primary and reader is not None and reader.pushes(name),
    )
    side.golden[name] = verdict.golden
    if link is not None:
        state = link.fields.get(name, UNSEEN)
        ignored = (state.value,) if verdict.let_stand and state.value == question.value else None
        _put_state(ws, side.record, link, name, replace(state, ignored=ignored))
    side.outcomes.append(
        replace(
            outcome,
            kind=verdict.kind,
            place=plan.places[name],
            policy=field.rule.policy,
            why=verdict.why,
            winner=verdict.winner,
            after=verdict.golden.value,
            question=asked,
            review=0,
        )
    )


def _put_state(ws: Workspace, record: Record, link: LinkState, name: str, state: FieldState) -> None:
    if name in link.fields and state != link.fields[name]:
        ws.put_link(replace(link, fields={**link.fields, name: state}), record.id, record.entity)


def _settle_field(ws: Workspace, name: str, merged: dict[str, Golden], s: Side, a: Side) -> None:
    """Both get their value, and a question of their own where the field waits for a person."""
    standing = merged.get(name, NOTHING)
    for side, open_ in ((s, standing.review if standing.frozen is not None else 0), (a, 0)):
        golden = side.golden.get(name)
        if golden is None:
            if name in side.record.golden:
                ws.put_golden(side.record.id, name, NOTHING)
            ws.close(open_, "the merge was taken apart")
            continue
        if golden.frozen is None:
            ws.close(open_, "the merge was taken apart")
            golden = replace(golden, review=0)
        else:
            review = ws.ask(
                "conflict",
                entity=side.record.entity,
                record_id=side.record.id,
                field=name,
                number=open_,
                body={"candidates": golden.frozen, "why": "the field waited for a person before the merge"},
            )
            golden = replace(golden, review=review)
        if golden != side.record.golden.get(name):
            ws.put_golden(side.record.id, name, golden)
