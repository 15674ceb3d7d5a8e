"""From measurements to ratios, and from ratios to the lines that the design wants reached.

A ratio is taken within a round; what counts is its median over the rounds. Once it is taken of CPU seconds (of the
process and, where it can be seen, of the database server), which a busy machine disturbs least, and once of wall
seconds, which hold what waiting for the disk costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Literal, NamedTuple

from benchmarks.job import Measured

Results = Mapping[tuple[str, str], Sequence[Measured]]

NAMES = {
    "broker": "broker, undecoded lines",
    "parsed": "broker, parsed dicts",
    "core": "Core bulk upsert",
    "orm": "ORM, row by row",
    "floor": "bare floor",
    "dlt": "dlt, merge",
    "hashdiff": "reladiff, hash diff",
    "joindiff": "reladiff, join diff",
}
PHASES = {
    "load": "first load",
    "unchanged": "sweep, nothing changed",
    "changed": "sweep, 1% changed",
    "diff": "comparing tables",
}


class Line(NamedTuple):
    """`slower` takes so many times as long as `quicker`: at least `bound` times, or at most."""

    work: str
    against: str
    slower: tuple[str, str]
    quicker: tuple[str, str]
    sense: Literal[">=", "<="]
    bound: float


LINES = (
    Line("sweep, nothing changed", "Core", ("core", "unchanged"), ("broker", "unchanged"), ">=", 5),
    Line("sweep, nothing changed", "bare floor", ("broker", "unchanged"), ("floor", "unchanged"), "<=", 2.5),
    Line("the same from parsed dicts", "Core", ("core", "unchanged"), ("parsed", "unchanged"), ">=", 2),
    Line("sweep, 1% changed", "Core", ("core", "changed"), ("broker", "changed"), ">=", 3),
    Line(
        "sweep, 1% changed",
        "its own no-change sweep",
        ("broker", "changed"),
        ("broker", "unchanged"),
        "<=",
        2,
    ),
    Line("first load", "Core", ("core", "load"), ("broker", "load"), ">=", 1),
    Line("first load", "ORM", ("orm", "load"), ("broker", "load"), ">=", 20),
    Line("sweep, nothing changed", "dlt", ("dlt", "unchanged"), ("broker", "unchanged"), ">=", 20),
    Line("sweep, 1% changed", "dlt", ("dlt", "changed"), ("broker", "changed"), ">=", 12),
    Line("first load", "dlt", ("dlt", "load"), ("broker", "load"), ">=", 3.5),
    Line(
        "finding what differs: a sweep",
        "reladiff, hash",
        ("hashdiff", "diff"),
        ("broker", "changed"),
        ">=",
        10,
    ),
    Line(
        "finding what differs: a sweep",
        "reladiff, join",
        ("joindiff", "diff"),
        ("broker", "changed"),
        ">=",
        3,
    ),
)
"""Lines of those who were left out are left out, too."""
GROWTH_MB = 16
CHANGED_MB = 64


def summary(results: Results, records: int, small: int) -> dict[str, Any]:
    """One store's medians and lines, as JSON."""
    many = results["broker", "unchanged"]
    growth = (median(one.peak for one in many) - results["small", "unchanged"][0].peak) / 1024
    changed = median(one.peak - one.base for one in results["broker", "changed"]) / 1024
    lines = [_line(results, line) for line in LINES if {line.slower, line.quicker} <= results.keys()]
    what = f"memory of a no-change sweep, {small} to {records} records"
    lines.append(_bounded(what, "its own, in MB", "<=", GROWTH_MB, growth, growth))
    what = "memory of a sweep with 1% changed"
    lines.append(_bounded(what, "before it began, in MB", "<=", CHANGED_MB, changed, changed))
    phases = [_phase(who, phase, results[who, phase]) for who, phase in sorted(results) if who in NAMES]
    return {"lines": lines, "phases": phases}


def _line(results: Results, line: Line) -> dict[str, Any]:
    def ratio(cost: Callable[[Measured], float]) -> float:
        pairs = zip(results[line.slower], results[line.quicker], strict=True)
        return median(cost(slower) / cost(quicker) for slower, quicker in pairs)

    return _bounded(line.work, line.against, line.sense, line.bound, ratio(_cpu), ratio(_wall))


def _bounded(
    work: str, against: str, sense: str, bound: float, measured: float, wall: float
) -> dict[str, Any]:
    def reached(number: float) -> bool:
        return number >= bound if sense == ">=" else number <= bound

    return {
        "work": work,
        "against": against,
        "target": f"{sense} {bound:g}",
        "cpu": round(measured, 3),
        "reached": reached(measured),
        "wall": round(wall, 3),
        "reached_by_wall": reached(wall),
    }


def _cpu(one: Measured) -> float:
    """µs per record."""
    return (one.cpu + one.server) / max(1, one.done) * 1e6


def _wall(one: Measured) -> float:
    return one.wall / max(1, one.done) * 1e6


def _phase(who: str, phase: str, found: Sequence[Measured]) -> dict[str, Any]:
    return {
        "who": who,
        "phase": phase,
        "records": found[0].done,
        "changed": found[0].changed,
        "cpu_us": round(median(map(_cpu, found)), 2),
        "server_us": round(median(one.server / max(1, one.done) * 1e6 for one in found), 2),
        "wall_us": round(median(map(_wall, found)), 2),
        "peak_mb": round(median(one.peak for one in found) / 1024, 1),
        "added_mb": round(median(one.peak - one.base for one in found) / 1024, 1),
        "counts": found[0].counts,
    }


# --------------------------------------------------------------------------------------------------- on paper


def text(whole: Mapping[str, Any]) -> str:
    """Markdown tables: what was to be reached, and all that was measured."""
    loads = f"{whole['loads']} first load" + ("s" if whole["loads"] > 1 else "")
    head = (
        f"{whole['records']} contacts in three systems, {whole['rounds']} rounds, {loads}; "
        f"Python {whole['python']}, {whole['cpus']} CPUs. "
        f"The ORM script does {whole['orm_sample']} records of each file."
    )
    parts = [head]
    for store, found in whole["stores"].items():
        parts += ["", f"### {store}", "", *_lines(found["lines"]), "", *_phases(found["phases"])]
    return "\n".join(parts)


def _lines(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    words = {True: "yes", False: "no"}
    rows = [
        "| work | against | target | by CPU | reached | by wall | reached |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {line['work']} | {line['against']} | {line['target']} | {_short(line['cpu'])} | {words[line['reached']]} "
        f"| {_short(line['wall'])} | {words[line['reached_by_wall']]} |"
        for line in lines
    ]
    return rows


def _phases(phases: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        "| work | who | records | µs CPU a record | of it the server | µs wall a record | peak MB | added MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for phase, name in PHASES.items():
        rows += [
            f"| {name} | {NAMES[one['who']]} | {one['records']} | {_short(one['cpu_us'])} | {_short(one['server_us'])} "
            f"| {_short(one['wall_us'])} | {one['peak_mb']:.0f} | {one['added_mb']:.0f} |"
            for one in phases
            if one["phase"] == phase
        ]
    return rows


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
