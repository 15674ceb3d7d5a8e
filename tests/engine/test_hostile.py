"""Vendors and connectors that mean no good: the system that misbehaves is left alone, the others go on."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.core.types import Receipt
from syncbroker.engine import cycle
from syncbroker.sdk.connector import Account
from syncbroker.sdk.guarded import Guarded
from syncbroker.store import deliveries
from tests.engine.conftest import Worlds
from tests.support.deliveries import arrive
from tests.support.hostile_vendor import (
    AWFUL,
    CONNECTOR_MOODS,
    HostileConnector,
    make_hostile,
)
from tests.support.rig import Rig
from tests.support.toy_vendor import CREDENTIALS

FIELDS = """\
  email: {type: email, systems: {bad: email, crm: email, mkt: email}}
  name: {type: person_name, policy: prefer, systems: {bad: name, crm: name, mkt: name}}
  phone: {type: phone, policy: latest, systems: {bad: phone, crm: phone, mkt: phone}}
  status: {type: text, policy: longest, systems: {bad: status, crm: status, mkt: status}}
  tags: {type: tags, policy: union, systems: {bad: tags, crm: tags, mkt: tags}}
"""
PEOPLE = [{"email": f"p{n}@x.example", "name": f"Person {n}"} for n in range(4)]
AT_REST = (0, 0, 0)


def hostile(world: Rig, mood: str) -> None:
    """The connector of `bad` becomes one that keeps no promise."""
    good = world.engine.connectors["bad"]
    http = good._inner._http  # type: ignore[attr-defined]
    account = Account(
        system="bad",
        credentials=CREDENTIALS,
        options={"mood": mood},
        http=lambda *_, **__: http,
        now=world.clock,
    )
    world.engine.connectors["bad"] = Guarded(HostileConnector(account), "bad")


def go_on(world: Rig) -> None:
    """The good systems still agree on what is new."""
    world.edit("crm", "p000001", name="Ann Lee")
    for _ in range(3):
        world.sync()
        world.clock.pass_(60)
    assert world.held("mkt", "name")[0] == "Ann Lee"


@pytest.mark.parametrize("mood", CONNECTOR_MOODS)
def test_a_connector_that_breaks_its_contract_stops_nobody_else(world: Worlds, mood: str) -> None:
    here = world(FIELDS, {"bad": PEOPLE, "crm": PEOPLE, "mkt": PEOPLE}, create="always")
    hostile(here, mood)
    summary = here.sync()
    go_on(here)
    if mood in ("raises", "endless", "lies"):
        assert set(summary.failed) == {"bad"}
        assert "bad" not in summary.failed["bad"] or "p1@x.example" not in summary.failed["bad"]


@pytest.mark.parametrize("mood", CONNECTOR_MOODS)
def test_a_connector_that_goes_bad_later_loses_and_doubles_nothing(world: Worlds, mood: str) -> None:
    here = world(FIELDS, {"bad": PEOPLE, "crm": PEOPLE, "mkt": PEOPLE}, create="always")
    here.sync()
    good = here.engine.connectors["bad"]
    hostile(here, mood)
    here.systems["crm"].insert("people", {"email": "new@x.example", "name": "New One"})
    here.edit("bad", "p000002", name="Renamed Two")
    go_on(here)
    here.engine.connectors["bad"] = good
    for _ in range(3):
        here.clock.pass_(200)
        here.sync()
        here.sweep()
    assert [len(here.systems[name].records("people")) for name in here.systems] == [5, 5, 5]
    assert [sorted(here.held(name, "name")) for name in here.systems] == [
        sorted(here.held("crm", "name"))
    ] * 3
    assert "Renamed Two" in here.held("crm", "name")
    assert here.quiet() == AT_REST


@pytest.mark.parametrize("mood", ["shapes", "short", "repeats"])
def test_a_vendor_that_answers_nonsense_stops_nobody_else(world: Worlds, mood: str) -> None:
    here = world(FIELDS, {"bad": PEOPLE, "crm": PEOPLE, "mkt": PEOPLE}, create="always")
    here.sync()
    make_hostile(here.systems["bad"], mood, seed=5)
    go_on(here)
    here.systems["bad"].twist = None
    for _ in range(3):
        here.clock.pass_(200)
        here.sync()
        here.sweep()
    assert here.held("bad", "name") == here.held("crm", "name")
    assert here.quiet() == AT_REST


def test_awful_records_are_asked_about_or_taken_and_block_nobody(any_world: Worlds) -> None:
    here = any_world(FIELDS, {"bad": [dict(one) for one in AWFUL], "crm": PEOPLE, "mkt": PEOPLE})
    summary = here.sync()
    assert summary.failed == {}
    go_on(here)
    assert here.quiet() == AT_REST


def test_a_connectors_own_fault_is_told_without_quoting_what_it_read(world: Worlds) -> None:
    here = world(FIELDS, {"bad": PEOPLE, "crm": PEOPLE, "mkt": PEOPLE})
    hostile(here, "raises")
    summary = here.sync()
    assert summary.failed["bad"] == "the connector `hostile` failed in scan: KeyError"


def test_a_poisonous_delivery_is_left_and_others_are_dealt_with(world: Worlds) -> None:
    here = world(FIELDS, {"bad": PEOPLE, "crm": PEOPLE, "mkt": PEOPLE})
    here.sync()
    hostile(here, "raises")
    request = deliveries.Request(method="POST", url="http://x.example/")
    with here.engine.store.write() as tx:
        arrive(tx, "bad", "1", here.clock(), request, b"[]")
        arrive(tx, "crm", "2", here.clock(), request, b"{not json")
    cycle.receive_all(here.engine)
    with here.engine.store.read() as tx:
        assert deliveries.counts(tx) == {"new": 1, "rejected": 1}


def test_receipts_of_other_writes_prove_nothing(world: Worlds) -> None:
    here = world(FIELDS, {"bad": PEOPLE[:1], "crm": PEOPLE[:1], "mkt": []})
    here.sync()
    inner = here.engine.connectors["bad"]._inner  # type: ignore[attr-defined]

    class Mixed(Guarded):
        def write(self, object: str, writes: Any, paths: Any) -> list[Receipt]:
            inner.write(object, writes, paths)
            return [Receipt(key="nobody's", status="done", id="p999999")]

    here.engine.connectors["bad"] = Mixed(inner, "bad")
    here.edit("crm", "p000001", name="Ann Lee")
    here.sync()
    here.engine.connectors["bad"] = Guarded(inner, "bad")
    here.clock.pass_(60)
    here.sync()
    assert here.held("bad", "name") == ["Ann Lee"]
    assert [link.external_id for record in here.records() for link in record.links] == ["p000001", "p000001"]
    assert here.quiet() == AT_REST
