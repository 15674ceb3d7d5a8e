from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from connectors.mailchimp.connector import Mailchimp
from connectors.mailchimp.simulator import MailchimpSimulator
from syncbroker.sdk.conformance import Bench, Check, Sample, checks, name

SECRET = "5f0c7f4d1e2a4b7c9d3e"
KEY = {"api_key": "3f5c8b1d9e7a4c60b2d4f6a8c0e1b3d5-us21", "webhook_secret": SECRET}


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
SIGNED = msgspec.structs.replace(SAMPLE, signed=True, timed=True, webhook_secret="webhook_signing_secret")
SIGNED_CHECKS = [check for check in checks(Mailchimp, SIGNED) if "deliver" in name(check) or "body" in name(check)]


@pytest.mark.parametrize("check", checks(Mailchimp, SAMPLE), ids=name)
def test_conforms(check: Check) -> None:
    with Bench(
        Mailchimp,
        MailchimpSimulator,
        SAMPLE,
        credentials=KEY,
        options={"list_id": "abc123"},
        simulator_options={"list_id": "abc123"},
    ) as bench:
        check(bench)


@pytest.fixture
def signed() -> Iterator[Bench]:
    with Bench(
        Mailchimp,
        MailchimpSimulator,
        SIGNED,
        credentials={**KEY, "webhook_signing_secret": "whsec-of-this-webhook"},
        options={"list_id": "a6b5da1054"},
    ) as bench:
        yield bench


@pytest.mark.parametrize("check", SIGNED_CHECKS, ids=name)
def test_conforms_with_signed_webhooks(check: Check, signed: Bench) -> None:
    check(signed)
