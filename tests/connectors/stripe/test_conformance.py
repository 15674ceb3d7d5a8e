"""Stripe against what every connector must do; requests and answers are held against the vendor's own document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.stripe.connector import Stripe
from connectors.stripe.simulator import StripeSimulator
from syncbroker.sdk.conformance import Bench, Check, Sample, checks, name
from syncbroker.sdk.simulator import Request, Response
from tests.support.openapi import VendorSpec

CREDENTIALS = {"api_key": "sk_test_bench", "webhook_secret": "whsec_bench"}


def customer(n: int) -> dict[str, Any]:
    address = {"city": "Ulm", "country": "DE", "line1": f"Street {n}"}
    return {"name": f"P{n}", "email": f"p{n}@example.com", "description": f"number {n}", "address": address}


def subscription(n: int) -> dict[str, Any]:
    return {"customer": f"cus_{n}", "items": {"data": [{"price": {"unit_amount": 1000 + n}, "quantity": 2}]}}


SAMPLES = [
    Sample(
        object="customers",
        make=customer,
        create={
            "name": "New Customer",
            "email": "New@example.com",
            "phone": "+15551234567",
            "address.city": "Oslo",
            "metadata.tier": "gold",
            "preferred_locales": ["de", "en"],
        },
        update={
            "name": "Other",
            "address.city": "Bergen",
            "metadata.tier": "silver",
            "tax_exempt": "exempt",
        },
        clear="description",
        key="email",
        edit={"name": "Edited", "address.country": "AT"},
        edit_again={"email": "again@example.com"},
        paths=(
            *("name", "email", "phone", "description", "address.city", "address.line1", "metadata.tier"),
            *("preferred_locales", "tax_exempt"),
        ),
    ),
    Sample(
        object="subscriptions",
        make=subscription,
        edit={"status": "past_due"},
        edit_again={"cancel_at_period_end": True},
        paths=("customer", "status", "amount", "currency", "price", "interval", "current_period_end"),
    ),
]


# a subscription cannot be deleted at Stripe: the hand that removes one cancels it
NEVER = {("subscriptions", "a_read_gives_what_was_asked_and_marks_the_gone")}


@pytest.mark.parametrize(
    ("bench", "check"),
    [
        pytest.param(sample, check, id=f"{sample.object}-{name(check)}")
        for sample in SAMPLES
        for check in checks(Stripe, sample)
        if (sample.object, name(check)) not in NEVER
    ],
    indirect=["bench"],
)
def test_conforms(bench: Bench, check: Check) -> None:
    check(bench)


@pytest.fixture
def bench(request: pytest.FixtureRequest, spec: VendorSpec | None) -> Iterator[Bench]:
    problems: list[str] = []

    def judge(asked: Request, response: Response) -> None:
        assert spec
        problems.extend(
            spec.request_problems(
                asked.method,
                asked.path,
                query=asked.query_all,
                headers=asked.headers,
                body=asked.body,
            )
        )
        problems.extend(spec.response_problems(asked.method, asked.path, response.status, json=response.json))

    with Bench(Stripe, StripeSimulator, request.param, credentials=CREDENTIALS) as bench:
        bench.simulator.on_answer = judge if spec else None
        yield bench
    assert problems == []


@pytest.fixture(scope="module")
def spec() -> VendorSpec | None:
    return VendorSpec.load("stripe")
