"""The drift ledger for people: counts by cause, over time, and the newest findings. It holds no values of fields."""

from __future__ import annotations

from datetime import datetime

import msgspec

from syncbroker.core.types import Micros
from syncbroker.engine import Engine
from syncbroker.engine.history import EPOCH, moment
from syncbroker.store import drift


class DriftCount(msgspec.Struct, frozen=True, kw_only=True):
    """`field` is "" where whole records were found. `open` of `count` are not in order yet."""

    system: str
    entity: str
    field: str
    cause: str
    count: int
    open: int
    first: datetime
    last: datetime


class DriftRun(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep that found something: findings by cause."""

    run: int
    at: datetime
    causes: dict[str, int]


class DriftFinding(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    run: int
    entity: str
    record: str
    system: str
    object: str
    field: str
    cause: str
    why: str
    found: datetime
    healed: datetime | None


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """`counts` by system, entity, field and cause; `runs` and `findings` newest first."""

    counts: list[DriftCount]
    runs: list[DriftRun]
    findings: list[DriftFinding]


def report(
    engine: Engine, *, since: Micros = 0, cause: str = "", open_only: bool = False, limit: int = 20
) -> DriftReport:
    with engine.store.read() as tx:
        counted = drift.counts(tx, since)
        by_run = drift.by_run(tx, since)
        newest = drift.newest(tx, since, cause=cause, open_only=open_only, limit=limit)
    runs: dict[int, DriftRun] = {}
    for run, at, name, many in by_run:
        one = runs.setdefault(run, DriftRun(run=run, at=moment(at) or EPOCH, causes={}))
        one.causes[name] = many
    return DriftReport(
        counts=[
            DriftCount(
                system=one.system,
                entity=one.entity,
                field=one.field,
                cause=one.cause,
                count=one.count,
                open=one.open,
                first=moment(one.first) or EPOCH,
                last=moment(one.last) or EPOCH,
            )
            for one in counted
            if (not cause or one.cause == cause) and (one.open or not open_only)
        ],
        runs=list(runs.values()),
        findings=[
            DriftFinding(
                id=one.id,
                run=one.run,
                entity=one.entity,
                record=one.record_id,
                system=one.system,
                object=one.object,
                field=one.field,
                cause=one.cause,
                why=str(one.evidence.get("why", "")),
                found=moment(one.found) or EPOCH,
                healed=moment(one.healed),
            )
            for one in newest
        ],
    )
