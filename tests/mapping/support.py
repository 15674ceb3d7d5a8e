"""Folders of mapping files for the tests, fake connectors, and texts that mark the place of their mistake."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping as Table
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from syncbroker.core.mapping import Mapping
from syncbroker.errors import BadMapping, Problem
from syncbroker.mapping import load_mapping
from syncbroker.sdk.connector import FieldSpec, ObjectSpec

MARK = "¦"
"""Stands in a text just before the place that a problem must name."""

SYSTEMS = """
systems:
  crm: {connector: fakecrm, credentials: {token: "${CRM_TOKEN}"}}
  marketing: {connector: fakemail, credentials: {token: "${MAIL_TOKEN}"}, options: {list_id: abc}}
"""

ENVIRONMENT = {"CRM_TOKEN": "crm-secret-1", "MAIL_TOKEN": "mail-secret-2"}


class FakeCrm:
    """A vendor that can do everything, and takes custom fields."""

    credentials_schema: ClassVar[Table[str, Any]] = {
        "type": "object",
        "required": ["token"],
        "additionalProperties": False,
        "properties": {
            "token": {"type": "string", "minLength": 3, "description": "an access token"},
            "webhook_secret": {"type": "string"},
        },
    }
    options_schema: ClassVar[Table[str, Any]] = {"type": "object", "additionalProperties": False}
    objects: ClassVar[Table[str, ObjectSpec]] = {
        "contacts": ObjectSpec(
            name="contacts",
            fields={
                "email": FieldSpec(),
                "name": FieldSpec(),
                "phone": FieldSpec(clearable=False),
                "created": FieldSpec(writable=False),
                "company_id": FieldSpec(refers_to="companies"),
                "consent": FieldSpec(),
            },
            open_fields=True,
            batch={"create": 100, "update": 100, "delete": 100},
            consent_path="consent",
        ),
        "companies": ObjectSpec(
            name="companies",
            fields={
                "name": FieldSpec(),
                "owner": FieldSpec(),
                "main_contact": FieldSpec(refers_to="contacts"),
            },
            batch={"create": 100, "update": 100, "delete": 100},
        ),
    }


class FakeMail:
    """A vendor with a required address, read-only segments, and no deletes."""

    credentials_schema: ClassVar[Table[str, Any]] = {
        "type": "object",
        "required": ["token"],
        "properties": {"token": {"type": "string"}},
    }
    options_schema: ClassVar[Table[str, Any]] = {
        "type": "object",
        "required": ["list_id"],
        "additionalProperties": False,
        "properties": {"list_id": {"type": "string"}, "deep": {"type": "object"}},
    }
    objects: ClassVar[Table[str, ObjectSpec]] = {
        "members": ObjectSpec(
            name="members",
            fields={
                "email_address": FieldSpec(required=True),
                "status": FieldSpec(),
                "tags": FieldSpec(),
                "merge_fields.NAME": FieldSpec(),
            },
            batch={"create": 500, "update": 500},
            consent_path="status",
        ),
        "segments": ObjectSpec(name="segments", fields={"name": FieldSpec()}),
    }


CONNECTORS = {"fakecrm": FakeCrm, "fakemail": FakeMail}


class Checked(NamedTuple):
    """What came of loading a folder. `mapping` is None when there were errors."""

    mapping: Mapping | None
    errors: list[Problem]
    warnings: list[Problem]

    @property
    def good(self) -> Mapping:
        assert self.mapping is not None, "\n".join(map(str, self.errors))
        return self.mapping


def load(
    folder: Path, *, connectors: Any = CONNECTORS, environment: Table[str, str] = ENVIRONMENT
) -> Checked:
    try:
        mapping, warnings = load_mapping(folder, environment=environment, connectors=connectors)
    except BadMapping as error:
        return Checked(None, list(error.problems), [])
    return Checked(mapping, [], warnings)


def write(folder: Path, files: Table[str, str]) -> Path:
    """The files, in a folder named `mappings`."""
    home = folder / "mappings"
    home.mkdir(exist_ok=True)
    for name, text in files.items():
        (home / name).write_text(textwrap.dedent(text).replace(MARK, ""), encoding="utf-8")
    return home


def check(
    folder: Path, entity: str = "", *, systems: str = SYSTEMS, more: Table[str, str] | None = None
) -> Checked:
    """Load a folder with systems.yaml, contact.yaml and whatever `more` adds."""
    files = {"systems.yaml": systems, **({"contact.yaml": entity} if entity else {}), **(more or {})}
    return load(write(folder, files))


def marked(text: str) -> tuple[int, int]:
    """(line, column) of the mark."""
    before, mark, _ = textwrap.dedent(text).partition(MARK)
    assert mark, "the text marks no place"
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def contact(fields: str, *, links: str = "", rest: str = "match: [{on: email}]") -> str:
    """A whole entity file around these fields, which are indented by two blanks."""
    links = links or "{crm: {object: contacts}, marketing: {object: members}}"
    inner = textwrap.indent(textwrap.dedent(fields).strip(), "  ")
    return f"entity: contact\nlinks: {links}\n{rest}\nfields:\n{inner}\n"


EMAIL = (
    "email: {type: email, required: true, authority: crm, systems: {crm: email, marketing: email_address}}"
)
CHOICE = "choices: {New: [n], Old: [o]}"
