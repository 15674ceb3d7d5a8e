"""A mapping made ready for simulation: its real rules, its systems' real abilities, and no way to any system.

Credentials and addresses are made up where the environment has none, since nothing is called.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from syncbroker.core import values
from syncbroker.core.mapping import FieldLink, FieldRule
from syncbroker.core.mapping import Mapping as MappingRules
from syncbroker.core.plan import Plan, Reader, compile_plan
from syncbroker.core.types import Type
from syncbroker.engine import Source, make_sources
from syncbroker.mapping import load_mapping
from syncbroker.sdk.connector import FieldSpec, ObjectSpec
from syncbroker.sdk.registry import Registry

_VARIABLE = re.compile(r"(?P<before>://|:)?\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}")
_MADE_UP = {"://": "simulated.invalid", ":": "443"}


class _Facts(msgspec.Struct, frozen=True):
    """A connector without what it asks of credentials and options."""

    objects: Mapping[str, ObjectSpec]
    credentials_schema: Mapping[str, Any] = {}
    options_schema: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Slot:
    """One path of one object, as one entity reads it. `spec`: what the system lets one do with it."""

    plan: Plan
    rule: FieldRule
    link: FieldLink
    spec: FieldSpec
    keyed: bool

    @property
    def needed(self) -> bool:
        return self.spec.required or self.rule.required or not self.spec.clearable

    def read(self, raw: Any) -> Any:
        """The canonical value, as far as it can be told without the store."""
        return values.canonical(self.link.spec, raw)


@dataclass(frozen=True)
class Stage:
    """`slots`: (system, object) -> every mapped path there."""

    mapping: MappingRules
    plans: dict[str, Plan]
    sources: dict[tuple[str, str], Source]
    slots: dict[tuple[str, str], tuple[Slot, ...]]

    def reader(self, entity: str, system: str) -> Reader:
        return self.plans[entity].readers[system]


def make_stage(folder: Path, registry: Registry | None = None) -> Stage:
    """Read the mapping files; BadMapping with every problem."""
    registry = registry or Registry()
    facts = {kind: _Facts(registry.load(kind).objects) for kind in registry.kinds()}
    rules, _ = load_mapping(folder, environment=_environment(folder), connectors=facts)
    plans = {name: compile_plan(entity, rules.version) for name, entity in rules.entities.items()}
    classes: Any = {name: registry.load(system.connector) for name, system in rules.systems.items()}
    sources = make_sources(plans, classes)
    return Stage(rules, plans, sources, {key: tuple(_slots(source)) for key, source in sources.items()})


def _environment(folder: Path) -> dict[str, str]:
    """Every variable that the files name and the environment lacks, with a value that fits where it stands."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("systems.y*ml")):
        for match in _VARIABLE.finditer(path.read_text("utf-8", errors="replace")):
            found.setdefault(match["name"], _MADE_UP.get(match["before"] or "", "https://simulated.invalid"))
    return {**found, **os.environ}


def _slots(source: Source) -> Iterator[Slot]:
    met: set[str] = set()
    for plan, reader in source.readers:
        keyed = {name for match in plan.entity.match for name in match.on}
        for rule in plan.entity.fields.values():
            link = rule.links.get(reader.system)
            if link is None or link.path in met:
                continue
            met.add(link.path)
            spec = source.spec.fields.get(link.path, FieldSpec())
            yield Slot(plan, rule, link, spec, rule.name in keyed)


def refers_to(stage: Stage, slot: Slot) -> str:
    """The object in the same system that a reference leads to, "" for other fields."""
    if slot.rule.type is not Type.REFERENCE:
        return ""
    return stage.reader(slot.link.spec.entity, slot.link.system).rule.object
