"""What a deciding transaction changed, written back table by table: decisions first, for the others bear their
numbers."""

from __future__ import annotations

from collections import Counter
from functools import partial

from msgspec.structs import replace

from syncbroker.core.match import Key
from syncbroker.core.referring import targets
from syncbroker.core.state import LinkState, Record
from syncbroker.engine.reading import record_keys
from syncbroker.engine.workspace import Workspace
from syncbroker.store import decisions, merges, queues, receipts, records, shards, waits
from syncbroker.store.decisions import Decision


def save(ws: Workspace) -> dict[str, int]:
    """Write everything that changed but the counters. Returns outcomes by kind."""
    kinds = _save_decisions(ws)
    touched = [ws.records[id_] for id_ in ws.touched if id_ not in ws.ended]
    records.drop(ws.tx, sorted(ws.ended))
    records.save(
        ws.tx,
        [record for record in touched if record.id not in ws.before],
        [r for r in touched if r.id in ws.before and _differs(ws, r)],
    )
    _save_links(ws)
    _save_keys(ws)
    _save_referrals(ws)
    rows = [(*key, fingerprint, n) for key, (fingerprint, n) in ws.fingerprints.items()]
    records.fingerprints(ws.tx, rows, sorted(ws.stale_fingerprints - ws.fingerprints.keys()))
    decisions.open_reviews(ws.tx, list(ws.opened.values()))
    decisions.renew_reviews(ws.tx, ws.renewed)
    decisions.close_reviews(ws.tx, [(n, ws.now, why) for n, why in ws.closed.items()])
    queues.save_outbox(ws.tx, [row for row in ws.outbox.values() if row is not None])
    queues.drop_outbox(ws.tx, [n for n, row in ws.outbox.items() if row is None])
    waits.set_alarms(ws.tx, ws.alarms)
    receipts.append(ws.tx, ws.receipts)
    _save_merges(ws)
    ws.tx.after.append(partial(_tell, ws, kinds))
    return kinds


def _differs(ws: Workspace, record: Record) -> bool:
    before = ws.before[record.id]
    return record.seal != before.seal or record.golden != before.golden


def _save_decisions(ws: Workspace) -> dict[str, int]:
    if not ws.outcomes:
        return {}
    numbers = ws.tx.numbers("decisions", len(ws.outcomes))
    made, kinds = [], Counter[str]()
    for number, (record_id, outcomes) in zip(numbers, ws.outcomes.items(), strict=True):
        record = ws.records[record_id]
        ws.decided[record_id] = number
        for name in ws.changed.get(record_id, set()) & record.golden.keys():
            record.golden[name] = replace(record.golden[name], decision=number)
        kinds.update(outcome.kind for outcome in outcomes)
        made.append(
            Decision(
                id=number,
                record_id=record_id,
                entity=record.entity,
                run=ws.run,
                at=ws.now,
                actor=ws.actor,
                mapping=ws.engine.mapping.version,
                outcomes=outcomes,
            )
        )
    known = {id_: seal for id_ in ws.outcomes if (seal := ws.records[id_].seal) is not None}
    for record_id, seal in decisions.append(ws.tx, made, ws.engine.shapes, known).items():
        ws.records[record_id].seal = seal
    return dict(kinds)


def _save_links(ws: Workspace) -> None:
    new: list[tuple[LinkState, str, str | None]] = []
    changed: list[tuple[LinkState, str, str | None]] = []
    states: list[LinkState] = []
    for n in sorted(ws.dirty - ws.ended_links):
        if n in ws.queued:
            state, entity = ws.queued[n]
            row: tuple[LinkState, str, str | None] = (state, entity, None)
        else:
            row = (ws.link(n), ws.records[ws.home[n]].entity, ws.home[n])
        if n not in ws.stored:
            new.append(row)
        elif _stays(ws, row[0]):
            states.append(row[0])
        else:
            changed.append(row)
    records.drop_links(ws.tx, sorted(ws.ended_links & ws.stored))
    records.save_links(ws.tx, new, changed)
    records.save_states(ws.tx, states)
    moved = [ws.link(n) for n in sorted(ws.moved - ws.ended_links)]
    ids = [(one.system, one.object, one.external_id) for one in moved if one.external_id is not None]
    shards.put_apart_by_id(ws.tx, ids)


def _stays(ws: Workspace, link: LinkState) -> bool:
    """Whether it is of the record, of the status and under the external id that it was."""
    before = ws.before.get(ws.home.get(link.n, ""))
    was = before.by_number.get(link.n) if before is not None else None
    return was is not None and (was.status, was.external_id) == (link.status, link.external_id)


def _save_keys(ws: Workspace) -> None:
    added = {(entity, key, id_) for (entity, key), ids in ws.local_keys.items() for id_ in ids}
    removed: set[tuple[str, Key, str]] = set()
    for id_ in ws.rekeyed:
        record = ws.records[id_]
        plan = ws.engine.plans[record.entity]
        now = {(record.entity, key, id_) for key in record_keys(plan, record)}
        before = ws.before.get(id_)
        was = {(record.entity, key, id_) for key in record_keys(plan, before)} if before else set()
        added = {row for row in added if row[2] != id_} | (now - was)
        removed |= was - now
    records.save_keys(ws.tx, added, removed)


def _save_referrals(ws: Workspace) -> None:
    """Who refers to whom, kept for when a record is merged."""
    added, removed = set[tuple[str, str]](), set[tuple[str, str]]()
    for id_ in ws.touched:
        record = ws.records[id_]
        plan = ws.engine.plans.get(record.entity)
        if plan is None or not plan.referring:
            continue
        before = ws.before.get(id_)
        now = set() if id_ in ws.ended else targets(plan, record)
        was = targets(plan, before) if before else set()
        added.update((target, id_) for target in (now if id_ in ws.anew else now - was))
        removed.update((target, id_) for target in was - now)
    if added or removed:
        merges.save_referrals(ws.tx, added, removed)


def _save_merges(ws: Workspace) -> None:
    for survivor, absorbed, before in ws.merged:
        number = ws.decided[survivor]
        merge = merges.Merge(id=number, survivor=survivor, absorbed=absorbed, at=ws.now, before=before)
        merges.save(ws.tx, merge)
        work = merges.Repointing(merge=number, survivor=survivor, absorbed=absorbed)
        merges.repoint(ws.tx, work)


def _tell(ws: Workspace, kinds: dict[str, int]) -> None:
    """What was decided and found, once it is committed: a line for each delivery, one for all the rest."""
    of = {trace: Counter[str]() for trace in ws.traces.values()}
    rest = Counter(kinds)
    for record_id, trace in ws.traces.items():
        told = Counter(outcome.kind for outcome in ws.outcomes[record_id])
        of[trace].update(told)
        rest.subtract(told)
    of[queues.run_trace(ws.run)] = +rest
    for trace, counted in of.items():
        if counted:
            ws.engine.tell("decided", trace=trace, run=ws.run, kinds=dict(counted))
    for (system, cause), count in Counter((one.system, one.cause) for one in ws.findings).items():
        ws.engine.tell("drift", system=system, cause=cause, count=count, run=ws.run)
