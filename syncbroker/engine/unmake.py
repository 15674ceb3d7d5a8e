"""What the creates of undone decisions made in the systems, and how that is undone: by the link's delete policy.

Only what a receipt proves to be ours, and what nobody has edited there since, is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from syncbroker.core.state import LinkState
from syncbroker.engine import Engine, removal, sharing
from syncbroker.engine.finish import finish
from syncbroker.engine.scope import CHUNK, Scope
from syncbroker.engine.workspace import Workspace
from syncbroker.store import decisions, receipts, records, runs, tables
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Cause, Decision, Outcome
from syncbroker.store.receipts import Kept
from syncbroker.store.since import first_since

WAYS = {
    "detach": "the link ends; the record stays there, and is not linked again",
    "propagate": "it is deleted there",
    "review": "a review asks what becomes of it",
}
"""What each delete policy makes of a record that a create of ours made."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A record that a create made in a system. `policy` is the link's, `what` becomes of it, `undone`: anything at all.

    `link` is 0 when it is not linked any more.
    """

    record: str
    entity: str
    system: str
    object: str
    external_id: str
    receipt: int
    link: int
    policy: str
    what: str
    undone: bool

    def planned(self, *, creates: bool) -> Made:
        """As it is without being asked for: listed only."""
        if creates or not self.undone:
            return self
        return replace(self, undone=False, what="stays; --creates undoes it: " + self.what)


def of_chunk(engine: Engine, tx: Tx, scope: Scope, chunk: Sequence[Decision], seen: set[int]) -> list[Made]:
    """What was made on behalf of a piece of the scope. `seen`: receipts that were dealt with, added to."""
    found = [
        one
        for one in receipts.creates(tx, [decision.record_id for decision in chunk])
        if one.id not in seen and one.body.status != "refused"
    ]
    known = decisions.by_numbers(tx, [n for one in found for n in one.body.decisions.values()])
    owed = [one for one in found if _within(scope, one, known)]
    seen.update(one.id for one in owed)
    return _judged(engine, tx, owed)


def of_mapping(engine: Engine, scope: Scope, seen: set[int]) -> Iterator[list[Made]]:
    """What was made because a mapping version said so, whoever decided the values. Nothing for other scopes."""
    if not scope.mapping:
        return
    with engine.store.read() as tx:
        after = first_since(tx, tables.receipts, scope.since) - 1
    while True:
        with engine.store.read() as tx:
            page = receipts.following(tx, after=after, limit=CHUNK)
            found = [
                one
                for one in page
                if one.op == "create"
                and one.id not in seen
                and one.body.status != "refused"
                and one.body.mapping == scope.mapping
            ]
            seen.update(one.id for one in found)
            made = _judged(engine, tx, found)
        if not page or (scope.until and page[0].at > scope.until):
            return
        after = page[-1].id
        yield [one for one in made if not scope.entity or one.entity == scope.entity]


def _within(scope: Scope, one: Kept, known: dict[int, Decision]) -> bool:
    if scope.run and one.run == scope.run:
        return True
    return any(
        scope.within(decision, outcome)
        for name, n in one.body.decisions.items()
        if (decision := known.get(n)) is not None
        for outcome in decision.outcomes
        if outcome.field == name
    )


def _judged(engine: Engine, tx: Tx, found: Sequence[Kept]) -> list[Made]:
    """What can become of each record that was made."""
    links = records.link_states(tx, [one.link for one in found])
    made = []
    for one in found:
        link, record_id, entity = links.get(one.link, (None, None, ""))
        plan = engine.plans.get(entity)
        reader = plan.readers.get(one.body.system) if plan is not None else None
        policy = reader.rule.delete if reader is not None else ""
        why = _kept(tx, one, link, record_id, policy)
        made.append(
            Made(
                record=one.record_id,
                entity=entity,
                system=one.body.system,
                object=one.body.object,
                external_id=(link.external_id if link is not None else None) or one.body.external_id or "",
                receipt=one.id,
                link=one.link if link is not None else 0,
                policy=policy,
                what=why or WAYS[policy],
                undone=not why,
            )
        )
    return made


def _kept(tx: Tx, one: Kept, link: LinkState | None, record_id: str | None, policy: str) -> str:
    """Why a record that was made stays, "" when it may go."""
    if link is None or record_id != one.record_id or link.status != "live":
        return "stays: it is not linked any more"
    if one.body.status == "found":
        return "stays: no answer came to the create, so that nobody knows whether it made the record"
    if link.open:
        return "stays: it is being written to just now"
    if link.review:
        return f"stays: review {link.review} asks about it already"
    if not policy:
        return "stays: the mapping no longer has it"
    if policy == "recreate":
        return "stays: its delete policy is recreate, which would create it again"
    edited = _edited(tx, one)
    return f"stays: edited there since (decision {edited})" if edited else ""


def _edited(tx: Tx, one: Kept) -> int:
    """The newest decision about an edit that was made in the record since, 0 when there is none."""
    page = decisions.history(tx, one.record_id, limit=CHUNK)
    for decision in page:
        if decision.at < one.at:
            return 0
        for outcome in decision.outcomes:
            q = outcome.question
            if outcome.link == one.link and outcome.kind != "undone" and q is not None and q.seen_before:
                return decision.id
    return page[-1].id if len(page) == CHUNK else 0  # so much since that nobody can say it was left alone


def unmake(
    engine: Engine, made: Sequence[Made], person: str, run: int, event: str, *, creates: bool
) -> list[Made]:
    """Undo what may go, where that was asked for. Returns what became of each."""
    if not creates:
        return [one.planned(creates=False) for one in made]
    if not any(one.undone for one in made):
        return list(made)
    with engine.store.write() as tx:
        tx.serialise(sharing.DECIDE)
        ws = Workspace(engine, tx, run, actor=person)
        ws.load({one.record for one in made})
        kept = {one.id: one for one in receipts.creates(tx, [one.record for one in made])}
        done = _judged(engine, tx, [kept[one.receipt] for one in made if one.receipt in kept])
        for one in done:
            if one.undone and one.link in ws.home:
                _unmake(ws, one, event, runs.secret_key(tx))
        finish(ws)
        return done


def _unmake(ws: Workspace, one: Made, event: str, key: bytes) -> None:
    link, plan = ws.link(one.link), ws.plan(one.record)
    rule = plan.readers[one.system].rule
    review = 0
    if one.policy == "review":
        review = ws.ask(
            "delete",
            entity=plan.entity.name,
            record_id=one.record,
            link=link.n,
            system=link.system,
            body={"why": f"made by a create of ours that was undone ({event})", "made": True},
        )
        ws.put_link(replace(link, review=review), one.record, plan.entity.name)
    elif one.policy == "propagate":
        ws.outbox[link.n] = removal.deletion(ws, link)
    else:
        removal.end(ws, link.n, "detach", key)
    ws.add(
        one.record,
        Outcome(
            kind="undone",
            system=one.system,
            link=link.n,
            place=ws.engine.place(plan, rule.line),
            why=f"a create of ours had made it: {WAYS[one.policy]}",
            cause=Cause("undo", event=event, at=ws.now),
            review=review,
        ),
    )
