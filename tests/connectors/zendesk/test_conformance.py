"""Zendesk against what every connector must do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.zendesk.connector import Zendesk
from connectors.zendesk.simulator import ZendeskSimulator
from syncbroker.sdk.conformance import Bench, Check, Sample, checks, name

CREDENTIALS = {"email": "broker@example.com", "api_token": "t0ken-4242", "webhook_secret": "hush-hush-4242"}
OPTIONS = {"subdomain": "bench"}


def user(n: int) -> dict[str, Any]:
    return {"name": f"P{n}", "email": f"p{n}@example.com", "phone": f"+1555010{n:04}", "tags": ["vip"]}


def organization(n: int) -> dict[str, Any]:
    return {"name": f"Company {n}", "domain_names": [f"c{n}.example.com"], "details": f"number {n}"}


SAMPLES = [
    Sample(
        object="users",
        make=user,
        create={
            "name": "Nina",
            "email": "new@example.com",
            "notes": "by hand",
            "user_fields.tier": "gold",
            "tags": ["a", "b"],
        },
        update={"name": "Ute", "email": "ute@example.com", "user_fields.tier": "silver", "details": "x"},
        clear="phone",
        key="email",
        edit={"name": "Edith"},
        edit_again={"email": "again@example.com"},
        wait=61.0,
        unique=True,
    ),
    Sample(
        object="organizations",
        make=organization,
        create={"name": "Acme", "domain_names": ["acme.example.com"], "organization_fields.seats": 7},
        update={"details": "other", "tags": ["x"], "domain_names": ["d.example.com", "e.example.com"]},
        clear="details",
        key="name",
        edit={"name": "Edited"},
        edit_again={"tags": ["edited"]},
        wait=61.0,
        unique=True,
    ),
]


@pytest.mark.parametrize(
    ("bench", "check"),
    [
        pytest.param(sample, check, id=f"{sample.object}-{name(check)}")
        for sample in SAMPLES
        for check in checks(Zendesk, sample)
    ],
    indirect=["bench"],
)
def test_conforms(bench: Bench, check: Check) -> None:
    check(bench)


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with Bench(Zendesk, ZendeskSimulator, request.param, credentials=CREDENTIALS, options=OPTIONS) as bench:
        yield bench
