"""The mapping of these tests, and worlds over it."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

from syncbroker.sdk.registry import GROUP, Registry

HERE = Path(__file__).parent
MAPPINGS = HERE / "mappings"
REGISTRY = Registry(
    [
        EntryPoint(name, f"tests.simulation.vendors:{name.title()}", GROUP)
        for name in ("careful", "checked", "plain")
    ]
)
