from __future__ import annotations

import pytest

from connectors.sendgrid.connector import SendGrid
from syncbroker.sdk.conformance import Bench, Check, checks, name
from tests.connectors.sendgrid.conftest import SAMPLE


@pytest.mark.parametrize("check", checks(SendGrid, SAMPLE), ids=name)
def test_conforms(check: Check, bench: Bench) -> None:
    check(bench)
