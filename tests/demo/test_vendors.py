"""The mapping files and the environment of the demo: the example's, but for the limits and one polling interval."""

from __future__ import annotations

import re
from pathlib import Path

from syncbroker.demo import vendors
from syncbroker.demo.world import build_world
from syncbroker.mapping import load_mapping

URLS = {name: f"http://127.0.0.1:{9000 + n}" for n, name in enumerate(vendors.VENDORS)}


def test_the_simulators_limits_are_raised_and_one_system_is_polled_oftener(tmp_path: Path) -> None:
    vendors.write_mappings(tmp_path / "mappings")
    rules, _ = load_mapping(tmp_path / "mappings", environment=vendors.environment(URLS), connectors=None)
    assert {system.rate for system in rules.systems.values()} == {(5000, 1.0)}
    polled = {name: system.pull.every for name, system in rules.systems.items() if system.pull}
    assert polled == {"crm": 1.0, "marketing": 300.0, "billing": 300.0, "support": 300.0}
    assert {name: system.url for name, system in rules.systems.items()} == URLS


def test_nothing_else_of_the_example_is_changed(tmp_path: Path) -> None:
    vendors.write_mappings(tmp_path / "mappings")

    def text(folder: Path, name: str) -> str:
        found = (folder / name).read_text()
        return re.sub(r"rate: [^,}]+|every: \w+", "", found) if name == "systems.yaml" else found

    example = vendors.example_mappings()
    names = sorted(path.name for path in example.glob("*.yaml"))
    assert [text(tmp_path / "mappings", name) for name in names] == [text(example, name) for name in names]


def test_the_simulators_are_given_every_record_and_the_credentials_that_the_broker_has(
    tmp_path: Path,
) -> None:
    path = vendors.write_config(tmp_path, build_world(7, 60))
    config = path.read_text()
    known = vendors.environment(URLS)
    for name, vendor in vendors.VENDORS.items():
        assert str(tmp_path / f"{name}.json") in config
        assert all(known[variable] in config for variable in vendor.credentials.values())
