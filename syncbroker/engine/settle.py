"""What became of a claimed push, and what follows: each way a write can end is one function here.

Nothing here calls a vendor to change anything; it reads, and writes down what it saw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed

from msgspec.structs import replace

from syncbroker.core import observe
from syncbroker.core.plan import Plan, Reader
from syncbroker.core.state import LinkState
from syncbroker.core.types import Micros, Receipt, Value, Write
from syncbroker.engine import Engine, Source, ingest, sharing, staging
from syncbroker.engine.finish import finish
from syncbroker.engine.judge import Case, judge, look_up_references, pend
from syncbroker.engine.receipts import keep
from syncbroker.engine.removal import bury, deletion, renamed
from syncbroker.engine.workspace import Workspace
from syncbroker.errors import SyncbrokerError
from syncbroker.store import queues, records, runs
from syncbroker.store.database import Tx, unhindered
from syncbroker.store.decisions import Cause, Outcome
from syncbroker.store.queues import Row, Sighting
from syncbroker.store.records import FAR

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


@dataclass(frozen=True)
class Answer:
    """What one call said: a receipt for each write, and when the call was begun and ended (µs)."""

    pairs: Sequence[tuple[Claim, Receipt]]
    begun: Micros
    ended: Micros

    @property
    def source(self) -> Source:
        return self.pairs[0][0].source


def references(engine: Engine, source: Source, sightings: Sequence[Sighting]) -> References:
    with engine.store.read() as tx:
        return look_up_references(tx, engine, source, sightings)


# ---------------------------------------------------------------------------------- nothing was written


@unhindered
def give_back(engine: Engine, batch: Sequence[Claim], delay: Micros) -> None:
    """The call did not take place: the pushes are due again after `delay` µs."""
    if not batch:
        return
    with engine.store.write() as tx:
        ws = opened(engine, tx, batch)
        for one in ours(ws, batch):
            release(ws, one, due=ws.now + delay)
        closed(ws, batch)


@unhindered
def hand_back(engine: Engine, source: Source, moved: Sequence[tuple[Claim, Sighting | None]]) -> None:
    """The re-check saw something else than the push expects: that observation is decided first."""
    with engine.store.write() as tx:
        batch = [one for one, _ in moved]
        ws = opened(engine, tx, batch)
        unread = {one.row.link for one, sighting in moved if sighting is None}
        for one in ours(ws, batch):
            release(ws, one, due=ws.now + (1_000_000 if one.row.link in unread else 0))
        seen = [replace(s, trace=one.row.push.trace) for one, s in moved if s is not None]
        queues.stage(tx, queues.LIVE, source.system, source.object, seen)
        ws.count("rechecked_away", source.system, source.object, len(moved))
        closed(ws, batch)


def look_before_create(engine: Engine, batch: Sequence[Claim]) -> list[Claim]:
    """Ask the vendor by match keys; what it already has becomes a link. The rest may be created."""
    sure: list[Claim] = []
    for n, one in enumerate(batch):
        try:
            found = find(engine, one)
        except SyncbrokerError:
            give_back(engine, [*sure, *batch[n:]], 10_000_000)
            raise
        if found:
            _link_found(engine, one, found)
        else:
            sure.append(one.based_on(engine.now()))
    return sure


@unhindered
def _link_found(engine: Engine, one: Claim, found: Sequence[Sighting]) -> None:
    with engine.store.write() as tx:
        ws = opened(engine, tx, [one])
        if ours(ws, [one]):
            exists(ws, one, found)
        closed(ws, [one])


def find(engine: Engine, one: Claim, *, doubtful: bool = False) -> list[Sighting] | None:
    """Records that the vendor has under the keys by which the mapping links at once, first key first.

    None when it cannot be asked for any of them.
    `doubtful`: a create may have happened already, so the broker's own stamp is asked for first.
    """
    connector, spec = engine.connectors[one.source.system], one.source.spec
    asked: list[dict[str, object]] = []
    if doubtful and spec.stamp_path:
        asked.append({spec.stamp_path: one.record_id})
    for rule in one.plan.entity.match:
        paths = [one.reader.fields[name][0].path for name in rule.on if name in one.reader.fields]
        raws = {path: one.write.values[path] for path in paths if path in one.write.values}
        if rule.then == "link" and len(raws) == len(rule.on) and set(raws) <= set(spec.keys):
            asked.append(raws)
    if not asked:
        return None
    found: dict[str, Sighting] = {}
    for keys in asked:
        begun = engine.now()
        for item in connector.find(one.source.object, keys, one.source.paths):
            if not item.deleted:
                found[item.id] = ingest.sighting(one.source, item, begun, engine.now(), "read")
        if found:
            break
    return list(found.values())


def exists(ws: Workspace, one: Claim, found: Sequence[Sighting], *, doubtful: bool = False) -> None:
    """A create met a record that is there already: link it, unless it is another record's or there are several."""
    source, entity = one.source, one.plan.entity.name
    link = ws.link(one.row.link)
    if len(found) > 1:
        refuse(ws, one, f"{source.system} has {len(found)} records with the same match keys")
        return
    seen = found[0]
    for n, owner, record_id in records.by_external_id(ws.tx, source.system, source.object, [seen.id]).get(
        seen.id, ()
    ):
        if owner != entity:
            continue
        if record_id is not None:
            refuse(ws, one, f"{source.system} has it already, linked to another record")
            return
        _wait_for_review(ws, one, n)
        return
    ws.outbox[link.n] = None
    link = replace(
        link, external_id=seen.id, status="live", open=False, fields={}, order=0, seen=0, since=0, ours=()
    )
    ws.put_link(link, one.record_id, entity)
    why = "found by its match keys before it was created"
    ws.add(
        one.record_id,
        Outcome(kind="linked", system=source.system, link=link.n, why=why, cause=_cause(ws, one)),
    )
    if doubtful:
        keep(ws, one, "found", values={}, external_id=seen.id)
    ws.linked.append((source.system, entity, seen.id))
    queues.stage(ws.tx, queues.LIVE, source.system, source.object, [seen])


def _wait_for_review(ws: Workspace, one: Claim, queued: int) -> None:
    """A review already asks which record this is: nothing is created or linked past the person's answer."""
    ws.load_queued([queued])
    error = f"waits for review {ws.link(queued).review}"
    ws.put_link(replace(ws.link(one.row.link), open=False), one.record_id, one.plan.entity.name)
    ws.outbox[one.row.link] = replace(one.row, state="waiting", due=FAR, push=queues.Push(), error=error)


# -------------------------------------------------------------------------------------- receipts


def receipts(engine: Engine, source: Source, answers: Sequence[Answer]) -> Counter[tuple[str, str]]:
    """Settle each write to an object as its receipt says, in one transaction. Returns how many were applied, by
    (system, operation)."""
    shown = {
        r.key: ingest.sighting(source, r.item, one.begun, one.ended, "write")
        for one in answers
        for _, r in one.pairs
        if r.item is not None
    }
    known = references(engine, source, list(shown.values()))
    applied, blind = _settle(engine, source, answers, shown, known)
    if blind and not source.spec.lag:  # where a read may lag, the next poll or sweep shows it
        _stage_reads(engine, source, [id_ for id_ in blind if id_ != "None"])
    return applied


@unhindered
def _settle(
    engine: Engine,
    source: Source,
    answers: Sequence[Answer],
    shown: Mapping[str, Sighting],
    known: References,
) -> tuple[Counter[tuple[str, str]], list[str]]:
    """How many were applied, and the external ids of those whose answer did not show what is there now."""
    applied, blind = Counter[tuple[str, str]](), list[str]()
    with engine.store.write() as tx:
        batch = [one for answer in answers for one, _ in answer.pairs]
        ws = opened(engine, tx, batch)
        answered = {one.row.link: (receipt, a.ended) for a in answers for one, receipt in a.pairs}
        for one in ours(ws, batch):
            receipt, ended = answered[one.row.link]
            if receipt.status == "done":
                applied[source.system, one.write.op] += 1
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
            elif receipt.status == "exists" and receipt.id is None:
                refuse(ws, one, f"{source.system} has it already, and does not say which one it is")
            elif receipt.status in ("stale", "exists"):
                release(ws, one, due=ended)
                blind.append(receipt.id or str(one.link.external_id))
            else:
                _doubtful(ws, one, receipt.message)
        closed(ws, batch)
    return applied, blind


def _stage_reads(engine: Engine, source: Source, ids: Sequence[str]) -> None:
    found = ingest.read_now(engine, source, ids, "read")
    with engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, source.system, source.object, found)


def confirmed(
    ws: Workspace, one: Claim, receipt: Receipt, shown: Sighting | None, known: References, ended: Micros
) -> None:
    """The write is known to have arrived: `held` becomes what the answer shows, `base` what was written."""
    n, entity = one.row.link, one.plan.entity.name
    ws.outbox[n] = queues.remainder(one.row)
    if one.write.op == "delete":
        removed(ws, one, message=receipt.message)
        return
    link = ws.link(n)
    external_id = receipt.id or (receipt.item.id if receipt.item else None) or link.external_id
    if link.external_id is not None and external_id not in (None, link.external_id):
        renamed(ws, n, link.external_id, str(external_id), _other_link(ws, one, str(external_id)))
        link = ws.link(n)
    elif link.external_id is None and (early := _other_link(ws, one, str(external_id))) is not None:
        ws.close(ws.link(early).review, "a create of ours made it")
        ws.drop_link(early)  # met, and taken for a record of its own, before our create was answered
        ws.count("met_before_answer", one.source.system, one.source.object)
    seen = one.reader.read(shown.fields, shown.complete, known) if shown else {}
    written = one.row.push.values
    keep(ws, one, "done", values=written, external_id=external_id, shown=seen, message=receipt.message)
    stamped = one.source.spec.stamp is not None
    order = (shown.stamp if shown and shown.stamp is not None else link.order) if stamped else ended
    before_consent = link.consent
    link = observe.confirm(
        replace(link, external_id=external_id, status="live"),
        written,
        seen,
        order=order,
        ended=ended,
        based_on=one.row.push.based_on,
        timing=one.source.timing,
        taught=True,
    )
    ws.put_link(link, one.record_id, entity)
    key = (one.source.system, one.source.object, str(external_id))
    ws.stale_fingerprints.add(key)
    if shown is not None:
        shown = replace(shown, begun=link.seen, trace=one.row.push.trace)
        case = Case(one.source, one.plan, one.reader, shown, seen)
        look = case.look(name for name in seen if name not in written)
        result = observe.observe(link, look, one.source.timing)
        ws.put_link(result.link, one.record_id, entity)
        pend(ws, case, n)
        judge(ws, case, n, result.edits, before_consent)
        if shown.fingerprint and not result.again:
            ws.fingerprints[key] = (bytes.fromhex(shown.fingerprint), n)
        if shown.aliases:
            records.save_aliases(ws.tx, [(*key[:2], alias, key[2]) for alias in shown.aliases])
    if one.write.op == "create":
        ws.linked.append((one.source.system, entity, str(external_id)))
    rekeyed(ws, one, written)
    ws.wake(*key[:2], [key[2], str(one.link.external_id)])


def rekeyed(ws: Workspace, one: Claim, written: Mapping[str, Value]) -> None:
    """A link that holds another value of a match key now is no longer found by the former one."""
    if one.write.op == "update" and any(name in written for name, _ in one.plan.keyed.values()):
        ws.rekey(one.record_id)


def _other_link(ws: Workspace, one: Claim, external_id: str) -> int | None:
    """The link that was made when the record was met under its new id before the write that moved it was settled."""
    links = records.by_external_id(ws.tx, one.source.system, one.source.object, [external_id])
    for n, entity, record_id in links.get(external_id, ()):
        if entity == one.plan.entity.name and n != one.row.link:
            ws.load([record_id] if record_id else [])
            ws.load_queued([] if record_id else [n])
            return n
    return None


def removed(ws: Workspace, one: Claim, *, message: str = "") -> None:
    """A propagated delete took place (or there was nothing left to delete)."""
    keep(ws, one, "done", values={}, message=message)
    link = ws.drop_link(one.row.link)
    ws.wake(link.system, link.object, [str(link.external_id)])
    bury(ws, link, one.record_id, runs.secret_key(ws.tx), "propagate")
    why = "the deletion was propagated"
    ws.add(
        one.record_id,
        Outcome(kind="deleted", system=link.system, link=link.n, why=why, cause=_cause(ws, one)),
    )


def refuse(ws: Workspace, one: Claim, message: str) -> None:
    """The vendor's permanent no becomes a review and never blocks its neighbours."""
    keep(ws, one, "refused", values=one.row.push.values, message=message)
    values = {**one.row.push.refused, **one.row.push.values}
    review = ws.ask(
        "refused",
        number=one.row.push.review,
        entity=one.plan.entity.name,
        record_id=one.record_id,
        link=one.row.link,
        system=one.source.system,
        body={"op": one.write.op, "values": values, "message": message},
    )
    why = f"{one.source.system} refused the {one.write.op}: {message}"
    cause = _cause(ws, one)
    ws.add(
        one.record_id,
        Outcome(
            kind="rejected", system=one.source.system, link=one.row.link, why=why, cause=cause, review=review
        ),
    )
    push = replace(one.row.push, refused=values, review=review)
    ws.outbox[one.row.link] = replace(one.row, state="refused", due=FAR, push=push, error=message)
    ws.put_link(replace(ws.link(one.row.link), open=False), one.record_id, one.plan.entity.name)
    ws.wake(one.source.system, one.source.object, [str(one.link.external_id)])


def _missing(ws: Workspace, one: Claim) -> None:
    if one.write.op == "delete":
        ws.outbox[one.row.link] = None
        removed(ws, one, message="there was nothing left to delete")
        return
    release(ws, one, due=ws.now)
    gone = Sighting(id=str(one.link.external_id), deleted=True, begun=ws.now, ended=ws.now, via="write")
    queues.stage(ws.tx, queues.LIVE, one.source.system, one.source.object, [gone])


# --------------------------------------------------------------------------------------- in doubt


@unhindered
def unknown(engine: Engine, batch: Sequence[Claim], message: str) -> None:
    """No answer: the outcome is settled by reading before anything is repeated."""
    with engine.store.write() as tx:
        ws = opened(engine, tx, batch)
        for one in ours(ws, batch):
            _doubtful(ws, one, message)
        closed(ws, batch)


def _doubtful(ws: Workspace, one: Claim, message: str) -> None:
    due = ws.now + int(one.source.spec.lag * 1_000_000)
    if one.row.push.until:  # a create that was repeated: not again before it is looked for the next time
        due = max(due, one.row.due)
    ws.outbox[one.row.link] = replace(
        one.row, state="unknown", due=due, attempts=one.row.attempts + 1, error=message
    )
    ws.count("unknown_outcome", one.source.system, one.source.object)


# -------------------------------------------------------------------------------------------- shared


def _cause(ws: Workspace, one: Claim) -> Cause:
    return Cause("write", at=ws.now, trace=one.row.push.trace)


def opened(engine: Engine, tx: Tx, batch: Sequence[Claim]) -> Workspace:
    tx.serialise(sharing.DECIDE, shared=True)
    ws = Workspace(engine, tx, queues.LIVE)
    ws.load([one.record_id for one in batch])
    return ws


def ours(ws: Workspace, batch: Sequence[Claim]) -> list[Claim]:
    """The claims that still stand. An answer may be so late that others have settled the write, or ended the link."""
    rows = queues.outbox_rows(ws.tx, [one.row.link for one in batch])
    standing = []
    for one in batch:
        row = rows.get(one.row.link)
        if row is not None and row.push.key == one.row.push.key and ws.home.get(row.link) == one.record_id:
            standing.append(one)
        else:
            ws.count("late_answer", one.source.system, one.source.object)
    return standing


def closed(ws: Workspace, batch: Sequence[Claim]) -> None:
    """The end of a transaction that settles: what was decided to be deleted while it was written to is so now."""
    for n, row in queues.outbox_rows(ws.tx, [one.row.link for one in batch]).items():
        if n in ws.home and (run := staging.after(ws, row)):
            _stage(ws, n, run)
        after = ws.outbox.get(n, row)
        if not row.push.ends or n not in ws.home:
            continue
        if after is not None and after.state in ("pending", "unknown", "claimed"):
            ws.outbox[n] = replace(after, push=replace(after.push, ends=True))
        elif ws.link(n).status == "planned":
            ws.drop_link(n)
        else:
            ws.outbox[n] = deletion(ws, ws.link(n))
    finish(ws)


def _stage(ws: Workspace, n: int, run: int) -> None:
    """A guarded run decided something while this write was under way: whatever is owed after it waits for the run."""
    ws.stage_as[n] = run
    row = ws.outbox.get(n)
    if row is None:
        return
    if row.state in ("pending", "unknown", "claimed"):
        ws.outbox[n] = replace(row, push=replace(row.push, stage=run))
    elif row.state == "due":
        ws.outbox[n] = staging.staged(row, run)


def release(ws: Workspace, one: Claim, due: Micros) -> None:
    """The link is no longer being written to; whether anything is still owed is derived anew."""
    link = replace(ws.link(one.row.link), open=False)
    ws.put_link(link, one.record_id, one.plan.entity.name)
    ws.outbox[one.row.link] = replace(
        one.row, state="due", due=due, attempts=one.row.attempts + 1, push=queues.anew(one.row)
    )
    if link.external_id is not None:
        ws.wake(link.system, link.object, [link.external_id])
