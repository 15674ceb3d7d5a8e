from __future__ import annotations

import msgspec
import pytest

from connectors.mailchimp.connector import Mailchimp
from connectors.mailchimp.simulator import MailchimpSimulator
from syncbroker.sdk.conformance import Bench, Check, checks, name
from tests.connectors.mailchimp.conftest import CREDENTIALS, LIST_ID, SAMPLE

SIGNED = msgspec.structs.replace(SAMPLE, signed=True, timed=True, webhook_secret="webhook_signing_secret")


@pytest.mark.parametrize("check", checks(Mailchimp, SAMPLE), ids=name)
def test_conforms(check: Check, bench: Bench) -> None:
    check(bench)


@pytest.mark.parametrize(
    "check", [check for check in checks(Mailchimp, SIGNED) if "webhooks" in check.__module__], ids=name
)
def test_conforms_with_signed_webhooks(check: Check) -> None:
    credentials = {**CREDENTIALS, "webhook_signing_secret": "signing-secret-of-this-webhook"}
    with Bench(
        Mailchimp, MailchimpSimulator, SIGNED, credentials=credentials, options={"list_id": LIST_ID}
    ) as bench:
        check(bench)
