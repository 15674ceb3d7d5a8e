"""A record that is gone at a vendor: what each delete policy makes of it, and who may bring it back."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import answer, cycle
from syncbroker.sdk.simulator import Edit, Fault
from syncbroker.store import deliveries, runs, tables
from tests.engine.conftest import Worlds
from tests.support.deliveries import arrive
from tests.support.rig import Rig
from tests.support.writing import write

FIELDS = """\
  email: {type: email, systems: {crm: email, mkt: email, sup: email}}
  city: {type: text, authority: [crm, mkt, sup], policy: prefer, systems: {crm: city, mkt: city, sup: city}}
"""
ANN = {"email": "ann@x.example", "city": "Riga"}
AT_REST = (0, 0, 0)


def opened(world: Worlds, delete: str, create: str = "always") -> Rig:
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN], "sup": [ANN]}, create=create, delete=delete)
    here.sync()
    return here


def waiting(world: Worlds, policy: str) -> Rig:
    """A world whose deletions wait for a week."""
    return opened(world, f"{{policy: {policy}, grace: 7d}}")


def left(world: Rig) -> list[int]:
    return [len(simulator.records("people")) for simulator in world.systems.values()]


def remove(world: Rig, system: str = "mkt") -> None:
    world.clock.pass_(60)
    world.systems[system].remove("people", world.ids(system)[0])
    world.sweep()


def graves(world: Rig) -> int:
    with world.engine.store.read() as tx:
        return len(tx.run(tables.tombstones.select()).all())


def test_a_detached_record_stays_away_from_the_system_that_deleted_it(world: Worlds) -> None:
    here = opened(world, "detach")
    remove(here)
    assert left(here) == [1, 0, 1]
    assert here.outcomes("deleted")[0].system == "mkt"
    assert graves(here) == 2
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    assert left(here) == [1, 0, 1]
    assert here.held("sup", "city") == ["Oslo"]
    assert here.quiet() == AT_REST


def test_a_deletion_is_propagated_where_the_mapping_says_so(any_world: Worlds) -> None:
    here = opened(any_world, "propagate")
    remove(here)
    assert left(here) == [0, 0, 0]
    assert [record.links for record in here.records()] == [()]
    assert here.quiet() == AT_REST


@pytest.mark.parametrize("conditional", [True, False])
def test_a_propagated_deletion_stops_before_an_edit_that_its_author_had_not_seen(
    world: Worlds, people: Any, conditional: bool
) -> None:
    people(conditional=conditional)
    here = opened(world, "propagate")
    here.systems["mkt"].remove("people", "p000001")
    here.systems["crm"].faults.append(
        Fault(
            kind="edit_before",
            operation="people.write" if conditional else "people.read",
            edit=Edit(object="people", id="p000001", changes={"city": "Oslo"}),
        )
    )
    here.clock.pass_(60)
    here.sweep()
    assert here.held("crm", "city") == ["Oslo"]


def test_a_deleted_record_is_made_again_where_the_mapping_says_so(world: Worlds) -> None:
    here = opened(world, "recreate")
    remove(here)
    assert left(here) == [1, 1, 1]
    assert here.ids("mkt") == ["p000002"]
    assert here.held("mkt", "city") == ["Riga"]
    assert graves(here) == 0
    assert here.quiet() == AT_REST


@pytest.mark.parametrize(
    ("choice", "records"), [("detach", [1, 0, 1]), ("propagate", [0, 0, 0]), ("recreate", [1, 1, 1])]
)
def test_a_person_decides_what_a_deletion_means(world: Worlds, choice: str, records: list[int]) -> None:
    here = opened(world, "review")
    remove(here)
    (review,) = here.reviews()
    assert (review.kind, review.system) == ("delete", "mkt")
    assert left(here) == [1, 0, 1]
    assert here.quiet() == AT_REST
    answer.answer(here.engine, review.id, choice, "pat")
    here.sync()
    assert left(here) == records
    assert here.reviews() == []
    assert here.quiet() == AT_REST


def test_while_a_deletion_waits_for_an_answer_the_other_systems_go_on(world: Worlds) -> None:
    here = opened(world, "review")
    remove(here)
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    assert here.held("sup", "city") == ["Oslo"]
    assert left(here) == [1, 0, 1]


@pytest.mark.parametrize("delete", ["detach", "propagate", "recreate"])
def test_a_deletion_by_somebody_who_had_not_seen_the_newest_value_is_asked_about(
    world: Worlds, delete: str
) -> None:
    here = opened(world, delete)
    here.edit("crm", "p000001", city="Oslo")
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])  # decided, not yet delivered
    here.clock.pass_(60)
    here.systems["mkt"].remove("people", "p000001")
    cycle.sweep_source(here.engine, here.engine.sources["mkt", "people"])
    (review,) = here.reviews()
    assert review.kind == "delete"
    assert "city" in review.body["why"]
    here.sync()
    assert left(here) == [1, 0, 1]
    assert here.held("sup", "city") == ["Oslo"]
    assert here.quiet() == AT_REST


def test_absence_from_a_page_is_no_deletion(world: Worlds) -> None:
    here = opened(world, "propagate")
    simulator = here.systems["mkt"]
    simulator._shown["people"] = {}  # the list is empty, and says so proudly
    simulator.clock_ = None  # type: ignore[attr-defined]  # nothing else about it changes
    real = dict(simulator._live["people"])
    here.engine.connectors["mkt"].read = lambda object_, ids, paths: []  # type: ignore[attr-defined, method-assign]  # it knows nothing
    here.clock.pass_(60)
    here.sweep()
    assert real == simulator._live["people"]
    assert left(here) == [1, 1, 1]
    assert here.kinds().get("deleted", 0) == 0


def test_a_record_that_is_there_again_closes_the_review(world: Worlds) -> None:
    here = opened(world, "review")
    simulator = here.systems["mkt"]
    kept = dict(simulator._live["people"])
    remove(here)
    assert len(here.reviews()) == 1
    simulator._live["people"].update(kept)
    here.sweep()
    assert here.reviews() == []
    here.edit("mkt", "p000001", city="Oslo")
    here.sync()
    assert here.held("crm", "city") == ["Oslo"]
    assert here.quiet() == AT_REST


def test_a_tombstone_keeps_the_old_id_out_and_lets_a_new_record_of_a_person_in(world: Worlds) -> None:
    here = opened(world, "detach", create="never")
    simulator = here.systems["mkt"]
    kept = dict(simulator._live["people"])
    remove(here)
    simulator._live["people"].update(kept)  # an old backup is played in
    here.sweep()
    with here.engine.store.read() as tx:
        assert runs.counters(tx)["tombstoned", "mkt", "people"] == 1
    assert [len(record.links) for record in here.records()] == [2]
    simulator._live["people"].clear()
    simulator.insert("people", ANN | {"city": "Turku"})
    here.sync()
    assert [len(record.links) for record in here.records()] == [3]


def test_a_recreated_record_lifts_the_tombstone_of_an_earlier_detachment(world: Worlds) -> None:
    here = opened(world, "review")
    remove(here)
    answer.answer(here.engine, here.reviews()[0].id, "detach", "pat")
    here.systems["mkt"].insert("people", ANN)  # somebody enters the person again
    here.sync()
    assert left(here) == [1, 1, 1]
    remove(here)
    answer.answer(here.engine, here.reviews()[0].id, "recreate", "pat")
    here.sync()
    assert left(here) == [1, 1, 1]
    assert here.quiet() == AT_REST


def test_a_deletion_that_is_propagated_waits_for_a_write_under_way(world: Worlds) -> None:
    """The write's answer must not be taken for the end of the deletion."""
    here = opened(world, "propagate")
    here.edit("sup", "p000001", city="Oslo")
    cycle.pull_source(here.engine, here.engine.sources["sup", "people"])
    from syncbroker.engine import deliver

    now = here.engine.now()
    claims = deliver.claim(here.engine, "crm", now)
    deliver.deliver_some(here.engine, "mkt", now)
    here.systems["mkt"].remove("people", "p000001")
    here.clock.pass_(60)
    cycle.sweep_source(here.engine, here.engine.sources["mkt", "people"])
    write(here.engine, deliver.recheck(here.engine, claims))
    here.sync()
    assert left(here) == [0, 0, 0]
    assert here.quiet() == AT_REST


def test_reviews_about_a_link_that_ended_close(world: Worlds) -> None:
    text = FIELDS.replace("type: text", "type: phone")
    here = world(
        text,
        {"crm": [{"email": "ann@x.example"}], "mkt": [{"email": "ann@x.example", "city": "12"}], "sup": []},
        delete="detach",
    )
    here.sync()
    assert [review.kind for review in here.reviews()] == ["invalid"]
    remove(here)
    assert here.reviews() == []


def test_an_event_about_a_deletion_is_proven_by_reading(world: Worlds) -> None:
    here = opened(world, "detach")
    request = deliveries.Request(method="POST", url="http://x.example/")
    body = (
        b'[{"event": "e1", "object": "people", "id": "p000001", "kind": "deleted", '
        b'"at": 1, "record": null, "into": null}]'
    )
    with here.engine.store.write() as tx:
        arrive(tx, "mkt", "1", here.clock(), request, body)
    cycle.receive_all(here.engine)
    here.sync()
    assert here.kinds().get("deleted", 0) == 0  # it is still there
    here.systems["mkt"].remove("people", "p000001")
    with here.engine.store.write() as tx:
        arrive(tx, "mkt", "2", here.clock(), request, body)
    cycle.receive_all(here.engine)
    here.sync()
    assert here.kinds()["deleted"] == 1
    assert here.quiet() == AT_REST


@pytest.mark.parametrize(("choice", "records"), [("keep", [1, 0, 1]), ("propagate", [0, 0, 0])])
def test_a_person_decides_between_a_deletion_and_an_edit_that_it_had_not_seen(
    any_world: Worlds, choice: str, records: list[int]
) -> None:
    here = opened(any_world, "propagate")
    here.systems["mkt"].remove("people", "p000001")
    cycle.sweep_source(here.engine, here.engine.sources["mkt", "people"])
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    (review,) = here.reviews()
    assert (review.kind, review.system, left(here)) == ("delete", "crm", [1, 0, 1])
    assert here.held("sup", "city") == ["Oslo"]
    assert here.quiet() == AT_REST
    answer.answer(here.engine, review.id, choice, "pat")
    here.sync()
    assert left(here) == records
    assert here.reviews() == []
    assert here.quiet() == AT_REST


# ------------------------------------------------------------------------------------------------ grace


@pytest.mark.parametrize(
    ("policy", "records"), [("detach", [1, 0, 1]), ("propagate", [0, 0, 0]), ("recreate", [1, 1, 1])]
)
def test_a_deletion_takes_effect_when_its_grace_is_over(
    any_world: Worlds, policy: str, records: list[int]
) -> None:
    here = waiting(any_world, policy)
    remove(here)
    here.clock.pass_(6 * 86_400)
    here.sweep()
    assert left(here) == [1, 0, 1]
    here.clock.pass_(86_400)
    cycle.settle(here.engine, cycle.Summary())
    assert left(here) == records
    assert here.outcomes("deleted")[0].why == f"the link's delete policy is {policy}, and its grace is over"
    assert here.quiet() == AT_REST


def test_a_deletion_that_waits_is_a_decision_that_says_until_when(world: Worlds) -> None:
    here = waiting(world, "propagate")
    remove(here)
    (outcome,) = here.outcomes("delete_queued")
    assert outcome.why == "the link's delete policy, propagate, applies in 7 days unless it reappears"
    assert (here.reviews(), here.quiet()) == ([], AT_REST)


@pytest.mark.parametrize("policy", ["detach", "propagate", "recreate", "review"])
def test_a_record_that_reappears_within_the_grace_is_as_if_nothing_had_been(
    any_world: Worlds, policy: str
) -> None:
    here = waiting(any_world, policy)
    kept = dict(here.systems["mkt"]._live["people"])
    remove(here)
    here.clock.pass_(5 * 86_400)
    here.systems["mkt"]._live["people"].update(kept)
    here.sweep()
    here.clock.pass_(5 * 86_400)
    here.sweep()
    assert left(here) == [1, 1, 1]
    assert (here.outcomes("deleted"), here.reviews(), graves(here)) == ([], [], 0)
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    assert here.held("mkt", "city") == ["Oslo"]
    assert here.quiet() == AT_REST


def test_an_edit_elsewhere_during_the_grace_competes_with_the_deletion(world: Worlds) -> None:
    here = waiting(world, "propagate")
    remove(here)
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    here.clock.pass_(8 * 86_400)
    here.sync()
    assert left(here) == [1, 0, 1]
    (review,) = here.reviews()
    assert (review.kind, review.body["why"]) == (
        "delete",
        "deleted by somebody who had not seen the newest city",
    )


def test_a_deletion_that_is_asked_about_is_asked_about_after_its_grace(world: Worlds) -> None:
    here = waiting(world, "review")
    remove(here)
    assert here.reviews() == []
    here.clock.pass_(8 * 86_400)
    here.sync()
    assert [one.kind for one in here.reviews()] == ["delete"]
    assert here.quiet() == AT_REST
