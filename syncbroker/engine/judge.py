"""One observation of one link, judged: every edit goes before its rule, and the verdict is carried out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from msgspec.structs import replace

from syncbroker.core import authority
from syncbroker.core.observe import Edit, Look
from syncbroker.core.plan import ABSENT, Plan, Reader, Seen, pick
from syncbroker.core.resolve import Kind, Question, Verdict, resolve
from syncbroker.core.state import NOTHING, UNSEEN, FieldState, Golden, LinkState
from syncbroker.core.types import Empty, Micros, Type
from syncbroker.engine import Engine, Source, fights
from syncbroker.engine.workspace import Workspace
from syncbroker.store import records
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Cause, Outcome
from syncbroker.store.queues import Sighting


@dataclass(frozen=True)
class Case:
    """An observation as one entity reads it: where it is from, what it shows, and what caused it."""

    source: Source
    plan: Plan
    reader: Reader
    sighting: Sighting
    seen: dict[str, Seen]

    @cached_property
    def cause(self) -> Cause:
        s = self.sighting
        return Cause(s.via, s.event, s.ended, s.trace)

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
            field_times=self._times(s.field_times) if s.field_times else {},
        )

    def _times(self, by_path: Mapping[str, Micros]) -> dict[str, Micros]:
        """The time of each field all of whose members have one: the newest of them."""
        return {
            name: max(by_path[one.path] for one in members)
            for name, members in self.reader.fields.items()
            if all(one.path in by_path for one in members)
        }


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


def pend(ws: Workspace, case: Case, n: int) -> None:
    """References to what is not linked yet wait for it (see `waking`)."""
    for name, seen in case.seen.items():
        if seen.pending:
            members = case.reader.fields[name]
            raws = [seen.raw] if len(members) == 1 else seen.raw
            pairs = [
                (one.spec.entity, str(raw)) for one, raw in zip(members, raws, strict=True) if one.spec.entity
            ]
            ws.pending.update((case.source.system, entity, raw, n) for entity, raw in pairs)


def judge(
    ws: Workspace, case: Case, n: int, edits: Iterable[Edit], consent_before: str | None
) -> dict[str, Kind]:
    """Put each edit before its rule and carry out the verdict on the golden value, the link and the review queue.

    Returns what became of the edit of each field.

    `consent_before`: the consent evidence that the link showed before this observation.
    """
    record_id, plan, link = ws.home[n], case.plan, ws.link(n)
    golden = ws.records[record_id].golden
    before = authority.golden_values(plan, ws.records[record_id]) if plan.terms else {}
    states: dict[str, FieldState] = {}
    kinds: dict[str, Kind] = {}
    for edit in edits:
        ws.close(edit.before.review, "another value came")
        if not (edit.first or edit.late):
            ws.edited.add(n)
        rule = plan.fields[edit.field].rule
        linked: tuple[str, ...] = ()
        barred: tuple[tuple[str, str], ...] = ()
        if rule.policy == "enforce":
            record = ws.records[record_id]
            linked = authority.linked(plan, record, edit.field)
            if edit.field in plan.terms:
                by = (link.system, edit.until)
                barred = authority.barred(plan, record, edit.field, ws.now, before, by)
        question = _question(case, link, edit, golden.get(edit.field, NOTHING), linked, consent_before)
        if barred:
            question = replace(question, barred=barred)
        verdict = resolve(rule, question)
        kinds[edit.field] = verdict.kind
        after, review = _carry_out(ws, record_id, link, edit, question, verdict)
        if edit.field in plan.terms and not edit.late:
            after = replace(after, edited=edit.until)
        if after is not link.fields.get(edit.field):
            states[edit.field] = after
        ws.add(
            record_id,
            Outcome(
                kind=verdict.kind,
                field=edit.field,
                system=question.system,
                link=n,
                policy=rule.policy,
                place=plan.places[edit.field],
                why=verdict.why,
                winner=verdict.winner,
                after=verdict.golden.value,
                question=question,
                cause=case.cause,
                review=review,
            ),
        )
    if states:
        ws.put_link(replace(link, fields={**link.fields, **states}), record_id, plan.entity.name)
    return kinds


def _question(
    case: Case,
    link: LinkState,
    edit: Edit,
    golden: Golden,
    linked: tuple[str, ...],
    consent_before: str | None,
) -> Question:
    reader, s, seen, before = case.reader, case.sighting, edit.seen, edit.before
    empty = ""
    if seen.value is None and not seen.invalid:
        empty = Empty.PLACEHOLDER if seen.placeholder else Empty.CLEARED
    fresh_consent = s.consent is not None and s.consent != consent_before
    shown = fresh_consent and any(
        one.path == case.source.spec.consent_path for one in reader.fields[edit.field]
    )
    return Question(
        system=link.system,
        pull=link.primary and reader.pulls(edit.field),
        can_push=link.primary and reader.pushes(edit.field),
        raw=seen.raw if seen.raw != seen.value else None,
        value=seen.value,
        invalid=seen.invalid,
        empty=empty,
        golden=golden,
        held=before.value,
        seen_before=not edit.first,
        base=before.base,
        met=before.met,
        since=edit.since,
        until=edit.until,
        late=edit.late,
        unsure=s.unsure and bool(before.sent),  # only what was being written is in doubt
        sweep=s.via == "sweep",
        linked=linked,
        consent=s.consent or "" if shown else "",
        flips=edit.flips,
        actor=s.actor,
        seen=s.ended,
    )


def _carry_out(
    ws: Workspace, record_id: str, link: LinkState, edit: Edit, q: Question, verdict: Verdict
) -> tuple[FieldState, int]:
    """The field's state on its link afterwards, and the review that the verdict opened or renewed (or 0)."""
    state = link.fields.get(edit.field, UNSEEN)
    entity = ws.records[record_id].entity
    golden, review = verdict.golden, 0
    if verdict.ask and verdict.kind in ("conflict_queued", "contested"):
        review = ws.ask(
            "contested" if verdict.kind == "contested" else "conflict",
            entity=entity,
            record_id=record_id,
            field=edit.field,
            system=link.system if verdict.kind == "contested" else "",
            number=golden.review,
            body={"candidates": golden.frozen or {}, "why": verdict.why},
        )
        golden = replace(golden, review=review)
        if verdict.kind == "contested":
            fights.note(ws, entity, link.system, edit.field)
    elif verdict.closes:
        ws.close(q.golden.review, "agreed")
    if golden != q.golden:
        ws.put_golden(record_id, edit.field, golden)
    if verdict.base_moves:
        state = replace(state, met=True, base=golden.value)
    if verdict.let_stand:
        state = replace(state, ignored=(state.value,))
    if verdict.block:
        state = replace(state, blocked=True)
    if verdict.kind in ("rejected", "edit_proposed"):
        seen = edit.seen
        review = ws.ask(
            "invalid" if verdict.kind == "rejected" else "proposal",
            entity=entity,
            record_id=record_id,
            link=link.n,
            field=edit.field,
            system=link.system,
            body={"raw": seen.raw, "value": seen.value, "golden": q.golden.value, "why": verdict.why},
        )
        state = replace(state, review=review)
    return state, review
