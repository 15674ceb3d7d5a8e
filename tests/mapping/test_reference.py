"""docs/mapping-reference.md is complete, and every example in it loads."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from syncbroker.core.types import Type
from syncbroker.core.values import TRANSFORMS
from syncbroker.mapping.schema import schema
from tests.mapping.support import load, write

DOCUMENT = Path(__file__).parents[2] / "docs" / "mapping-reference.md"
BLOCKS = re.findall(
    r"^```yaml (\w+)\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)

SYSTEMS = """
systems:
  crm: {connector: a}
  marketing: {connector: b}
  billing: {connector: c}
  support: {connector: d}
"""
LINKS = "links: {crm: {object: a}, marketing: {object: b}, billing: {object: c}, support: {object: d}}\n"
FIELDS = """
fields:
  email: {type: email, systems: {crm: email}}
  phone: {type: phone, systems: {crm: phone}}
  last_name: {type: person_name, systems: {crm: last_name}}
  tags: {type: tags, systems: {crm: tags}}
"""
COMPANY = "entity: company\n" + LINKS + "fields: {name: {type: text, systems: {crm: name}}}\n"
ENVIRONMENT = dict.fromkeys(
    re.findall(r"\$\{([A-Z_]+)\}", DOCUMENT.read_text(encoding="utf-8")), "https://example.com"
)


def files(kind: str, block: str) -> dict[str, str]:
    """A whole folder around an example. `kind` is the word behind ```yaml."""
    if kind == "systems":
        systems = re.findall(r"^  (\w+):", block, re.MULTILINE)
        links = ", ".join(f"{name}: {{object: contacts}}" for name in systems)
        fields = ", ".join(f"{name}: {{type: text, systems: {{{name}: x}}}}" for name in systems)
        entity = f"entity: company\nlinks: {{{links}}}\nmatch: []\nfields: {{{fields}}}\n"
        return {"systems.yaml": block, "company.yaml": entity}
    parts = {
        "entity": block,
        "links": "entity: contact\n" + block + FIELDS,
        "match": "entity: contact\n" + LINKS + block + FIELDS,
        "guard": "entity: contact\n" + LINKS + block + FIELDS,
        "fields": "entity: contact\n" + LINKS + block,
        "field": "entity: contact\n" + LINKS + "fields:\n" + textwrap.indent(block, "  "),
    }
    return {"systems.yaml": SYSTEMS, "company.yaml": COMPANY, "contact.yaml": parts[kind]}


@pytest.mark.parametrize(("kind", "block"), BLOCKS, ids=[f"{n} {kind}" for n, (kind, _) in enumerate(BLOCKS)])
def test_every_example_loads(tmp_path: Path, kind: str, block: str) -> None:
    checked = load(write(tmp_path, files(kind, block)), connectors=None, environment=ENVIRONMENT)
    assert checked.errors == []


@pytest.mark.parametrize(("kind", "block"), BLOCKS, ids=[f"{n} {kind}" for n, (kind, _) in enumerate(BLOCKS)])
def test_no_example_has_a_key_without_effect(tmp_path: Path, kind: str, block: str) -> None:
    checked = load(write(tmp_path, files(kind, block)), connectors=None, environment=ENVIRONMENT)
    assert [one.message for one in checked.warnings if "no effect" in one.message] == []


def test_there_are_examples_of_every_kind() -> None:
    assert {kind for kind, _ in BLOCKS} == {"systems", "entity", "links", "match", "guard", "fields", "field"}


@pytest.mark.parametrize("kind", ["systems", "entity"])
def test_every_key_of_the_schema_is_in_the_document(kind: Any) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [key for key in sorted(_keys(schema(kind))) if f"`{key}`" not in text] == []


@pytest.mark.parametrize("kind", ["systems", "entity"])
def test_every_key_of_the_schema_is_in_an_example(kind: Any) -> None:
    examples = DOCUMENT.read_text(encoding="utf-8")
    assert [key for key in sorted(_keys(schema(kind))) if f"{key}:" not in examples] == []


def test_every_word_of_the_schema_is_in_the_document() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [word for word in sorted(_words(schema("entity"))) if f"`{word}`" not in text] == []


def test_every_transform_is_in_the_table_of_transforms() -> None:
    table = DOCUMENT.read_text(encoding="utf-8").partition("## Transforms")[2].partition("## ")[0]
    rows = [f"| {each.description} |" for each in TRANSFORMS.values()]
    assert [row for row in [*(f"| `{name}` |" for name in TRANSFORMS), *rows] if row not in table] == []


def test_every_type_is_in_the_table_of_types() -> None:
    table = DOCUMENT.read_text(encoding="utf-8").partition("## Types")[2].partition("## ")[0]
    assert [each for each in Type if f"`{each}`" not in table] == []


def _keys(part: Any) -> set[str]:
    if isinstance(part, list):
        return set().union(*map(_keys, part)) if part else set()
    if not isinstance(part, dict):
        return set()
    own = set(part.get("properties", {}))
    return own.union(*(_keys(value) for value in part.values()))


def _words(part: Any) -> set[str]:
    if not isinstance(part, dict):
        return set()
    return set(part.get("enum", [])).union(*(_words(value) for value in part.values()))
