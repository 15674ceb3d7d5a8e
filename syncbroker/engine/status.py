"""What an operator must know at a glance: all that waits, failed or was left out, as counts. No personal data is in it.

`status` asks the store a fixed number of counting questions; `differences` reads every record, to count what is not in
step with its golden value, and why.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import msgspec
from sqlalchemy import func, select

from syncbroker.core.types import Micros
from syncbroker.engine import Engine, silent
from syncbroker.engine.breaker import reads
from syncbroker.engine.explain import standing
from syncbroker.engine.health import Fare, fares, health
from syncbroker.engine.history import EPOCH, moment
from syncbroker.engine.reading import refresh
from syncbroker.store import (
    decisions,
    deliveries,
    drift,
    guards,
    hearing,
    queues,
    records,
    runs,
    tables,
    waits,
)
from syncbroker.store.database import Tx

COUNTED = {
    "duplicate_link": "second links of one record in one system; only the first takes part",
    "former_id_gone": "former external ids that are gone; their records are known by another one",
    "guard_dropped": "observations of held runs that a person dropped; the next sweep finds what still differs",
    "guard_held": "observations that a guard held for a person",
    "guard_staged": "writes that a guard held for a person",
    "incomplete_unlinked": "partial observations of records that were not linked; the next full read brings them",
    "late_answer": "answers to writes that another worker had settled meanwhile",
    "lifted": "tombstones that a person lifted",
    "likeness_crowded": "records that share every piece of a name with too many others to be compared with all of them",
    "merged_at_vendor": "records that a vendor merged into another one",
    "met_before_answer": "records that were met before the create that made them was answered",
    "poison_delivery": "deliveries that were set aside after faults, kept until a person has them tried again",
    "reappeared": "records that were there again after a deletion",
    "rechecked_away": "writes put back because the system held something else by then",
    "renamed": "external ids that changed; their links were re-pointed",
    "reread_failed": "observations that could not be read again at once; they are as soon as it works",
    "set_aside": "observations that could not be decided because of a fault; they wait until they are tried again",
    "superseded": "older values that their own system had replaced before they were seen",
    "tombstoned": "observations of records that were deleted or detached on purpose",
    "too_many_missing": "sweeps that missed so many records that no deletion was believed",
    "unknown_event": "webhook events of a type, or about an object, that the connector does not know",
    "unknown_outcome": "writes without an answer; each was settled by reading",
    "unmapped": "observations of objects that the mapping no longer reads",
    "unmapped_event": "webhook events about objects that the mapping does not read",
    "untold_edit": "edits that a reading found, while no webhook had come since the reading before",
    "withdrawn": "writes that were no longer owed when their turn came",
}
"""What the counters mean. A counter without a line here is shown by its own name."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How often something was left out, put off or put right since the store was made."""

    what: str
    meaning: str
    system: str
    object: str
    count: int


class ObjectStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One object of a system; `links` by their status. `first_read`: when a complete first read was matched."""

    object: str
    links: dict[str, int]
    first_read: datetime | None
    pulled: datetime | None
    swept: datetime | None


class BreakerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A system whose calls failed; it is left alone until `open_until`."""

    failures: int
    open_until: datetime | None
    is_open: bool
    message: str


class WebhookStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`heard`: the last delivery, None when there never was one. `silent_since`: since when edits are found that no
    webhook tells of; `untold` of them."""

    heard: datetime | None
    silent_since: datetime | None
    untold: int


class SystemStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`connector` is "" for a system that the mapping no longer has. `pushes` by their state. `webhooks`: None for a
    vendor that tells of no changes."""

    name: str
    connector: str
    objects: list[ObjectStatus]
    pushes: dict[str, int]
    next_push: datetime | None
    breaker: BreakerStatus | None
    webhooks: WebhookStatus | None


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    kind: str
    system: str
    object: str
    state: str
    started: datetime
    counts: dict[str, int]


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """A field that is not written in one system until a person answers `review`."""

    system: str
    entity: str
    field: str
    since: datetime
    review: int


class HeldStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A run that a guard holds. `waits`: "observations" or "pushes", `count` of them; `review` asks about it."""

    id: int
    kind: str
    system: str
    object: str
    started: datetime
    waits: str
    count: int
    review: int


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """Observations of one object that could not be decided; `faults` are the first few of their kinds and places."""

    system: str
    object: str
    count: int
    faults: list[str]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """References of one system to an entity, whose records are not linked (yet)."""

    system: str
    entity: str
    count: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """`records` by entity, `decisions` and `reviews` by kind, `deliveries` by state; `observations` wait. `drift`: by
    cause, what sweeps found that is not in order yet; `alarms`: records that time will have looked at again."""

    at: datetime
    store: str
    mapping: str
    fares: list[Fare]
    records: dict[str, int]
    systems: list[SystemStatus]
    decisions: dict[str, int]
    reviews: dict[str, int]
    paused: list[Paused]
    drift: dict[str, int]
    alarms: int
    references: list[Waiting]
    observations: int
    set_aside: list[Aside]
    deliveries: dict[str, int]
    unfinished: list[RunStatus]
    failed: list[RunStatus]
    held: list[HeldStatus]
    counters: list[Counted]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How many fields of a system stand to their golden values in a way other than "in step"."""

    system: str
    entity: str
    field: str
    standing: str
    count: int


def status(engine: Engine) -> Status:
    now, lines = engine.now(), fares(health(engine))
    with engine.store.read() as tx:
        return Status(
            at=moment(now) or EPOCH,
            store=engine.store.where,
            mapping=engine.mapping.version,
            fares=lines,
            records=runs.record_counts(tx),
            systems=_systems(engine, tx, now),
            decisions=decisions.counts(tx),
            reviews=decisions.waiting_counts(tx),
            paused=[
                Paused(
                    system=one.system,
                    entity=one.entity,
                    field=one.field,
                    since=moment(one.since) or EPOCH,
                    review=one.review,
                )
                for one in waits.pauses(tx)
            ],
            drift=drift.open_counts(tx),
            alarms=waits.alarm_count(tx),
            references=_references(tx),
            observations=queues.inbox_size(tx),
            set_aside=_set_aside(tx),
            deliveries=deliveries.counts(tx),
            unfinished=[_run(run) for run in runs.unfinished(tx)],
            failed=_failed(tx),
            held=_held(tx),
            counters=[
                Counted(what=what, meaning=COUNTED.get(what, ""), system=system, object=object_, count=count)
                for (what, system, object_), count in runs.counters(tx).items()
            ],
        )


def _systems(engine: Engine, tx: Tx, now: Micros) -> list[SystemStatus]:
    links, pushes = runs.link_counts(tx), queues.outbox_counts(tx)
    known = dict.fromkeys(engine.mapping.systems)
    heard, quiet = hearing.heard(tx), silent.silent(tx, now)
    telling = {source.system for source in engine.sources.values() if source.spec.events}
    known.update(dict.fromkeys(sorted({system for system, _, _ in links} | {system for system, _ in pushes})))
    found = []
    for name in known:
        rules = engine.mapping.systems.get(name)
        objects = dict.fromkeys(object_ for system, object_ in engine.sources if system == name)
        objects.update(dict.fromkeys(object_ for system, object_, _ in links if system == name))
        found.append(
            SystemStatus(
                name=name,
                connector=rules.connector if rules else "",
                objects=[_object(tx, name, object_, links) for object_ in objects],
                pushes={state: count for (system, state), count in sorted(pushes.items()) if system == name},
                next_push=moment(queues.next_due(tx, name)),
                breaker=_breaker(runs.breaker(tx, name), now) or _breaker(runs.breaker(tx, reads(name)), now),
                webhooks=_webhooks(heard.get(name), quiet.get(name)) if name in telling else None,
            )
        )
    return found


def _object(tx: Tx, system: str, object_: str, links: dict[tuple[str, str, str], int]) -> ObjectStatus:
    at = runs.cursor(tx, system, object_)
    return ObjectStatus(
        object=object_,
        links={state: count for (name, of, state), count in links.items() if (name, of) == (system, object_)},
        first_read=moment(at.first_read),
        pulled=moment(at.pulled),
        swept=moment(at.swept),
    )


def _breaker(at: runs.Breaker, now: Micros) -> BreakerStatus | None:
    if not at.failures:
        return None
    return BreakerStatus(
        failures=at.failures,
        open_until=moment(at.open_until),
        is_open=at.open_until > now,
        message=at.message,
    )


def _webhooks(heard: Micros | None, quiet: silent.Silence | None) -> WebhookStatus:
    return WebhookStatus(
        heard=moment(heard),
        silent_since=moment(quiet.since) if quiet else None,
        untold=quiet.edits if quiet else 0,
    )


def _references(tx: Tx) -> list[Waiting]:
    p = tables.pending_references.c
    query = select(p.system, p.entity, func.count()).group_by(p.system, p.entity).order_by(p.system, p.entity)
    return [Waiting(system=row[0], entity=row[1], count=int(row[2])) for row in tx.run(query)]


def _set_aside(tx: Tx) -> list[Aside]:
    counts = queues.set_aside_counts(tx)
    some = queues.set_aside(tx) if counts else []
    return [
        Aside(
            system=system,
            object=object_,
            count=count,
            faults=sorted({one.error for one in some if (one.system, one.object) == (system, object_)}),
        )
        for (system, object_), count in sorted(counts.items())
    ]


def _failed(tx: Tx) -> list[RunStatus]:
    """Objects whose last reading broke off; the next one reads it again."""
    last: dict[tuple[str, str], runs.Run] = {}
    for run in runs.recent(tx, limit=100):
        last.setdefault((run.system, run.object), run)
    return [_run(run) for run in last.values() if run.state == "failed"]


def _held(tx: Tx) -> list[HeldStatus]:
    return [
        HeldStatus(
            id=run.id,
            kind=run.kind,
            system=run.system,
            object=run.object,
            started=moment(run.started) or EPOCH,
            waits=run.held.waits,
            count=queues.inbox_size(tx, run.id)
            if run.held.waits == "observations"
            else guards.push_count(tx, run.id),
            review=run.held.review,
        )
        for run in runs.held(tx)
        if run.held is not None
    ]


def _run(run: runs.Run) -> RunStatus:
    return RunStatus(
        id=run.id,
        kind=run.kind,
        system=run.system,
        object=run.object,
        state=run.state,
        started=moment(run.started) or EPOCH,
        counts=run.counts,
    )


def differences(engine: Engine, chunk: int = 500) -> list[Difference]:
    """Fields that are not in step with their golden values, counted over every record, `chunk` records at a time."""
    counted: Counter[tuple[str, str, str, str]] = Counter()
    r = tables.records.c
    for entity, plan in engine.plans.items():
        after = ""
        while True:
            with engine.store.read() as tx:
                query = select(r.id).where(r.entity == entity, r.id > after).order_by(r.id).limit(chunk)
                ids = [row[0] for row in tx.run(query)]
                found = records.load(tx, ids)
            if not ids:
                break
            after = ids[-1]
            for record in (refresh(plan, found[id_]) for id_ in ids):
                for link in record.links:
                    reader = plan.readers.get(link.system)
                    for name in reader.fields if reader else ():
                        counted[link.system, entity, name, standing(plan, record, link, name)] += 1
    return [
        Difference(system=system, entity=entity, field=field, standing=how, count=count)
        for (system, entity, field, how), count in sorted(counted.items())
        if how != "in step"
    ]
