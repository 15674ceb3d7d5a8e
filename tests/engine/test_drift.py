"""What only a sweep finds: its cause, and when it is in order again."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import answer
from syncbroker.store import drift
from tests.engine.conftest import Worlds
from tests.support.rig import Rig, entity_text

AT_REST = (0, 0, 0)
FIELDS = """  email: {type: email, systems: {crm: email, mkt: email}}
  name: {type: text, policy: prefer, systems: {crm: name, mkt: name}}
  city: {type: text, authority: crm, systems: {crm: city, mkt: city}}
"""
ANN = {"email": "ann@x.example", "name": "Ann", "city": "Riga"}


@pytest.fixture
def here(any_world: Worlds) -> Rig:
    here = any_world(FIELDS, {"crm": [ANN], "mkt": [ANN]}, delete="detach")
    here.sync()
    return here


def findings(here: Rig) -> list[drift.Finding]:
    with here.engine.store.read() as tx:
        return drift.newest(tx)


def told(here: Rig) -> list[tuple[str, str, str, bool]]:
    """(system, field, cause, healed?), oldest first."""
    return [(f.system, f.field, f.cause, f.healed is not None) for f in reversed(findings(here))]


def behind_the_back(here: Rig, system: str, **values: Any) -> None:
    """The vendor's data changes, and its version does not say so."""
    here.systems[system]._live["people"]["p000001"]["fields"].update(values)


def test_an_edit_that_no_event_or_poll_brought(here: Rig) -> None:
    here.edit("mkt", "p000001", name="Anna")
    here.sweep()
    assert told(here) == [("mkt", "name", "missed_event", True)]
    assert here.held("crm", "name") == ["Anna"]


def test_an_edit_that_may_not_decide(here: Rig) -> None:
    here.edit("mkt", "p000001", city="Oslo")
    here.sweep()
    assert told(here) == [("mkt", "city", "foreign_edit", True)]


def test_a_confirmed_write_that_the_vendor_lost(here: Rig) -> None:
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    behind_the_back(here, "mkt", city="Riga")
    here.sweep()
    assert told(here) == [("mkt", "city", "lost_write", True)]
    assert here.held("mkt", "city") == ["Oslo"]


def test_a_value_of_ours_that_the_vendor_rewrote(here: Rig) -> None:
    here.edit("crm", "p000001", name="Anna")
    here.sync()
    behind_the_back(here, "mkt", name="ANNA!")
    here.sweep()
    assert told(here) == [("mkt", "name", "rewritten_by_system", True)]


def test_another_way_of_writing_the_same_is_healed_as_it_is(here: Rig) -> None:
    here.edit("mkt", "p000001", email="Ann@X.example")
    before = here.writes()
    here.sweep()
    assert told(here) == [("mkt", "email", "format_only", True)]
    assert here.writes() == before


def test_a_record_that_is_gone(here: Rig) -> None:
    here.clock.pass_(60)
    here.systems["mkt"].remove("people", "p000001")
    here.sweep()
    assert told(here) == [("mkt", "", "deleted", True)]


def test_a_record_that_is_new(here: Rig) -> None:
    here.systems["mkt"].insert("people", {"email": "bob@x.example"})
    here.sweep()
    assert told(here) == [("mkt", "", "created", True)]


def test_a_field_that_the_mapping_reads_since_then(here: Rig) -> None:
    more = FIELDS + "  note: {type: text, policy: prefer, systems: {crm: note, mkt: note}}\n"
    here.systems["mkt"].edit("people", "p000001", {"note": "n"})
    here.sync()
    here.remap(entity_text(more, here.systems, delete="detach"))
    here.sweep()
    assert told(here) == [("mkt", "note", "mapping_changed", True)]


def test_what_a_poll_finds_is_no_drift(here: Rig) -> None:
    here.edit("mkt", "p000001", name="Anna")
    here.sync()
    here.sweep()
    assert told(here) == []


def test_what_the_first_reading_finds_is_no_drift_even_when_it_is_a_sweep(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN | {"name": "Anna"}]})
    here.sweep()
    assert told(here) == []


def test_a_finding_stays_open_until_a_person_has_answered(world: Worlds) -> None:
    fields = FIELDS.replace("policy: prefer", "policy: review")
    here = world(fields, {"crm": [ANN], "mkt": [ANN]})
    here.sync()
    here.edit("crm", "p000001", name="Anna")
    here.edit("mkt", "p000001", name="Anne")
    here.sweep()
    assert told(here) == [("crm", "name", "missed_event", False), ("mkt", "name", "missed_event", False)]
    (review,) = here.reviews()
    answer.answer(here.engine, review.id, "mkt", "eve")
    here.sync()
    assert {healed for *_, healed in told(here)} == {True}


def test_a_deletion_stays_open_until_the_record_is_there_again(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]}, delete="review")
    here.sync()
    kept = dict(here.systems["mkt"]._live["people"])
    here.clock.pass_(60)
    here.systems["mkt"].remove("people", "p000001")
    here.sweep()
    assert told(here) == [("mkt", "", "deleted", False)]
    here.systems["mkt"]._live["people"].update(kept)
    here.sweep()
    assert told(here)[0] == ("mkt", "", "deleted", True)


def test_the_same_sweep_again_finds_nothing(here: Rig) -> None:
    here.edit("mkt", "p000001", name="Anna")
    here.sweep()
    here.sweep()
    assert len(findings(here)) == 1
    assert here.quiet() == AT_REST


def test_counts_are_by_system_field_and_cause_and_since_a_time(here: Rig) -> None:
    here.edit("mkt", "p000001", name="Anna", city="Oslo")
    here.sweep()
    here.clock.pass_(86_400)
    later = here.clock()
    here.edit("mkt", "p000001", name="Anne")
    here.sweep()
    with here.engine.store.read() as tx:
        counted = [(c.field, c.cause, c.count, c.open) for c in drift.counts(tx)]
        recent = [(c.field, c.count) for c in drift.counts(tx, later)]
        runs = [(cause, many) for _, _, cause, many in drift.by_run(tx)]
    assert counted == [("city", "foreign_edit", 1, 0), ("name", "missed_event", 2, 0)]
    assert recent == [("name", 1)]
    assert runs == [("missed_event", 1), ("foreign_edit", 1), ("missed_event", 1)]


def test_the_ledger_holds_no_values(here: Rig) -> None:
    here.edit("mkt", "p000001", name="Anna-Secret")
    here.sweep()
    (finding,) = findings(here)
    assert set(finding.evidence) <= {"why", "stamp", "known", "actor"}
    assert "Secret" not in str(finding)
