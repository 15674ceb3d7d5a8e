"""HubSpot against what every connector must do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.hubspot.connector import HubSpot
from connectors.hubspot.simulator import HubSpotSimulator
from syncbroker.sdk.conformance import Bench, Check, Sample, checks, name
from tests.connectors.hubspot.conftest import CREDENTIALS


def contact(n: int) -> dict[str, Any]:
    return {"properties": {"email": f"p{n}@example.com", "firstname": f"P{n}", "phone": f"+1555010{n:04}"}}


def company(n: int) -> dict[str, Any]:
    return {"properties": {"name": f"Company {n}", "domain": f"c{n}.example.com", "city": "Ulm"}}


SAMPLES = [
    Sample(
        object="contacts",
        make=contact,
        create={"email": "New@Example.com", "firstname": "Nina", "country": "France"},
        update={"firstname": "Ute", "phone": "(555) 123-4567"},
        clear="phone",
        key="email",
        edit={"firstname": "Edith"},
        edit_again={"firstname": "Edna"},
        shown={"email": "new@example.com"},
        wait=1.1,
        unique=True,
    ),
    Sample(
        object="companies",
        make=company,
        create={"name": "Acme", "domain": "acme.example.com"},
        update={"city": "Bonn", "website": "http://acme.example.com"},
        clear="city",
        key="domain",
        edit={"name": "Edited"},
        edit_again={"name": "Edited again"},
        wait=1.1,
    ),
]


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with Bench(HubSpot, HubSpotSimulator, request.param, credentials=CREDENTIALS) as bench:
        yield bench


@pytest.mark.parametrize(
    ("bench", "check"),
    [
        pytest.param(sample, check, id=f"{sample.object}-{name(check)}")
        for sample in SAMPLES
        for check in checks(HubSpot, sample)
    ],
    indirect=["bench"],
)
def test_conforms(bench: Bench, check: Check) -> None:
    check(bench)
