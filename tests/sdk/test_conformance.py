"""The conformance suite, held against a connector that should pass it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from syncbroker.sdk.conformance import Bench, Check, Sample, checks, name
from tests.support.toy_vendor import CREDENTIALS, ToyConnector, ToySimulator


def _person(n: int) -> dict[str, Any]:
    return {"name": f"Person {n}", "email": f"p{n}@toy.example", "phone": f"+1555{n:07d}", "tags": ["a"]}


PEOPLE = Sample(
    object="people",
    make=_person,
    create={"name": "New One", "email": "new@toy.example", "address.city": "Ulm"},
    update={"name": "Other Name", "address.country": "DE"},
    clear="phone",
    key="email",
    edit={"name": "Edited"},
    edit_again={"name": "Edited again"},
    unique=True,
)
FIRMS = Sample(
    object="firms",
    make=lambda n: {"name": f"Firm {n:03d}", "country": "DE"},
    create={"name": "New Firm", "country": "FR"},
    update={"country": "IT"},
    clear="country",
    key="name",
    edit={"name": "Renamed"},
    edit_again={"name": "Renamed again"},
)


@pytest.fixture
def bench(sample: Sample) -> Iterator[Bench]:
    with Bench(ToyConnector, ToySimulator, sample, credentials=CREDENTIALS) as made:
        yield made


@pytest.mark.parametrize("sample", [PEOPLE], ids=["people"])
@pytest.mark.parametrize("check", checks(ToyConnector, PEOPLE), ids=name)
def test_the_capable_object_conforms(check: Check, bench: Bench) -> None:
    check(bench)


@pytest.mark.parametrize("sample", [FIRMS], ids=["firms"])
@pytest.mark.parametrize("check", checks(ToyConnector, FIRMS), ids=name)
def test_the_poor_object_conforms(check: Check, bench: Bench) -> None:
    check(bench)
