"""What Stripe keeps, in Stripe's words: the collections, their fields, and how a payload becomes an `Item`.

Neither object carries a version or a modification time (specification of API 2022-11-15: no such property), so items
have no stamp and the broker orders states by its own reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncbroker.core.types import Item
from syncbroker.sdk.connector import FieldSpec, ObjectSpec

ADDRESS = ("line1", "line2", "city", "state", "postal_code", "country")
STAMP_PATH = "metadata.syncbroker_id"
"""Where the broker's record id is left on a customer that it created."""

_READ_ONLY = FieldSpec(writable=False, clearable=False)

CUSTOMERS = ObjectSpec(
    name="customers",
    remembers=23 * 3600.0,  # Stripe keeps a key for at least 24 hours; one is left for clocks that differ
    stamp_path=STAMP_PATH,
    fields={
        "name": FieldSpec(),
        "email": FieldSpec(),
        "phone": FieldSpec(),  # 20 characters at most
        "description": FieldSpec(),
        **{f"address.{part}": FieldSpec() for part in ADDRESS},
        # the specification allows an array only; unlike the texts above it has no empty string that clears
        "preferred_locales": FieldSpec(clearable=False),
        "tax_exempt": FieldSpec(),
        STAMP_PATH: FieldSpec(),
        "created": _READ_ONLY,
        "currency": _READ_ONLY,
        "delinquent": _READ_ONLY,
        "balance": _READ_ONLY,
        "livemode": _READ_ONLY,
    },
    open_fields=True,  # metadata.*
    batch={"create": 1, "update": 1, "delete": 1},  # Stripe has no batch endpoint
    read_batch=1,
    events=True,
    keys=("email", STAMP_PATH),
)

SUBSCRIPTIONS = ObjectSpec(
    name="subscriptions",
    fields={
        "customer": FieldSpec(writable=False, clearable=False, refers_to="customers"),
        **dict.fromkeys(
            (
                "status",
                "amount",
                "cost",
                "currency",
                "price",
                "product",
                "interval",
                "current_period_start",
                "current_period_end",
                "created",
                "start_date",
                "cancel_at",
                "cancel_at_period_end",
                "canceled_at",
                "ended_at",
                "trial_end",
                "collection_method",
                "description",
                "livemode",
            ),
            _READ_ONLY,
        ),
    },
    open_fields=True,  # metadata.*, items.data.0.quantity
    read_batch=1,
    events=True,
)

OBJECTS: Mapping[str, ObjectSpec] = {spec.name: spec for spec in (CUSTOMERS, SUBSCRIPTIONS)}

EVENT_TYPES: Mapping[str, tuple[str, ...]] = {
    "customers": ("customer.created", "customer.updated", "customer.deleted"),
    "subscriptions": tuple(
        f"customer.subscription.{what}"
        for what in (
            "created",
            "updated",
            "deleted",
            "paused",
            "resumed",
            "pending_update_applied",
            "pending_update_expired",
        )
    ),
}
"""Event types that tell of a change, per object. `/v1/events` takes up to 20 of them at once."""

_PERIOD = ("current_period_start", "current_period_end")


def item(object: str, payload: Mapping[str, Any]) -> Item:
    """A decoded customer or subscription. A deleted customer is `{id, object, deleted: true}` and nothing else."""
    if payload.get("deleted") is True:
        return Item(id=payload["id"], fields={}, deleted=True)
    fields = dict(payload) if object == "customers" else with_derived(payload)
    return Item(id=payload["id"], fields=fields)


def with_derived(subscription: Mapping[str, Any]) -> dict[str, Any]:
    """The subscription with members that a mapping can name without walking through a list.

    amount: what one period costs, in minor units of `currency`: the sum of unit_amount x quantity over the items, None
    when a price has no fixed unit amount (tiered, metered). cost: the same as [minor units, currency code], which a
    `money` field reads as it is, whatever the currency. price, product, interval: those of the first item.
    current_period_start, current_period_end (Unix seconds): up to API 2025-03-31 members of the subscription, later of
    its items only; here always of the subscription, taken from the item whose period ends first.
    """
    lines: Sequence[Mapping[str, Any]] = (subscription.get("items") or {}).get("data") or []
    prices = [line.get("price") or {} for line in lines]
    first = prices[0] if prices else {}
    fields = dict(subscription)
    fields["amount"] = amount = _amount(lines)
    fields["price"] = first.get("id")
    fields["product"] = first.get("product")
    fields["interval"] = (first.get("recurring") or {}).get("interval")
    fields["currency"] = currency = subscription.get("currency") or first.get("currency")
    fields["cost"] = [amount, currency.upper()] if amount is not None and currency else None
    ending = [line for line in lines if line.get("current_period_end")]
    soonest = min(ending, key=lambda line: line["current_period_end"], default={})
    for name in _PERIOD:
        fields[name] = subscription.get(name) or soonest.get(name)
    return fields


def _amount(lines: Sequence[Mapping[str, Any]]) -> int | None:
    total = 0
    for line in lines:
        unit = (line.get("price") or {}).get("unit_amount")
        if not isinstance(unit, int):
            return None
        quantity = line.get("quantity")
        total += unit * (1 if quantity is None else int(quantity))
    return total if lines else None


def form(values: Mapping[str, Any]) -> dict[str, str]:
    """`{"address.city": "Ulm", "name": None}` -> `{"address[city]": "Ulm", "name": ""}`.

    Stripe reads form fields with bracketed names, and an empty string as "unset"
    (docs.stripe.com/api/metadata; the specification's `enum: [""]` alternatives). What follows `metadata.` is one key.
    """
    fields: dict[str, str] = {}
    for path, value in values.items():
        depth = 1 if path.startswith("metadata.") else -1
        head, *steps = path.split(".", depth)
        _add(fields, head + "".join(f"[{step}]" for step in steps), value)
    return fields


def _add(fields: dict[str, str], name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _add(fields, f"{name}[{key}]", inner)
    elif isinstance(value, list | tuple) and value:
        for index, inner in enumerate(value):
            _add(fields, f"{name}[{index}]", inner)
    elif isinstance(value, bool):
        fields[name] = "true" if value else "false"
    else:
        fields[name] = "" if value is None or value in ([], ()) else str(value)
