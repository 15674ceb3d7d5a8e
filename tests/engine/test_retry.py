"""Work that was given up is due again when a person says so, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import retry
from syncbroker.engine.retry import KINDS, USUAL, Retried
from syncbroker.store import audit, backlog, deliveries, queues, runs, tables
from syncbroker.store.records import FAR
from syncbroker.store.runs import Breaker
from tests.engine.conftest import Worlds
from tests.support.deliveries import arrive
from tests.support.rig import Rig

FIELDS = """\
  email: {type: email, systems: {crm: email, mkt: email}}
  name: {type: text, authority: crm, systems: {crm: name, mkt: name}}
"""
ANN = {"email": "ann@x.example", "name": "Ann"}


@pytest.fixture
def here(any_world: Worlds) -> Rig:
    made = any_world(FIELDS, {"crm": [ANN], "mkt": [ANN]})
    made.sync()
    return made


def deliver(here: Rig, state: str) -> None:
    with here.engine.store.write() as tx:
        request = deliveries.Request(method="POST", url="x")
        number = arrive(tx, "crm", f"d-{state}", here.clock(), request, b"[]")
        tx.update(tables.deliveries, ["id"], ["state", "attempts"], [(state, 9, number)])


def set_aside(here: Rig) -> None:
    with here.engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, "crm", "people", [queues.Sighting(id="p000001", deleted=True)])
        tx.run(tables.inbox.update().values(error="ValueError in x at y", attempts=3, due=FAR))


def open_breaker(here: Rig) -> None:
    with here.engine.store.write() as tx:
        for name in ("crm", "crm/reads", "mkt"):
            runs.set_breaker(tx, name, Breaker(failures=9, open_until=FAR, message="down"))


def refuse(here: Rig, name: str) -> None:
    """Marketing takes no such name."""
    simulator = here.systems["mkt"]
    apply = simulator._apply

    def refusing(object_: str, op: str, one: Any) -> Any:
        if one.get("values", {}).get("name") == name:
            return {"key": one["key"], "status": "refused", "id": one.get("id"), "message": "no such name"}
        return apply(object_, op, one)

    simulator._apply = refusing  # type: ignore[method-assign]  # a vendor of its own ways


def entries(here: Rig) -> list[tuple[str, str, dict[str, Any]]]:
    with here.engine.store.read() as tx:
        return [(one.person, one.subject, one.body) for one in audit.entries(tx)]


@pytest.mark.parametrize("state", ["poison", "rejected"])
def test_deliveries_that_were_given_up_are_new_again(here: Rig, state: str) -> None:
    deliver(here, state)
    assert retry.retry(here.engine, ["crm"], [state], "Kim") == [Retried(system="crm", kind=state, count=1)]
    with here.engine.store.read() as tx:
        row = tx.run(tables.deliveries.select()).one()
    assert (row.state, row.attempts, row.due, row.error) == ("new", 0, 0, None)
    assert entries(here) == [("Kim", "crm", {"kind": state, "count": 1})]


def test_observations_that_were_set_aside_are_due_again(here: Rig) -> None:
    set_aside(here)
    assert [one.count for one in retry.retry(here.engine, ["crm", "mkt"], ["aside"], "Kim")] == [1]
    with here.engine.store.read() as tx:
        row = tx.run(tables.inbox.select()).one()
    assert (row.error, row.attempts, row.due) == (None, 0, 0)


def test_an_open_breaker_closes_for_all_calls_of_that_system_alone(here: Rig) -> None:
    open_breaker(here)
    assert [one.count for one in retry.retry(here.engine, ["crm"], ["breaker"], "Kim")] == [2]
    with here.engine.store.read() as tx:
        found = backlog.breakers(tx, ["crm", "mkt"])
    assert found["crm"] == []
    assert [name for name, _ in found["mkt"]] == ["mkt"]


def test_a_look_changes_nothing(here: Rig) -> None:
    deliver(here, "poison")
    set_aside(here)
    open_breaker(here)
    looked = retry.retry(here.engine, ["crm"], USUAL, "Kim", only_look=True)
    assert {one.kind: one.count for one in looked} == {"poison": 1, "aside": 1, "breaker": 2}
    assert looked == retry.retry(here.engine, ["crm"], USUAL, "Kim", only_look=True)
    assert entries(here) == []


def test_what_is_not_there_is_left_out(here: Rig) -> None:
    assert retry.retry(here.engine, ["crm", "mkt"], list(KINDS), "Kim") == []
    assert entries(here) == []


def test_a_refused_write_is_sent_again_under_the_persons_name(here: Rig) -> None:
    refuse(here, "Nobody")
    here.edit("crm", "p000001", name="Nobody")
    here.sync()
    assert [one.kind for one in here.reviews()] == ["refused"]
    here.systems["mkt"]._apply = type(here.systems["mkt"])._apply.__get__(here.systems["mkt"])  # type: ignore[method-assign]
    assert [one.count for one in retry.retry(here.engine, ["mkt"], ["refused"], "Kim")] == [1]
    here.sync()
    assert here.held("mkt", "name") == ["Nobody"]
    assert [one.why for one in here.outcomes("resolved_by_person")] == ["a person answered: retry"]
