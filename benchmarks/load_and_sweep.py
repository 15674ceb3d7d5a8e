"""The broker's first load and sweeps, beside what a team would write by hand and beside the bare floor.

    python -m benchmarks.load_and_sweep                                   # 100,000 contacts in three systems, SQLite
    python -m benchmarks.load_and_sweep --store both --rounds 5 --json
    python -m benchmarks.load_and_sweep --store both --others ../benchvenv/bin/python    # with dlt, reladiff
    python -m benchmarks.load_and_sweep --records 2000 --rounds 1         # quick: does it run?

Rounds are interleaved: in each, every contestant does the same work on the same files, in an order that turns. What
counts are ratios between contestants of one round. docs/benchmarks.md says what is measured and what is not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import report, world
from benchmarks.job import Job, Measured
from benchmarks.server import Server, plain
from tests.support import postgres

ROOT = Path(__file__).parents[1]
SMALL = 10_000
ORM_SAMPLE = 2000

CONTESTANTS = ("broker", "core", "floor", "orm", "parsed")
"""`broker` reads undecoded lines, `parsed` is the broker reading dicts."""
DIFFS = ("hashdiff", "joindiff")
"""reladiff, comparing the tables of `core` with how they were before the last change."""


@dataclass
class Bench:
    """One store's contestants, each with a database of its own. `results`: (contestant, phase) -> one per round.

    `others`: the Python of the environment in which dlt and reladiff are, "" where they are left out. `diffs`: whether
    reladiff can read this store; it knows no SQLite.
    """

    records: int
    folder: Path
    fresh: Callable[[], str]
    say: Callable[[str], None]
    others: str = ""
    diffs: bool = False
    urls: dict[str, str] = field(default_factory=dict)
    _dlt_state: str = ""
    results: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)

    def run(self, who: str, phase: str) -> None:
        """One phase of one contestant, measured."""
        if who == "dlt" or who in DIFFS:
            found = self._outsider(who)
        else:
            found = self._child(who, "load" if phase == "load" else "sweep", self.folder)
        self.results.setdefault((who, phase), []).append(found)
        self.say(f"  {phase:9} {who:6} {found.wall:8.2f} s wall {found.cpu + found.server:8.2f} s cpu")

    def load(self) -> None:
        """Everybody begins anew."""
        self.urls = {who: self.fresh() for who in self.contestants}
        self._dlt_state = tempfile.mkdtemp(dir=self.folder, prefix="dlt-")

    @property
    def contestants(self) -> tuple[str, ...]:
        return (*CONTESTANTS, "dlt") if self.others else CONTESTANTS

    def compare_tables(self) -> None:
        """What changed, as reladiff finds it."""
        if self.diffs:
            for who in DIFFS:
                self.run(who, "diff")

    def keep_tables(self) -> None:
        if self.diffs:
            child(Job(who="keep", what="", folder="", url=self.urls["core"]))

    def refill_floor(self) -> None:
        self._child("floor", "load", self.folder)

    def change(self, seed: int) -> None:
        child(Job(who="change", what="", folder=str(self.folder), count=seed))

    def upkeep(self) -> None:
        for url in self.urls.values():
            if url.startswith("postgresql"):
                child(Job(who="upkeep", what="", folder="", url=url))

    def small(self, folder: Path, records: int) -> None:
        """The peak of a no-change sweep over few records, to see what the many add."""
        self.urls["small"] = self.fresh()
        child(Job(who="files", what="", folder=str(folder), count=records))
        self._child("small", "load", folder)
        self.results["small", "unchanged"] = [self._child("small", "sweep", folder)]

    def _outsider(self, who: str) -> Measured:
        """In the environment of its own."""
        url = self.urls["dlt" if who == "dlt" else "core"]
        job = {
            "who": who,
            "url": plain(url) if url.startswith("postgresql") else url,
            "files": {system: str(path) for system, path in world.files(self.folder).items()},
            "state": self._dlt_state,
            "done": 3 * self.records,
        }
        server = Server(url)
        before = server.seconds()
        done = subprocess.run(
            [self.others, str(ROOT / "benchmarks" / "outsiders.py"), json.dumps(job)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        found = json.loads(done.stdout.strip().splitlines()[-1])
        return msgspec.convert(found | {"server": server.seconds() - before}, Measured)

    def _child(self, who: str, what: str, folder: Path) -> Measured:
        return child(
            Job(
                who="broker" if who in ("parsed", "small") else who,
                what=what,
                folder=str(folder),
                url=self.urls[who],
                parsed=who == "parsed",
                sample=min(ORM_SAMPLE, self.records),
            )
        )


def child(job: Job) -> Measured:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.phase", msgspec.json.encode(job).decode()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=Measured)


def compare(bench: Bench, rounds: int, loads: int) -> None:
    """All phases in all rounds; the stores are begun anew in the first `loads` of them."""
    child(Job(who="files", what="", folder=str(bench.folder), count=bench.records))
    bench.small(bench.folder / "small", small_of(bench.records))
    for number in range(rounds):
        turn = number % len(bench.contestants)
        order = bench.contestants[turn:] + bench.contestants[:turn]
        if number < loads:
            bench.say(f"  round {number + 1} of {rounds}: everybody begins anew")
            bench.load()
            for who in order:
                bench.run(who, "load")
            bench.upkeep()
        else:
            bench.say(f"  round {number + 1} of {rounds}")
            bench.refill_floor()
        for who in order:
            bench.run(who, "unchanged")
        bench.keep_tables()
        bench.change(number + 1)
        for who in order:
            bench.run(who, "changed")
        bench.compare_tables()


def small_of(records: int) -> int:
    return SMALL if records > SMALL else max(1, records // 10)


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[Callable[[], str]]:
    """A maker of empty databases."""
    if kind == "sqlite":
        made = iter(range(10**6))
        yield lambda: f"sqlite:///{folder / f'{next(made)}.db'}"
        return
    with ExitStack() as stack:
        server = stack.enter_context(postgres.serve())

        def fresh() -> str:
            return stack.enter_context(server.database()).render_as_string(hide_password=False)

        yield fresh


def main() -> None:
    options = _options()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    results: dict[str, Any] = {}
    for kind in ("sqlite", "postgresql") if options.store == "both" else (options.store,):
        say(f"{kind}, {options.records} records in three systems")
        with tempfile.TemporaryDirectory(prefix="sb-bench-", dir=options.folder) as name:
            folder = Path(name)
            with databases(kind, folder) as fresh:
                others = options.others
                diffs = bool(others) and kind == "postgresql"
                if not diffs:
                    say(f"  {'reladiff is' if others else 'dlt and reladiff are'} left out")
                bench = Bench(options.records, folder, fresh, say, others, diffs)
                compare(bench, options.rounds, options.loads)
            results[kind] = report.summary(bench.results, options.records, small_of(options.records))
    whole = {
        "records": options.records,
        "rounds": options.rounds,
        "loads": options.loads,
        "orm_sample": min(ORM_SAMPLE, options.records),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "stores": results,
    }
    print(json.dumps(whole, indent=2) if options.json else report.text(whole))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load_and_sweep", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--records", type=int, default=100_000, help="people in each of the three systems")
    parser.add_argument("--store", choices=["sqlite", "postgresql", "both"], default="sqlite")
    parser.add_argument("--rounds", type=int, default=3, help="how often the sweeps are measured")
    parser.add_argument(
        "--loads", type=int, default=1, help="in how many of the rounds the first load is, too"
    )
    parser.add_argument(
        "--others",
        default="",
        help="the Python of an environment with benchmarks/requirements.txt: dlt, reladiff",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--folder", type=Path, default=None, help="where the temporary files go")
    options = parser.parse_args()
    options.loads = min(options.loads, options.rounds)
    if options.records < 100 or options.loads < 1:
        parser.error("at least 100 records, one round and one load")
    return options


if __name__ == "__main__":
    main()
