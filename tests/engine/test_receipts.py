"""Every write that was confirmed, or refused for good, leaves a receipt: what, where, why and on whose behalf."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.sdk.simulator import Fault
from syncbroker.store import decisions, receipts
from syncbroker.store.receipts import Kept
from tests.engine.conftest import Worlds
from tests.engine.test_delivery import refuse
from tests.support.rig import Rig

EMAIL = "  email: {type: email, systems: {crm: email, mkt: email}}"
CITY = f"{EMAIL}\n  city: {{type: text, policy: prefer, empty: clear, systems: {{crm: city, mkt: city}}}}"
ANN = {"email": "ann@x.example", "city": "Riga"}
BOTH: dict[str, list[dict[str, Any]]] = {"crm": [ANN], "mkt": [ANN]}


def kept(world: Rig) -> list[Kept]:
    """Oldest first."""
    with world.engine.store.read() as tx:
        return receipts.following(tx)


def newest(world: Rig) -> Kept:
    return kept(world)[-1]


def test_an_update_leaves_a_receipt_with_the_decision_that_owed_it(any_world: Worlds) -> None:
    world = any_world(CITY, BOTH)
    world.sync()
    world.edit("crm", "p000001", city="Oslo")
    world.sync()
    (one,) = kept(world)
    with world.engine.store.read() as tx:
        owed_by = decisions.by_number(tx, one.body.decisions["city"])
    assert owed_by is not None
    assert [o.kind for o in owed_by.outcomes] == ["adopted"]
    assert (one.run, one.record_id) == (owed_by.run, owed_by.record_id)
    assert (one.op, one.body.system, one.body.object, one.body.status) == ("update", "mkt", "people", "done")
    assert one.body.values == {"city": "Oslo"}
    assert one.body.external_id == "p000001"
    assert (one.body.attempts, one.body.mapping) == (1, world.engine.mapping.version)
    assert one.body.key


def test_a_create_leaves_a_receipt_with_the_new_id(any_world: Worlds) -> None:
    world = any_world(CITY, {"crm": [ANN], "mkt": []}, create="always")
    world.sync()
    (one,) = kept(world)
    assert (one.op, one.body.external_id) == ("create", world.ids("mkt")[0])
    assert one.body.values == {"email": "ann@x.example", "city": "Riga"}
    with world.engine.store.read() as tx:
        owed_by = decisions.by_numbers(tx, list(one.body.decisions.values()))
    assert {decision.record_id for decision in owed_by.values()} == {one.record_id}


def test_a_delete_leaves_a_receipt(world: Worlds) -> None:
    there = world(CITY, BOTH, delete="propagate")
    there.sync()
    there.systems["crm"].remove("people", "p000001")
    there.sweep()
    one = newest(there)
    assert (one.op, one.body.system, one.body.status) == ("delete", "mkt", "done")


def test_a_refused_write_leaves_a_receipt_with_the_vendors_message(world: Worlds) -> None:
    there = world(CITY, BOTH)
    there.sync()
    refuse(there, "mkt", "Oslo")
    there.edit("crm", "p000001", city="Oslo")
    there.sync()
    (one,) = kept(there)
    assert (one.body.status, one.body.message) == ("refused", "city is not served")
    assert one.body.values == {"city": "Oslo"}


def test_what_the_system_made_of_the_value_is_in_the_receipt(world: Worlds) -> None:
    there = world(CITY, BOTH)
    there.sync()
    there.systems["mkt"].options["upper"] = ["city"]
    there.edit("crm", "p000001", city="Oslo")
    there.sync()
    shown = [one.body.shown for one in kept(there) if one.body.system == "mkt"]
    assert shown[-1] == {"city": "OSLO"}


def test_a_raw_value_that_was_sent_in_another_form_is_in_the_receipt(world: Worlds) -> None:
    choice = (
        "{type: choice, choices: {Lead: [lead]}, systems: {crm: vip, mkt: {field: vip, out: {Lead: L1}}}}"
    )
    vip = f"{EMAIL}\n  vip: {choice}"
    there = world(vip, {"crm": [{**ANN, "vip": "lead"}], "mkt": [ANN]})
    there.sync()
    assert newest(there).body.values == {"vip": "Lead"}
    assert newest(there).body.sent == {"vip": "L1"}


@pytest.mark.parametrize("conditional", [True, False])
def test_a_write_whose_answer_was_lost_is_receipted_once_it_is_seen(
    world: Worlds, people: Any, conditional: bool
) -> None:
    people(conditional=conditional)
    there = world(CITY, BOTH)
    there.sync()
    there.systems["mkt"].faults.append(Fault(operation="people.write", kind="drop_answer"))
    there.edit("crm", "p000001", city="Oslo")
    there.sync()
    there.clock.pass_(600)
    there.sync()
    (one,) = kept(there)
    assert (one.body.status, one.body.values) == ("seen", {"city": "Oslo"})


def test_a_create_whose_answer_was_lost_does_not_claim_to_have_made_what_was_found(world: Worlds) -> None:
    there = world(CITY, {"crm": [ANN], "mkt": []}, create="always")
    there.systems["mkt"].faults.append(Fault(operation="people.write", kind="drop_answer"))
    there.sync()
    there.clock.pass_(600)
    there.sync()
    (one,) = kept(there)
    assert (one.op, one.body.status, one.body.values) == ("create", "found", {})
    assert one.body.external_id == there.ids("mkt")[0]


def test_a_quiet_world_leaves_no_receipts(world: Worlds) -> None:
    there = world(CITY, BOTH)
    there.sync()
    before = len(kept(there))
    there.quiet()
    assert len(kept(there)) == before


def test_a_run_finds_the_writes_that_its_decisions_owed(any_world: Worlds) -> None:
    world = any_world(CITY, BOTH)
    world.sync()
    world.edit("crm", "p000001", city="Oslo")
    world.sync()
    one = newest(world)
    with world.engine.store.read() as tx:
        assert receipts.of_run(tx, one.run) == [one]
        assert receipts.of_run(tx, one.run, after=one.id) == []
        assert receipts.history(tx, one.record_id) == [one]
        assert receipts.history(tx, one.record_id, until=one.at - 1) == []
