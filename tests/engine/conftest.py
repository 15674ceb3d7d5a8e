"""What every engine test gets: worlds of toy systems, opened by one call and closed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from msgspec.structs import replace

from tests.support.rig import Rig, entity_text, rig
from tests.support.toy_vendor import ToyConnector


class Worlds(Protocol):
    """Opens a world: `fields` is the YAML below `fields:`, `data` its people by system."""

    def __call__(self, fields: str, data: dict[str, list[dict[str, Any]]], **given: Any) -> Rig: ...


@pytest.fixture
def _stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _opener(stack: ExitStack, folder: Path, url: str) -> Worlds:
    def opened(fields: str, data: dict[str, list[dict[str, Any]]], **given: Any) -> Rig:
        kept = {name: given.pop(name) for name in ("options", "more", "firms") if name in given}
        entity = given.pop("entity", None) or entity_text(fields, data, **given)
        return stack.enter_context(rig(folder / "mappings", url, entity, data, **kept))

    return opened


@pytest.fixture
def world(_stack: ExitStack, tmp_path: Path, sqlite_url: str) -> Worlds:
    """A world on SQLite."""
    return _opener(_stack, tmp_path, sqlite_url)


@pytest.fixture
def any_world(_stack: ExitStack, tmp_path: Path, ready_url: str) -> Worlds:
    """A world on SQLite, and once more on PostgreSQL."""
    return _opener(_stack, tmp_path, ready_url)


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Changes what the toy vendor's `people` can do, before a world is opened: `people(conditional=False)`."""

    def changed(**given: Any) -> None:
        specs = {**ToyConnector.objects, "people": replace(ToyConnector.objects["people"], **given)}
        monkeypatch.setattr(ToyConnector, "objects", specs)

    return changed
