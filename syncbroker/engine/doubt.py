"""Writes whose outcome is not known yet: jobs at the vendor, lost answers, claims whose worker died.

Each is settled by reading before anything is repeated: what a read shows as ours arrived; anything else may still be
on its way, so it stays in `sent`, and what is seen instead competes. A create is looked for, never repeated blindly;
where the vendor knows the key of a write again, it is repeated at once under the same key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace as changed

from msgspec.structs import replace

from syncbroker.core import observe
from syncbroker.core.plan import Seen
from syncbroker.core.types import Micros, Receipt, Value, Write
from syncbroker.engine import Engine, Source, ingest, settle
from syncbroker.engine.receipts import keep
from syncbroker.engine.removal import renamed
from syncbroker.engine.settle import JOB_POLL, Answer, Claim, References
from syncbroker.engine.workspace import Workspace
from syncbroker.errors import Reject
from syncbroker.store import queues, records, runs
from syncbroker.store.database import Tx
from syncbroker.store.queues import Row, Sighting

REQUEST_LIFE: Micros = 300_000_000
"""The longest time after which a request that got no answer may still take effect."""

LOOK: Micros = 10_000_000
"""How often what may have been created is looked for."""


def settle_open(engine: Engine, system: str) -> tuple[int, Counter[tuple[str, str]], list[Claim]]:
    """Jobs that may be done, writes in doubt, and claims whose worker died.

    Returns how many moved, how many writes jobs turned out to have made, by (system, operation), and the creates that
    are to be repeated now as they are.
    """
    with engine.store.write() as tx:
        rows = queues.outbox_due(tx, system, ["pending", "unknown"], engine.now(), 100)
        claims = _reclaim(engine, tx, rows + _abandoned(engine, tx, system))
    moved, made, again = 0, Counter[tuple[str, str]](), list[Claim]()
    jobs: dict[tuple[str, str], list[Claim]] = {}
    doubts: dict[tuple[str, str], list[Claim]] = {}
    for one in claims:
        if one.row.state == "pending":
            jobs.setdefault((one.source.object, one.row.push.job), []).append(one)
        else:
            doubts.setdefault(
                (one.source.object, "create" if one.row.op == "create" else "change"), []
            ).append(one)
    for (_, job), batch in jobs.items():
        settled = _settle_job(engine, batch, job)
        if settled is not None:
            moved += len(batch)
            made.update(settled)
    for (_, op), batch in doubts.items():
        moved += len(batch)
        if op == "create":
            again += _settle_creates(engine, batch)
        else:
            _settle_changes(engine, batch)
    return moved, made, again


def _abandoned(engine: Engine, tx: Tx, system: str) -> list[Row]:
    """Claimed pushes whose worker is gone."""
    rows = queues.outbox_due(tx, system, ["claimed"], engine.now(), 100)
    gone = engine.holder.abandoned([(row.push.holder, row.push.key) for row in rows]) if rows else ()
    return [row for row in rows if row.push.key in gone]


def _reclaim(engine: Engine, tx: Tx, rows: Sequence[Row]) -> list[Claim]:
    """Claims as they were made, from the outbox alone."""
    homes = records.link_states(tx, [row.link for row in rows])
    claims = []
    for row in rows:
        source = engine.sources.get((row.system, row.object))
        state, record_id, entity = homes.get(row.link, (None, None, ""))
        plan = engine.plans.get(entity)
        if (
            source is None
            or state is None
            or record_id is None
            or plan is None
            or row.system not in plan.readers
        ):
            queues.drop_outbox(tx, [row.link])
            if state is not None:
                records.save_states(tx, [replace(state, open=False)])
            runs.count(tx, {("withdrawn", row.system, row.object): 1})
            continue
        reader = plan.readers[row.system]
        raw: dict[str, object] = {}
        for name, value in row.push.values.items():
            if name in reader.fields and not any(one.spec.entity for one in reader.fields[name]):
                raw.update(reader.render(name, value, {}) or {})
        made = Write(key=row.push.key, op=row.op, id=state.external_id, values=raw, stamp_id=record_id)
        claims.append(Claim(row, state, record_id, made, source, plan, reader))
    return claims


def _settle_job(engine: Engine, batch: Sequence[Claim], job: str) -> Counter[tuple[str, str]] | None:
    """How many of its writes were applied, by (system, operation), or None while it is running."""
    source = batch[0].source
    begun = engine.now()
    connector = engine.connectors[source.system]
    done: list[Receipt] | None
    try:
        done = connector.job(source.object, job, [one.write for one in batch], source.paths)
    except Reject:  # the vendor does not know the job (any more): what it did is found out by reading
        done = []
    if done is None:
        with engine.store.write() as tx:
            for row in queues.outbox_rows(tx, [one.row.link for one in batch]).values():
                due = engine.now() + min(JOB_POLL * 2 ** min(row.attempts, 5), 30_000_000)
                if row.state == "pending":
                    queues.save_outbox(tx, [replace(row, due=due, attempts=row.attempts + 1)])
        return None
    by_key = {receipt.key: receipt for receipt in done}
    lost = [
        Receipt(key=one.write.key, status="unknown", message="the job does not mention it") for one in batch
    ]
    pairs = [(one, by_key.get(one.write.key, spare)) for one, spare in zip(batch, lost, strict=True)]
    return settle.receipts(engine, source, [Answer(pairs, begun, engine.now())])


def _settle_creates(engine: Engine, batch: Sequence[Claim]) -> list[Claim]:
    """Look for what may have been created, again and again: it may still come to be, or not be shown yet. It is created
    anew when no request can arrive any longer. Returns what is to be repeated under its key meanwhile."""
    again: list[Claim] = []
    for one in batch:
        found = settle.find(engine, one, doubtful=True)
        with engine.store.write() as tx:
            ws = settle.opened(engine, tx, [one])
            if not settle.ours(ws, [one]):
                continue
            if found:
                settle.exists(ws, one, found, doubtful=True)
            elif _repeats(one, ws.now):
                again.append(_look_again(ws, one))
            elif found is None:
                where = one.source.system
                settle.refuse(
                    ws, one, f"no answer came, and {where} cannot be asked whether it has the record"
                )
            else:
                _look_again(ws, one)
            settle.closed(ws, [one])
    return again


def _life(one: Claim) -> Micros:
    return max(REQUEST_LIFE, int(one.source.spec.lag * 1_000_000))


def _repeats(one: Claim, now: Micros) -> bool:
    """Whether the vendor certainly knows this create again by its key, and it was not repeated for long already.

    What holds references may not be rendered again as it was sent, and the key belongs to what was sent.
    """
    push = one.row.push
    if now >= push.claimed + int(one.source.spec.remembers * 1_000_000):
        return False
    fields = [one.reader.fields.get(name, ()) for name in push.values]
    if not all(fields) or any(link.spec.entity for links in fields for link in links):
        return False
    return not push.until or now < push.until - _life(one)


def _look_again(ws: Workspace, one: Claim) -> Claim:
    """It stays in doubt until no request can arrive any longer, those that repeat it included; then it is due anew."""
    row, life = one.row, _life(one)
    until = row.push.until or ws.now + (2 * life if _repeats(one, ws.now) else life)
    if ws.now >= until:
        settle.release(ws, one, due=ws.now)
        return one
    push = replace(row.push, until=until)
    row = ws.outbox[row.link] = replace(row, state="unknown", due=min(until, ws.now + LOOK), push=push)
    return changed(one, row=row)


def _settle_changes(engine: Engine, batch: Sequence[Claim]) -> None:
    source = batch[0].source
    found = {
        s.id: s for s in ingest.read_now(engine, source, [str(one.link.external_id) for one in batch], "read")
    }
    found.update(
        _renamed(engine, source, [one for one in batch if _gone(found.get(str(one.link.external_id)))])
    )
    known = settle.references(engine, source, list(found.values()))
    histories = {
        one.row.link: _history(engine, one, found.get(str(one.link.external_id)), known) for one in batch
    }
    with engine.store.write() as tx:
        ws = settle.opened(engine, tx, batch)
        for one in settle.ours(ws, batch):
            s = found.get(str(one.link.external_id))
            if s is None:
                ws.outbox[one.row.link] = replace(one.row, state="unknown", due=ws.now + 10_000_000)
            elif s.deleted or s.merged_into:
                if one.write.op == "delete":
                    ws.outbox[one.row.link] = None
                    settle.removed(ws, one, message="no answer came; it is gone")
                else:
                    settle.release(ws, one, due=ws.now)
                    queues.stage(tx, queues.LIVE, source.system, source.object, [s])
            else:
                _settle_change(ws, one, s, known, histories[one.row.link])
        settle.closed(ws, batch)


def _gone(s: Sighting | None) -> bool:
    return s is not None and (s.deleted or s.merged_into is not None)


def _renamed(engine: Engine, source: Source, batch: Sequence[Claim]) -> dict[str, Sighting]:
    """Former external id -> the record under its new one, where our own write may have changed what ids are made of."""
    path = source.spec.id_path
    found: dict[str, Sighting] = {}
    for one in batch:
        if not path or path not in one.write.values:
            continue
        begun = engine.now()
        items = engine.connectors[source.system].find(
            source.object, {path: one.write.values[path]}, source.paths
        )
        if len(items) == 1 and items[0].id != one.link.external_id:
            found[str(one.link.external_id)] = ingest.sighting(source, items[0], begun, engine.now(), "read")
    return found


def _settle_change(
    ws: Workspace, one: Claim, s: Sighting, known: References, history: dict[str, Seen]
) -> None:
    """A later read shows our value: it arrived. Otherwise it may still be under way, and what is seen builds on nothing
    that we know."""
    if s.id != one.link.external_id:
        renamed(ws, one.row.link, str(one.link.external_id), s.id, None)
    link, entity = ws.link(one.row.link), one.plan.entity.name
    written = one.row.push.values
    seen = one.reader.read(s.fields, s.complete, known)
    there: dict[str, Value] = observe.arrived(link, written, seen)
    there.update({name: written[name] for name in history if name not in there})
    order = s.stamp if one.source.spec.stamp is not None and s.stamp is not None else s.ended
    if there:
        shown = {name: history.get(name, seen[name]) for name in there if name in seen or name in history}
        link = observe.confirm(
            link,
            there,
            shown,
            order=link.order if history else order,
            ended=s.ended,
            based_on=one.row.push.based_on,
            timing=one.source.timing,
            taught=bool(history),
        )
        settle.rekeyed(ws, one, there)
        keep(ws, one, "seen", values=there, external_id=s.id, shown=shown)
    rest = {name: value for name, value in written.items() if name not in there}
    link = observe.doubt(link, rest, ws.now + REQUEST_LIFE)
    ws.put_link(link, one.record_id, entity)
    ws.outbox[one.row.link] = replace(one.row, state="due", due=ws.now, push=queues.anew(one.row))
    after = replace(s, begun=s.ended, unsure=bool(rest))
    queues.stage(ws.tx, queues.LIVE, one.source.system, one.source.object, [after])
    ws.wake(one.source.system, one.source.object, [s.id, str(one.link.external_id)])


def _history(engine: Engine, one: Claim, s: Sighting | None, known: References) -> dict[str, Seen]:
    """Where the vendor tells who wrote: what our write became, per field whose value is not the one we sent."""
    if s is None or s.deleted or not one.source.spec.history:
        return {}
    seen, found = one.reader.read(s.fields, s.complete, known), {}
    for name, value in one.row.push.values.items():
        links = one.reader.fields.get(name, ())
        if len(links) != 1 or name not in seen or seen[name].value == value:
            continue
        connector = engine.connectors[one.source.system]
        for change in connector.history(one.source.object, s.id, links[0].path):
            if change.ours and change.at > one.row.push.based_on:
                found[name] = one.reader.see(name, [change.value], known)
                break
    return found
