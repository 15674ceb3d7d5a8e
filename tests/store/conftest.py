"""A store of each kind, with tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncbroker.store.database import Store
from tests.support.rig import open_ready


@pytest.fixture
def store(ready_url: str) -> Iterator[Store]:
    opened = open_ready(ready_url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Store]:
    opened = open_ready(sqlite_url)
    yield opened
    opened.close()
