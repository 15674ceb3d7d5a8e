"""When the next turn of a schedule is: an interval, or the times of a cron expression in some time zone.

Cron times are the clock's on the wall. One that a change of the clocks leaves out comes right after the gap; one that
comes twice counts once. Jitter is the same for the same object at all times: it spreads what would fall on one moment,
and a schedule that nobody changes stays as regular as it was.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import xxhash
from cronsim import CronSim

from syncbroker.core.mapping import Schedule
from syncbroker.core.types import Micros

SHARE = 0.1
"""The share of an interval by which its turns are spread, where the mapping says nothing else."""

_SECOND: Micros = 1_000_000


def text(plan: Schedule | None) -> str:
    """The schedule as it is kept beside the turn that follows from it; "" for none."""
    if plan is None:
        return ""
    when = f"every {plan.every:g}" if plan.every is not None else f"at {plan.at} {plan.timezone}"
    return when if plan.jitter is None else f"{when} jitter {plan.jitter:g}"


def following(plan: Schedule, after: Micros, key: str) -> Micros:
    """The first turn after `after`. `key`: whose turn it is, which its jitter follows from."""
    late = jitter(plan, key)
    if plan.every is not None:
        return after + round(plan.every * _SECOND) + late
    moment = datetime.fromtimestamp((after - late) / _SECOND, UTC).astimezone(ZoneInfo(plan.timezone))
    found = next(CronSim(plan.at or "", moment))
    return round(found.timestamp()) * _SECOND + late


def jitter(plan: Schedule, key: str) -> Micros:
    """How much later than the bare schedule says, µs."""
    most = plan.jitter if plan.jitter is not None else (plan.every or 0.0) * SHARE
    return int(most * _SECOND * (xxhash.xxh3_64_intdigest(key.encode()) / 2**64))
