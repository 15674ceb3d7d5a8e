"""Pushes owed -> re-check, write, confirm. The base of a link moves only when the system is known to hold the value.

    claim     one transaction: what is owed *now* under the active mapping is noted as about to be sent
    re-check  the systems still hold what the pushes expect, or the fresh observation goes back to be decided
    write     one vendor call for a batch of one operation
    settle    one transaction for the answers that came shortly after each other: each receipt confirms, hands over
              to a job, asks a person, or leaves the outcome unknown

A write whose outcome is unknown (a lost answer, a killed process) is settled by reading before anything is repeated;
a create is looked for before it is made, and never repeated blindly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from syncbroker.core import fanout, observe
from syncbroker.core.plan import Reader
from syncbroker.core.state import LinkState
from syncbroker.core.types import Micros, Receipt, Value, Write
from syncbroker.engine import Engine, breaker, doubt, held, ingest, settle, sharing
from syncbroker.engine.finish import finish
from syncbroker.engine.settle import Answer, Claim
from syncbroker.engine.workspace import Workspace
from syncbroker.errors import FixSetup, OutcomeUnknown, Reject, Retry, StoreUnusable, SyncbrokerError
from syncbroker.store import queues, records, stops
from syncbroker.store.database import unhindered
from syncbroker.store.queues import Row, Sighting
from syncbroker.store.records import FAR

_T = TypeVar("_T")

CLAIM = 100
"""Pushes claimed per transaction."""

LEASE: Micros = 20_000_000
"""After so long a claimed push is looked at: when its worker is not alive any more, its outcome is unknown."""

RETRY: Micros = 10_000_000
"""How long a push waits after a call that did not take place."""

TOGETHER = 100
"""Writes that are settled in one transaction, unless one call makes more."""

PATIENCE: Micros = 200_000
"""How long an answer waits for others that are settled with it."""


@dataclass
class Delivered:
    """`written` pushes by operation, `calls` of the write operation; `failed`: systems left alone, and why."""

    written: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    moved: int = 0

    def add(self, other: Delivered) -> None:
        self.written.update(other.written)
        self.calls.update(other.calls)
        self.failed.update(other.failed)
        self.moved += other.moved


def deliver(engine: Engine, system: str, progress: Callable[[int], None] = ingest.quiet) -> Delivered:
    """Everything that is due for one system now, unless others are at it. A failing system stops here, and only
    here."""
    total = Delivered()
    with engine.store.read() as tx:
        stopped, due = stops.is_stopped(tx, system), queues.next_due(tx, system)
    if stopped or due is None or due > engine.now():
        return total
    with engine.holder.holding(*_slots(engine, system)) as slot:
        if slot:
            _deliver(engine, system, total, progress, first=slot.endswith(":0"))
    return total


def _slots(engine: Engine, system: str) -> list[str]:
    """The leases of which one is needed for each call to a system that is under way."""
    rules = engine.mapping.systems.get(system)
    return [f"write:{system}:{n}" for n in range(rules.concurrency if rules is not None else 1)]


def _deliver(
    engine: Engine, system: str, total: Delivered, progress: Callable[[int], None], *, first: bool
) -> None:
    """`first`: of all that write to the system now, the one that settles what is open, too."""
    begun = engine.now()
    if why := breaker.closed(engine, system):
        total.failed[system] = why
        return
    failure: SyncbrokerError | None = None
    try:
        while not engine.holder.halted.is_set():
            part = deliver_some(engine, system, begun, settles=first)
            total.add(part)
            progress(sum(part.written.values()))
            if not part.moved:
                break
    except StoreUnusable:
        raise
    except SyncbrokerError as error:
        failure = error
    if failure is None and system in total.failed:  # a write without an answer; nothing was raised
        failure = Retry(total.failed[system], system=system)
    if failure is not None:
        total.failed[system] = failure.message
        breaker.failed(engine, system, failure)
    elif total.calls:
        breaker.worked(engine, system)


def deliver_some(engine: Engine, system: str, begun: Micros, *, settles: bool = True) -> Delivered:
    """One round: settle what is open, then claim and write one batch of each operation.

    What became due only after `begun` was handed back meanwhile: what was seen there is to be decided first.
    """
    done = Delivered()
    with engine.store.read() as tx:  # looking costs less than a turn as the writer
        due = queues.due_states(tx, system, engine.now())
    if settles and due - {"due"}:
        done.moved, made, again = doubt.settle_open(engine, system)
        done.written.update(made)
        _repeat_all(engine, _batches(again), done)
        due.add("due")  # it may have given some back
    claims = claim(engine, system, begun) if "due" in due else []
    done.moved += len(claims)
    batches = _batches(claims)
    free = _slots(engine, system)[: len(batches)] if len(batches) > 1 else []
    with engine.holder.handling([one.write.key for one in claims]), engine.holder.holding_all(free) as more:
        _write_all(engine, batches, done, 1 + len(more))
    return done


def _repeat_all(engine: Engine, batches: Sequence[list[Claim]], done: Delivered) -> None:
    """Creates in doubt that their vendor recognises by their keys. What is not repeated now stays in doubt."""
    for batch in batches:
        if engine.holder.halted.is_set() or _paused(engine, batch[0].source.system):
            return
        sent = send(engine, batch, repeated=True)
        done.add(sent.done)
        settle_answers(engine, sent.answers, done)
        if sent.error is not None:
            raise sent.error


def _write_all(engine: Engine, batches: Sequence[list[Claim]], done: Delivered, wide: int) -> None:
    """`wide`: how many calls may be under way at once. A call that takes long keeps no answer from being settled."""
    answers: list[Answer] = []
    left = list(batches)

    def settled() -> None:
        settle_answers(engine, answers, done)
        answers.clear()

    def ended(calls: Sequence[Callable[[], _T]]) -> list[_T]:
        if len(calls) == 1 and not answers:  # whoever interrupts it does not wait for its end
            return [calls[0]()]
        asked = [pool.submit(one) for one in calls]
        if answers and wait(asked, PATIENCE / 1_000_000).not_done:
            settled()
        return [one.result() for one in asked]

    with ThreadPoolExecutor(wide, thread_name_prefix="write") as pool:
        try:
            while left:
                if _full(answers, engine.now()):
                    settled()
                if engine.holder.halted.is_set() or _paused(engine, left[0][0].source.system):
                    settle.give_back(engine, _all(left), 0)
                    break
                some = _alike(left)[:wide]
                left = left[len(some) :]
                (sure,) = ended([partial(recheck, engine, _all(some))])
                made = ended([partial(send, engine, batch) for batch in _batches(sure)])
                for one in made:
                    done.add(one.done)
                    answers += one.answers
                if errors := [one.error for one in made if one.error is not None]:
                    raise errors[0]
        except SyncbrokerError:
            settle.give_back(engine, _all(left), RETRY)
            raise
        finally:
            settled()


def _alike(batches: Sequence[list[Claim]]) -> list[list[Claim]]:
    """The first ones that are of one object and operation."""
    first = batches[0][0]
    same = takewhile(
        lambda b: (b[0].source.object, b[0].write.op) == (first.source.object, first.write.op), batches
    )
    return list(same)


def _all(batches: Sequence[list[Claim]]) -> list[Claim]:
    return [one for batch in batches for one in batch]


def _full(answers: Sequence[Answer], now: Micros) -> bool:
    """Whether they are not to wait for any more."""
    many = sum(len(one.pairs) for one in answers)
    return bool(answers) and (many >= TOGETHER or now - answers[0].ended > PATIENCE)


def _paused(engine: Engine, system: str) -> bool:
    with engine.store.read() as tx:
        return stops.is_stopped(tx, system)


# --------------------------------------------------------------------------------------------------- claim


@unhindered
def claim(engine: Engine, system: str, until: Micros, limit: int = CLAIM) -> list[Claim]:
    """Take pushes that were due by `until` and note what will be sent, before any call. What is no longer owed is
    withdrawn. Those whose record somebody is deciding just now are left for the next time."""
    holder = engine.holder.announce()
    with engine.store.write() as tx:
        if stops.is_stopped(tx, system):
            return []
        tx.serialise(sharing.DECIDE, shared=True)
        rows = queues.outbox_due(tx, system, ["due"], until, limit)
        if rows and engine.guarded:
            rows, waiting = held.free(tx, rows, engine.now())
            queues.save_outbox(tx, waiting)
        if not rows:
            return []
        ws = Workspace(engine, tx, queues.LIVE)
        homes = records.link_states(tx, [row.link for row in rows])
        free = records.lock_free(tx, [record_id for _, record_id, _ in homes.values() if record_id])
        ws.load(sorted(free))
        rows = [row for row in rows if row.link not in homes or homes[row.link][1] in free | {None}]
        rows = _looked_at(ws, rows, homes)
        externals = _externals(ws, system, rows)
        claims = [one for row in rows if (one := _claim(ws, row, externals, holder)) is not None]
        finish(ws)
        return claims


def _looked_at(
    ws: Workspace, rows: list[Row], homes: Mapping[int, tuple[LinkState, str | None, str]]
) -> list[Row]:
    """Without those whose record was seen since: what waited for one write is decided before the next one, which would
    make an edit that the first one removed look older than it is."""
    by_object: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        link = homes[row.link][0] if row.link in homes else None
        if link is not None and link.external_id is not None:
            by_object.setdefault((row.system, row.object), []).append(link.external_id)
    waiting = {
        (*key, id_) for key, ids in by_object.items() for id_ in queues.unjudged(ws.tx, *key, ids, ws.now)
    }
    return [
        row
        for row in rows
        if row.link not in homes or (row.system, row.object, homes[row.link][0].external_id) not in waiting
    ]


def _claim(ws: Workspace, row: Row, externals: dict[str, str], holder: str) -> Claim | None:
    record_id = ws.home.get(row.link)
    plan = ws.engine.plans.get(ws.records[record_id].entity) if record_id is not None else None
    reader = plan.readers.get(row.system) if plan is not None else None
    source = ws.engine.sources.get((row.system, row.object))
    if record_id is None or plan is None or reader is None or source is None:
        ws.outbox[row.link] = None
        ws.count("withdrawn", row.system, row.object)
        return None
    refused = row.push.refused
    if row.op == "delete":
        values: dict[str, Value] = {}
        raw: dict[str, object] | None = {}
    else:
        owed = fanout.owed(plan, ws.records[record_id])
        wanted = owed.creates.get(row.system, {}) if row.op == "create" else owed.updates.get(row.link, {})
        if row.op == "update":
            wanted = {k: v for k, v in wanted.items() if k not in refused or refused[k] != v}
        values, raw = _render(reader, wanted, externals)
        if row.op == "create" and any(
            plan.fields[name].rule.required for name in wanted if name not in values
        ):
            values = {}
        if not values:
            if wanted:  # only references to what this system does not have yet: `wake_waiting` when it has
                waiting = replace(row, state="waiting", due=FAR, error="waits for what it refers to")
                ws.outbox[row.link] = waiting
            else:
                if left := queues.remainder(row):
                    ws.outbox[row.link] = left
                ws.touch(record_id)
            return None
    key = ws.engine.new_id()
    link = ws.link(row.link)
    based_on = link.order if source.spec.stamp is not None else link.seen
    golden = ws.records[record_id].golden
    owed_by = {name: golden[name].decision for name in values if name in golden}
    begun = replace(queues.anew(row), key=key, holder=holder, claimed=ws.now)
    push = replace(begun, values=values, decisions=owed_by, based_on=based_on)
    link = observe.sending(link, values)
    ws.put_link(link, record_id, plan.entity.name)
    claimed = replace(row, state="claimed", due=ws.now + LEASE, push=push, error=None)
    ws.outbox[row.link] = claimed
    made = Write(key=key, op=row.op, id=link.external_id, values=raw or {}, stamp_id=record_id)
    return Claim(claimed, link, record_id, made, source, plan, reader)


def _render(
    reader: Reader, wanted: dict[str, Value], externals: dict[str, str]
) -> tuple[dict[str, Value], dict[str, object]]:
    values: dict[str, Value] = {}
    raw: dict[str, object] = {}
    for name, value in wanted.items():
        rendered = reader.render(name, value, externals)
        if rendered is not None:
            values[name] = value
            raw.update(rendered)
    return values, raw


def _externals(ws: Workspace, system: str, rows: Iterable[Row]) -> dict[str, str]:
    """Record id -> external id in the system, for every record that the rows' references lead to."""
    wanted: set[str] = set()
    for row in rows:
        record_id = ws.home.get(row.link)
        plan = ws.engine.plans.get(ws.records[record_id].entity) if record_id is not None else None
        if record_id is None or plan is None:
            continue
        for name, one in plan.fields.items():
            if any(member.spec.entity for member in one.members):
                value = ws.records[record_id].golden.get(name)
                members = (
                    value.value
                    if value is not None and isinstance(value.value, tuple)
                    else (value and value.value,)
                )
                wanted.update(str(member) for member in members if member)
    return records.externals(ws.tx, system, sorted(wanted))


def _batches(claims: Sequence[Claim]) -> list[list[Claim]]:
    """By object and operation, in the vendor's batch size; creates of what others refer to first."""
    groups: dict[tuple[str, str], list[Claim]] = {}
    for one in claims:
        groups.setdefault((one.source.object, one.write.op), []).append(one)
    batches: list[list[Claim]] = []
    for (_, op), members in groups.items():
        size = members[0].source.spec.batch.get(op, 1)
        batches.extend(members[start : start + size] for start in range(0, len(members), size))
    return batches


# ------------------------------------------------------------------------------------------------ re-check


def recheck(engine: Engine, batch: list[Claim]) -> list[Claim]:
    """Those whose system still holds what the push expects. The others' fresh observations go to be decided."""
    source = batch[0].source
    if batch[0].write.op == "create":
        return settle.look_before_create(engine, batch)
    if source.spec.conditional:
        return [one.based_on(one.link.order, version=one.link.order) for one in batch]
    try:
        found = ingest.read_now(engine, source, [str(one.link.external_id) for one in batch], "read")
    except SyncbrokerError:
        settle.give_back(engine, batch, RETRY)
        raise
    by_id = {s.id: s for s in found}
    references = settle.references(engine, source, found)
    sure: list[Claim] = []
    moved: list[tuple[Claim, Sighting | None]] = []
    for one in batch:
        s = by_id.get(str(one.link.external_id))
        if s is not None and not s.deleted and s.merged_into is None:
            seen = one.reader.read(s.fields, s.complete, references)
            if observe.as_expected(one.link, list(one.row.push.values) or list(one.link.fields), seen):
                sure.append(one.based_on(s.stamp if source.spec.stamp and s.stamp is not None else s.ended))
                continue
        moved.append((one, s))
    if moved:
        settle.hand_back(engine, source, moved)
    return sure


# --------------------------------------------------------------------------------------------------- write


class Sent(NamedTuple):
    """What became of one call. Its answer is still to be settled; `error`: it did not take place."""

    done: Delivered
    answers: list[Answer]
    error: SyncbrokerError | None = None


def send(engine: Engine, batch: list[Claim], *, repeated: bool = False) -> Sent:
    """One vendor call. `repeated`: the writes are in doubt, and stay so where it does not take place."""
    source, op, done = batch[0].source, batch[0].write.op, Delivered()
    begun = engine.now()
    try:
        receipts = engine.connectors[source.system].write(
            source.object, [one.write for one in batch], source.paths
        )
    except (
        OutcomeUnknown,
        Reject,
    ) as error:  # no connector may reject a batch: who knows what it did with it
        settle.unknown(engine, batch, error.message)
        done.failed[source.system] = error.message
        return Sent(done, [])
    except (Retry, FixSetup) as error:
        if not repeated:
            settle.give_back(engine, batch, RETRY)
        return Sent(done, [], error)
    done.calls[source.system, op] += 1
    by_key = {receipt.key: receipt for receipt in receipts}
    pairs = [(one, by_key.get(one.write.key, _lost(one))) for one in batch]
    return Sent(done, [Answer(pairs, begun, engine.now())])


def settle_answers(engine: Engine, answers: Sequence[Answer], done: Delivered) -> None:
    """One transaction for each object."""
    by_object: dict[str, list[Answer]] = {}
    for one in answers:
        by_object.setdefault(one.source.object, []).append(one)
    for own in by_object.values():
        source = own[0].source
        done.written.update(settle.receipts(engine, source, own))
        for claimed, receipt in (pair for one in own for pair in one.pairs):
            engine.tell(
                "written",
                system=source.system,
                object=source.object,
                link=claimed.row.link,
                op=claimed.write.op,
                answer=receipt.status,
                trace=queues.trace_of(claimed.row),
            )


def _lost(one: Claim) -> Receipt:
    return Receipt(
        key=one.write.key, status="unknown", message="the vendor's answer does not mention this write"
    )
