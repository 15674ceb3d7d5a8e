"""From mapping files to checked rules: `load_mapping` reads a folder and says what it means or all that is wrong.

In reading order: `load.py` and `nodes.py` (text to trees with positions), `schema.py` (shape), `written.py` (what a
person wrote, spelt out), `checks.py` (what it means), `build.py` (the frozen rules). `docs/mapping-reference.md` is the
grammar.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from pathlib import Path

from syncbroker.core.mapping import Mapping, SystemRules
from syncbroker.errors import BadMapping, Problem
from syncbroker.mapping.build import build_system, mapping_of
from syncbroker.mapping.checks import check_entities, check_systems
from syncbroker.mapping.facts import ConnectorFacts, ObjectFacts
from syncbroker.mapping.findings import Findings
from syncbroker.mapping.load import Document, read_folder
from syncbroker.mapping.schema import shape
from syncbroker.mapping.variables import Variables, check_against, check_url, warn_of_secrets
from syncbroker.mapping.written import NOTHING, WrittenSystem, entity_of, linked_objects, systems_of

__all__ = ["load_mapping"]


def load_mapping(
    folder: Path, *, environment: Table[str, str], connectors: Table[str, ConnectorFacts] | None
) -> tuple[Mapping, list[Problem]]:
    """The mapping in this folder, and warnings. `connectors`: the classes by kind; None leaves out
    every check that needs them.

    Raises BadMapping with all errors of all files, in file and line order; files are named relative to the folder's
    parent, or as the folder was given. Values of the environment are in no message.
    """
    read = read_folder(folder)
    findings = Findings(list(read.problems), list(read.warnings))
    systems: dict[str, WrittenSystem] | None = None
    names: frozenset[str] | None = None
    if read.systems is not None:
        shaped, problems, gaps = shape(read.systems, "systems")
        findings.errors.extend(problems)
        systems = systems_of(shaped, gaps)
        listed = read.systems.root.get("systems")
        names = frozenset(key.text for key, _ in listed.items()) if listed is not None else None
    entities = []
    for document in read.entities:
        shaped, problems, gaps = shape(document, "entity")
        findings.errors.extend(problems)
        entity = entity_of(shaped, document, gaps)
        if entity is not None:
            entities.append(entity)
    objects = _objects(systems or {}, connectors)
    check_entities(entities, names, objects, findings)
    built = {}
    if systems is not None and read.systems is not None:
        check_systems(systems, linked_objects(entities), connectors, read.systems.file, findings)
        built = _build_systems(systems, environment, connectors, read.systems.file, findings)
    if findings.errors:
        raise BadMapping(sorted(set(findings.errors)))
    documents: list[Document] = [*([read.systems] if read.systems is not None else []), *read.entities]
    return mapping_of(built, entities, documents), sorted(set(findings.warnings))


def _objects(
    systems: Table[str, WrittenSystem], connectors: Table[str, ConnectorFacts] | None
) -> dict[str, Table[str, ObjectFacts]]:
    known = connectors or {}
    return {
        name: known[system.connector.text].objects
        for name, system in systems.items()
        if system.connector is not None and system.connector.text in known
    }


def _build_systems(
    systems: Table[str, WrittenSystem],
    environment: Table[str, str],
    connectors: Table[str, ConnectorFacts] | None,
    file: str,
    findings: Findings,
) -> dict[str, SystemRules]:
    """The systems with their variables filled in, after checking credentials and options with the connector."""
    built = {}
    for name, system in systems.items():
        kind = system.connector.text if system.connector is not None else ""
        connector = (connectors or {}).get(kind)
        variables = Variables(environment, file, findings)
        credentials, options, url = (system.node.get(key) for key in ("credentials", "options", "url"))
        warn_of_secrets(credentials or NOTHING, file, findings)
        known = connector if system.whole else None
        at = system.node.keys.get("credentials", system.name)
        rules = known.credentials_schema if known is not None else {}
        signs_in = check_against("credentials", kind, rules, credentials or NOTHING, at, variables)
        at = system.node.keys.get("options", system.name)
        rules = known.options_schema if known is not None else {}
        chosen = check_against("options", kind, rules, options or NOTHING, at, variables)
        address = check_url(url, variables) if url is not None else ""
        built[name] = build_system(system, signs_in, chosen, address)
    return built
