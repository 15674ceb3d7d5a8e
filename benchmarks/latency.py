"""From an edit at a vendor to its writing in the others, on real processes.

    python -m benchmarks.latency                                      # embedded: serve on SQLite, 50 edits a second
    python -m benchmarks.latency --mode scaled --rate 100             # PostgreSQL, Redis, two workers
    python -m benchmarks.latency --limits real --rate 5               # what the vendors' plans allow

Three simulated vendors in a process of their own, people who edit there at a steady rate, webhooks, and the broker as
a user starts it. Times are the vendors': when the edit was made, and when the write that carries its value was handled.
An edit that was overtaken by a later one before it was written counts apart. With `--kills` processes are killed
meanwhile, and the time from each kill to the next write is shown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from tests.soak.play import Killer, Load, Memory, recovery
from tests.soak.stage import Stage, busy
from tests.soak.world import FREE, OBJECTS, REAL, World

RARELY = "pull: {every: 10m}"
"""Webhooks alone bring the edits."""

WARM = 3.0
"""Seconds of load before anything is counted."""


class Latency(msgspec.Struct):
    """Times in seconds: [median, p95, p99, longest]. `webhooks`: taken a second, those of the broker's own writes
    included. `overtaken`: edits whose value was replaced before it was written."""

    mode: str
    limits: str
    rate: float
    reached: float
    webhooks: float
    spread: list[float]
    by_system: dict[str, list[float]]
    overtaken: int
    busy: dict[str, float]
    """Milliseconds of processor time for each edit, by process; until everything was right."""
    recovery: dict[str, list[float]]
    memory: dict[str, tuple[float, float]]
    lost: int
    doubled: int


def four(found: list[float]) -> list[float]:
    if not found:
        return []
    ordered = sorted(found)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.95, 0.99)]
    return [round(one, 3) for one in (*at, ordered[-1])]


def measure(stage: Stage, given: argparse.Namespace) -> Latency:
    stage.start()
    first = stage.until_right(given.patience)
    assert not first, f"the first sync did not end: {first[:3]}"
    load = Load(stage, given.rate, newcomers=0.0, foreign=0.0)
    load.start()
    time.sleep(WARM)
    begun, edits = time.time_ns() // 1000, len(stage.world.edits)
    taken = sum(len(one.sent()) for one in stage.systems.values())
    worked = {name: one.busy() for name, one in stage.services.items()} | {"vendors": busy(stage.vendors)}
    names = [name for name in stage.services if name.startswith(given.kill)] if given.kills else []
    killer = Killer(stage, names or list(stage.services), given.kills, given.seconds, given.seed)
    killer.troubles = 0.0
    killer.start()
    memory, until = Memory(), time.monotonic() + given.seconds
    while time.monotonic() < until:
        time.sleep(0.5)
        memory.look(stage)
    ended = time.time_ns() // 1000
    taken = sum(len(one.sent()) for one in stage.systems.values()) - taken
    load.stop()
    killer.finish()
    lost = stage.until_right(given.patience)
    now = {name: one.busy() for name, one in stage.services.items()} | {"vendors": busy(stage.vendors)}
    many = len(stage.world.edits) - edits
    return figures(
        stage,
        given,
        span=(begun, ended),
        skipped=edits,
        taken=taken,
        killer=killer,
        memory=memory,
        spent={name: round((now[name] - worked[name]) * 1000 / many, 1) for name in now},
        lost=len(lost),
    )


def figures(
    stage: Stage,
    given: argparse.Namespace,
    *,
    span: tuple[int, int],
    skipped: int,
    taken: int,
    killer: Killer,
    memory: Memory,
    spent: dict[str, float],
    lost: int,
) -> Latency:
    """`span`: what is counted, µs. `skipped`: edits before it. `taken`: webhooks within it."""
    wrote = stage.writes()
    first: dict[tuple[str, str], int] = {}
    for one in wrote:
        for value in one.values:
            first.setdefault((one.system, value), one.at)
    counted = [one for one in stage.world.edits[skipped:] if one.at <= span[1]]
    by_system = {
        system: [(first[system, one.value] - one.at) / 1e6 for one in counted if (system, one.value) in first]
        for system in OBJECTS
    }
    many = (len(OBJECTS) - 1) * len(counted)
    found = [time for times in by_system.values() for time in times]
    seconds = (span[1] - span[0]) / 1e6
    return Latency(
        mode=stage.mode,
        limits=given.limits,
        rate=given.rate,
        reached=round(len(counted) / seconds, 1),
        webhooks=round(taken / seconds, 1),
        spread=four(found),
        by_system={system: four(times) for system, times in by_system.items()},
        overtaken=many - len(found),
        busy=spent,
        recovery=recovery(killer.made, wrote),
        memory=memory.growth(),
        lost=lost,
        doubled=len(stage.world.doubled(wrote)),
    )


def show(found: Latency) -> str:
    def said(times: list[float]) -> str:
        return "p50 {} s, p95 {} s, p99 {} s, longest {} s".format(*times) if times else "nothing was written"

    reached = f"{found.reached} edits/s (of {found.rate:g} wanted), {found.webhooks} webhooks/s"
    lines = [
        f"{found.mode}, limits {found.limits}: {reached}",
        f"edit to write  {said(found.spread)}",
        *(f"  to {system:10} {said(times)}" for system, times in found.by_system.items()),
        f"processor      {', '.join(f'{name} {ms} ms' for name, ms in found.busy.items())} for each edit",
        f"overtaken      {found.overtaken}; wrong in the end {found.lost}; written twice {found.doubled}",
        *(
            f"recovery       {kind}: median {one[0]} s, p95 {one[1]} s"
            for kind, one in found.recovery.items()
        ),
        *(f"memory         {name}: {a:.1f} -> {b:.1f} MB" for name, (a, b) in found.memory.items()),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--mode", choices=["embedded", "scaled"], default="embedded")
    parser.add_argument("--rate", type=float, default=50.0, help="edits per second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--people", type=int, default=600)
    parser.add_argument("--limits", choices=["free", "real"], default="free")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--kill", default="", help="only services whose names begin so")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=300.0)
    parser.add_argument("--folder", type=Path, help="kept, with every log; usually a temporary one")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sb-latency-") as temporary:
        stage = Stage(
            given.folder or Path(temporary),
            World(given.seed),
            mode=given.mode,
            people=given.people,
            workers=given.workers,
            rates=FREE if given.limits == "free" else REAL,
            reading=RARELY,
        )
        with stage:
            found = measure(stage, given)
    print(msgspec.json.format(msgspec.json.encode(found)).decode() if given.json else show(found))
    return 1 if found.lost or found.doubled else 0


if __name__ == "__main__":
    sys.exit(main())
