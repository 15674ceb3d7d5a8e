"""A HubSpot simulator with a connector in front of it; `hubspot(...)` gives both options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from connectors.hubspot.connector import HubSpot
from connectors.hubspot.simulator import HubSpotSimulator
from syncbroker.sdk.conformance import Bench, Sample

CREDENTIALS = {"access_token": "pat-na1-4242", "webhook_secret": "yyyyyyyy-yyyy-yyyy"}
SAMPLE = Sample(object="contacts", make=lambda n: {"properties": {"email": f"p{n}@example.com"}})

Hub = Callable[..., Bench]


@pytest.fixture
def hubspot() -> Iterator[Hub]:
    """`hubspot(simulator option=..., options={connector option: ...})` opens a bench, closed after the test."""
    with ExitStack() as stack:

        def opened(*, options: dict[str, Any] | None = None, **simulated: Any) -> Bench:
            bench = Bench(
                HubSpot,
                HubSpotSimulator,
                SAMPLE,
                credentials=CREDENTIALS,
                options=options,
                simulator_options=simulated,
            )
            return stack.enter_context(bench)

        yield opened
