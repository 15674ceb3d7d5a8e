"""Records that a complete sweep did not meet, and tombstones that a person lifts."""

from __future__ import annotations

from pathlib import Path

from syncbroker.engine import answer
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


def test_a_detached_record_comes_back_once_a_person_lifts_its_tombstone(
    tmp_path: Path, sqlite_url: str
) -> None:
    data = {"crm": [{"email": "ann@x.example"}], "billing": []}
    with rig(tmp_path / "mappings", sqlite_url, entity_text(_FIELDS, data, delete="detach"), data) as broker:
        broker.sync()
        crm, gone = broker.systems["crm"], broker.ids("crm")[0]
        broker.clock.pass_(60)
        crm.remove("people", gone)
        broker.sweep()
        crm.insert("people", {"email": "ann@x.example"})
        broker.clock.pass_(60)
        broker.sync()
        back = broker.ids("crm")[0]
        linked = [link.external_id for link in broker.records()[0].links]
        assert linked == [back]  # another external id is another record of the vendor's
        assert answer.lift(broker.engine, "crm", "people", gone, "Kim") == 1
        assert answer.lift(broker.engine, "crm", "people", gone, "Kim") == 0
