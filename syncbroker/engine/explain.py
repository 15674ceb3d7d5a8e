"""Why a record has the values it has, and who put them there: read from the decision log and what each link holds.

Plain values, for whoever shows them. Nothing is judged here: every reason was written down when it was decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from syncbroker.core import fanout
from syncbroker.core.plan import PENDING, Field, Plan, Reader
from syncbroker.core.state import NOTHING, UNSEEN, LinkState, Record
from syncbroker.core.types import Micros, Type, Value
from syncbroker.engine import Engine
from syncbroker.engine.find import label, plan_of
from syncbroker.engine.history import (
    EPOCH,
    UNKNOWABLE,
    Evidence,
    Loser,
    Past,
    Sent,
    Step,
    listed,
    losers,
    moment,
    sent,
    step,
)
from syncbroker.engine.reading import refresh
from syncbroker.errors import Missing
from syncbroker.store import decisions, merges, queues, receipts, records
from syncbroker.store.database import Tx
from syncbroker.store.receipts import Kept

HISTORY = 500
"""How many of a record's decisions, and of its receipts, are looked at, newest first."""


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """The write that is owed to a link."""

    op: str
    state: str
    due: datetime | None
    attempts: int
    error: str


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one system has of a field. `standing` is one of `STANDINGS`; `flow` is seen from the broker.

    `written`: the newest write of the field there, and its receipt. `evidence`: what tells this, for a past moment.
    """

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
    written: Sent | None = None
    evidence: Evidence | None = None


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
    writes: list[Sent]


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

    `mapping`: the active version. `as_of`: the moment in the past that it is about, `unknown` what cannot be known of
    it. `cut`: there are more decisions or receipts than are shown. `merges`: the records that went into
    it and still are part of it, newest first.
    """

    record: str
    entity: str
    label: str
    mapping: str
    as_of: datetime | None
    unknown: list[str]
    cut: bool
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
    "not known": "had the record, and nothing stored says what it held then",
}
"""How a system can stand to the golden value of a field, and what that means."""


def explain(
    engine: Engine, record_id: str, only: Sequence[str] = (), at: Micros | None = None
) -> Explanation:
    """Everything about a record, or about these of its fields; with `at`, as it was then, from stored evidence alone.

    Missing when there is no such record, or nothing was decided about it by then.
    """
    with engine.store.read() as tx:
        stored = records.load(tx, [record_id]).get(record_id)
        if stored is None:
            into = merges.survivors(tx, [record_id]).get(record_id)
            hint = (
                f"it was merged into {into}" if into else "look for it by what it holds, or by a system's id"
            )
            raise Missing(f"there is no record {record_id}", hint=hint)
        plan = plan_of(engine, stored.entity)
        joined = merges.of_survivor(tx, record_id)
        past = decisions.history(tx, record_id, until=at, limit=HISTORY + 1)
        kept = receipts.history(tx, record_id, until=at, limit=HISTORY + 1)
        evidence: Mapping[tuple[int, str], Evidence] = {}
        rows: Mapping[int, queues.Row] = {}
        if at is None:
            record = refresh(plan, stored)
            rows = queues.outbox_rows(tx, [link.n for link in record.links])
        elif past:
            record, evidence = _then(tx, stored, at)
        else:
            raise Missing(f"nothing was decided about {record_id} by {moment(at)}", hint="name a later time")
        referred = [str(v) for name in plan.fields for v in _references(plan.fields[name], record)]
        labels = {id_: label(engine, one) for id_, one in records.load(tx, referred).items()}
    told = _Told(
        steps=[step(decision, outcome) for decision in past[:HISTORY] for outcome in decision.outcomes],
        kept=kept[:HISTORY],
        rows=rows,
        evidence=evidence,
        past=at is not None,
    )
    return Explanation(
        record=record.id,
        entity=record.entity,
        label=label(engine, record),
        mapping=engine.mapping.version,
        as_of=moment(at),
        unknown=list(UNKNOWABLE) if at is not None else [],
        cut=len(past) > HISTORY or len(kept) > HISTORY,
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
            _field(engine, plan, record, plan.fields[name], told)
            for name in plan.fields
            if not only or name in only
        ],
        identity=[one for one in told.steps if not one.field],
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


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the store tells about a record beside its state."""

    steps: Sequence[Step]
    kept: Sequence[Kept]
    rows: Mapping[int, queues.Row]
    evidence: Mapping[tuple[int, str], Evidence]
    past: bool


def _then(tx: Tx, stored: Record, at: Micros) -> tuple[Record, Mapping[tuple[int, str], Evidence]]:
    """The record as stored evidence says it was; all of its past is gone through, a page at a time."""
    found = Past(stored)
    page, before = decisions.history(tx, stored.id, until=at, limit=HISTORY), 0
    while page:
        found.decided(page)
        before = page[-1].id
        page = decisions.history(tx, stored.id, before=before, until=at, limit=HISTORY)
    found.wrote(receipts.history(tx, stored.id, until=at, limit=HISTORY))
    return found.made(), found.evidence


def _references(field: Field, record: Record) -> list[Value]:
    if not field.single or field.rule.type is not Type.REFERENCE:
        return []
    value = record.golden.get(field.name, NOTHING).value
    return [] if value is None else [value]


def _field(
    engine: Engine,
    plan: Plan,
    record: Record,
    field: Field,
    told: _Told,
) -> FieldView:
    golden = record.golden.get(field.name, NOTHING)
    history = [one for one in told.steps if one.field == field.name]
    writes = [
        sent(kept, field.name, [one.path for one in reader.fields[field.name]])
        for kept in told.kept
        if field.name in kept.body.values
        and (reader := plan.readers.get(kept.body.system)) is not None
        and field.name in reader.fields
    ]
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
        losers=losers(history, made, standing_value),
        sides=[
            side
            for reader in plan.readers.values()
            if field.name in reader.fields
            for side in _sides(plan, reader, record, field.name, told, writes)
        ],
        candidates={name: listed(one) for name, one in golden.frozen.items()}
        if golden.frozen is not None
        else None,
        review=golden.review,
        history=history,
        writes=writes,
    )


def _sides(
    plan: Plan, reader: Reader, record: Record, name: str, told: _Told, writes: Sequence[Sent]
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
                standing=(
                    "not known"
                    if told.past and name not in link.fields and link.status == "live"
                    else standing(plan, record, link, name)
                ),
                raw=state.raw,
                value=listed(state.value),
                invalid=state.invalid,
                base=listed(state.base),
                met=state.met,
                doubtful=[listed(value) for value, _ in state.sent],
                order=moment(link.order),
                review=state.review or golden.review or link.review,
                push=_push(told.rows.get(link.n)),
                written=next((one for one in writes if one.link == link.n), None),
                evidence=told.evidence.get((link.n, name)),
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
    if fanout.let_stand(state, golden.value):
        return "let stand"
    if not plan.readers[link.system].pushes(name):
        return "pull only"
    return "push owed" if fanout.owes(rule, golden, state) else "kept"


def _push(row: queues.Row | None) -> Push | None:
    if row is None:
        return None
    return Push(op=row.op, state=row.state, due=moment(row.due), attempts=row.attempts, error=row.error or "")
