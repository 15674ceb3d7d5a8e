"""What happens to a link when its external record is deleted, comes back, changes its id, or is merged away.

Deletion is believed on evidence only (an event, a 404 on the id, a complete sweep and then a 404); what follows is the
link's `delete` policy. A delete whose author had not seen the latest golden values competes with them: a review.
"""

from __future__ import annotations

from msgspec.structs import replace

from syncbroker.core.plan import Plan
from syncbroker.core.state import NOTHING, LinkState
from syncbroker.engine import collisions
from syncbroker.engine.waking import held_sighting
from syncbroker.engine.workspace import Workspace
from syncbroker.store import queues, records, runs
from syncbroker.store.decisions import Cause, Outcome


def deleted(ws: Workspace, plan: Plan, n: int, cause: Cause, key: bytes, *, over: bool = False) -> None:
    """Apply the delete policy to a link whose external record is proven gone, after its grace (is it `over`?)."""
    link = ws.link(n)
    if n in ws.queued:
        ws.close(link.review, "deleted at the vendor")
        ws.drop_link(n)
        return
    if link.status == "gone" and not over:
        return
    record_id, rule = ws.home[n], plan.readers[link.system].rule
    unseen = [
        name
        for name, state in link.fields.items()
        if state.met and state.base != ws.records[record_id].golden.get(name, NOTHING).value
    ]
    place = ws.engine.place(plan, rule.line)
    policy = rule.delete
    if not link.primary:
        policy, why = "detach", "a duplicate link ended"
    elif rule.grace and not over:
        _wait(ws, plan, link, cause)
        return
    elif unseen and policy != "review":
        policy, why = "review", f"deleted by somebody who had not seen the newest {', '.join(sorted(unseen))}"
    else:
        why = f"the link's delete policy is {policy}" + (", and its grace is over" if over else "")
    if policy == "review":
        review = ws.ask(
            "delete",
            entity=plan.entity.name,
            record_id=record_id,
            link=n,
            system=link.system,
            body={"why": why},
        )
        gone = replace(link, status="gone", review=review, ends=0, seen=max(link.seen, cause.at))
        ws.put_link(gone, record_id, plan.entity.name)
        ws.add(
            record_id,
            Outcome(
                kind="delete_queued",
                system=link.system,
                link=n,
                place=place,
                why=why,
                cause=cause,
                review=review,
            ),
        )
        return
    ws.add(record_id, Outcome(kind="deleted", system=link.system, link=n, place=place, why=why, cause=cause))
    end(ws, n, policy, key)


def _wait(ws: Workspace, plan: Plan, link: LinkState, cause: Cause) -> None:
    """The record may reappear: nothing follows from its deletion before the grace is over."""
    record_id, rule = ws.home[link.n], plan.readers[link.system].rule
    gone = replace(link, status="gone", ends=ws.now + rule.grace, seen=max(link.seen, cause.at))
    ws.put_link(gone, record_id, plan.entity.name)
    days = f"{rule.grace / 86_400_000_000:.4g} days"
    why = f"the link's delete policy, {rule.delete}, applies in {days} unless it reappears"
    place = ws.engine.place(plan, rule.line)
    ws.add(
        record_id,
        Outcome(kind="delete_queued", system=link.system, link=link.n, place=place, why=why, cause=cause),
    )


def expire(ws: Workspace) -> None:
    """Deletions whose grace is over take effect; those whose is not are looked at again then."""
    for id_ in list(ws.touched):
        for link in ws.records[id_].links:
            if not link.ends or link.status != "gone":
                continue
            if link.ends > ws.now:
                ws.alarm(id_, link.ends)
            elif not link.open:
                key = runs.secret_key(ws.tx)
                deleted(ws, ws.plan(id_), link.n, Cause("grace", at=ws.now), key, over=True)


def end(ws: Workspace, n: int, policy: str, key: bytes) -> None:
    """End a link as detach, propagate or recreate say. Detach and propagate leave a tombstone."""
    record_id = ws.home[n]
    link = ws.drop_link(n)
    _promote(ws, record_id, link)
    if policy == "recreate":
        records.lift(ws.tx, [(link.system, link.object, records.digest(key, "record", record_id))])
    else:
        bury(ws, link, record_id, key, policy)
    if policy == "propagate":
        propagate(ws, record_id)


def _promote(ws: Workspace, record_id: str, ended: LinkState) -> None:
    """The next of a system's links to the record takes the place of one that ended; it is looked at anew."""
    if not ended.primary:
        return
    for link in ws.records[record_id].links:
        if link.system == ended.system and link.status == "live" and not link.primary:
            _meet_anew(ws, replace(link, primary=True), ws.plan(record_id), link)
            return


def _meet_anew(ws: Workspace, link: LinkState, plan: Plan, showing: LinkState) -> None:
    """The link stands for what `showing` was known to hold; that is looked at as at a first meeting."""
    reader = plan.readers[link.system]
    held = held_sighting(ws.engine, reader, showing, reader.fields)
    fresh = replace(link, fields={}, order=0, seen=0, since=0, ours=())
    ws.put_link(fresh, ws.home[link.n], plan.entity.name)
    queues.stage(ws.tx, queues.LIVE, link.system, link.object, [replace(held, via="read")])


def propagate(ws: Workspace, record_id: str) -> None:
    """Every system that still has the record is owed its deletion, after a write that is under way."""
    links = ws.records[record_id].links
    under_way = queues.outbox_rows(ws.tx, [link.n for link in links if link.open])
    for link in links:
        if link.open and link.n in under_way:
            row = under_way[link.n]
            ws.outbox[link.n] = replace(row, push=replace(row.push, ends=True))
        elif link.status == "planned":
            ws.drop_link(link.n)
        elif link.status == "live":
            ws.outbox[link.n] = deletion(ws, link)


def deletion(ws: Workspace, link: LinkState) -> queues.Row:
    ws.made.add(link.n)
    return queues.Row(
        link=link.n,
        system=link.system,
        object=link.object,
        op="delete",
        state="due",
        due=0,
        attempts=0,
        run=ws.run,
        push=queues.Push(since=ws.now, trace=ws.traces.get(ws.home.get(link.n, ""), "")),
    )


def withhold(ws: Workspace, record_id: str, edited: int) -> None:
    """Somebody edited a record whose deletion elsewhere was about to be carried on: a person says which it is."""
    link, plan = ws.link(edited), ws.plan(record_id)
    why = f"edited in {link.system} after it was deleted elsewhere"
    review = ws.ask(
        "delete",
        entity=plan.entity.name,
        record_id=record_id,
        link=edited,
        system=link.system,
        number=link.review,
        body={"why": why, "edited": True},
    )
    ws.put_link(replace(link, review=review), record_id, plan.entity.name)
    place = ws.engine.place(plan, plan.readers[link.system].rule.line)
    ws.add(
        record_id,
        Outcome(kind="delete_queued", system=link.system, link=edited, place=place, why=why, review=review),
    )


def bury(ws: Workspace, link: LinkState, record_id: str, key: bytes, reason: str) -> None:
    rows = [(link.system, link.object, records.digest(key, "record", record_id), ws.now, reason)]
    if link.external_id is not None:
        rows.append(
            (link.system, link.object, records.digest(key, "external", link.external_id), ws.now, reason)
        )
    records.bury(ws.tx, rows)


def reappeared(ws: Workspace, link: LinkState) -> LinkState:
    """A record whose deletion waits for an answer is there again: nothing is left to ask."""
    ws.close(link.review, "the record is there again")
    ws.count("reappeared", link.system, link.object)
    return replace(link, status="live", review=0, ends=0)


def renamed(ws: Workspace, n: int, old: str, new: str, twin: int | None) -> None:
    """The vendor knows the record by another id now: the link is re-pointed, the old id stays as an alias."""
    link = ws.link(n)
    if twin is not None and twin != n and (twin in ws.home or twin in ws.queued):
        ws.close(ws.link(twin).review, "the same record under its former id")
        ws.drop_link(twin)
    entity = ws.queued[n][1] if n in ws.queued else ws.records[ws.home[n]].entity
    ws.put_link(replace(link, external_id=new), ws.home.get(n), entity)
    ws.stale_fingerprints.add((link.system, link.object, old))
    records.repoint_aliases(ws.tx, link.system, link.object, old, new)
    ws.count("renamed", link.system, link.object)


def merged(ws: Workspace, n: int, survivor: str, survivor_link: int | None, key: bytes, cause: Cause) -> None:
    """The vendor merged the record into another one, whose id stands for both from now on.

    Where the two are links of different records of ours, the one that loses its link is not created there again, and a
    person is asked whether the records are one as well.
    """
    link = ws.link(n)
    old = str(link.external_id)
    if survivor_link is None or survivor_link == n:
        renamed(ws, n, old, survivor, None)
        return
    if n in ws.home and survivor_link in ws.queued:  # the vendor answers which record that is
        waiting, entity = ws.queued[survivor_link]
        renamed(ws, n, old, survivor, survivor_link)
        _meet_anew(ws, ws.link(n), ws.engine.plans[entity], waiting)
        return
    ws.close(link.review, "merged at the vendor")
    home, other = ws.home.get(n), ws.home.get(survivor_link)
    ws.drop_link(n)
    if home is not None:
        _promote(ws, home, link)
        _note_merge(ws, link, home, f"{link.system} merged {old} into {survivor}", cause)
        if other is not None and other != home:
            bury(ws, link, home, key, "merged")
            why = f"{link.system} merged {old}, a link of {home}, into {survivor}"
            _note_merge(ws, ws.link(survivor_link), other, why, cause)
            collisions.by_vendor(ws, link.system, home, other, f"{link.system}|{old}|{survivor}")
    records.repoint_aliases(ws.tx, link.system, link.object, old, survivor)
    ws.count("merged_at_vendor", link.system, link.object)


def _note_merge(ws: Workspace, link: LinkState, record_id: str, why: str, cause: Cause) -> None:
    ws.add(record_id, Outcome(kind="merged", system=link.system, link=link.n, why=why, cause=cause))
