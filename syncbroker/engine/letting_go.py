"""A person's answer to a guard's review: what is held is let go, in whole or in part, or dropped.

Of held observations, what is approved is decided like any other run, and its pushes are guarded in turn. What is
dropped is forgotten: the cursor moves past it, and what still differs is found by the next sweep. Of held pushes, what
is approved is due at once; to drop them, the run's decisions are undone. What is owed all the same waits on.

An answer may name a part (`only`). It closes the review, and the rest waits with a review of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from syncbroker.core import fanout
from syncbroker.core.state import UNSEEN
from syncbroker.engine import Engine, held, removal, sharing, undo
from syncbroker.engine.finish import finish
from syncbroker.engine.measure import CHUNK
from syncbroker.engine.workspace import Workspace
from syncbroker.errors import BadAnswer
from syncbroker.store import decisions, guards, queues, records, runs
from syncbroker.store import sweep as sweeping
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Cause, Decision, Outcome, Review, token
from syncbroker.store.runs import Held, Run


def _undo_run(engine: Engine, run: int, person: str) -> None:
    """Undo the decisions of a run whose pushes are held, so that nothing of it is owed any more.

    What has no value to go back to ends: records that it would create are not created (a tombstone says so until
    somebody lifts it), records that it would delete stay, and where it owes an older golden value the system differs
    until somebody edits the field. What later edits owe is left, and asked about again.
    """
    undo.undo_run(engine, run, person)
    with engine.store.read() as tx:
        newest = decisions.search(tx, run=run, limit=1)
    after: int | None = 0
    while after is not None:
        after = _forget(engine, run, person, after, newest[0].id if newest else 0)


def _forget(engine: Engine, run: int, person: str, after: int, newest: int) -> int | None:
    """One chunk of staged pushes on links after a number; the last of them, or None when there are none.

    `newest`: the run's last decision. What was decided after it is somebody else's.
    """
    with engine.store.write() as tx:
        tx.serialise(sharing.DECIDE)
        rows = guards.staged_rows(tx, run, after, CHUNK)
        if not rows:
            return None
        ws = Workspace(engine, tx, queues.LIVE, actor=person)
        owners = records.link_states(tx, [row.link for row in rows])
        ws.load({owner for _, owner, _ in owners.values() if owner is not None})
        key = runs.secret_key(tx)
        for row in rows:
            if row.op != "update":
                ws.outbox[row.link] = None
            if row.link not in ws.home:
                continue
            record_id = ws.home[row.link]
            ws.touch(record_id)
            if row.op == "create":
                removal.bury(ws, ws.drop_link(row.link), record_id, key, "dropped")
            elif row.op == "update":
                _let_differ(ws, record_id, row.link, newest)
        finish(ws)
    return rows[-1].link


def _let_differ(ws: Workspace, record_id: str, n: int, newest: int) -> None:
    record = ws.records[record_id]
    link, fields = record.by_number[n], dict(record.by_number[n].fields)
    for name in fanout.owed(ws.plan(record_id), record).updates.get(n, {}):
        if record.golden[name].decision <= newest:
            state = fields.get(name, UNSEEN)
            fields[name] = replace(state, ignored=(state.value, record.golden[name].value))
    ws.put_link(replace(link, fields=fields), record_id, record.entity)


def prepare(engine: Engine, number: int, choice: str, person: str, seen: str, only: Sequence[str]) -> None:
    """What must be done before the answer is taken: pushes are dropped by undoing what owes them.

    That takes transactions of its own. From the first on, the review says who is dropping, and takes no other answer.
    """
    with engine.store.write() as tx:
        review = decisions.review(tx, number)
        if review is None or review.kind != "guard" or review.closed is not None:
            return
        if choice != "drop" or review.body["waits"] != "pushes":
            return
        run = _held(tx, review)
        if only:
            raise BadAnswer(
                "writes can only be dropped as a whole", hint="approve a part, then drop the rest"
            )
        if seen and seen != token(review):
            return  # refused by whoever takes the answer
        decisions.renew_reviews(tx, {number: {**review.body, "dropping": person}})
    asked = {name: one for name, one in review.body.items() if name != "dropping"}
    try:
        _undo(engine, run.id, person)
    except BadAnswer:
        with engine.store.write() as tx:
            decisions.renew_reviews(tx, {number: asked})
        raise


def _undo(engine: Engine, run: int, person: str) -> None:
    with engine.store.read() as tx:
        before = guards.push_count(tx, run)
    _undo_run(engine, run, person)
    with engine.store.read() as tx:
        after = guards.push_count(tx, run)
    if before and after == before:
        raise BadAnswer(
            f"what run {run} owes does not follow from decisions of its own",
            hint="it follows from the mapping: change that, or approve a part with --only",
        )


def answer(ws: Workspace, review: Review, choice: str, only: object) -> None:
    """Carry out "approve" or "drop" for all that the review asks about, or for the names in `only`."""
    names = [str(name) for name in only] if isinstance(only, list | tuple) else []
    tx = ws.tx
    run = _held(tx, review)
    dropping = review.body.get("dropping")
    if dropping and choice != "drop":
        raise BadAnswer(f"{dropping} is dropping it", hint=f"see: syncbroker review show {review.id}")
    if run.held is not None and run.held.waits == "pushes":
        many, rest = _pushes(ws, run, review, choice, names)
    elif choice == "approve":
        many, rest = _approve(ws, run, review, names)
    else:
        many, rest = _drop(ws, run, names)
    for what in ("observations", "pushes"):
        if run.kind == "live" and review.body["waits"] == what:
            guards.forget(tx, run.system, run.object)
    part = f", {rest:,} wait on" if rest else ""
    word = {"approve": "approved", "drop": "dropped"}[choice]
    why = f"a person {word} {many:,} {review.body['waits']} of run {run.id}{part}"
    _note(ws, review, run.id, why)


def _held(tx: Tx, review: Review) -> Run:
    run = runs.get(tx, review.body["run"])
    if run is None or run.state != "held" or run.held is None or run.held.review != review.id:
        raise BadAnswer(
            "what this review asks about is not held any more", hint="see: syncbroker review list"
        )
    return run


def _note(ws: Workspace, review: Review, run: int, why: str) -> None:
    outcome = Outcome(
        kind="resolved_by_person",
        system=review.system,
        why=why,
        cause=Cause("person", at=ws.now),
        review=review.id,
    )
    made = Decision(
        id=ws.tx.numbers("decisions", 1)[0],
        record_id="",
        entity=review.entity,
        run=run,
        at=ws.now,
        actor=ws.actor,
        mapping=ws.engine.mapping.version,
        outcomes=[outcome],
    )
    decisions.append(ws.tx, [made], ws.engine.shapes)


# -------------------------------------------------------------------------------------------- observations


def _approve(ws: Workspace, run: Run, review: Review, names: list[str]) -> tuple[int, int]:
    """(how many go, how many wait on). Those that go are decided by whoever looks for work next.

    So many changes as a person has seen coming in are not asked about again when they are written elsewhere.
    """
    tx = ws.tx
    numbers = _named(tx, run, names)
    size = queues.inbox_size(tx, run.id)
    if not names or len(numbers) == size:
        allowed = Counter[str]()
        for counts in review.body["counts"]:
            allowed.update({what: counts.get(what, 0) for what in _ALLOWED})
        held.hurry(tx, run.id)
        runs.let_go_on(tx, run, allowed)
        return size, 0
    part = runs.begin(tx, run.kind, run.system, run.object, ws.now)
    guards.move(tx, numbers, part)
    runs.hold(tx, part, Held(review=0, waits="observations"), {"changed": len(numbers)})
    if (made := runs.get(tx, part)) is not None:
        runs.let_go_on(tx, made, dict.fromkeys(_ALLOWED, len(numbers)))
    held.hurry(tx, part)
    _rest(ws, run)
    return len(numbers), size - len(numbers)


_ALLOWED = ("changed", "emptied", "deleted")


def _drop(ws: Workspace, run: Run, names: list[str]) -> tuple[int, int]:
    """(how many are forgotten, how many wait on).

    Polls overlap, and may be behind webhooks: each dropped observation is marked, so that none of them brings it again.
    """
    tx, size = ws.tx, queues.inbox_size(ws.tx, run.id)
    numbers = _named(tx, run, names)
    ws.count("guard_dropped", run.system, run.object, len(numbers) if names else size)
    chosen = set(numbers)
    for rows in guards.observations(tx, run.id, CHUNK):
        marks = {
            row.sighting.id: bytes.fromhex(row.sighting.fingerprint)
            for row in rows
            if row.sighting.fingerprint and (not names or row.number in chosen)
        }
        sweeping.drop(tx, run.system, run.object, marks)
    if names and len(numbers) < size:
        queues.finish(tx, numbers)
        _rest(ws, run)
        return len(numbers), size - len(numbers)
    held.hurry(tx, run.id)
    guards.drop_all(tx, run.id)
    _move_cursor(ws, run)
    runs.move(tx, run.id, "done", {**run.counts, "dropped": size}, ended=ws.now)
    return size, 0


def _move_cursor(ws: Workspace, run: Run) -> None:
    """Polls go on behind what was dropped; only a sweep looks at it again."""
    kept = run.held
    source = ws.engine.sources.get((run.system, run.object))
    if kept is None or not kept.reading or source is None:
        return
    at = runs.cursor(ws.tx, run.system, run.object)
    rules = source.rules if kept.whole else at.rules
    runs.set_cursor(ws.tx, run.system, run.object, replace(at, cursor=kept.cursor, rules=rules))


def _named(tx: Tx, run: Run, names: list[str]) -> list[int]:
    """The inbox numbers of the records named "system:object:external id"."""
    head = f"{run.system}:{run.object}:"
    ids = [name.removeprefix(head) for name in names if name.startswith(head)]
    rows = guards.staged(tx, [run.id], run.system, run.object, sorted(set(ids)))
    known = {head + row.sighting.id for row in rows}
    _refuse_unknown([name for name in names if name not in known])
    return sorted({row.number for row in rows})


def _refuse_unknown(names: list[str]) -> None:
    if names:
        raise BadAnswer(
            f"nothing of {', '.join(names[:3])} is held by this run",
            hint="name records as `review show` does, such as crm:contacts:123",
        )


# -------------------------------------------------------------------------------------------------- pushes


def _pushes(ws: Workspace, run: Run, review: Review, choice: str, names: list[str]) -> tuple[int, int]:
    """(how many are settled, how many wait on). What an undo has left is owed for other reasons, and waits on."""
    tx = ws.tx
    if choice == "approve":
        many = guards.send(tx, run.id, _links(tx, run, names) if names else None)
        rest = guards.push_count(tx, run.id)
    else:
        rest = guards.push_count(tx, run.id)
        many = int(review.body["count"]) - rest
    if rest:
        _rest(ws, run)
    else:
        runs.move(tx, run.id, "done", run.counts, ended=run.ended)
    return many, rest


def _links(tx: Tx, run: Run, names: list[str]) -> list[int]:
    """The links of the pushes named "system:object:external id", or with the record's id where there is none yet."""
    found: list[int] = []
    unknown: list[str] = []
    for name in names:
        system, _, left = name.partition(":")
        object_, _, id_ = left.partition(":")
        numbers = [
            n for links in records.by_external_id(tx, system, object_, [id_]).values() for n, _, _ in links
        ]
        record = records.load(tx, [id_]).get(id_)
        if record is not None:
            numbers += [
                n for n, link in record.by_number.items() if (link.system, link.object) == (system, object_)
            ]
        rows = queues.outbox_rows(tx, numbers)
        mine = [n for n, row in rows.items() if row.state == "staged" and row.run == run.id]
        found += mine
        if not mine:
            unknown.append(name)
    _refuse_unknown(unknown)
    return sorted(set(found))


def _rest(ws: Workspace, run: Run) -> None:
    """What a part was taken from waits on, with a review of its own."""
    if run.held is None:
        return
    kept = replace(run.held, split=True)
    found = held.measured(ws.engine, ws.tx, run)
    review = held.ask(ws.engine, ws.tx, run, kept, found)
    runs.hold(ws.tx, run.id, replace(kept, review=review), run.counts, ended=run.ended)
