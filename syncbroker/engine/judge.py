"""One observation of one link, judged: every edit goes before its rule, and the verdict is carried out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from syncbroker.core.observe import Edit, Look
from syncbroker.core.plan import ABSENT, Plan, Reader, Seen, pick
from syncbroker.core.resolve import Question, Verdict, resolve
from syncbroker.core.state import NOTHING, UNSEEN, LinkState
from syncbroker.core.types import Empty, Type
from syncbroker.engine import Engine, Source
from syncbroker.engine.workspace import Workspace
from syncbroker.store import records
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Cause, Outcome, ReviewKind
from syncbroker.store.queues import Sighting


@dataclass(frozen=True)
class Case:
    """An observation as one entity reads it: where it is from, what it shows, and what caused it."""

    source: Source
    plan: Plan
    reader: Reader
    sighting: Sighting
    seen: dict[str, Seen]

    @property
    def cause(self) -> Cause:
        return Cause(self.sighting.via, self.sighting.event, self.sighting.ended)

    def look(self, names: Iterable[str] | None = None) -> Look:
        """What it shows (of these fields) as `core.observe` wants it."""
        s = self.sighting
        chosen = self.seen if names is None else {name: self.seen[name] for name in names}
        return Look(
            seen=chosen,
            stamp=s.stamp,
            begun=s.begun,
            ended=s.ended,
            read=s.read,
            second=s.second,
            unsure=s.unsure,
            consent=s.consent,
            field_times=s.field_times or {},
        )


def held_sighting(engine: Engine, reader: Reader, link: LinkState, names: Iterable[str]) -> Sighting:
    """What a link is known to hold, as if it were observed just now: for looking at it anew."""
    fields: dict[str, Any] = {}
    for name in names:
        state = link.fields.get(name)
        if state is not None:
            members = reader.fields[name]
            raws = [state.raw] if len(members) == 1 else state.raw or [None] * len(members)
            fields.update({one.path: raw for one, raw in zip(members, raws, strict=True)})
    stamp = link.order if engine.sources[link.system, link.object].spec.stamp else None
    return Sighting(
        id=link.external_id or "",
        fields=fields,
        complete=False,
        stamp=stamp,
        begun=link.seen,
        ended=link.seen,
        via="reference",
        consent=link.consent,
    )


def look_up_references(
    tx: Tx, engine: Engine, source: Source, sightings: Iterable[Sighting]
) -> dict[tuple[str, str, str], str]:
    """(system, referred entity, external id) -> record id, for every linked reference that the sightings show."""
    found = {}
    for _, reader in source.readers:
        for links in reader.fields.values():
            for link in links:
                if link.spec.type is not Type.REFERENCE:
                    continue
                target = engine.plans[link.spec.entity].readers[source.system].rule.object
                raws = {
                    str(raw)
                    for s in sightings
                    if (raw := pick(s.fields, link.path)) not in (ABSENT, None, "")
                }
                linked = records.references(tx, source.system, target, link.spec.entity, sorted(raws))
                found.update(
                    {(source.system, link.spec.entity, id_): record for id_, record in linked.items()}
                )
    return found


def judge(ws: Workspace, case: Case, n: int, edits: Iterable[Edit], consent_before: str | None) -> None:
    """Put each edit before its rule and carry out the verdict on the golden value, the link and the review queue.

    `consent_before`: the consent evidence that the link showed before this observation.
    """
    record_id, plan = ws.home[n], case.plan
    for edit in edits:
        ws.close(edit.before.review, "another value came")
        question = _question(ws, case, n, edit, consent_before)
        rule = plan.fields[edit.field].rule
        verdict = resolve(rule, question)
        review = _carry_out(ws, n, edit, question, verdict)
        ws.add(
            record_id,
            Outcome(
                kind=verdict.kind,
                field=edit.field,
                system=question.system,
                link=n,
                policy=rule.policy,
                place=ws.engine.place(plan, rule.line),
                why=verdict.why,
                winner=verdict.winner,
                before=question.golden.value,
                after=verdict.golden.value,
                golden=verdict.golden,
                question=question,
                cause=case.cause,
                review=review,
            ),
        )


def _question(ws: Workspace, case: Case, n: int, edit: Edit, consent_before: str | None) -> Question:
    plan, reader, s = case.plan, case.reader, case.sighting
    record, link, rule = ws.records[ws.home[n]], ws.link(n), plan.fields[edit.field].rule
    seen, before = edit.seen, edit.before
    empty = ""
    if seen.value is None and not seen.invalid:
        empty = Empty.PLACEHOLDER if seen.placeholder else Empty.CLEARED
    linked = {
        one.system
        for one in record.links
        if one.primary and one.status == "live" and plan.readers[one.system].pulls(edit.field)
    }
    fresh_consent = s.consent is not None and s.consent != consent_before
    guarded = any(one.path == case.source.spec.consent_path for one in reader.fields[edit.field])
    return Question(
        system=link.system,
        pull=reader.pulls(edit.field) and link.primary,
        can_push=reader.pushes(edit.field) and link.primary,
        raw=seen.raw if seen.raw != seen.value else None,
        value=seen.value,
        invalid=seen.invalid,
        empty=empty,
        golden=record.golden.get(edit.field, NOTHING),
        held=before.value,
        seen_before=not edit.first,
        base=before.base,
        met=before.met,
        since=edit.since,
        until=edit.until,
        late=edit.late,
        unsure=s.unsure,
        sweep=s.via == "sweep",
        linked=tuple(system for system in rule.rank if system in linked),
        consent=fresh_consent and guarded,
        actor=s.actor,
        seen=s.ended,
    )


def _carry_out(ws: Workspace, n: int, edit: Edit, q: Question, verdict: Verdict) -> int:
    """The review that the verdict opened or renewed, or 0."""
    record_id = ws.home[n]
    entity = ws.records[record_id].entity
    golden, review = verdict.golden, 0
    if verdict.ask and verdict.kind == "conflict_queued":
        review = ws.ask(
            "conflict",
            entity=entity,
            record_id=record_id,
            field=edit.field,
            number=golden.review,
            body={"candidates": golden.frozen or {}, "why": verdict.why},
        )
        golden = replace(golden, review=review)
    elif verdict.closes:
        ws.close(q.golden.review, "agreed")
    if golden != q.golden:
        ws.put_golden(record_id, edit.field, golden)
    link = ws.link(n)
    state = link.fields.get(edit.field, UNSEEN)
    if verdict.base_moves:
        state = replace(state, met=True, base=golden.value)
    if verdict.let_stand:
        state = replace(state, ignored=(state.value,))
    if verdict.block:
        state = replace(state, blocked=True)
    if verdict.kind in ("rejected", "edit_proposed"):
        kind: ReviewKind = "invalid" if verdict.kind == "rejected" else "proposal"
        review = ws.ask(
            kind,
            entity=entity,
            record_id=record_id,
            link=n,
            field=edit.field,
            system=link.system,
            body={
                "raw": edit.seen.raw,
                "value": edit.seen.value,
                "golden": q.golden.value,
                "why": verdict.why,
            },
        )
        state = replace(state, review=review)
    if state != link.fields.get(edit.field, UNSEEN):
        ws.put_link(replace(link, fields={**link.fields, edit.field: state}), record_id, entity)
    return review
