"""A person's answer to a review: decide, with a person in place of a rule.

Every review offers a few answers by name. An answer is a decision that carries the person's name; it is refused when
the review was closed meanwhile, or (with `seen`) when what it asks changed since the person looked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from syncbroker.core import values
from syncbroker.core.observe import observe
from syncbroker.core.plan import Plan, Reader
from syncbroker.core.resolve import Question
from syncbroker.core.state import NOTHING, UNSEEN, FieldState, Golden, LinkState
from syncbroker.core.types import Invalid, Value
from syncbroker.engine import Engine, collisions, fights, letting_go, referrers, sharing
from syncbroker.engine import merge as merging
from syncbroker.engine.finish import finish
from syncbroker.engine.judge import Case, judge, look_up_references, pend
from syncbroker.engine.offers import offers, takes_value
from syncbroker.engine.removal import deletion, end, propagate
from syncbroker.engine.waking import held_sighting
from syncbroker.engine.workspace import Workspace
from syncbroker.errors import BadAnswer
from syncbroker.store import decisions, merges, queues, records, runs, waits
from syncbroker.store.decisions import Cause, Outcome, Review, token


def answer(
    engine: Engine,
    number: int,
    choice: str,
    person: str,
    *,
    value: object = None,
    seen: str = "",
    event: str = "",
    only: Sequence[str] = (),
) -> int:
    """Close a review with an answer: the name of an offer, or "value" with a raw `value` for a field.

    `seen`: the token of what the person looked at. `event`: what the answer is part of. `only`: the part that is
    answered, of what a guard holds. Returns the decision's number; BadAnswer says why it cannot be taken.
    """
    letting_go.prepare(engine, number, choice, person, seen, only)
    with engine.store.write() as tx:
        tx.serialise(sharing.DECIDE)
        review = decisions.review(tx, number)
        if review is None:
            raise BadAnswer(f"there is no review {number}", hint="see: syncbroker review list")
        if review.closed is not None:
            raise BadAnswer(
                f"review {number} was closed: {review.person}", hint="see: syncbroker review list"
            )
        if seen and seen != token(review) and not review.body.get("dropping"):
            raise BadAnswer(
                f"review {number} has changed since you looked", hint=f"see: syncbroker review show {number}"
            )
        _check_mapped(engine, review)
        names = [offer.name for offer in offers(review)]
        if choice not in names and not (choice == "value" and takes_value(review)):
            takes = ", ".join([*names, *(["a value"] if takes_value(review) else [])])
            raise BadAnswer(f"{choice!r} is no answer to review {number}", hint=f"it takes: {takes}")
        if only and review.kind != "guard":
            raise BadAnswer("only what a guard holds is answered in part", hint="answer it as a whole")
        ws = Workspace(engine, tx, queues.LIVE, actor=person)
        ws.event = event
        if review.record_id is not None:
            ws.load([review.record_id])
        _ANSWERS[review.kind](ws, review, choice, list(only) if review.kind == "guard" else value)
        ws.close(number, person)
        finish(ws)
        decision = decisions.last_id(tx)
    referrers.catch_up(engine)
    return decision


class Alike(msgspec.Struct, frozen=True):
    """What one answer did: the reviews that it closed, and (review, why) of those that could not take it."""

    answered: tuple[int, ...]
    left: tuple[tuple[int, str], ...]


def answer_alike(engine: Engine, number: int, choice: str, person: str, *, value: object = None) -> Alike:
    """The same answer for every open review that asks the same as this one about another record: of the same kind,
    entity, field and system. Each is a decision of its own, which names this review.

    BadAnswer when this one cannot take it; then nothing was done.
    """
    with engine.store.read() as tx:
        first = decisions.review(tx, number)
    if first is not None and (first.kind in ("guard", "merge") or not first.record_id):
        raise BadAnswer(f"no review is like review {number}", hint="answer it alone")
    event = f"review {number} and all alike"
    answer(engine, number, choice, person, value=value, event=event)
    answered, left, after = [number], list[tuple[int, str]](), 0
    while first is not None:
        with engine.store.read() as tx:
            some = decisions.alike(tx, first, after=after)
        if not some:
            break
        for one in some:
            try:
                answer(engine, one, choice, person, value=value, event=event)
                answered.append(one)
            except BadAnswer as error:
                left.append((one, error.message))
        after = some[-1]
    return Alike(tuple(answered), tuple(left))


def _check_mapped(engine: Engine, review: Review) -> None:
    """A question may outlive the part of the mapping that it is about."""
    plan = engine.plans.get(review.entity)
    missing = ""
    if plan is None:
        missing = f"the entity {review.entity}"
    elif review.field and review.field not in plan.fields:
        missing = f"the field {review.field}"
    elif review.system and review.system not in plan.readers:
        missing = f"{review.entity} in {review.system}"
    if missing:
        raise BadAnswer(f"the mapping no longer has {missing}", hint="put it back, answer, and take it out")


def _note(
    ws: Workspace, review: Review, record_id: str, why: str, before: Golden, golden: Golden | None
) -> None:
    place, policy = "", ""
    if review.field:
        plan = ws.plan(record_id)
        rule = plan.fields[review.field].rule
        place, policy = ws.engine.place(plan, rule.line), rule.policy
    ws.add(
        record_id,
        Outcome(
            kind="resolved_by_person",
            field=review.field,
            system=review.system,
            link=review.link or 0,
            policy=policy,
            place=place,
            why=why,
            question=Question(system=review.system, golden=before),
            after=golden.value if golden else None,
            cause=Cause("person", ws.event, ws.now),
            review=review.id,
        ),
    )


def _set(ws: Workspace, review: Review, value: Value, why: str) -> None:
    """Make a person's value golden; nothing outranks it until somebody edits what they have seen of it."""
    record_id = str(review.record_id)
    before = ws.records[record_id].golden.get(review.field, NOTHING)
    golden = Golden(value, "", ws.now, ws.now)
    ws.put_golden(record_id, review.field, golden)
    ws.rekey(record_id)
    _note(ws, review, record_id, why, before, golden)


def _given(ws: Workspace, review: Review, value: object) -> Value:
    field = ws.plan(str(review.record_id)).fields[review.field]
    if not field.single:
        raise BadAnswer(f"{review.field} is a group of fields", hint="choose one of the candidates")
    made = values.canonical(field.rule.spec, value)
    if isinstance(made, Invalid):
        raise BadAnswer(f"this cannot be a value of {review.field}: {made.reason}", hint="give another value")
    return made


def _conflict(ws: Workspace, review: Review, choice: str, value: object) -> None:
    if choice == "value":
        _set(ws, review, _given(ws, review, value), "a person gave the value")
        return
    golden = ws.records[str(review.record_id)].golden[review.field]
    candidates = golden.frozen or {}
    system = "" if choice == "golden" else choice
    _set(
        ws,
        review,
        candidates[system],
        f"a person chose the value of {choice}" if system else "a person kept the value",
    )


def _contested(ws: Workspace, review: Review, choice: str, value: object) -> None:
    if review.record_id is None:
        waits.resume(ws.tx, review.system, review.entity, review.field)
        runs.want_derived(ws.tx, [review.entity])
        return
    _conflict(ws, review, choice, value)
    fights.settle(ws, review.record_id, review.field)


def _held(ws: Workspace, review: Review, **changes: object) -> None:
    """Change what is remembered of the reviewed field on its link."""
    link = ws.link(int(review.link or 0))
    state: FieldState = replace(link.fields.get(review.field, UNSEEN), review=0, **changes)
    ws.put_link(replace(link, fields={**link.fields, review.field: state}), ws.home[link.n], review.entity)


def _proposal(ws: Workspace, review: Review, choice: str, value: object) -> None:
    link = ws.link(int(review.link or 0))
    held = link.fields[review.field].value
    _held(ws, review, ignored=None)
    if choice == "reject":
        golden = ws.records[str(review.record_id)].golden[review.field]
        _note(ws, review, str(review.record_id), "a person rejected the proposed value", golden, golden)
    else:
        made = held if choice == "accept" else _given(ws, review, value)
        _set(
            ws,
            review,
            made,
            "a person accepted the proposed value" if choice == "accept" else "a person gave the value",
        )


def _invalid(ws: Workspace, review: Review, choice: str, value: object) -> None:
    record_id = str(review.record_id)
    golden = ws.records[record_id].golden.get(review.field, NOTHING)
    if choice == "value":
        _held(ws, review, blocked=False)
        _set(ws, review, _given(ws, review, value), "a person gave the value")
        return
    _held(ws, review, blocked=choice == "ignore")
    why = "a person let it stand" if choice == "ignore" else "a person kept the golden value"
    _note(ws, review, record_id, why, golden, golden)


def _match(ws: Workspace, review: Review, choice: str, _value: object) -> None:
    n = int(review.link or 0)
    ws.load_queued([n])
    if n not in ws.queued:
        raise BadAnswer(
            "what this review asks about is not there any more", hint="see: syncbroker review list"
        )
    old, entity = ws.queued[n]
    plan = ws.engine.plans[entity]
    reader = plan.readers[old.system]
    now = merges.survivors(ws.tx, review.body["records"])
    if choice == "new":
        record_id = ws.new_record(entity)
    else:
        record_id = now.get(choice, choice)
        ws.load([record_id])
        if record_id not in ws.records:
            raise BadAnswer(
                f"there is no record {record_id} any more", hint=f"see: syncbroker review show {review.id}"
            )
    _attach_anew(ws, plan, reader, old, record_id)
    others = ws.load({now.get(id_, id_) for id_ in review.body["records"]})
    if choice == "new":
        collisions.keep_apart(ws, record_id, others)
    why = "a person says it is a record of its own" if choice == "new" else "a person says it is this record"
    ws.add(
        record_id,
        Outcome(
            kind="resolved_by_person",
            system=old.system,
            link=n,
            why=why,
            cause=Cause("person", at=ws.now),
            review=review.id,
        ),
    )


def _attach_anew(ws: Workspace, plan: Plan, reader: Reader, old: LinkState, record_id: str) -> None:
    """Link it, and look at what it holds as at a first meeting."""
    source = ws.engine.sources[old.system, old.object]
    there = ws.records[record_id].links
    for one in there:
        if one.system == old.system and one.status == "planned" and not one.open:
            ws.drop_link(one.n)
    twin = any(one.system == old.system and one.status != "planned" for one in there)
    link = replace(old, status="live", review=0, fields={}, order=0, seen=0, since=0, primary=not twin)
    sighting = held_sighting(ws.engine, reader, old, reader.fields)
    references = look_up_references(ws.tx, ws.engine, source, [sighting])
    seen = reader.read(sighting.fields, complete=False, references=references)
    case = Case(source, plan, reader, replace(sighting, via="person"), seen)
    result = observe(link, case.look(), source.timing)
    ws.put_link(result.link, record_id, plan.entity.name)
    ws.linked.append((old.system, plan.entity.name, str(old.external_id)))
    pend(ws, case, link.n)
    judge(ws, case, link.n, result.edits, None)
    ws.rekey(record_id)


def _merge(ws: Workspace, review: Review, choice: str, _value: object) -> None:
    now = merges.survivors(ws.tx, review.body["records"])
    first, second = (now.get(id_, id_) for id_ in review.body["records"])
    if first == second:
        raise BadAnswer(
            "the two are one record already", hint=f"see: syncbroker explain {review.entity}:{first}"
        )
    if choice == "keep":
        ws.change(review.id, {**review.body, "kept": True})
        for id_ in ws.load([first, second]):
            why = "a person says that they are different records"
            cause = Cause("person", at=ws.now)
            ws.add(id_, Outcome(kind="resolved_by_person", why=why, cause=cause, review=review.id))
        return
    survivor = now.get(choice, choice)
    absorbed = second if survivor == first else first
    merging.join(ws, survivor, absorbed, "a person says that they are one", person=ws.actor)
    merging.carry(ws, survivor, absorbed)


def _delete(ws: Workspace, review: Review, choice: str, _value: object) -> None:
    n, record_id = int(review.link or 0), str(review.record_id)
    if n not in ws.home:
        raise BadAnswer("the link is not there any more", hint="see: syncbroker review list")
    if review.body.get("made"):
        _made(ws, review, n, choice)
        return
    if review.body.get("edited"):
        link = ws.link(n)
        ws.put_link(replace(link, review=0), record_id, review.entity)
        _note(ws, review, record_id, f"a person answered: {choice}", NOTHING, None)
        if choice == "propagate":
            propagate(ws, record_id)
        return
    reader = ws.plan(record_id).readers[review.system]
    if choice == "recreate" and reader.rule.create != "always":
        raise BadAnswer(
            f"the mapping never creates in {review.system}", hint="answer detach, or change the mapping"
        )
    _note(ws, review, record_id, f"a person answered: {choice}", NOTHING, None)
    end(ws, n, choice, runs.secret_key(ws.tx))


def _made(ws: Workspace, review: Review, n: int, choice: str) -> None:
    """What a create of ours had made before it was undone."""
    link, record_id = ws.link(n), str(review.record_id)
    if link.open and choice != "keep":
        raise BadAnswer(f"{review.system} is being written to just now", hint="answer again in a minute")
    ws.put_link(replace(link, review=0), record_id, review.entity)
    _note(ws, review, record_id, f"a person answered: {choice}", NOTHING, None)
    if choice == "detach":
        end(ws, n, choice, runs.secret_key(ws.tx))
    elif choice == "delete":
        ws.outbox[n] = deletion(ws, ws.link(n))


def _refused(ws: Workspace, review: Review, choice: str, _value: object) -> None:
    n, record_id = int(review.link or 0), str(review.record_id)
    row = queues.outbox_rows(ws.tx, [n]).get(n)
    if row is None or n not in ws.home:
        raise BadAnswer("the push is no longer owed", hint="see: syncbroker status")
    if ws.link(n).open:
        raise BadAnswer(f"{review.system} is being written to just now", hint="answer again in a minute")
    if choice == "retry":
        ws.outbox[n] = replace(row, state="due", due=0, push=queues.Push(), error=None)
    else:
        link = ws.link(n)
        fields = dict(link.fields)
        for name in row.push.refused:
            state = fields.get(name, UNSEEN)
            fields[name] = replace(state, ignored=(state.value, row.push.refused[name]))
        ws.put_link(replace(link, fields=fields), record_id, review.entity)
        ws.outbox[n] = None if row.op == "update" else replace(row, push=replace(row.push, review=0))
    _note(ws, review, record_id, f"a person answered: {choice}", NOTHING, None)


_ANSWERS: dict[str, Callable[[Workspace, Review, str, object], None]] = {
    "conflict": _conflict,
    "contested": _contested,
    "proposal": _proposal,
    "invalid": _invalid,
    "match": _match,
    "merge": _merge,
    "delete": _delete,
    "refused": _refused,
    "guard": letting_go.answer,
}


def lift(engine: Engine, system: str, object_: str, id_: str, person: str) -> int:
    """Lift the tombstones of an external id or a record id, so that it may be linked or created there again.

    Returns how many there were. What the vendor has under the id is looked at anew by the next pull or sweep.
    """
    with engine.store.write() as tx:
        tx.serialise(sharing.DECIDE)
        key = runs.secret_key(tx)
        digests = [records.digest(key, what, id_) for what in ("external", "record")]
        found = records.buried(tx, system, object_, digests)
        records.lift(tx, [(system, object_, digest) for digest in sorted(found)])
        records.fingerprints(tx, [], [(system, object_, id_)])
        ws = Workspace(engine, tx, queues.LIVE, actor=person)
        for record_id in ws.load([id_]) if found else []:
            why = f"a person lifted the tombstone in {system}"
            ws.add(
                record_id,
                Outcome(kind="resolved_by_person", system=system, why=why, cause=Cause("person", at=ws.now)),
            )
        ws.count("lifted", system, object_, len(found))
        finish(ws)
    return len(found)
