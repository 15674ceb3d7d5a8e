"""Deliveries that wait together are dealt with together, and each as if it were alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from syncbroker.core.types import Event, Item
from syncbroker.engine import cycle, deliver, receive
from syncbroker.errors import BadDelivery
from syncbroker.sdk.connector import Delivery
from syncbroker.store import deliveries
from tests.engine.conftest import Worlds
from tests.support.deliveries import arrive
from tests.support.rig import Rig, entity_text
from tests.support.writing import write

FIELDS = """\
  email: {type: email, systems: {crm: email, mkt: email}}
  name: {type: text, policy: latest, authority: [crm, mkt], systems: {crm: name, mkt: name}}
"""
PEOPLE = [{"email": f"p{n}@x.example", "name": f"Name {n}"} for n in range(3)]
REQUEST = deliveries.Request(method="POST", url="http://x.example/")


def stored(world: Rig, *told: Sequence[Event], bad: int = -1, poison: int = -1) -> list[int]:
    """Each sequence of events as a delivery of the CRM, number `bad` unreadable, at `poison` the connector fails."""
    connector = world.engine.connectors["crm"]._inner  # type: ignore[attr-defined]  # inside what guards it

    def events(delivery: Delivery) -> list[Event]:
        number = int(delivery.body)
        if number == bad:
            raise BadDelivery("no JSON")
        if number == poison:
            raise KeyError("a fault of the connector")
        return list(told[number])

    connector.events = events  # type: ignore[method-assign]
    with world.engine.store.write() as tx:
        return [arrive(tx, "crm", str(n), world.clock(), REQUEST, str(n).encode()) for n in range(len(told))]


def changed(*ids: str) -> list[Event]:
    return [Event(object="people", id=id_, kind="changed") for id_ in ids]


@pytest.fixture
def here(world: Worlds) -> Rig:
    found = world(FIELDS, {"crm": PEOPLE, "mkt": PEOPLE})
    found.sync()
    return found


def reads(world: Rig) -> int:
    return sum(entry.operation == "people.read" for entry in world.systems["crm"].log)


def test_a_record_that_several_deliveries_name_is_read_once_and_all_of_them_are_done(here: Rig) -> None:
    for n in range(1, 4):
        here.edit("crm", f"p{n:06d}", name=f"New {n}")
    before = reads(here)
    numbers = stored(here, changed("p000001"), changed("p000002", "p000001"), changed("p000003"))
    assert receive.receive(here.engine, *numbers) == 3
    assert reads(here) == before + 1
    assert receive.receive(here.engine, *numbers) == 0
    cycle.settle(here.engine, cycle.Summary())
    assert here.held("mkt", "name") == ["New 1", "New 2", "New 3"]


def test_one_that_cannot_be_read_is_rejected_and_the_others_are_dealt_with(here: Rig) -> None:
    here.edit("crm", "p000002", name="New 2")
    numbers = stored(here, changed("p000001"), changed("p000002"), bad=0)
    assert receive.receive(here.engine, *numbers) == 1
    with here.engine.store.read() as tx:
        assert deliveries.counts(tx) == {"rejected": 1, "done": 1}


def test_ids_that_change_there_and_back_in_two_deliveries_are_taken_one_after_the_other(here: Rig) -> None:
    there, back = (
        Event(object="people", id=old, kind="rekeyed", new_id=new)
        for old, new in (("p000001", "p000009"), ("p000009", "p000001"))
    )
    here.edit("crm", "p000001", name="New 1")
    assert receive.receive(here.engine, *stored(here, [there], [back])) == 2
    cycle.settle(here.engine, cycle.Summary())
    assert here.held("mkt", "name")[0] == "New 1"


def test_only_the_system_that_is_asked_is_read_for_what_nobody_maps(here: Rig) -> None:
    unknown = [msgspec.structs.replace(one, object="ghosts") for one in changed("p000001")]
    here.edit("crm", "p000002", name="New 2")
    numbers = stored(here, unknown, changed("p000002"))
    assert receive.receive(here.engine, *numbers) == 1


def test_one_that_always_meets_a_fault_is_set_aside_and_holds_nobody_up(here: Rig) -> None:
    stored(here, changed("p000001"), changed("p000002"), changed("p000003"), poison=1)
    for _ in range(receive.TRIES):
        receive.receive_due(here.engine, "crm", lambda: None)
        here.clock.pass_(60)
    with here.engine.store.read() as tx:
        assert deliveries.counts(tx) == {"done": 2, "poison": 1}


def test_a_fault_is_tried_again_before_it_is_given_up(here: Rig) -> None:
    stored(here, changed("p000001"), poison=0)
    for _ in range(receive.TRIES - 1):
        receive.receive_due(here.engine, "crm", lambda: None)
        here.clock.pass_(60)
    stored_anew = here.engine.connectors["crm"]._inner  # type: ignore[attr-defined]  # as above
    stored_anew.events = lambda _delivery: changed("p000001")
    receive.receive_due(here.engine, "crm", lambda: None)
    with here.engine.store.read() as tx:
        assert deliveries.counts(tx) == {"done": 1}


# ---- what is known already ----


def test_an_echo_of_what_the_broker_wrote_leads_to_no_observation(here: Rig) -> None:
    here.edit("mkt", "p000001", name="New 1")
    here.sync()
    assert here.held("crm", "name")[0] == "New 1"
    assert receive.receive(here.engine, *stored(here, changed("p000001"))) == 0


def test_what_was_changed_back_before_the_change_was_decided_is_judged_after_it(here: Rig) -> None:
    there, back = stored(here, changed("p000001"), changed("p000001"))
    here.edit("crm", "p000001", name="New 1")
    assert receive.receive(here.engine, there) == 1
    here.edit("crm", "p000001", name="Name 0")
    assert receive.receive(here.engine, back) == 1
    cycle.settle(here.engine, cycle.Summary())
    assert here.held("mkt", "name")[0] == here.held("crm", "name")[0] == "Name 0"


def test_what_is_read_while_it_is_being_written_is_judged_after_the_write(here: Rig) -> None:
    here.edit("mkt", "p000001", name="New 1")
    cycle.pull_source(here.engine, here.engine.sources["mkt", "people"])
    claims = deliver.claim(here.engine, "crm", here.engine.now())
    assert receive.receive(here.engine, *stored(here, changed("p000001"))) == 1
    write(here.engine, claims)
    cycle.settle(here.engine, cycle.Summary())
    assert here.held("crm", "name")[0] == "New 1"


@pytest.mark.parametrize(("field", "new"), [("name", "New 1"), ("city", "Oslo")])
def test_what_is_being_written_for_any_entity_of_the_record_is_judged_after_the_write(
    world: Worlds, field: str, new: str
) -> None:
    fields = """\
  email:
    type: email
    systems: {crm: {field: email, direction: pull}, mkt: {field: email, direction: pull}}
  city: {type: text, policy: latest, authority: [crm, mkt], systems: {crm: city, mkt: city}}"""
    lead = entity_text(fields, ["crm", "mkt"]).replace("entity: person", "entity: lead")
    people = [{**one, "city": "Riga"} for one in PEOPLE]
    here = world(FIELDS, {"crm": people, "mkt": people}, more={"lead.yaml": lead})
    here.sync()
    here.edit("mkt", "p000001", **{field: new})
    cycle.pull_source(here.engine, here.engine.sources["mkt", "people"])
    (claim,) = deliver.claim(here.engine, "crm", here.engine.now())
    # one of the two links bears the fingerprint: the write of the other counts as well
    assert receive.receive(here.engine, *stored(here, changed("p000001"))) == 1
    write(here.engine, [claim])
    cycle.settle(here.engine, cycle.Summary())
    assert here.held("crm", field)[0] == new


@pytest.mark.parametrize(("shown", "times"), [("Name 0", 0), ("Old 0", 1)])
def test_a_body_without_a_version_that_shows_what_is_known_asks_for_no_read(
    world: Worlds, people: Any, shown: str, times: int
) -> None:
    people(stamp=None, conditional=False)
    here = world(FIELDS, {"crm": PEOPLE, "mkt": PEOPLE})
    here.sync()
    before = reads(here)
    body = Item(id="p000001", fields={"email": "p0@x.example", "name": shown})
    receive.receive(here.engine, *stored(here, [replace(one, item=body) for one in changed("p000001")]))
    assert reads(here) == before + times


def test_bodies_that_tell_different_things_of_one_record_ask_for_a_read(world: Worlds, people: Any) -> None:
    people(stamp=None, conditional=False)
    here = world(FIELDS, {"crm": PEOPLE, "mkt": PEOPLE})
    here.sync()
    here.edit("crm", "p000001", name="New 1")
    told = [
        Event(
            object="people",
            id="p000001",
            kind="changed",
            item=Item(id="p000001", fields={"email": "p0@x.example", "name": name}),
        )
        for name in ("New 1", "Name 0")  # out of order: the second one tells of what was before
    ]
    assert receive.receive(here.engine, *stored(here, *[[one] for one in told])) == 1
    cycle.settle(here.engine, cycle.Summary())
    assert here.held("mkt", "name")[0] == "New 1"
