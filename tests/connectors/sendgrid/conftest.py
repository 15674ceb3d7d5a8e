from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from connectors.sendgrid.connector import SendGrid
from connectors.sendgrid.simulator import SendGridSimulator
from syncbroker.core.types import Receipt, Write
from syncbroker.sdk.conformance import Bench, Sample
from syncbroker.sdk.simulator import Request, Response
from tests.support.openapi import VendorSpec

CREDENTIALS = {"api_key": "SG.bench-key.0123456789abcdef"}
OPTIONS = {"custom_fields": {"lead_source": "Text", "score": "Number"}}
KNOWN_DEFECTS = (
    # the document says object, its own text and every example say that this is the job's id
    "DELETE /v3/marketing/contacts 202: body.job_id",
    "GET /files/",  # an export's files are not the API's
    " 429: this status",  # the guide on rate limits documents it for all paths
)

SAMPLE = Sample(
    object="contacts",
    make=lambda n: {
        "email": f"person{n}@example.org",
        "first_name": f"First{n}",
        "last_name": f"Last{n}",
        "phone_number": f"+1555{n:07}",
        "city": "Ulm",
        "custom_fields": {"lead_source": "fair"},
    },
    create={
        "email": "New@Example.org",
        "first_name": "Ada",
        "country": "Germany",
        "custom_fields.lead_source": "web",
        "custom_fields.score": 7,
    },
    update={"last_name": "Byron", "postal_code": "89073", "custom_fields.lead_source": "referral"},
    clear="phone_number",
    key="email",
    edit={"last_name": "King"},
    edit_again={"custom_fields.lead_source": "fair again"},
    shown={"email": "new@example.org"},
    derived=("updated_at",),
    many=1100,
    unique=True,
)


def made(**options: Any) -> Bench:
    return Bench(
        SendGrid,
        SendGridSimulator,
        SAMPLE,
        credentials=CREDENTIALS,
        simulator_options={**OPTIONS, **options},
    )


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Every request and answer is held against the vendor's document, where the environment says where it is."""
    with made() as bench:
        found: list[str] = []
        if spec := VendorSpec.load("sendgrid"):
            bench.simulator.on_answer = judge(spec, found)
        yield bench
    assert [one for one in found if not any(known in one for known in KNOWN_DEFECTS)] == []


def judge(spec: VendorSpec, found: list[str]) -> Any:
    def look(request: Request, response: Response) -> None:
        # what is refused may well be against the document
        if response.status < 400:
            problems = spec.request_problems(
                request.method,
                request.path,
                query=request.query_all,
                headers=request.headers,
                body=request.body,
            )
            found.extend(problems)
        answer = None if response.json is None else msgspec.to_builtins(response.json)
        found.extend(spec.response_problems(request.method, request.path, response.status, json=answer))

    return look


def update(bench: Bench, id: str, values: dict[str, Any]) -> Receipt:
    return bench.write(Write(key="k", op="update", id=id, values=values))["k"]


def create(bench: Bench, values: dict[str, Any]) -> Receipt:
    return bench.write(Write(key="k", op="create", values=values))["k"]


def record(bench: Bench, id: str | None) -> dict[str, Any]:
    return next(one for one in bench.control.records("contacts") if one["id"] == id)


def settle(bench: Bench) -> None:
    """Beyond every job and lag."""
    bench.settle()
    bench.control.idle()
