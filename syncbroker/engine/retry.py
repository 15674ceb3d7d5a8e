"""Work that was given up, or that rests, is made due again because a person says so.

What rests by itself (a push that failed, a delivery whose system is down) comes due by itself; this is for what does
not, and for whoever does not want to wait after mending the cause.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from syncbroker.engine import Engine, answer
from syncbroker.errors import BadAnswer
from syncbroker.store import audit, backlog, decisions, deliveries, queues, runs
from syncbroker.store.database import Tx
from syncbroker.store.runs import Breaker

KINDS = {
    "poison": "deliveries that failed so often that they were set aside",
    "aside": "observations that could not be decided",
    "refused": "writes that the system refused for good; each is answered `retry` under your name",
    "breaker": "calls that are held back after failures",
    "rejected": "deliveries that were not what the vendor sends; only when asked for by name",
}
"""What may be tried again."""

USUAL = ("poison", "aside", "refused", "breaker")
"""What is meant when nobody names anything: a rejected delivery is no better the second time, unless the release is."""

PAGE = 500


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """How many of one kind in one system. `left`: reviews that could not be answered, and why."""

    system: str
    kind: str
    count: int
    left: list[str] = []


def retry(
    engine: Engine, systems: Sequence[str], kinds: Sequence[str], person: str, *, only_look: bool = False
) -> list[Retried]:
    """Make it due now, or with `only_look` count it. What is not there is left out."""
    found: list[Retried] = []
    for system in systems:
        for kind in kinds:
            if kind == "refused":
                one = _refused(engine, system, person, only_look=only_look)
            elif only_look:
                one = _count(engine, system, kind)
            else:
                one = _again(engine, system, kind, person)
            if one.count or one.left:
                found.append(one)
    return found


def _count(engine: Engine, system: str, kind: str) -> Retried:
    with engine.store.read() as tx:
        if kind == "aside":
            count = sum(many for (of, _), many in queues.set_aside_counts(tx).items() if of == system)
        elif kind == "breaker":
            count = len(backlog.breakers(tx, [system])[system])
        else:
            count = backlog.deliveries(tx, [system])[system, kind]
    return Retried(system=system, kind=kind, count=count)


def _again(engine: Engine, system: str, kind: str, person: str) -> Retried:
    with engine.store.write() as tx:
        count = _make_due(tx, system, kind)
        if count:
            audit.note(tx, engine.now(), person, "retry", system, {"kind": kind, "count": count})
    return Retried(system=system, kind=kind, count=count)


def _make_due(tx: Tx, system: str, kind: str) -> int:
    if kind == "aside":
        return queues.revive(tx, system)
    if kind == "breaker":
        resting = backlog.breakers(tx, [system])[system]
        for name, _ in resting:
            runs.set_breaker(tx, name, Breaker())
        return len(resting)
    return deliveries.reopen(tx, system, "poison" if kind == "poison" else "rejected")


def _refused(engine: Engine, system: str, person: str, *, only_look: bool) -> Retried:
    """Each refusal is a review, so each retry is an answer, which is a decision."""
    done, left, after = 0, list[str](), 0
    while True:
        with engine.store.read() as tx:
            some = decisions.open_of_system(tx, "refused", system, after=after, limit=PAGE)
        if not some:
            break
        after = some[-1]
        if only_look:
            done += len(some)
            continue
        for number in some:
            try:
                answer.answer(engine, number, "retry", person)
                done += 1
            except BadAnswer as error:
                left.append(f"review {number}: {error.message}")
    if done and not only_look:
        with engine.store.write() as tx:
            audit.note(tx, engine.now(), person, "retry", system, {"kind": "refused", "count": done})
    return Retried(system=system, kind="refused", count=done, left=left)
