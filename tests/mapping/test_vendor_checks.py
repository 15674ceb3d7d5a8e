"""What a mapping asks of a vendor, against what the vendor can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mapping.support import EMAIL, SYSTEMS, check, contact, load, marked, write

NAME = "name: {type: text, systems: {marketing: merge_fields.NAME}}"

WRONG = [
    (
        contact(EMAIL, links="{crm: {object: ¦contcts}, marketing: {object: members}}"),
        "the system 'crm' has no object 'contcts'",
        "did you mean contacts?",
    ),
    (
        contact("email: {type: email, systems: {marketing: ¦email}}"),
        "the members of 'marketing' have no field `email`",
        "did you mean email_address?",
    ),
    (
        contact("a: {type: date, systems: {crm: ¦created}}"),
        "'crm' does not let `created` be written",
        "direction: pull",
    ),
    (
        contact("a: {type: text, systems: {marketing: ¦name}}", links="{marketing: {object: segments}}"),
        "'marketing' cannot change its segments, so nothing can be pushed there",
        "direction: pull",
    ),
    (
        contact(
            "a: {type: text, systems: {marketing: {field: name, direction: pull}}}",
            links="{marketing: {object: segments, ¦create: always}}",
        ),
        "'marketing' cannot create its segments",
        "create: never",
    ),
    (
        contact(NAME, links="{marketing: {object: members, ¦create: always}}"),
        "'marketing' needs `email_address` to create its members, and no field is pushed there",
        "direction: both",
    ),
    (
        contact(NAME, links="{marketing: {object: members, ¦create: {when: record.name != null}}}"),
        "'marketing' needs `email_address` to create its members, and no field is pushed there",
        "direction: both",
    ),
    (
        contact(
            "a: {type: text, systems: {crm: {field: name, direction: pull}}}",
            links="{crm: {object: contacts, ¦create: always}}",
        ),
        "no field is pushed to 'crm', so nothing can be created there",
        "create: never",
    ),
    (
        contact(EMAIL, links="{crm: {object: contacts, ¦delete: propagate}, marketing: {object: members}}"),
        "'marketing' cannot delete its members, so no deletion can go there",
        "detach",
    ),
    (
        contact(
            "a: {type: text, systems: {marketing: {field: name, direction: pull}}}",
            links="{marketing: {object: segments, ¦delete: recreate}}",
        ),
        "'marketing' cannot create its segments, so nothing can be recreated there",
        "detach",
    ),
    (
        contact("a: {type: reference, entity: contact, systems: {crm: ¦company_id}}"),
        "`company_id` of 'crm' refers to its companies, but 'contact' is its contacts",
        "entity",
    ),
]


@pytest.mark.parametrize(("text", "message", "hint"), WRONG, ids=[message for _, message, _ in WRONG])
def test_what_the_vendor_cannot_do_is_an_error(tmp_path: Path, text: str, message: str, hint: str) -> None:
    [found] = [one for one in check(tmp_path, text).errors if (one.line, one.column) == marked(text)]
    assert (found.message, hint in found.hint) == (message, True)


@pytest.mark.parametrize(("text", "message", "hint"), WRONG, ids=[message for _, message, _ in WRONG])
def test_without_connectors_nothing_is_said_about_vendors(
    tmp_path: Path,
    text: str,
    message: str,
    hint: str,
) -> None:
    home = write(tmp_path, {"systems.yaml": SYSTEMS, "contact.yaml": text})
    assert message not in [one.message for one in load(home, connectors=None).errors]


def test_a_deletion_may_be_propagated_from_a_system_that_cannot_delete(tmp_path: Path) -> None:
    links = "{crm: {object: contacts}, marketing: {object: members, delete: propagate}}"
    assert check(tmp_path, contact(EMAIL, links=links)).errors == []


def test_custom_fields_are_taken_where_the_vendor_has_them(tmp_path: Path) -> None:
    checked = check(tmp_path, contact("tier: {type: text, systems: {crm: custom_tier}}", rest=""))
    assert (checked.good.version != "", checked.warnings[:0]) == (True, [])


def test_a_vendor_field_that_may_be_pushed_on_create_only_is_taken(tmp_path: Path) -> None:
    text = contact(
        EMAIL, links="{crm: {object: contacts, create: always}, marketing: {object: members, create: always}}"
    )
    assert check(tmp_path, text).errors == []


def test_an_unknown_connector_is_an_error_with_the_known_ones(tmp_path: Path) -> None:
    systems = SYSTEMS.replace("fakecrm", "¦fakecrn")
    [problem] = [
        one for one in check(tmp_path, contact(EMAIL), systems=systems).errors if "connector" in one.message
    ]
    assert (problem.line, problem.column) == marked(systems)
    assert (problem.message, problem.hint) == ("there is no connector 'fakecrn'", "did you mean fakecrm?")
