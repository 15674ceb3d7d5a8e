"""The shape of files: every mistake has its place, a plain message and a hint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft7Validator

from syncbroker.core import mapping as rules
from syncbroker.core.types import Type
from syncbroker.mapping.schema import schema
from tests.mapping.support import EMAIL, SYSTEMS, check, contact, marked

SHAPES = [
    (contact(EMAIL).replace("entity:", "¦entitie:"), "unknown key `entitie`", "did you mean entity?"),
    (contact("email: {¦typ: email, systems: {crm: email}}"), "unknown key `typ`", "did you mean type?"),
    (contact("¦email: {systems: {crm: email}}"), "`email` lacks the key `type`", "The canonical type"),
    (
        contact("email: {type: ¦emial, systems: {crm: email}}"),
        "'emial' is not allowed for `type`",
        "did you mean email?",
    ),
    (
        contact("email: {type: ¦5, systems: {crm: email}}"),
        "`type` must be a text, not 5 (a number)",
        'needs quotes: "5"',
    ),
    (
        contact("email: {type: email, policy: ¦enforec, systems: {crm: email}}"),
        "'enforec' is not allowed for `policy`",
        "did you mean enforce?",
    ),
    (
        contact("email: {type: email, required: ¦yes, systems: {crm: email}}"),
        "`required` must be true or false, not a text",
        "gets no record",
    ),
    (
        contact("email: {type: email, systems: ¦crm}"),
        "`systems` must be a mapping (key: value), not a text",
        "path",
    ),
    (contact("email: {type: email, systems: ¦{}}"), "`systems` must not be empty", "path"),
    (
        contact("email: {type: email, systems: {¦crm: }}"),
        "`crm` must be a text, not nothing",
        "merge_fields.FNAME",
    ),
    (contact("email: {type: email, systems: {crm: ¦a..b}}"), "'a..b' has not the form of `crm`", "dotted"),
    (
        contact("email: {type: email, systems: {¦crm: {direction: pull}}}"),
        "`crm` lacks the key `field`",
        "vendor's own name",
    ),
    (
        contact("email: {type: email, systems: {crm: {field: email, direction: ¦in}}}"),
        "'in' is not allowed for `direction`",
        "known: both, pull, push",
    ),
    (
        contact("¦E-Mail: {type: email, systems: {crm: email}}"),
        "'E-Mail' cannot be a name here",
        "lower-case",
    ),
    (contact("email: ¦[1]"), "`email` must be a mapping (key: value), not a list", "golden record"),
    (
        contact("email: {type: email, tolerance: ¦2 seconds, systems: {crm: email}}"),
        "'2 seconds' has not the form of `tolerance`",
        "such as 5m",
    ),
    (
        contact("phone: {type: phone, region: ¦usa, systems: {crm: phone}}"),
        "'usa' has not the form of `region`",
        "two capital",
    ),
    (contact("a: {type: choice, choices: ¦{}, systems: {crm: a}}"), "`choices` must not be empty", "label"),
    (contact("a: {type: choice, choices: {¦A: }, systems: {crm: a}}"), "`A` must be", "A text."),
    (
        contact("a: {type: choice, choices: {¦'': []}, systems: {crm: a}}"),
        "'' cannot be a name here",
        "not empty",
    ),
    (
        contact("a: {type: text, order: ¦x, systems: {crm: a}}"),
        "`order` must be a list, not a text",
        "least to most",
    ),
    (contact(EMAIL, rest="match: [¦{}]"), "this must not be empty", "Exact match"),
    (contact(EMAIL, rest="match: [{on: ¦[]}]"), "`on` must not be empty", "at least one name"),
    (
        contact(EMAIL, rest="match: [{on: email, then: ¦ask}]"),
        "'ask' is not allowed for `then`",
        "known: link, review",
    ),
    (contact(EMAIL, rest="match: ¦{on: email}"), "`match` must be a list, not a mapping", "recognised"),
    (
        contact(EMAIL, rest="guard: {changed: ¦10}"),
        "`changed` must be a text, not 10 (a number)",
        "needs quotes",
    ),
    (contact(EMAIL, rest="guard: {changed: ¦101%}"), "'101%' has not the form of `changed`", "percent"),
    (contact(EMAIL, rest="guard: {deleted: ¦-1}"), "-1 cannot be used for `deleted`", "whole number"),
    (contact(EMAIL, links="¦{}"), "`links` must not be empty", "hold this entity"),
    (contact(EMAIL, links="{¦crm: {}}"), "`crm` lacks the key `object`", "collection"),
    (
        contact(EMAIL, links="{crm: {object: contacts, create: ¦sometimes}}"),
        "'sometimes' is not allowed for `create`",
        "known: always, never",
    ),
    (
        contact(EMAIL, links="{crm: {object: contacts, ¦create: {}}}"),
        "`create` lacks the key `when`",
        "CEL",
    ),
    (
        contact(EMAIL, links="{crm: {object: contacts, create: ¦yes}}"),
        "'yes' is not allowed for `create`",
        "known: always, never",
    ),
    (
        contact(EMAIL, links="{crm: {object: contacts, delete: ¦drop}}"),
        "'drop' is not allowed for `delete`",
        "known: detach, propagate, recreate, review",
    ),
]


@pytest.mark.parametrize(("text", "message", "hint"), SHAPES, ids=[message for _, message, _ in SHAPES])
def test_a_wrong_shape_in_an_entity_file_has_place_message_and_hint(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    [found] = [one for one in check(tmp_path, text).errors if (one.line, one.column) == marked(text)]
    assert found.message.startswith(message)
    assert hint in found.hint


SYSTEM_SHAPES = [
    ("¦sistems: {}\n", "unknown key `sistems`", "did you mean systems?"),
    ("systems: ¦{}\n", "`systems` must not be empty", "every other file"),
    ("systems: {¦CRM: {connector: fakecrm}}\n", "'CRM' cannot be a name here", "lower-case"),
    ("systems: {¦crm: {}}\n", "`crm` lacks the key `connector`", "hubspot"),
    (
        "systems: {crm: {connector: fakecrm, ¦credential: {}}}\n",
        "unknown key `credential`",
        "did you mean credentials?",
    ),
    ("systems: {crm: {connector: fakecrm, pull: ¦5m}}\n", "`pull` must be a mapping", "{every: 5m}"),
    (
        "systems: {crm: {connector: fakecrm, pull: {every: ¦5}}}\n",
        "`every` must be a text, not 5",
        "needs quotes",
    ),
    (
        "systems: {crm: {connector: fakecrm, pull: {every: ¦5min}}}\n",
        "'5min' has not the form of `every`",
        "such as 5m",
    ),
    (
        "systems: {crm: {connector: fakecrm, limits: {concurrency: ¦0}}}\n",
        "0 cannot be used for `concurrency`",
        "1 to 32",
    ),
    ("systems: {crm: {connector: fakecrm, timezone: ¦5}}\n", "`timezone` must be a text", "needs quotes"),
    (
        "systems: {crm: {connector: fakecrm, objects: {contacts: {¦pul: {every: 5m}}}}}\n",
        "unknown key `pul`",
        "did you mean pull?",
    ),
    ("systems: {crm: {connector: fakecrm, limits: {rate: ¦100}}}\n", "`rate` must be a text", "needs quotes"),
    (
        "systems: {crm: {connector: fakecrm, limits: {rate: ¦0/s}}}\n",
        "'0/s' has not the form of `rate`",
        "100/10s",
    ),
    ("systems: {crm: {connector: fakecrm, limits: {reserve: ¦100%}}}\n", "'100%' has not the form", "20%"),
    (
        "systems: {crm: {connector: fakecrm, credentials: {token: ¦[a]}}}\n",
        "`token` must be a text",
        "${NAME}",
    ),
]


@pytest.mark.parametrize(
    ("text", "message", "hint"), SYSTEM_SHAPES, ids=[message for _, message, _ in SYSTEM_SHAPES]
)
def test_a_wrong_shape_in_systems_yaml_has_place_message_and_hint(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    errors = check(tmp_path, contact(EMAIL), systems=text).errors
    here = [one for one in errors if one.file.endswith("systems.yaml")]
    [found] = [one for one in here if (one.line, one.column) == marked(text)]
    assert found.message.startswith(message)
    assert hint in found.hint


def test_several_mistakes_in_one_field_are_told_together(tmp_path: Path) -> None:
    text = contact(
        "email: {type: emial, polcy: x, required: 3, systems: {crm: {field: email, direction: up}}}"
    )
    assert len(check(tmp_path, text).errors) == 4


def test_what_a_mistake_took_away_is_not_reported_as_missing(tmp_path: Path) -> None:
    text = contact("email: {type: email, policy: enforce, autority: crm, systems: {crm: email}}")
    assert [problem.message for problem in check(tmp_path, text).errors] == ["unknown key `autority`"]


def test_a_field_with_a_mistake_is_still_a_field(tmp_path: Path) -> None:
    text = contact("email: {type: emial, systems: {crm: email}}", rest="match: [{on: email}]")
    assert len(check(tmp_path, text).errors) == 1


def test_meaning_is_checked_beside_shape(tmp_path: Path) -> None:
    text = contact("email: {type: email, authority: support, requird: true, systems: {crm: email}}\nbad: {}")
    text = text.replace("match: [{on: email}]", "match: [{on: emial}]")
    messages = [problem.message for problem in check(tmp_path, text).errors]
    assert "there is no field 'emial'" in messages


def test_values_of_credentials_are_in_no_message(tmp_path: Path) -> None:
    systems = SYSTEMS.replace('"${CRM_TOKEN}"', "{a: hunter2}").replace('"${MAIL_TOKEN}"', "[hunter2]")
    assert "hunter2" not in str(check(tmp_path, contact(EMAIL), systems=systems).errors)


@pytest.mark.parametrize("kind", ["systems", "entity"])
def test_the_schemas_are_draft_07_and_say_what_every_key_means(kind: Any) -> None:
    Draft7Validator.check_schema(dict(schema(kind)))
    assert [
        where for where, part in _properties(schema(kind), "") if not _described(schema(kind), part)
    ] == []


def test_the_schema_knows_the_same_words_as_the_core() -> None:
    field = schema("entity")["definitions"]["field"]["properties"]
    assert field["type"]["enum"] == [each.value for each in Type]
    assert field["policy"]["enum"] == list(get_args(rules.Policy))
    link = schema("entity")["definitions"]["link"]["properties"]
    assert link["delete"]["else"]["enum"] == list(get_args(rules.DeletePolicy))
    assert link["delete"]["then"]["properties"]["policy"]["enum"] == link["delete"]["else"]["enum"]
    assert link["create"]["else"]["enum"] == list(get_args(rules.CreatePolicy))


def _properties(part: Any, where: str) -> list[tuple[str, Any]]:
    """Every property in a schema, with where it stands."""
    found = []
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "properties":
                found += [(f"{where}/{name}", one) for name, one in value.items()]
            found += _properties(value, f"{where}/{key}")
    return found


def _described(whole: Any, part: Any) -> bool:
    name = str(part.get("$ref", "")).rpartition("/")[2]
    return bool(part.get("description") or whole["definitions"].get(name, {}).get("description"))
