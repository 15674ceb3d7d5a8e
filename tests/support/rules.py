"""Rules, questions and states by hand, for tests of the core without mapping files."""

from __future__ import annotations

from typing import Any

from syncbroker.core.mapping import EntityRules, FieldLink, FieldRule, LinkRule, MatchRule, ValueSpec
from syncbroker.core.plan import Plan, Seen, compile_plan
from syncbroker.core.resolve import Question
from syncbroker.core.state import FieldState, Golden, LinkState
from syncbroker.core.types import Type, Value

SYSTEMS = ("crm", "mkt", "sup")

OWNED = ("enforce",)


def rule(
    policy: str, *, type: Type = Type.TEXT, systems: tuple[str, ...] = SYSTEMS, **given: Any
) -> FieldRule:
    """A field `f` on every system, ranked as written. Under `enforce` the first system has authority."""
    authority = given.pop("authority", systems[:1] if policy in OWNED else ())
    push_only = given.pop("push_only", ())
    pull_only = given.pop("pull_only", ())
    spec = given.pop("spec", None) or ValueSpec(type=type, entity=given.pop("entity", ""))
    name = given.pop("name", "f")
    return FieldRule(
        name=name,
        type=spec.type,
        spec=spec,
        policy=policy,  # type: ignore[arg-type]  # a text in a table of cases
        authority=authority,
        rank=(*authority, *(one for one in systems if one not in authority)),
        links={
            one: FieldLink(
                system=one, path=name, pull=one not in push_only, push=one not in pull_only, spec=spec
            )
            for one in systems
        },
        file="person.yaml",
        line=7,
        **given,
    )


def plan(*rules: FieldRule, create: str = "never", match: tuple[MatchRule, ...] = (), **given: Any) -> Plan:
    """An entity `person` on `people` of every system that a rule names."""
    systems = list(dict.fromkeys(system for one in rules for system in one.links))
    links = {
        system: LinkRule(system=system, object="people", create=create, **given)  # type: ignore[arg-type]  # as above
        for system in systems
    }
    fields = {one.name: one for one in rules}
    return compile_plan(EntityRules(name="person", links=links, fields=fields, match=match), "v1")


def question(value: Value, *, system: str = "mkt", golden: Value = None, **given: Any) -> Question:
    """An edit to `value` on a system that is in step with `golden` (set by crm) unless `given` says otherwise."""
    standing = given.pop("standing", None)
    if standing is None:
        standing = Golden(golden, "crm", 10, 10) if golden is not None else Golden()
    usual: dict[str, Any] = {
        "held": golden,
        "base": golden,
        "met": golden is not None,
        "seen_before": True,
        "since": 20,
        "until": 20,
        "linked": SYSTEMS,
        "empty": "cleared" if value is None else "",
    }
    return Question(system=system, value=value, golden=standing, **(usual | given))


def link(system: str = "crm", n: int = 1, **given: Any) -> LinkState:
    """A live link whose record holds `holds` (field -> value), in step with it."""
    holds = given.pop("holds", {})
    fields = {
        name: FieldState(raw=value, value=value, met=True, base=value, known=(value,))
        for name, value in holds.items()
    }
    if fields:
        given = {"seen": 1} | given
    return LinkState(n=n, system=system, object="people", external_id=f"{system}-{n}", fields=fields, **given)


def seen(value: Value) -> Seen:
    return Seen(value, value)
