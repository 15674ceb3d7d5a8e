"""Why a record has the values it has, and who put them there: read from the decision log and what each link holds.

Plain values, for whoever shows them. Nothing is judged here: every reason was written down when it was decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from syncbroker.core import fanout
from syncbroker.core.plan import PENDING, Field, Plan, Reader
from syncbroker.core.state import NOTHING, UNSEEN, LinkState, Record
from syncbroker.core.types import Micros, Type, Value
from syncbroker.engine import Engine
from syncbroker.engine.find import label, plan_of
from syncbroker.engine.reading import refresh
from syncbroker.errors import Missing
from syncbroker.store import decisions, merges, queues, records
from syncbroker.store.decisions import Decision, Outcome

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Micros = 250_000_000_000_000_000
"""The last time that a date can tell, in the 99th century."""

HISTORY = 500
"""How many of a record's decisions are looked at, newest first."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One outcome of a decision. The edit it judged: `raw` and canonical `value` on `system`, made between
    `edited_since` and `edited_until` by the vendor's `origin` and `name`; `held` and `base` are that link's then.
    The golden value went from `before` (which came from `before_source`) to `after`.

    `actor`: "rules" or a person. `via`: how it came to be seen, `event` the vendor's id for that. `place`: file:line.
    """

    decision: int
    at: datetime
    actor: str
    kind: str
    field: str
    system: str
    why: str
    policy: str = ""
    place: str = ""
    mapping: str = ""
    run: int = 0
    winner: str = ""
    before: Any = None
    before_source: str = ""
    after: Any = None
    raw: Any = None
    value: Any = None
    invalid: str = ""
    held: Any = None
    base: Any = None
    late: bool = False
    edited_since: datetime | None = None
    edited_until: datetime | None = None
    origin: str = ""
    name: str = ""
    via: str = ""
    event: str = ""
    seen: datetime | None = None
    review: int = 0


class Loser(msgspec.Struct, frozen=True, kw_only=True):
    """A value that does not stand, where it came from ("" is a person's answer) and why it lost."""

    system: str
    value: Any
    raw: Any
    why: str
    decision: int
    at: datetime


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """The write that is owed to a link."""

    op: str
    state: str
    due: datetime | None
    attempts: int
    error: str


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one system has of a field. `standing` is one of `STANDINGS`; `flow` is seen from the broker."""

    system: str
    object: str
    external_id: str | None
    paths: list[str]
    flow: str
    standing: str
    raw: Any = None
    value: Any = None
    invalid: str = ""
    base: Any = None
    met: bool = False
    doubtful: list[Any] = []
    order: datetime | None = None
    review: int = 0
    push: Push | None = None


class FieldView(msgspec.Struct, frozen=True, kw_only=True):
    """One field (or group) of a record. `decided` gave it its value; `candidates` wait while it is frozen.

    `members`: (name, type) of each, one unless it is a group. `source`: the system whose edit it is, "" for a person's
    answer or for nothing yet.
    """

    name: str
    members: list[tuple[str, str]]
    value: Any
    source: str
    policy: str
    authority: list[str]
    place: str
    edited_since: datetime | None
    edited_until: datetime | None
    decided: Step | None
    losers: list[Loser]
    sides: list[Side]
    candidates: dict[str, Any] | None
    review: int
    history: list[Step]


class LinkView(msgspec.Struct, frozen=True, kw_only=True):
    system: str
    object: str
    external_id: str | None
    status: str
    primary: bool
    review: int
    push: Push | None


class MergeView(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was merged into this one."""

    merge: int
    absorbed: str
    at: datetime
    person: str
    why: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All about one record. `identity`: how it came to be and was linked. `labels`: referred record id -> words.

    `merges`: the records that went into it and still are part of it, newest first.
    """

    record: str
    entity: str
    label: str
    links: list[LinkView]
    fields: list[FieldView]
    identity: list[Step]
    labels: dict[str, str]
    merges: list[MergeView] = []


STANDINGS = {
    "in step": "holds the golden value",
    "rewritten": "holds what it made of the golden value",
    "push owed": "is going to be written",
    "in review": "waits for a person's answer",
    "unusable": "holds something that has no canonical form",
    "unlinked reference": "refers to a record that is not linked yet",
    "let stand": "differs, and was allowed to",
    "pull only": "differs, and the mapping never writes it",
    "kept": "differs, and the policy writes only where there is nothing",
    "duplicate": "is a second link of this record there, which takes no part",
    "deleted there": "is gone there, and a person must say what follows",
    "create owed": "is going to be created",
    "not linked": "does not have the record",
}
"""How a system can stand to the golden value of a field, and what that means."""


def moment(at: Micros | None) -> datetime | None:
    """A time of the broker as a datetime in UTC; None for none and for what never comes by itself (`FAR`)."""
    return None if not at or at > LATEST else EPOCH + timedelta(microseconds=at)


def listed(value: Any) -> Any:
    """A canonical value as JSON would give it back, so that stored and typed ones compare: tuples are lists."""
    return [listed(one) for one in value] if isinstance(value, list | tuple) else value


def explain(engine: Engine, record_id: str, only: Sequence[str] = ()) -> Explanation:
    """Everything about a record, or about these of its fields. Missing when there is no such record."""
    with engine.store.read() as tx:
        stored = records.load(tx, [record_id]).get(record_id)
        if stored is None:
            into = merges.survivors(tx, [record_id]).get(record_id)
            hint = (
                f"it was merged into {into}" if into else "look for it by what it holds, or by a system's id"
            )
            raise Missing(f"there is no record {record_id}", hint=hint)
        plan = plan_of(engine, stored.entity)
        record = refresh(plan, stored)
        past = decisions.history(tx, record_id, limit=HISTORY)
        joined = merges.of_survivor(tx, record_id)
        rows = queues.outbox_rows(tx, [link.n for link in record.links])
        referred = [str(v) for name in plan.fields for v in _references(plan.fields[name], record)]
        labels = {id_: label(engine, one) for id_, one in records.load(tx, referred).items()}
    steps = [step(decision, outcome) for decision in past for outcome in decision.outcomes]
    return Explanation(
        record=record.id,
        entity=record.entity,
        label=label(engine, record),
        links=[
            LinkView(
                system=link.system,
                object=link.object,
                external_id=link.external_id,
                status=link.status,
                primary=link.primary,
                review=link.review,
                push=_push(rows.get(link.n)),
            )
            for link in record.links
        ],
        fields=[
            _field(engine, plan, record, plan.fields[name], steps, rows)
            for name in plan.fields
            if not only or name in only
        ],
        identity=[one for one in steps if not one.field],
        labels=labels,
        merges=[
            MergeView(
                merge=one.id,
                absorbed=one.absorbed,
                at=moment(one.at) or EPOCH,
                person=one.before.person,
                why=one.before.why,
            )
            for one in joined
        ],
    )


def _references(field: Field, record: Record) -> list[Value]:
    if not field.single or field.rule.type is not Type.REFERENCE:
        return []
    value = record.golden.get(field.name, NOTHING).value
    return [] if value is None else [value]


def step(decision: Decision, outcome: Outcome) -> Step:
    """An outcome with what its decision adds to it, in words a person can follow."""
    q, cause = outcome.question, outcome.cause
    actor = q.actor if q else None
    return Step(
        decision=decision.id,
        at=moment(decision.at) or EPOCH,
        actor=decision.actor,
        kind=outcome.kind,
        field=outcome.field,
        system=outcome.system,
        why=outcome.why,
        policy=outcome.policy,
        place=outcome.place,
        mapping=decision.mapping,
        run=decision.run,
        winner=outcome.winner,
        before=listed(q.golden.value) if q else None,
        before_source=q.golden.source if q else "",
        after=listed(outcome.after),
        raw=listed(q.value if q.raw is None else q.raw) if q else None,
        value=listed(q.value) if q else None,
        invalid=q.invalid if q else "",
        held=listed(q.held) if q else None,
        base=listed(q.base) if q else None,
        late=q.late if q else False,
        edited_since=moment(q.since) if q else None,
        edited_until=moment(q.until) if q else None,
        origin=actor.origin if actor else "",
        name=actor.name if actor else "",
        via=cause.via if cause else "",
        event=cause.event if cause else "",
        seen=moment(cause.at) if cause else None,
        review=outcome.review,
    )


def _field(
    engine: Engine,
    plan: Plan,
    record: Record,
    field: Field,
    steps: Sequence[Step],
    rows: Mapping[int, queues.Row],
) -> FieldView:
    golden = record.golden.get(field.name, NOTHING)
    history = [one for one in steps if one.field == field.name]
    made = next((n for n, one in enumerate(history) if one.before != one.after), len(history))
    standing_value = listed(golden.value)
    return FieldView(
        name=field.name,
        members=[(member.name, str(member.type)) for member in field.members],
        value=standing_value,
        source=golden.source,
        policy=field.rule.policy,
        authority=list(field.rule.authority),
        place=engine.place(plan, field.rule.line),
        edited_since=moment(golden.since),
        edited_until=moment(golden.until),
        decided=history[made] if made < len(history) else None,
        losers=_losers(history, made, standing_value),
        sides=[
            side
            for reader in plan.readers.values()
            if field.name in reader.fields
            for side in _sides(plan, reader, record, field.name, rows)
        ],
        candidates={name: listed(one) for name, one in golden.frozen.items()}
        if golden.frozen is not None
        else None,
        review=golden.review,
        history=history,
    )


def _losers(history: Sequence[Step], made: int, stands: Any) -> list[Loser]:
    """Who lost to the standing value, which `history[made]` gave; of each system its newest value only.

    A person who answered a review chose among the candidates that were queued before.
    """
    found: dict[str, Loser] = {}
    person = made < len(history) and history[made].kind == "resolved_by_person"
    answered = history[made].review if person else 0
    for n, one in enumerate(history):
        queued = one.kind == "conflict_queued"
        if one.policy == "union" or one.invalid or one.kind == "adopted":
            continue  # what was merged or built upon has not lost
        if (queued or n > made) and not (answered and one.review == answered):
            continue
        took = one.kind == "resolved_by_person" or (one.winner == one.system and one.after == one.value)
        if took and not queued:
            system, value, raw, why = one.before_source, one.before, None, one.why
        else:
            system, value, raw, why = one.system, one.value, one.raw, history[made].why if queued else one.why
        if value is not None and value != stands:
            lost = Loser(system=system, value=value, raw=raw, why=why, decision=one.decision, at=one.at)
            found.setdefault(system, lost)
    return list(found.values())


def _sides(
    plan: Plan, reader: Reader, record: Record, name: str, rows: Mapping[int, queues.Row]
) -> list[Side]:
    """One side per link of the record there; one without an id where there is no link."""
    golden = record.golden.get(name, NOTHING)
    flows = {(True, True): "both", (True, False): "pull", (False, True): "push", (False, False): "none"}
    side = Side(
        system=reader.system,
        object=reader.rule.object,
        external_id=None,
        paths=[one.path for one in reader.fields[name]],
        flow=flows[reader.pulls(name), reader.pushes(name)],
        standing="not linked",
    )
    found = []
    for link in record.links:
        if link.system != reader.system:
            continue
        state = link.fields.get(name, UNSEEN)
        found.append(
            replace(
                side,
                external_id=link.external_id,
                standing=standing(plan, record, link, name),
                raw=state.raw,
                value=listed(state.value),
                invalid=state.invalid,
                base=listed(state.base),
                met=state.met,
                doubtful=[listed(value) for value, _ in state.sent],
                order=moment(link.order),
                review=state.review or golden.review or link.review,
                push=_push(rows.get(link.n)),
            )
        )
    return found or [side]


def standing(plan: Plan, record: Record, link: LinkState, name: str) -> str:
    """How a link stands to the golden value of a field: one of `STANDINGS`."""
    rule, golden = plan.fields[name].rule, record.golden.get(name, NOTHING)
    state = link.fields.get(name, UNSEEN)
    if not link.primary:
        return "duplicate"
    if link.status != "live":
        return "create owed" if link.status == "planned" else "deleted there"
    if golden.frozen is not None:
        return "in review"
    if state.invalid:
        return "unlinked reference" if state.invalid == PENDING else "unusable"
    if fanout.in_step(state, golden.value):
        return "in step" if state.value == golden.value else "rewritten"
    if state.ignored is not None and state.ignored == (state.value,):
        return "let stand"
    if not plan.readers[link.system].pushes(name):
        return "pull only"
    return "push owed" if fanout.owes(rule, golden, state) else "kept"


def _push(row: queues.Row | None) -> Push | None:
    if row is None:
        return None
    return Push(op=row.op, state=row.state, due=moment(row.due), attempts=row.attempts, error=row.error or "")
