"""One cast and one store for all worlds of these tests; each world empties the store first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncbroker.simulation.people import Cast
from syncbroker.simulation.play import FragileStore, make_store
from syncbroker.simulation.stage import make_stage
from tests.simulation.support import MAPPINGS, REGISTRY


@pytest.fixture(scope="session")
def cast() -> Cast:
    return Cast(make_stage(MAPPINGS, REGISTRY))


@pytest.fixture(scope="session")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FragileStore]:
    store = make_store(tmp_path_factory.mktemp("simulation"))
    yield store
    store.close()
