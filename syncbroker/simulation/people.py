"""Who is in a made-up world, what they type, and the values that they choose from."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from syncbroker.core.types import Type, Value
from syncbroker.simulation import values
from syncbroker.simulation.stage import Slot, Stage, refers_to

HEADS = 3
"""How many people (and companies, ...) a world has at most at its beginning; one more may come."""


class Refer(NamedTuple):
    """Stands for the id of the record about somebody in another object of the same system."""

    object: str
    who: int


class Cast:
    """The pools of a mapping, made once for all worlds of a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._pools: dict[tuple[str, str, int], list[Value]] = {}

    def pool(self, slot: Slot, who: int) -> list[Value]:
        key = (slot.plan.entity.name, slot.rule.name, who)
        if key not in self._pools:
            self._pools[key] = values.pool(slot.plan.entity.name, slot.rule, who)
        return self._pools[key]

    def owners(self) -> dict[tuple[str, Any], int]:
        """(entity, canonical text) -> the person it names."""
        found: dict[tuple[str, Any], int] = {}
        for slots in self.stage.slots.values():
            for slot in slots:
                for who in range(1, HEADS + 2):
                    entity = slot.plan.entity.name
                    found.update({(entity, v): who for v in self.pool(slot, who) if isinstance(v, str)})
        return found

    def first(self, slots: tuple[Slot, ...], who: int, by: Random) -> tuple[tuple[str, Any], ...]:
        """The fields of a new record. Match keys take the person's usual value, so that records are recognised."""
        made: list[tuple[str, Any]] = []
        for slot in slots:
            if not (slot.keyed or slot.needed or by.random() < 0.7):
                continue
            if target := refers_to(self.stage, slot):
                made.append((slot.link.path, Refer(target, by.randint(1, HEADS))))
                continue
            pool = self.pool(slot, who)
            if pool:
                value = pool[0] if slot.keyed else by.choice(pool)
                made.append((slot.link.path, values.written(slot.link.spec, value, by)))
        return tuple(made)

    def change(self, slot: Slot, who: int, by: Random) -> tuple[str, Any] | None:
        """Another value for one path, now and then an empty, a filler or nonsense."""
        path, spec = slot.link.path, slot.link.spec
        chance = by.random()
        if chance < 0.08 and not slot.needed:
            return path, None
        if chance < 0.11 and not slot.keyed and slot.rule.type is Type.TEXT:
            return path, "N/A"
        if chance < 0.14 and not slot.keyed and (bad := values.nonsense(spec)) is not None:
            return path, bad
        if target := refers_to(self.stage, slot):
            return path, Refer(target, by.randint(1, HEADS))
        pool = self.pool(slot, who)
        return (path, values.written(spec, by.choice(pool), by)) if pool else None
