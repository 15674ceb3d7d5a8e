"""Records that a complete sweep did not meet."""

from __future__ import annotations

from pathlib import Path

from tests.support.rig import entity_text, rig

_FIELDS = "  email: {type: email, systems: {crm: email, billing: email}}"


def test_a_record_deleted_between_two_others_is_found_missing(tmp_path: Path, sqlite_url: str) -> None:
    people = [{"email": f"{name}@x.example"} for name in ("ann", "ben", "cleo")]
    data = {"crm": people, "billing": []}
    entity = entity_text(_FIELDS, data, delete="detach")
    with rig(tmp_path / "mappings", sqlite_url, entity, data) as broker:
        broker.sync()
        broker.systems["crm"].remove("people", broker.ids("crm")[1])
        broker.clock.pass_(60)
        broker.sweep()
        assert [outcome.link for outcome in broker.outcomes("deleted")] == [2]
