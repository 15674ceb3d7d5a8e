"""What became of a claimed push, and what follows: each way a write can end is one function here.

Nothing here calls a vendor to change anything; it reads, and writes down what it saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace as changed

from msgspec.structs import replace

from syncbroker.core import observe
from syncbroker.core.plan import Plan, Reader, Seen
from syncbroker.core.state import LinkState
from syncbroker.core.types import Micros, Receipt, Value, Write
from syncbroker.engine import Engine, Source, ingest
from syncbroker.engine.decide import judge, look, look_up_references
from syncbroker.engine.removal import bury, renamed
from syncbroker.engine.workspace import Workspace
from syncbroker.errors import FixSetup, Reject, Retry
from syncbroker.store import queues, records, runs
from syncbroker.store.database import Tx
from syncbroker.store.decisions import Cause, Outcome
from syncbroker.store.queues import FAR, Row, Sighting

REQUEST_LIFE: Micros = 300_000_000
"""The longest time after which a request that got no answer may still take effect."""

JOB_POLL: Micros = 1_000_000

References = dict[tuple[str, str, str], str]


@dataclass(frozen=True)
class Claim:
    """One claimed push: the write to make, and the link as the claim left it."""

    row: Row
    link: LinkState
    record_id: str
    write: Write
    source: Source
    plan: Plan
    reader: Reader

    def based_on(self, order: Micros, version: Micros | None = None) -> Claim:
        """The same claim after its re-check, which saw the state of `order`."""
        row = replace(self.row, push=replace(self.row.push, based_on=order))
        return changed(self, row=row, write=replace(self.write, version=version))


def references(engine: Engine, source: Source, sightings: Sequence[Sighting]) -> References:
    with engine.store.read() as tx:
        return look_up_references(tx, engine, source, sightings)


# ---------------------------------------------------------------------------------- nothing was written


def give_back(engine: Engine, batch: Sequence[Claim], delay: Micros) -> None:
    """The call did not take place: the pushes are due again after `delay` µs."""
    with engine.store.write() as tx:
        ws = _open(engine, tx, batch)
        for one in batch:
            _release(ws, one, due=ws.now + delay)
        ws.finish()


def hand_back(engine: Engine, source: Source, moved: Sequence[tuple[Claim, Sighting | None]]) -> None:
    """The re-check saw something else than the push expects: that observation is decided first."""
    with engine.store.write() as tx:
        ws = _open(engine, tx, [one for one, _ in moved])
        for one, sighting in moved:
            _release(ws, one, due=ws.now + (1_000_000 if sighting is None else 0))
        queues.stage(tx, queues.LIVE, source.system, source.object, [s for _, s in moved if s is not None])
        ws.count("rechecked_away", source.system, source.object, len(moved))
        ws.finish()


def look_before_create(engine: Engine, batch: Sequence[Claim]) -> list[Claim]:
    """Ask the vendor by match keys; what it already has becomes a link. The rest may be created."""
    sure: list[Claim] = []
    for n, one in enumerate(batch):
        try:
            found = _find(engine, one)
        except (Retry, FixSetup):
            give_back(engine, [*sure, *batch[n:]], 10_000_000)
            raise
        if found:
            with engine.store.write() as tx:
                ws = _open(engine, tx, [one])
                exists(ws, one, found)
                ws.finish()
        else:
            sure.append(one.based_on(engine.now()))
    return sure


def _find(engine: Engine, one: Claim) -> list[Sighting]:
    """Records that the vendor has under any of the keys by which the mapping links at once."""
    connector, spec = engine.connectors[one.source.system], one.source.spec
    found: dict[str, Sighting] = {}
    for rule in one.plan.entity.match:
        paths = [one.reader.fields[name][0].path for name in rule.on if name in one.reader.fields]
        raws = {path: one.write.values[path] for path in paths if path in one.write.values}
        if rule.then != "link" or len(raws) != len(rule.on) or not set(raws) <= set(spec.keys):
            continue
        begun = engine.now()
        items = connector.find(one.source.object, raws, one.source.paths)
        for item in items:
            if not item.deleted:
                found[item.id] = ingest.sighting(one.source, item, begun, engine.now(), "read")
    return list(found.values())


def exists(ws: Workspace, one: Claim, found: Sequence[Sighting]) -> None:
    """A create met a record that is there already: link it, unless it is another record's or there are several."""
    source, entity = one.source, one.plan.entity.name
    link = ws.link(one.row.link)
    if len(found) > 1:
        refuse(ws, one, f"{source.system} has {len(found)} records with the same match keys")
        return
    seen = found[0]
    for n, owner, record_id in records.by_external_id(ws.tx, source.system, source.object, [seen.id]).get(seen.id, ()):
        if owner != entity:
            continue
        if record_id is not None:
            refuse(ws, one, f"{source.system} has it already, linked to another record")
            return
        ws.load_queued([n])
        ws.close(ws.link(n).review, "a create found it")
        ws.drop_link(n)
    ws.outbox[link.n] = None
    link = replace(link, external_id=seen.id, status="live", open=False, fields={}, order=0, seen=0, since=0, ours=())
    ws.put_link(link, one.record_id, entity)
    why = "found by its match keys before it was created"
    ws.add(one.record_id, Outcome(kind="linked", system=source.system, link=link.n, why=why, cause=Cause("write", at=ws.now)))
    queues.stage(ws.tx, queues.LIVE, source.system, source.object, [seen])


# -------------------------------------------------------------------------------------- receipts


def receipts(engine: Engine, source: Source, pairs: Sequence[tuple[Claim, Receipt]], begun: Micros) -> int:
    """Settle each write as its receipt says. Returns how many were applied."""
    ended = engine.now()
    shown = {
        r.key: ingest.sighting(source, r.item, begun, ended, "write") for _, r in pairs if r.item is not None
    }
    known = references(engine, source, list(shown.values()))
    applied, blind = 0, []
    with engine.store.write() as tx:
        ws = _open(engine, tx, [one for one, _ in pairs])
        for one, receipt in pairs:
            if receipt.status == "done":
                applied += 1
                confirmed(ws, one, receipt, shown.get(receipt.key), known, ended)
                if receipt.item is None and one.write.op != "delete":
                    blind.append(receipt.id or str(one.link.external_id))
            elif receipt.status == "pending":
                push = replace(one.row.push, job=receipt.job or "")
                ws.outbox[one.row.link] = replace(one.row, state="pending", due=ended + JOB_POLL, push=push)
            elif receipt.status == "exists" and receipt.key in shown:
                exists(ws, one, [shown[receipt.key]])
            elif receipt.status == "missing":
                _missing(ws, one)
            elif receipt.status == "refused":
                refuse(ws, one, receipt.message)
            elif receipt.status in ("stale", "exists"):
                _release(ws, one, due=ended)
                blind.append(receipt.id or str(one.link.external_id))
            else:
                _doubtful(ws, one, receipt.message)
        ws.finish()
    if blind and not source.spec.lag:  # where a read may lag, the next poll or sweep shows it
        _stage_reads(engine, source, [id_ for id_ in blind if id_ != "None"])
    return applied


def _stage_reads(engine: Engine, source: Source, ids: Sequence[str]) -> None:
    found = ingest.read_now(engine, source, ids, "read")
    with engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, source.system, source.object, found)


def confirmed(
    ws: Workspace, one: Claim, receipt: Receipt, shown: Sighting | None, known: References, ended: Micros
) -> None:
    """The write is known to have arrived: `held` becomes what the answer shows, `base` what was written."""
    n, entity = one.row.link, one.plan.entity.name
    ws.outbox[n] = None
    if one.write.op == "delete":
        removed(ws, one)
        return
    link = ws.link(n)
    external_id = receipt.id or (receipt.item.id if receipt.item else None) or link.external_id
    if link.external_id is not None and external_id not in (None, link.external_id):
        renamed(ws, n, link.external_id, str(external_id), None)
        link = ws.link(n)
    seen = one.reader.read(shown.fields, shown.complete, known) if shown else {}
    written = one.row.push.values
    stamped = one.source.spec.stamp is not None
    order = (shown.stamp if shown and shown.stamp is not None else link.order) if stamped else ended
    before_consent = link.consent
    link = observe.confirm(
        replace(link, external_id=external_id, status="live"), written, seen,
        order=order, ended=ended, based_on=one.row.push.based_on, timing=one.source.timing, taught=True,
    )  # fmt: skip
    ws.put_link(link, one.record_id, entity)
    key = (one.source.system, one.source.object, str(external_id))
    ws.stale_fingerprints.add(key)
    if shown is not None:
        rest = {name: value for name, value in seen.items() if name not in written}
        fresh = replace(shown, begun=link.seen)
        result = observe.observe(link, look(fresh, rest), one.source.timing)
        ws.put_link(result.link, one.record_id, entity)
        cause = Cause("write", at=ended)
        judge(ws, one.plan, one.reader, n, result.edits, look(fresh, rest), before_consent, cause, one.source)
        if shown.fingerprint and not result.again:
            ws.fingerprints[key] = (bytes.fromhex(shown.fingerprint), n)
        if shown.aliases:
            records.save_aliases(ws.tx, [(*key[:2], alias, key[2]) for alias in shown.aliases])
    if one.write.op == "create":
        waiting = records.take_pending(ws.tx, one.source.system, entity, [str(external_id)])
        ws.count("woken_reference", one.source.system, one.source.object, len(waiting))
    queues.wake(ws.tx, *key[:2], [key[2], str(one.link.external_id)])


def removed(ws: Workspace, one: Claim) -> None:
    """A propagated delete took place (or there was nothing left to delete)."""
    link = ws.drop_link(one.row.link)
    bury(ws, link, one.record_id, runs.secret_key(ws.tx), "propagate")
    why = "the deletion was propagated"
    ws.add(one.record_id, Outcome(kind="deleted", system=link.system, link=link.n, why=why, cause=Cause("write", at=ws.now)))


def refuse(ws: Workspace, one: Claim, message: str) -> None:
    """The vendor's permanent no becomes a review and never blocks its neighbours."""
    values = one.row.push.values
    review = ws.ask(
        "refused", entity=one.plan.entity.name, record_id=one.record_id, link=one.row.link, system=one.source.system,
        body={"op": one.write.op, "values": values, "message": message},
    )  # fmt: skip
    why = f"{one.source.system} refused the {one.write.op}: {message}"
    cause = Cause("write", at=ws.now)
    ws.add(one.record_id, Outcome(kind="rejected", system=one.source.system, link=one.row.link, why=why, cause=cause, review=review))
    push = replace(one.row.push, refused=values, review=review)
    ws.outbox[one.row.link] = replace(one.row, state="refused", due=FAR, push=push, error=message)
    ws.put_link(replace(ws.link(one.row.link), open=False), one.record_id, one.plan.entity.name)
    queues.wake(ws.tx, one.source.system, one.source.object, [str(one.link.external_id)])


def _missing(ws: Workspace, one: Claim) -> None:
    if one.write.op == "delete":
        ws.outbox[one.row.link] = None
        removed(ws, one)
        return
    _release(ws, one, due=ws.now)
    gone = Sighting(id=str(one.link.external_id), deleted=True, begun=ws.now, ended=ws.now, via="write")
    queues.stage(ws.tx, queues.LIVE, one.source.system, one.source.object, [gone])


# --------------------------------------------------------------------------------------- in doubt


def unknown(engine: Engine, batch: Sequence[Claim], message: str) -> None:
    """No answer: the outcome is settled by reading before anything is repeated."""
    with engine.store.write() as tx:
        ws = _open(engine, tx, batch)
        for one in batch:
            _doubtful(ws, one, message)
        ws.finish()


def _doubtful(ws: Workspace, one: Claim, message: str) -> None:
    wait = int(one.source.spec.lag * 1_000_000)
    ws.outbox[one.row.link] = replace(
        one.row, state="unknown", due=ws.now + wait, attempts=one.row.attempts + 1, error=message
    )
    ws.count("unknown_outcome", one.source.system, one.source.object)


def settle_open(engine: Engine, system: str) -> int:
    """Jobs that may be done, writes in doubt, and claims whose worker died. Returns how many moved."""
    with engine.store.write() as tx:
        rows = queues.outbox_due(tx, system, ["pending", "unknown", "claimed"], engine.now(), 100)
        claims = _reclaim(engine, tx, rows)
    moved = 0
    jobs: dict[tuple[str, str], list[Claim]] = {}
    doubts: dict[tuple[str, str], list[Claim]] = {}
    for one in claims:
        if one.row.state == "pending":
            jobs.setdefault((one.source.object, one.row.push.job), []).append(one)
        else:
            doubts.setdefault((one.source.object, "create" if one.row.op == "create" else "change"), []).append(one)
    for (_, job), batch in jobs.items():
        moved += _settle_job(engine, batch, job)
    for (_, op), batch in doubts.items():
        moved += _settle_creates(engine, batch) if op == "create" else _settle_changes(engine, batch)
    return moved


def _reclaim(engine: Engine, tx: Tx, rows: Sequence[Row]) -> list[Claim]:
    """Claims as they were made, from the outbox alone."""
    homes = records.link_states(tx, [row.link for row in rows])
    claims = []
    for row in rows:
        source = engine.sources.get((row.system, row.object))
        state, record_id, entity = homes.get(row.link, (None, None, ""))
        plan = engine.plans.get(entity)
        if source is None or state is None or record_id is None or plan is None or row.system not in plan.readers:
            queues.drop_outbox(tx, [row.link])
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


def _settle_job(engine: Engine, batch: Sequence[Claim], job: str) -> int:
    source = batch[0].source
    begun = engine.now()
    connector = engine.connectors[source.system]
    done = connector.job(source.object, job, [one.write for one in batch], source.paths)
    if done is None:
        with engine.store.write() as tx:
            for one in batch:
                due = engine.now() + min(JOB_POLL * 2 ** min(one.row.attempts, 5), 30_000_000)
                queues.save_outbox(tx, [replace(one.row, due=due, attempts=one.row.attempts + 1)])
        return 0
    by_key = {receipt.key: receipt for receipt in done}
    lost = [Receipt(key=one.write.key, status="unknown", message="the job does not mention it") for one in batch]
    pairs = [(one, by_key.get(one.write.key, spare)) for one, spare in zip(batch, lost, strict=True)]
    receipts(engine, source, pairs, begun)
    return len(batch)


def _settle_creates(engine: Engine, batch: Sequence[Claim]) -> int:
    """Look for what may have been created; only what is certainly not there becomes due again."""
    for one in batch:
        found = _find(engine, one)
        with engine.store.write() as tx:
            ws = _open(engine, tx, [one])
            if found:
                exists(ws, one, found)
            else:
                _release(ws, one, due=ws.now + int(one.source.spec.lag * 1_000_000))
            ws.finish()
    return len(batch)


def _settle_changes(engine: Engine, batch: Sequence[Claim]) -> int:
    source = batch[0].source
    found = {s.id: s for s in ingest.read_now(engine, source, [str(one.link.external_id) for one in batch], "read")}
    known = references(engine, source, list(found.values()))
    histories = {one.row.link: _history(engine, one, found.get(str(one.link.external_id)), known) for one in batch}
    with engine.store.write() as tx:
        ws = _open(engine, tx, batch)
        for one in batch:
            s = found.get(str(one.link.external_id))
            if s is None:
                ws.outbox[one.row.link] = replace(one.row, state="unknown", due=ws.now + 10_000_000)
            elif s.deleted or s.merged_into:
                if one.write.op == "delete":
                    ws.outbox[one.row.link] = None
                    removed(ws, one)
                else:
                    _release(ws, one, due=ws.now)
                    queues.stage(tx, queues.LIVE, source.system, source.object, [s])
            else:
                _settle_change(ws, one, s, known, histories[one.row.link])
        ws.finish()
    return len(batch)


def _settle_change(ws: Workspace, one: Claim, s: Sighting, known: References, history: dict[str, Seen]) -> None:
    """A later read shows our value: it arrived. Otherwise it may still be under way, and what is seen builds on nothing."""
    link, entity = ws.link(one.row.link), one.plan.entity.name
    written = one.row.push.values
    seen = one.reader.read(s.fields, s.complete, known)
    there: dict[str, Value] = observe.arrived(link, written, seen)
    there.update({name: written[name] for name in history if name not in there})
    order = s.stamp if one.source.spec.stamp is not None and s.stamp is not None else s.ended
    if there:
        shown = {name: history.get(name, seen[name]) for name in there if name in seen or name in history}
        link = observe.confirm(
            link, there, shown, order=link.order if history else order, ended=s.ended,
            based_on=one.row.push.based_on, timing=one.source.timing, taught=bool(history),
        )  # fmt: skip
    rest = {name: value for name, value in written.items() if name not in there}
    link = observe.doubt(link, rest, ws.now + REQUEST_LIFE)
    ws.put_link(link, one.record_id, entity)
    ws.outbox[one.row.link] = replace(one.row, state="due", due=ws.now, push=queues.Push())
    after = replace(s, begun=s.ended, unsure=bool(rest))
    queues.stage(ws.tx, queues.LIVE, one.source.system, one.source.object, [after])
    queues.wake(ws.tx, one.source.system, one.source.object, [s.id])


def _history(engine: Engine, one: Claim, s: Sighting | None, known: References) -> dict[str, Seen]:
    """Where the vendor tells who wrote: what our write became, per field whose value is not the one we sent."""
    if s is None or s.deleted or not one.source.spec.history:
        return {}
    seen, found = one.reader.read(s.fields, s.complete, known), {}
    for name, value in one.row.push.values.items():
        links = one.reader.fields[name]
        if len(links) != 1 or name not in seen or seen[name].value in (value, one.link.fields[name].value):
            continue
        connector = engine.connectors[one.source.system]
        for change in connector.history(one.source.object, s.id, links[0].path):
            if change.ours and change.at > one.row.push.based_on:
                found[name] = one.reader.see(name, [change.value], known)
                break
    return found


# -------------------------------------------------------------------------------------------- shared


def _open(engine: Engine, tx: Tx, batch: Sequence[Claim]) -> Workspace:
    ws = Workspace(engine, tx, queues.LIVE)
    ws.load([one.record_id for one in batch])
    return ws


def _release(ws: Workspace, one: Claim, due: Micros) -> None:
    """The link is no longer being written to; whether anything is still owed is derived anew."""
    link = replace(ws.link(one.row.link), open=False)
    ws.put_link(link, one.record_id, one.plan.entity.name)
    ws.outbox[one.row.link] = replace(one.row, state="due", due=due, attempts=one.row.attempts + 1, push=queues.Push())
    if link.external_id is not None:
        queues.wake(ws.tx, link.system, link.object, [link.external_id])
