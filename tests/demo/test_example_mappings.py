from __future__ import annotations

import importlib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from syncbroker.core.mapping import FieldLink, Mapping, Policy, bindings
from syncbroker.core.plan import compile_plan
from syncbroker.core.types import Type
from syncbroker.demo.payloads import COMPANY_OBJECTS, OBJECTS
from syncbroker.demo.world import build_world
from syncbroker.errors import Problem
from syncbroker.mapping import load_mapping
from syncbroker.sdk.paths import get_path

FOLDER = Path(__file__).parents[2] / "mappings"
ENVIRONMENT = {
    "HUBSPOT_TOKEN": "t",
    "HUBSPOT_WEBHOOK_SECRET": "s",
    "MAILCHIMP_KEY": "key-us21",
    "MAILCHIMP_WEBHOOK_SECRET": "0123456789abcdef",
    "MAILCHIMP_LIST": "a1b2c3",
    "STRIPE_KEY": "sk",
    "STRIPE_WEBHOOK_SECRET": "whsec",
    "ZENDESK_EMAIL": "admin@example.com",
    "ZENDESK_TOKEN": "t",
    "ZENDESK_WEBHOOK_SECRET": "s",
    "ZENDESK_URL": "https://example.zendesk.com",
    "SENDGRID_KEY": "SG.key",
}
CONNECTORS = {
    "hubspot": "connectors.hubspot.connector:HubSpot",
    "mailchimp": "connectors.mailchimp.connector:Mailchimp",
    "stripe": "connectors.stripe.connector:Stripe",
    "zendesk": "connectors.zendesk.connector:Zendesk",
    "sendgrid": "connectors.sendgrid.connector:SendGrid",
}


@cache
def loaded() -> tuple[Mapping, list[Problem]]:
    classes = {}
    for kind, place in CONNECTORS.items():
        module, _, name = place.partition(":")
        classes[kind] = getattr(importlib.import_module(module), name)
    return load_mapping(FOLDER, environment=ENVIRONMENT, connectors=classes)


@cache
def mapping() -> Mapping:
    """Without the connectors' part of the check, which has a test of its own."""
    return load_mapping(FOLDER, environment=ENVIRONMENT, connectors=None)[0]


def links() -> list[FieldLink]:
    return [
        link
        for entity in mapping().entities.values()
        for field in entity.fields.values()
        for link in field.links.values()
    ]


def test_the_examples_have_no_errors_and_no_warnings() -> None:
    assert loaded()[1] == []


def test_a_missing_variable_is_named_with_its_line() -> None:
    with pytest.raises(Exception, match=r"systems\.yaml:\d+:\d+: .*HUBSPOT_TOKEN"):
        load_mapping(FOLDER, environment=ENVIRONMENT | {"HUBSPOT_TOKEN": ""}, connectors=None)


@pytest.mark.parametrize("policy", get_args(Policy))
def test_every_policy_has_an_example(policy: str) -> None:
    contact = mapping().entities["contact"]
    assert policy in {field.policy for field in contact.fields.values()}


@pytest.mark.parametrize("what", ["revert", "propose", "ignore"])
def test_every_answer_to_a_foreign_edit_has_an_example(what: str) -> None:
    fields = mapping().entities["contact"].fields.values()
    assert what in {field.on_foreign_edit for field in fields if field.policy == "enforce"}


@pytest.mark.parametrize(("pull", "push"), [(True, True), (True, False), (False, True)])
def test_every_direction_has_an_example(pull: bool, push: bool) -> None:
    assert (pull, push) in {(link.pull, link.push) for link in links()}


@pytest.mark.parametrize("delete", ["detach", "recreate", "review"])
def test_the_delete_policies_have_examples(delete: str) -> None:
    found = {link.delete for entity in mapping().entities.values() for link in entity.links.values()}
    assert delete in found


def test_the_address_is_one_value() -> None:
    fields = mapping().entities["contact"].fields.values()
    assert [field.name for field in fields if field.group == "address"] == [
        "street",
        "city",
        "postcode",
        "country",
    ]


def test_one_field_may_be_emptied() -> None:
    fields = mapping().entities["contact"].fields.values()
    assert [field.name for field in fields if field.empty == "clear"] == ["job_title"]


def test_most_types_have_an_example() -> None:
    used = {link.spec.type for link in links()}
    assert set(Type) - used == {Type.DECIMAL}


# ---- the examples on the demo's data ----


def as_read(system: str, object: str, row: dict[str, Any]) -> dict[str, Any]:
    """The record as its connector shows it: HubSpot's properties and company, Stripe's amount, Mailchimp's tags."""
    if system == "crm":
        linked = row.get("associations", {}).get("companies", {}).get("results", [])
        return {**row["properties"], "company_id": linked[0]["id"] if linked else None}
    if object == "subscriptions":
        return row | {"amount": row["items"]["data"][0]["price"]["unit_amount"]}
    return row


class EverythingIsLinked(dict[tuple[str, str, str], str]):
    """References, of which none is pending."""

    def get(self, key: tuple[str, str, str], default: Any = None) -> Any:
        return f"record-of-{key[2]}"


@cache
def read() -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """(system, field) -> how many values were read, and how many could not be."""
    world = build_world(7)
    good: Counter[tuple[str, str]] = Counter()
    bad: Counter[tuple[str, str]] = Counter()
    for system, data in world.systems.items():
        for object, rows in data.items():
            for entity, _ in bindings(mapping(), system, object):
                reader = compile_plan(entity, "1").readers[system]
                for row in rows:
                    fields = as_read(system, object, row)
                    raws = {path: get_path(fields, path) for path in reader.paths}
                    found = reader.read(raws, complete=True, references=EverythingIsLinked())
                    good.update((system, name) for name, seen in found.items() if seen.value is not None)
                    bad.update((system, name) for name, seen in found.items() if seen.invalid)
    return good, bad


def test_every_object_of_the_world_is_mapped() -> None:
    for system, data in build_world(7).systems.items():
        assert {link.object for _, link in bindings(mapping(), system)} == set(data)
    assert OBJECTS.keys() | COMPANY_OBJECTS.keys() == mapping().systems.keys()


def test_every_pulled_field_is_filled_somewhere_in_the_world() -> None:
    good, _ = read()
    for entity in mapping().entities.values():
        for field in entity.fields.values():
            name = field.group or field.name
            pulled = {system for system, link in field.links.items() if link.pull}
            assert pulled & {system for system, filled in good if filled == name}, name


@pytest.mark.parametrize(
    ("system", "field"), [("billing", "email"), ("crm", "lead_source"), ("crm", "phone"), ("crm", "industry")]
)
def test_the_world_holds_values_that_are_rejected(system: str, field: str) -> None:
    assert read()[1][system, field] >= 2


def test_only_a_few_values_of_the_world_are_rejected() -> None:
    good, bad = read()
    assert bad.total() <= good.total() // 100
