from __future__ import annotations

from typing import Any

import pytest

from connectors.stripe.objects import form, item, with_derived


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ({"name": "Ann"}, {"name": "Ann"}),
        ({"name": None}, {"name": ""}),
        ({"address.city": "Ulm"}, {"address[city]": "Ulm"}),
        ({"shipping.address.city": "Ulm"}, {"shipping[address][city]": "Ulm"}),
        ({"metadata.a.b": "c"}, {"metadata[a.b]": "c"}),
        ({"metadata.gone": None}, {"metadata[gone]": ""}),
        (
            {"preferred_locales": ["de", "en"]},
            {"preferred_locales[0]": "de", "preferred_locales[1]": "en"},
        ),
        ({"preferred_locales": ()}, {"preferred_locales": ""}),
        ({"shipping": {"name": "Ann"}}, {"shipping[name]": "Ann"}),
        ({"balance": 5, "x": True, "y": False}, {"balance": "5", "x": "true", "y": "false"}),
    ],
)
def test_values_become_bracketed_form_fields(values: dict[str, Any], sent: dict[str, str]) -> None:
    assert form(values) == sent


@pytest.mark.parametrize(
    ("lines", "amount"),
    [
        ([{"price": {"unit_amount": 500}, "quantity": 3}], 1500),
        ([{"price": {"unit_amount": 500}}, {"price": {"unit_amount": 1}, "quantity": 2}], 502),
        ([{"price": {"unit_amount": 500}, "quantity": 0}], 0),
        ([{"price": {"unit_amount": None}, "quantity": 1}], None),
        ([{"price": None}], None),
        ([], None),
    ],
)
def test_the_amount_of_a_subscription_is_what_its_items_cost(
    lines: list[dict[str, Any]], amount: int | None
) -> None:
    assert with_derived({"id": "sub_1", "items": {"data": lines}})["amount"] == amount


def test_the_cost_of_a_subscription_names_its_currency() -> None:
    lines = [{"price": {"unit_amount": 500, "currency": "eur"}, "quantity": 2}]
    assert with_derived({"id": "sub_1", "items": {"data": lines}})["cost"] == [1000, "EUR"]


def test_a_period_on_the_items_is_that_of_the_item_which_ends_first() -> None:
    lines = [
        {"price": {"id": "a"}, "current_period_start": 10, "current_period_end": 90},
        {"price": {"id": "b"}, "current_period_start": 20, "current_period_end": 50},
    ]
    fields = with_derived({"id": "sub_1", "items": {"data": lines}})
    assert (fields["current_period_start"], fields["current_period_end"]) == (20, 50)


def test_a_period_on_the_subscription_itself_is_kept() -> None:
    assert with_derived({"id": "sub_1", "current_period_end": 70, "items": {}})["current_period_end"] == 70


def test_price_product_interval_and_currency_are_those_of_the_first_item() -> None:
    price = {"id": "price_1", "product": "prod_1", "currency": "eur", "recurring": {"interval": "year"}}
    fields = with_derived({"id": "sub_1", "items": {"data": [{"price": price}]}})
    named = [fields[name] for name in ("price", "product", "interval", "currency")]
    assert named == ["price_1", "prod_1", "year", "eur"]


def test_a_deleted_customer_is_a_deleted_item_without_fields() -> None:
    found = item("customers", {"id": "cus_1", "object": "customer", "deleted": True})
    assert (found.id, found.deleted, found.fields) == ("cus_1", True, {})
