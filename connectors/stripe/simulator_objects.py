"""What the simulated Stripe keeps: payloads as the vendor shapes them, and the rules for what may be written.

Shapes from the specification of API 2022-11-15 and the vendor's fixtures of 2026-08; error texts as the vendor's
libraries and issue threads show them, where the specification is silent (unverified).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from connectors.stripe.simulator_query import RefusedError, number

Json = dict[str, Any]

PERIODS_MOVED = "2025-03-31"
"""From this API version on, the period of a subscription is a member of its items only."""

_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")
_TEXTS = {"name": 256, "email": 512, "phone": 20, "description": 5000}
_CUSTOMER: Json = {
    "object": "customer",
    "address": None,
    "balance": 0,
    "created": 0,
    "currency": None,
    "default_source": None,
    "delinquent": False,
    "description": None,
    "discount": None,
    "email": None,
    "invoice_prefix": None,
    "invoice_settings": {
        "custom_fields": None,
        "default_payment_method": None,
        "footer": None,
        "rendering_options": None,
    },
    "livemode": False,
    "metadata": {},
    "name": None,
    "next_invoice_sequence": 1,
    "phone": None,
    "preferred_locales": [],
    "shipping": None,
    "tax_exempt": "none",
    "test_clock": None,
}
_SUBSCRIPTION: Json = {
    "object": "subscription",
    "application": None,
    "application_fee_percent": None,
    "automatic_tax": {"enabled": False},
    "billing_cycle_anchor": 0,
    "billing_thresholds": None,
    "cancel_at": None,
    "cancel_at_period_end": False,
    "canceled_at": None,
    "collection_method": "charge_automatically",
    "created": 0,
    "currency": "usd",
    "current_period_end": 0,
    "current_period_start": 0,
    "customer": "",
    "days_until_due": None,
    "default_payment_method": None,
    "default_source": None,
    "default_tax_rates": [],
    "description": None,
    "discount": None,
    "ended_at": None,
    "items": {},
    "latest_invoice": None,
    "livemode": False,
    "metadata": {},
    "start_date": 0,
    "status": "active",
    "test_clock": None,
    "trial_end": None,
    "trial_start": None,
}
_PRICE: Json = {
    "id": "price_1",
    "object": "price",
    "active": True,
    "billing_scheme": "per_unit",
    "created": 0,
    "currency": "usd",
    "livemode": False,
    "lookup_key": None,
    "metadata": {},
    "nickname": None,
    "product": "prod_1",
    "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
    "type": "recurring",
    "unit_amount": 0,
}


def customer(id: str, created: int, given: Mapping[str, Any]) -> Json:
    """A whole customer from the members that are given. An address that is given has all its parts."""
    made = deepcopy(_CUSTOMER) | {"id": id, "created": created} | deepcopy(dict(given))
    if made["address"] is not None:
        made["address"] = dict.fromkeys(_ADDRESS) | made["address"]
    return made


def subscription(id: str, created: int, given: Mapping[str, Any]) -> Json:
    """A whole subscription; `items.data[].price` needs no more than what matters, the rest is filled in.

    The period may be given on the subscription or on its first item.
    """
    lines = (given.get("items") or {}).get("data") or [{}]
    month = {"current_period_start": created, "current_period_end": created + 30 * 86_400}
    period = month | {name: lines[0][name] for name in month if name in lines[0]}
    start = {"created": created, "start_date": created, "billing_cycle_anchor": created}
    made = deepcopy(_SUBSCRIPTION) | {"id": id} | start | period | deepcopy(dict(given))
    period = {name: made[name] for name in month}
    made["items"] = {
        "object": "list",
        "data": [_line(made, number, line, period) for number, line in enumerate(lines, 1)],
        "has_more": False,
        "url": f"/v1/subscription_items?subscription={id}",
    }
    return made


def _line(subscription: Json, number: int, given: Json, period: Json) -> Json:
    price = _PRICE | {"currency": subscription["currency"]} | given.get("price", {})
    amount = price["unit_amount"]
    price.setdefault("unit_amount_decimal", None if amount is None else str(amount))
    fixed: Json = {
        "id": f"si_{subscription['id'].removeprefix('sub_')}_{number}",
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": subscription["created"],
        "metadata": {},
        "quantity": 1,
        "subscription": subscription["id"],
        "tax_rates": [],
    }
    return fixed | period | given | {"price": price}


def rendered(record: Json, version: str) -> Json:
    """The record as an API version shows it: the period of a subscription is in one place only."""
    if record["object"] != "subscription":
        return deepcopy(record)
    shown = deepcopy(record)
    for name in ("current_period_start", "current_period_end"):
        if version < PERIODS_MOVED:
            for line in shown["items"]["data"]:
                line.pop(name, None)
        else:
            shown.pop(name, None)
    return shown


def before(old: Json, new: Json) -> Json:
    """`previous_attributes`: the old values of the members that changed; of a hash only its changed members, of an
    array all (docs.stripe.com/api/events/object)."""
    changed: Json = {}
    for name in old.keys() | new.keys():
        was, now = old.get(name), new.get(name)
        if was != now:
            changed[name] = before(was, now) if isinstance(was, dict) and isinstance(now, dict) else was
    return dict(sorted(changed.items()))


def written(known: Json, given: Mapping[str, Any]) -> Json:
    """A customer after a write of decoded form parameters. RefusedError(400) for what Stripe does not take."""
    after = deepcopy(known)
    for name, value in given.items():
        if name in _TEXTS:
            after[name] = _text(name, value)
        elif name == "address":
            # a hash is replaced whole (stripe/stripe-go#179, there for shipping; unverified for address)
            after[name] = None if value == "" else _address(value)
        elif name == "metadata":
            after[name] = _metadata(known[name], value)
        elif name == "preferred_locales":
            after[name] = _texts(name, value)
        elif name == "tax_exempt":
            after[name] = _one_of(name, value or "none", ("none", "exempt", "reverse"))
        elif name == "shipping":
            after[name] = None if value == "" else deepcopy(value)
        elif name == "balance":
            after[name] = number(name, value)
        elif name != "expand":
            raise RefusedError(
                400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name
            )
    return after


def _text(name: str, value: Any) -> str | None:
    if not isinstance(value, str):
        raise RefusedError(400, "Invalid string: a hash or an array", param=name)
    if len(value) > _TEXTS[name]:
        limit = f"Invalid string: must be at most {_TEXTS[name]} characters"
        raise RefusedError(400, limit, code="parameter_invalid_string", param=name)
    if name == "email" and value and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", value):
        raise RefusedError(400, f"Invalid email address: {value}", code="email_invalid", param=name)
    return value or None


def _address(value: Any) -> Json:
    if not isinstance(value, dict):
        raise RefusedError(400, "Invalid object", param="address")
    for part in value:
        if part not in _ADDRESS:
            param = f"address[{part}]"
            raise RefusedError(
                400, f"Received unknown parameter: {param}", code="parameter_unknown", param=param
            )
    return {part: value.get(part) or None for part in _ADDRESS}


def _metadata(known: Json, value: Any) -> Json:
    """An empty value removes its key, an empty `metadata` all of them. At most 50 keys of 40 and values of 500
    characters (docs.stripe.com/api/metadata)."""
    if value == "":
        return {}
    if not isinstance(value, dict):
        raise RefusedError(400, "Invalid object", param="metadata")
    for key, text in value.items():
        if len(key) > 40 or len(text) > 500:
            raise RefusedError(
                400, "Metadata keys can have 40 characters, values 500", param=f"metadata[{key}]"
            )
    merged = {key: text for key, text in {**known, **value}.items() if text != ""}
    if len(merged) > 50:
        raise RefusedError(400, "You can only have 50 metadata keys", param="metadata")
    return merged


def _texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, dict):
        raise RefusedError(400, "Invalid array", param=name)
    return [str(text) for text in value.values()]


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise RefusedError(400, f"Invalid {name}: must be one of {', '.join(allowed)}", param=name)
    return str(value)
