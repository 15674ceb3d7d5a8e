"""When authority over a field passes to another system, the field is decided again (design section 4).

Looked at wherever a record is touched, and when an owner's authority lapses by the passing of time. What the new owner
holds is taken, unless it is merely behind: a value that it is owed is not its opinion.
"""

from __future__ import annotations

from msgspec.structs import replace

from syncbroker.core import authority, fanout
from syncbroker.core.plan import Plan
from syncbroker.core.resolve import Question, resolve
from syncbroker.core.state import NOTHING, UNSEEN, Golden, LinkState
from syncbroker.engine.workspace import Workspace
from syncbroker.store.decisions import Cause, Outcome


def follow(ws: Workspace) -> None:
    """For every record that this transaction touched. One change may cause another; conditions form no rings."""
    for id_ in list(ws.touched):
        plan = ws.plan(id_)
        if not plan.terms:
            continue
        for _ in plan.terms:
            changed = [_look_at(ws, plan, id_, name) for name in plan.terms]
            if not any(changed):
                break
        if due := authority.lapses(plan, ws.records[id_]):
            ws.alarm(id_, due)


def _look_at(ws: Workspace, plan: Plan, record_id: str, name: str) -> bool:
    """Whether the golden value of the field changed."""
    record = ws.records[record_id]
    golden = record.golden.get(name, NOTHING)
    if golden.frozen is not None or not golden.until:
        return False  # a person decides, or there is nothing to decide about yet
    holder = authority.owner_now(plan, record, name, ws.now, authority.golden_values(plan, record))
    if holder == golden.owner:
        return False
    link = next((one for one in record.links if one.system == holder and one.primary), None)
    if link is not None and link.open:
        return False  # what it holds is being written just now; the write's end looks again
    took = link is not None and _take(ws, plan, record_id, name, golden, link)
    standing = ws.records[record_id].golden[name]
    ws.put_golden(record_id, name, replace(standing, owner=holder))
    return took


def _take(ws: Workspace, plan: Plan, record_id: str, name: str, golden: Golden, link: LinkState) -> bool:
    rule, state = plan.fields[name].rule, link.fields.get(name, UNSEEN)
    clears = state.value is None and rule.empty != "clear"
    behind = plan.readers[link.system].pushes(name) and state.met and state.base == state.value
    if name not in link.fields or state.invalid or clears or behind or fanout.in_step(state, golden.value):
        return False
    record = ws.records[record_id]
    at = authority.last_edit(record, name, link.system)
    question = Question(
        system=link.system,
        raw=state.raw if state.raw != state.value else None,
        value=state.value,
        held=state.value,
        seen_before=True,
        base=state.base,
        met=state.met,
        golden=golden,
        since=at,
        until=at,
        linked=authority.linked(plan, record, name),
        takeover=True,
        seen=ws.now,
    )
    verdict = resolve(rule, question)
    ws.put_golden(record_id, name, verdict.golden)
    met = replace(state, met=True, base=verdict.golden.value, ignored=None)
    ws.put_link(replace(link, fields={**link.fields, name: met}), record_id, record.entity)
    ws.rekey(record_id)
    ws.add(
        record_id,
        Outcome(
            kind=verdict.kind,
            field=name,
            system=link.system,
            link=link.n,
            policy=rule.policy,
            place=plan.places[name],
            why=verdict.why,
            winner=verdict.winner,
            after=verdict.golden.value,
            question=question,
            cause=Cause("authority", at=ws.now),
        ),
    )
    return True
