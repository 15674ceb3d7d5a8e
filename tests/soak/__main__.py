"""`python -m tests.soak`: a soak with kills, and its figures. Exit code 1 when anything was lost or doubled."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.soak.play import Play, Report, play
from tests.soak.stage import Stage
from tests.soak.world import World


def show(report: Report) -> str:
    lines = [f"{report.mode}, seed {report.seed}, {report.seconds:g} s"]
    kills = ", ".join(f"{many} {name}" for name, many in sorted(report.kills.items()))
    lines.append(f"kill -9     {sum(report.kills.values())}: {kills}")
    lines.append(f"ended       {report.ended} (kills among them)")
    lines.append(f"faults      {report.faults} at vendors")
    lines.append(
        f"edits       {report.edits}, and {report.newcomers} newcomers; {report.events} webhooks taken"
    )
    lines.append(f"writes      {report.writes} accepted by the vendors")
    lines.append(f"lost        {len(report.lost)}")
    lines += [f"            {one}" for one in report.lost[:20]]
    lines.append(f"doubled     {len(report.doubled)}")
    lines += [f"            {one}" for one in report.doubled[:20]]
    lines.append(f"all right   {report.quiet_after} s after the last edit")
    for kind, times in sorted(report.recovery.items()):
        lines.append(f"recovery    {kind}: median {times[0]} s, p95 {times[1]} s, longest {times[2]} s")
    if report.spread:
        lines.append("edit to write  median {} s, p95 {} s, longest {} s".format(*report.spread))
    for name, (first, last) in sorted(report.memory.items()):
        lines.append(f"memory      {name}: {first:.1f} MB at first, {last:.1f} MB in the end")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--mode", choices=["embedded", "scaled"], default="scaled")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600.0, help="over which the kills are spread")
    parser.add_argument("--calm", type=float, default=60.0, help="seconds of load after the kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--rate", type=float, default=6.0, help="edits per second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--schedulers", type=int, default=2)
    parser.add_argument("--patience", type=float, default=300.0, help="seconds until all must be right")
    parser.add_argument("--folder", type=Path, help="kept, with every log; usually a temporary one")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sb-soak-") as temporary:
        stage = Stage(
            given.folder or Path(temporary),
            World(given.seed),
            mode=given.mode,
            people=given.people,
            workers=given.workers,
            schedulers=given.schedulers,
        )
        with stage:
            plan = Play(
                kills=given.kills,
                seconds=given.seconds,
                rate=given.rate,
                calm=given.calm,
                patience=given.patience,
                seed=given.seed,
            )
            report = play(stage, plan)
    told = msgspec.json.format(msgspec.json.encode(report)).decode() if given.json else show(report)
    sys.stdout.write(f"{told}\n")
    return 1 if report.lost or report.doubled else 0


if __name__ == "__main__":
    sys.exit(main())
