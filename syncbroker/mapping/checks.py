"""Static checks: what a mapping says, before anything runs, against itself and against what connectors can do.

Every check reports and goes on. What the schema has cut out is not reported again as missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from syncbroker.core.conditions import compile_condition, fields_in
from syncbroker.core.similar import COMPARABLE
from syncbroker.core.types import Type
from syncbroker.errors import BadMapping
from syncbroker.mapping.field_checks import check_field, check_groups
from syncbroker.mapping.findings import Findings
from syncbroker.mapping.nodes import Node, Spot
from syncbroker.mapping.schedule_checks import check_schedules
from syncbroker.mapping.schema import closest
from syncbroker.mapping.units import seconds
from syncbroker.mapping.vendor_checks import Objects, check_vendor
from syncbroker.mapping.written import WrittenEntity, WrittenField, WrittenSystem, words

_WEAK = (Type.BOOLEAN, Type.CHOICE, Type.COUNTRY)
_COMPARED = re.compile(r"""record\.(\w+)\s*(?:==|!=)\s*(['"])(.*?)\2""")


def check_systems(
    systems: Mapping[str, WrittenSystem],
    linked: Mapping[str, frozenset[str]],
    connectors: Iterable[str] | None,
    file: str,
    findings: Findings,
) -> None:
    """systems.yaml alone. `linked`: systems that some entity links, with their objects. `connectors`: None when
    not known."""
    kinds = list(connectors) if connectors is not None else None
    for system in systems.values():
        kind = system.connector
        if kind is not None and kinds is not None and kind.text not in kinds:
            hint = closest(kind.text, kinds, "is its package installed?")
            findings.error(file, kind, f"there is no connector {kind.text!r}", hint)
        if system.name.text not in linked:
            findings.warn(
                file, system.name, f"no entity uses the system {system.name.text!r}", "link it, or remove it"
            )
        check_schedules(system, linked, file, findings)


def check_entities(
    entities: list[WrittenEntity], systems: frozenset[str] | None, objects: Objects, findings: Findings
) -> None:
    """All entity files. `systems`: the names in systems.yaml, None when it could not be read."""
    by_name: dict[str, WrittenEntity] = {}
    for entity in entities:
        first = by_name.setdefault(entity.name.text, entity)
        if first is not entity:
            message = f"the entity {entity.name.text!r} is already in {first.file}"
            findings.error(
                entity.file, entity.name, message, "one file per entity: rename it, or join the files"
            )
    for entity in entities:
        for link in entity.links.values():
            if systems is not None and link.system.text not in systems:
                message = f"there is no system {link.system.text!r} in systems.yaml"
                findings.error(entity.file, link.system, message, closest(link.system.text, list(systems)))
        for field in entity.fields.values():
            check_field(entity, field, findings)
            _check_reference(entity, field, by_name, findings)
        check_groups(entity, findings)
        _check_match(entity, findings)
        _check_conditions(entity, findings)
        _check_guard(entity, findings)
        check_vendor(entity, by_name, objects, findings)
    _check_pushes(by_name.values(), findings)
    _check_cycles(by_name, findings)


def _check_guard(entity: WrittenEntity, findings: Findings) -> None:
    guard = entity.node.get("guard")
    window = guard.get("window") if guard is not None else None
    if guard is None or window is None:
        return
    if seconds(window.text) < 60:
        findings.error(entity.file, window, "`window` is counted by the minute", "write 1m or more")
    if set(guard.keys) == {"window"}:
        hint = "write a limit beside it, such as changed: 10%"
        findings.warn(entity.file, guard.keys["window"], "`window` has no effect without a limit", hint)


def _check_reference(
    entity: WrittenEntity, field: WrittenField, entities: Mapping[str, WrittenEntity], findings: Findings
) -> None:
    name = field.node.get("entity")
    if name is None or field.type is not Type.REFERENCE:
        return
    target = entities.get(name.text)
    if target is None:
        findings.error(
            entity.file, name, f"there is no entity {name.text!r}", closest(name.text, list(entities))
        )
        return
    for link in field.links.values():
        if target.complete and link.system.text not in target.linked:
            message = (
                f"{target.name.text!r} has no link on {link.system.text!r}, so no id there can be understood"
            )
            findings.error(
                entity.file, link.system, message, f"add {link.system.text!r} to `links` in {target.file}"
            )


def _check_match(entity: WrittenEntity, findings: Findings) -> None:
    for rule in entity.match:
        on, similar = rule.get("on"), rule.get("similar")
        if similar is not None:
            _check_likeness(entity, rule, similar, findings)
        elif on is None and isinstance(rule.value, dict) and "then" in rule.value and len(rule.value) == 1:
            findings.error(entity.file, rule, "a match rule needs `on`", "such as {on: [email]}")
        named: list[Node | Spot] = [
            *words(on),
            *(key for key, _ in (similar.items() if similar is not None else ())),
        ]
        types = [_match_field(entity, one, findings) for one in named]
        then = rule.get("then")
        links = then is None or then.text == "link"
        if on is not None and links and types and all(one in _WEAK for one in types):
            hint = "many records share such a value: add a field, or write `then: review`"
            findings.warn(entity.file, on, "this rule links records that may only look alike", hint)
    pulled = {
        link.system.text for field in entity.fields.values() for link in field.links.values() if link.pull
    }
    if entity.complete and entity.node.get("match") is None and len(pulled) > 1:
        hint = "write `match: [{on: [email]}]`, say"
        message = f"{entity.name.text!r} has no match rules: its systems' records will never meet"
        findings.warn(entity.file, entity.name, message, hint)


def _check_likeness(entity: WrittenEntity, rule: Node, similar: Node, findings: Findings) -> None:
    """A rule of likeness proposes, by names and texts only."""
    then = rule.get("then")
    if "on" in rule.keys:
        hint = "write two rules, or name the field in `similar` with likeness 1"
        findings.error(
            entity.file, rule.keys["similar"], "a match rule takes `on` or `similar`, not both", hint
        )
    if then is None or then.text != "review":
        place: Node | Spot = then if then is not None else rule.keys["similar"]
        message = "likeness never links by itself"
        findings.error(entity.file, place, message, "write `then: review`: a person is asked")
    for key in similar.keys.values():
        field = entity.fields.get(key.text)
        if field is not None and field.type is not None and field.type not in (*COMPARABLE, Type.TAGS):
            message = f"{key.text!r} is of type {field.type}, which is equal or different, and never alike"
            findings.error(
                entity.file, key, message, f"match it with `on`; likeness is for {', '.join(COMPARABLE)}"
            )


def _match_field(entity: WrittenEntity, one: Node | Spot, findings: Findings) -> Type | None:
    """The type of a field that a match rule names, after saying what is wrong with it."""
    field = entity.fields.get(one.text)
    if field is None:
        if one.text not in entity.declared and entity.complete:
            findings.error(
                entity.file, one, f"there is no field {one.text!r}", closest(one.text, list(entity.declared))
            )
        return None
    if field.type is Type.TAGS:
        hint = "match on a field with one value"
        findings.error(entity.file, one, f"{one.text!r} is tags, which identify nothing", hint)
    return field.type


def _check_conditions(entity: WrittenEntity, findings: Findings) -> None:
    types = {name: field.type for name, field in entity.fields.items() if field.type is not None}
    unknown = entity.declared - types.keys()
    conditions = [link.when for link in entity.links.values() if link.when is not None]
    deciding = {
        name: [when for _, node in field.terms if (when := node.get("when")) is not None]
        for name, field in entity.fields.items()
    }
    conditions += [when for each in deciding.values() for when in each]
    if not entity.complete:
        return
    for node in conditions:
        if any(name in node.text for name in unknown):
            continue
        try:
            compile_condition(node.text, types)
        except BadMapping as error:
            for problem in error.problems:
                place = _inside(entity, node, problem.line, problem.column)
                findings.error(entity.file, place, problem.message, problem.hint)
            continue
        for found in _COMPARED.finditer(node.text):
            _check_label(entity, node, found, findings)
    _check_authority_rings(entity, deciding, findings)


def _check_authority_rings(
    entity: WrittenEntity, deciding: Mapping[str, list[Node]], findings: Findings
) -> None:
    """Who decides a field may not hang on a value that hangs on it in turn. Members of a group hang together."""
    groups: dict[str, set[str]] = {}
    for name, field in entity.fields.items():
        groups.setdefault(field.word("group") or name, set()).add(name)
    together = {name: group for group in groups.values() for name in group}
    needs = {
        name: {other for node in nodes for read in fields_in(node.text) for other in together.get(read, ())}
        for name, nodes in deciding.items()
    }
    for name, nodes in deciding.items():
        trail, seen = [name], set[str]()
        while trail:
            for other in needs.get(trail.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    trail.append(other)
        if name in seen:
            message = f"who decides {name!r} would hang on {name!r} itself"
            findings.error(entity.file, nodes[0], message, "let the condition ask another field")


def _check_label(entity: WrittenEntity, node: Node, found: re.Match[str], findings: Findings) -> None:
    """A choice compared with a word that is none of its labels."""
    field = entity.fields.get(found[1])
    choices = field.node.get("choices") if field is not None else None
    if field is None or choices is None or not field.whole or found[3] in choices.keys:
        return
    line = node.text.count("\n", 0, found.start(3)) + 1
    column = found.start(3) - (node.text.rfind("\n", 0, found.start(3)) + 1) + 1
    message = f"{found[3]!r} is none of the choices of {found[1]!r}, so this never changes"
    findings.error(
        entity.file, _inside(entity, node, line, column), message, closest(found[3], list(choices.keys))
    )


def _inside(entity: WrittenEntity, node: Node, line: int, column: int) -> Spot:
    """The place in the file of a place in a text. The text's start where it is written with escapes or folds."""
    wanted = node.text.split("\n")[line - 1].strip()
    lead = len(node.text.split("\n")[line - 1]) - len(node.text.split("\n")[line - 1].lstrip())
    for number in range(node.line, min(node.line + node.text.count("\n") + 2, len(entity.lines) + 1)):
        start = node.column - 1 if number == node.line else 0
        found = entity.lines[number - 1].find(wanted, start) if wanted else -1
        if found >= 0:
            return Spot("", number, found + column - lead)
    return Spot("", node.line, node.column)


def _check_pushes(entities: Iterable[WrittenEntity], findings: Findings) -> None:
    """Two fields that would write one place would undo each other for ever."""
    taken: dict[tuple[str, str, str], tuple[WrittenEntity, WrittenField]] = {}
    for entity in entities:
        for field in entity.fields.values():
            for here in field.links.values():
                link = entity.links.get(here.system.text)
                if not here.push or link is None or link.object is None:
                    continue
                key = (here.system.text, link.object.text, here.path.text)
                first, other = taken.setdefault(key, (entity, field))
                if other is field:
                    continue
                where = f"{other.name.text!r}" + (f" in {first.file}" if first is not entity else "")
                message = f"`{here.path.text}` of {here.system.text!r} is already pushed by {where}"
                findings.error(
                    entity.file, here.path, message, "only one field may push to a place: direction: pull"
                )


def _check_cycles(entities: Mapping[str, WrittenEntity], findings: Findings) -> None:
    """Entities whose required references form a ring: none of them could ever be created first."""
    needs = {
        name: [
            (field.word("entity"), field) for field in entity.fields.values() if _required_reference(field)
        ]
        for name, entity in entities.items()
    }
    reported: set[frozenset[str]] = set()
    for start in needs:
        trail: list[tuple[str, list[str]]] = [(start, [start])]
        seen: set[str] = set()
        while trail:
            name, path = trail.pop()
            for target, field in needs.get(name, []):
                if target == start and frozenset(path) not in reported:
                    reported.add(frozenset(path))
                    ring = " -> ".join([*path, start])
                    message = f"required references go round in a ring: {ring}"
                    hint = "none of these could be created first: remove one `required: true`"
                    findings.error(entities[name].file, field.place("required"), message, hint)
                elif target not in seen:
                    seen.add(target)
                    trail.append((target, [*path, target]))


def _required_reference(field: WrittenField) -> bool:
    return field.type is Type.REFERENCE and field.flag("required")
