"""What the oracle asks the broker, as an operator would: what is linked with what, what waits for a person, what
`status` counts, and what was decided. Values are never taken from here, only from the systems.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from syncbroker.core.types import Value
from syncbroker.engine import Engine
from syncbroker.engine.status import Status, differences, status
from syncbroker.store import decisions, records, tables
from syncbroker.store.decisions import Decision, Outcome, Review


@dataclass(frozen=True)
class Linked:
    """One link as `explain` shows it."""

    record: str
    entity: str
    number: int
    system: str
    object: str
    external_id: str | None
    status: str
    primary: bool


@dataclass
class Asked:
    """`judged`: (system, entity, field) -> canonical values that a decision was made about, with how often."""

    links: list[Linked]
    reviews: list[Review]
    status: Status
    differing: set[tuple[str, str, str]]
    decisions: list[Decision]
    judged: dict[tuple[str, str, str], Counter[Value]] = field(default_factory=lambda: defaultdict(Counter))
    raws: dict[tuple[str, str, str], list[Any]] = field(default_factory=lambda: defaultdict(list))

    def of(self, record_id: str) -> list[Decision]:
        return [one for one in self.decisions if one.record_id == record_id]

    def outcomes(self) -> Iterable[tuple[Decision, Outcome]]:
        for one in self.decisions:
            for outcome in one.outcomes:
                yield one, outcome


def ask(engine: Engine) -> Asked:
    with engine.store.read() as tx:
        ids = [row[0] for row in tx.run(tables.records.select())]
        links = [
            Linked(
                record.id,
                record.entity,
                one.n,
                one.system,
                one.object,
                one.external_id,
                one.status,
                one.primary,
            )
            for record in records.load(tx, ids).values()
            for one in record.links
        ]
        found = decisions.search(tx, limit=1_000_000)
        waiting = decisions.waiting(tx)
    differing = {(one.system, one.entity, one.field) for one in differences(engine)}
    asked = Asked(links, waiting, status(engine), differing, list(reversed(found)))
    for decision, outcome in asked.outcomes():
        question = outcome.question
        if question is None or not outcome.field:
            continue
        key = (outcome.system, decision.entity, outcome.field)
        asked.judged[key][question.value] += 1
        asked.raws[key].append(question.raw if question.raw is not None else question.value)
    return asked
