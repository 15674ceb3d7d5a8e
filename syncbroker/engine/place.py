"""Whose is it? An unlinked observation that was matched is linked, made a record of, or asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from syncbroker.core import match as matching
from syncbroker.core.observe import observe
from syncbroker.core.plan import Plan
from syncbroker.core.resolve import Kind
from syncbroker.core.state import LinkState, Record
from syncbroker.engine import Source, collisions
from syncbroker.engine.judge import Case
from syncbroker.engine.workspace import Collision, Workspace
from syncbroker.store.decisions import Outcome


def note_collisions(
    ws: Workspace,
    plan: Plan,
    record_id: str,
    keys: Sequence[matching.Key],
    hits: dict[matching.Key, list[str]],
) -> None:
    """It is one record by its first key, and another one by a later key: the two may be one."""
    rules = {",".join(rule.on): rule for rule in plan.entity.match}
    for key in keys:
        rule = rules[key.split("|", 1)[0]]
        place = ws.engine.place(plan, rule.line)
        for other in hits.get(key, ())[: collisions.PROPOSED]:
            if other != record_id:
                pair = (record_id, other)
                found = Collision(plan.entity.name, pair, ", ".join(rule.on), place, key)
                ws.collisions.append(found)


def linked_meanwhile(record: Record, source: Source, external_id: str) -> int | None:
    """Another process confirmed its create after we looked for links, and before we held the record."""
    for link in record.links:
        if (link.system, link.object, link.external_id) == (source.system, source.object, external_id):
            return link.n
    return None


def queue(ws: Workspace, case: Case, link: LinkState, found: matching.Match, *, known: bool) -> None:
    """A person must say which record it is; until then it is held without one."""
    plan = case.plan
    place = ws.engine.place(plan, found.line)
    ws.load(found.proposed)
    body: dict[str, Any] = {"records": list(found.proposed), "rule": found.rule, "place": place}
    if found.scores:
        body["scores"] = found.scores
    review = ws.ask(
        "match",
        entity=plan.entity.name,
        record_id=found.proposed[0],
        link=link.n,
        system=link.system,
        number=link.review,
        body=body,
    )
    queued = replace(link, status="queued", review=review)
    ws.put_link(observe(queued, case.look(), case.source.timing).link, None, plan.entity.name)
    if not known:
        why = "the rule only proposes"
        if found.scores:
            why = f"alike, and likeness only proposes: {found.rule}"
        elif len(found.proposed) > 1:
            why = f"more than one record has the same {found.rule}"
        _note(ws, case, found.proposed[0], "match_queued", link.n, why=why, place=place, review=review)


def attach(ws: Workspace, case: Case, record_id: str, link: LinkState, found: matching.Match) -> None:
    """Link it to the record; a second link of one system there is a duplicate."""
    others = ws.records[record_id].links
    for one in others:
        if one.system == link.system and one.status == "planned":
            ws.drop_link(one.n)  # the create is not needed: here is the record
    why = f"the same {found.rule}" if found.record else "no record matched"
    if any(one.system == link.system and one.status != "planned" for one in others):
        link = replace(link, primary=False)
        why += "; the record has a link there already, so this one is a duplicate"
        ws.count("duplicate_link", link.system, link.object)
    ws.put_link(link, record_id, case.plan.entity.name)
    place = ws.engine.place(case.plan, found.line) if found.record else ""
    _note(ws, case, record_id, "linked" if found.record else "created", link.n, why=why, place=place)


def _note(
    ws: Workspace, case: Case, record_id: str, kind: Kind, n: int, *, why: str, place: str, review: int = 0
) -> None:
    outcome = Outcome(
        kind=kind,
        system=case.source.system,
        link=n,
        place=place,
        why=why,
        cause=case.cause,
        review=review,
    )
    ws.add(record_id, outcome)
