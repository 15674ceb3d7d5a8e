from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.mailchimp.connector import Mailchimp
from connectors.mailchimp.simulator import MailchimpSimulator
from syncbroker.core.types import Receipt, Write
from syncbroker.sdk.conformance import Bench, Sample

SECRET = "5f0c7f4d1e2a4b7c9d3e"
CREDENTIALS = {"api_key": "3f5c8b1d9e7a4c60b2d4f6a8c0e1b3d5-us21", "webhook_secret": SECRET}
LIST_ID = "a6b5da1054"


def member(n: int) -> dict[str, Any]:
    return {
        "email_address": f"person{n}@example.org",
        "status": "subscribed",
        "merge_fields": {"FNAME": f"First{n}", "LNAME": f"Last{n}", "PHONE": f"+1555{n:07}"},
        "tags": ["customer"],
    }


SAMPLE = Sample(
    object="members",
    make=member,
    create={
        "email_address": "new@example.org",
        "status": "transactional",
        "merge_fields.FNAME": "Ada",
        "merge_fields.ADDRESS.addr1": "1 High Street",
        "merge_fields.ADDRESS.city": "Ulm",
        "merge_fields.ADDRESS.zip": "89073",
        "tags": ["vip", "speaker"],
    },
    update={"merge_fields.LNAME": "Byron", "language": "de", "vip": True},
    clear="merge_fields.PHONE",
    key="email_address",
    edit={"merge_fields.LNAME": "King"},
    edit_again={"status": "unsubscribed"},
    derived=("last_changed",),
    many=1100,
    unique=True,
    signed=False,
    timed=False,
    url_secret=SECRET,
)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(
        Mailchimp, MailchimpSimulator, SAMPLE, credentials=CREDENTIALS, options={"list_id": LIST_ID}
    ) as bench:
        yield bench


def update(bench: Bench, id: str, values: dict[str, Any]) -> Receipt:
    return bench.write(Write(key="k", op="update", id=id, values=values))["k"]


def create(bench: Bench, values: dict[str, Any]) -> Receipt:
    return bench.write(Write(key="k", op="create", values=values))["k"]
