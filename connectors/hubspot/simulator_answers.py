"""How the simulated HubSpot writes things down: records, histories, associations, errors inside a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connectors.hubspot.simulator_portal import Portal
from connectors.hubspot.simulator_records import KINDS, PRIMARY, UNLABELED, Property, Record, iso

LABELS = {PRIMARY: "Primary", UNLABELED: None}

Json = dict[str, Any]


def shown(
    portal: Portal,
    record: Record,
    names: Iterable[str],
    *,
    values: Mapping[str, str] | None = None,
    empties: bool = True,
) -> Json:
    """`values`: as an index knows them. An unknown name is left out; an empty property is null, or left out
    (`empties=False`) as answers to writes do (unverified)."""
    known = portal.properties[record.object]
    held = record.all_values() if values is None else values
    modified = KINDS[record.object].modified
    listed = [name for name in names if name in known]
    properties = {
        name: held.get(name)
        for name in sorted({*listed, "createdate", "hs_object_id", modified})
        if empties or name in held
    }
    answer: Json = {
        "id": record.id,
        "properties": properties,
        "createdAt": held["createdate"],
        "updatedAt": held[modified],
        "archived": record.archived is not None,
    }
    return answer if record.archived is None else answer | {"archivedAt": iso(record.archived)}


def linked(portal: Portal, contact: str) -> Json:
    """Associations in the v3 form: a company once per association type."""
    names = {PRIMARY: "contact_to_company", UNLABELED: "contact_to_company_unlabeled"}
    results = [
        {"id": company, "type": names[type_]}
        for company, types in portal.companies(contact).items()
        for type_ in sorted(types)
    ]
    return {"companies": {"results": results}} if results else {}


def failure(category: str, message: str, context: Mapping[str, Any]) -> Json:
    return {"status": "error", "category": category, "message": message, "context": context}


def not_found(object: str, ids: Sequence[str]) -> list[Json]:
    """One error for all missing ids, as recorded answers show."""
    name = KINDS[object].singular.upper()
    message = (
        f"Could not get some {name} objects, they may be deleted or not exist. Check that ids are valid."
    )
    return [failure("OBJECT_NOT_FOUND", message, {"ids": list(ids)})] if ids else []


def link(company: str, types: Iterable[int]) -> Json:
    labels = [
        {"category": "HUBSPOT_DEFINED", "typeId": each, "label": LABELS.get(each)} for each in sorted(types)
    ]
    return {"toObjectId": int(company), "associationTypes": labels}


def histories(record: Record, names: Iterable[str]) -> Json:
    return {name: record.history[name] for name in names if name in record.history}


def described(known: Property) -> Json:
    return {
        "name": known.name,
        "label": known.name,
        "type": known.type,
        "fieldType": "select" if known.type == "enumeration" else "text",
        "groupName": "information",
        "description": "",
        "hasUniqueValue": known.unique,
        "options": [{"label": each, "value": each, "hidden": False} for each in known.options],
        "modificationMetadata": {"readOnlyValue": known.read_only, "archivable": True},
    }
