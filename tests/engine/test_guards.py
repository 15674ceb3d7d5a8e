"""Guards: a run that passes a limit is held, nothing of it is written, and a person lets it go.

Whether something was written is judged by the systems' own logs of requests.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import json

from syncbroker.engine import answer, cycle, deliver, ingest, intake, measure
from syncbroker.errors import BadAnswer
from syncbroker.store import decisions, deliveries, guards, queues, runs
from syncbroker.store.decisions import Review
from tests.engine.conftest import Worlds
from tests.support.deliveries import arrive
from tests.support.rig import Rig, entity_text
from tests.support.writing import write

FIELDS = """\
  email: {type: email, required: true, systems: {crm: email, mkt: email}}
  city: {type: text, authority: [crm, mkt], policy: prefer, empty: clear, systems: {crm: city, mkt: city}}
  name: {type: text, systems: {crm: name}}
"""
MANY = 8


def people(count: int = MANY, **fields: Any) -> list[dict[str, Any]]:
    return [{"email": f"p{n}@x.example", "city": f"Town {n}", **fields} for n in range(1, count + 1)]


def opened(
    world: Worlds,
    guard: str,
    *,
    crm: int = MANY,
    mkt: int = MANY,
    create: str = "never",
    delete: str = "propagate",
) -> Rig:
    text = entity_text(FIELDS, ["crm", "mkt"], create=create, delete=delete)
    text = text.replace("match:\n", f"guard: {{{guard}}}\nmatch:\n")
    return world(FIELDS, {"crm": people(crm), "mkt": people(mkt)}, entity=text)


def synced(world: Worlds, guard: str, **given: Any) -> Rig:
    here = opened(world, guard, **given)
    here.sync()
    assert [one for one in here.reviews() if one.kind == "guard"] == []
    return here


def ids(count: int) -> list[str]:
    return [f"p{n:06d}" for n in range(1, count + 1)]


def change(here: Rig, count: int, system: str = "crm", **fields: Any) -> None:
    for n, id_ in enumerate(ids(count)):
        here.edit(system, id_, **(fields or {"city": f"New {n}"}))


def remove(here: Rig, count: int, system: str = "crm") -> None:
    for id_ in ids(count):
        here.systems[system].remove("people", id_)


def the_review(here: Rig) -> Review:
    (found,) = [one for one in here.reviews() if one.kind == "guard"]
    return found


def held(here: Rig) -> list[runs.Run]:
    with here.engine.store.read() as tx:
        return runs.held(tx)


def resolve(here: Rig, choice: str, *only: str, person: str = "pat") -> None:
    answer.answer(here.engine, the_review(here).id, choice, person, only=only)


def cursor(here: Rig, system: str = "crm") -> str | None:
    with here.engine.store.read() as tx:
        return runs.cursor(tx, system, "people").cursor


# ------------------------------------------------------------------------------------------------- input


@pytest.mark.parametrize(
    ("guard", "limit", "edit", "how"),
    [
        ("changed: 3%", 3, change, "sync"),
        ("changed: 3%", 3, change, "sweep"),
        ("emptied: 2%", 2, lambda here, n: change(here, n, city=None), "sync"),
        ("emptied: 2%", 2, lambda here, n: change(here, n, city=None), "sweep"),
        ("deleted: 2", 2, remove, "sweep"),
        ("collapse: 3", 3, lambda here, n: change(here, n, city="Metropolis"), "sync"),
        ("collapse: 3", 3, lambda here, n: change(here, n, city="Metropolis"), "sweep"),
    ],
    ids=["changed", "changed-s", "emptied", "emptied-s", "deleted-s", "collapse", "collapse-s"],
)
def test_a_run_beyond_a_limit_is_held_and_nothing_of_it_is_written(
    any_world: Worlds, guard: str, limit: int, edit: Any, how: str
) -> None:
    what = guard.partition(":")[0]
    here = synced(any_world, guard)
    writes, before = here.writes(), cursor(here)
    edit(here, limit + 1)
    getattr(here, how)()
    review = the_review(here)
    (run,) = held(here)
    assert review.body["limits"][0]["what"] == what
    assert review.body["limits"][0]["found"] == limit + 1
    assert review.body["limits"][0]["place"].endswith("person.yaml:5")
    assert (run.held and run.held.review, review.body["run"]) == (review.id, run.id)
    assert here.writes() == writes
    assert cursor(here) == before
    assert [o.review for o in here.outcomes("run_held")] == [review.id]
    assert set(here.golden("city")) == {f"Town {n}" for n in range(1, MANY + 1)}


@pytest.mark.parametrize(
    ("guard", "limit", "edit"),
    [
        ("changed: 3%", 3, change),
        ("emptied: 2%", 2, lambda here, n: change(here, n, city=None)),
        ("deleted: 2", 2, remove),
        ("collapse: 3", 3, lambda here, n: change(here, n, city="Metropolis")),
    ],
    ids=["changed", "emptied", "deleted", "collapse"],
)
def test_a_run_at_its_limit_is_not_held(any_world: Worlds, guard: str, limit: int, edit: Any) -> None:
    here = synced(any_world, guard)
    edit(here, limit)
    here.sweep()
    assert held(here) == []
    assert here.held("mkt", "city") == here.held("crm", "city")
    assert here.quiet() == (0, 0, 0)


def test_the_review_shows_few_samples_with_their_values_before_and_after(world: Worlds) -> None:
    here = synced(world, "changed: 3%", crm=15, mkt=15)
    change(here, 14)
    here.sync()
    body = the_review(here).body
    assert len(body["samples"]) == 10
    assert body["samples"][0]["name"] == "crm:people:p000001"
    assert body["samples"][0]["fields"] == {"city": ["Town 1", "New 0"]}
    assert body["limits"][0]["text"] == "14 of 100 records of crm people would be changed; the limit is 3%"


def test_a_run_of_few_changes_is_let_go_without_being_weighed(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = synced(world, "changed: 3%")
    monkeypatch.setattr(measure, "staged", None)
    change(here, 3)
    here.sync()
    assert here.held("mkt", "city")[:3] == ["New 0", "New 1", "New 2"]


def test_polls_while_a_run_is_held_do_not_pile_up_and_the_newest_observation_wins(any_world: Worlds) -> None:
    here = synced(any_world, "changed: 3%")
    change(here, 4)
    here.sync()
    first = the_review(here)
    for n in range(3):
        here.edit("crm", "p000001", city=f"Newest {n}")
        here.edit("crm", "p000007", city=f"Other {n}")
        here.sync()
    assert the_review(here).id == first.id
    assert the_review(here).body["limits"][0]["found"] == 5
    (run,) = held(here)
    with here.engine.store.read() as tx:
        assert queues.inbox_size(tx) == queues.inbox_size(tx, run.id) == 5
    resolve(here, "approve")
    here.sync()
    assert here.held("mkt", "city")[0] == "Newest 2"


def test_a_sweep_joins_the_run_that_a_poll_had_held(world: Worlds) -> None:
    here = synced(world, "changed: 3%, deleted: 2")
    change(here, 4)
    here.sync()
    here.systems["crm"].remove("people", "p000008")
    here.sweep()
    (run,) = held(here)
    assert the_review(here).body["count"] == 5
    resolve(here, "approve")
    here.sync()
    assert [one["fields"]["email"] for one in here.systems["mkt"].records("people")][-1] == "p7@x.example"
    assert here.quiet() == (0, 0, 0)
    assert run.held is not None


def test_a_run_that_the_vendor_puts_right_goes_by_itself(any_world: Worlds) -> None:
    here = synced(any_world, "changed: 3%")
    change(here, 4)
    here.sync()
    number = the_review(here).id
    for n, id_ in enumerate(ids(3), 1):
        here.edit("crm", id_, city=f"Town {n}")
    here.sync()
    assert held(here) == []
    with here.engine.store.read() as tx:
        review = decisions.review(tx, number)
    assert review is not None
    assert review.person == "within the limits again"
    assert here.held("mkt", "city")[:4] == ["Town 1", "Town 2", "Town 3", "New 3"]
    assert here.quiet() == (0, 0, 0)


def test_an_approved_run_is_decided_and_its_cursor_moves(any_world: Worlds) -> None:
    here = synced(any_world, "collapse: 3")
    before = cursor(here)
    change(here, 5, city="Metropolis")
    here.sync()
    resolve(here, "approve")
    assert here.held("mkt", "city")[0] == "Town 1"
    cycle.settle(here.engine, cycle.Summary())
    assert here.held("mkt", "city")[:5] == ["Metropolis"] * 5
    assert cursor(here) != before
    assert [o.why for o in here.outcomes("resolved_by_person")] == [
        "a person approved 5 observations of run 3"
    ]
    assert here.quiet() == (0, 0, 0)


def test_a_part_can_be_approved_and_the_rest_waits_with_a_review_of_its_own(any_world: Worlds) -> None:
    here = synced(any_world, "collapse: 3")
    change(here, 5, city="Metropolis")
    here.sync()
    first = the_review(here).id
    resolve(here, "approve", "crm:people:p000001", "crm:people:p000002", "crm:people:p000003")
    here.sync()
    assert here.held("mkt", "city")[:5] == ["Metropolis"] * 3 + ["Town 4", "Town 5"]
    assert the_review(here).id != first
    assert the_review(here).body["count"] == 2
    here.sync()
    assert here.held("mkt", "city")[3] == "Town 4"  # within the limits, and yet it is a person's to say
    resolve(here, "approve")
    here.sync()
    assert here.held("mkt", "city")[:5] == ["Metropolis"] * 5
    assert here.quiet() == (0, 0, 0)


def test_what_is_dropped_is_not_read_by_polls_again_and_found_by_the_next_sweep(any_world: Worlds) -> None:
    here = synced(any_world, "changed: 3%")
    change(here, 4)
    here.sync()
    resolve(here, "drop")
    here.edit("crm", "p000008", city="Elsewhere")
    here.sync()
    assert held(here) == []
    assert here.held("mkt", "city")[0] == "Town 1"
    assert here.held("mkt", "city")[7] == "Elsewhere"
    here.sweep()
    assert the_review(here).body["limits"][0]["found"] == 4


def test_a_part_can_be_dropped(world: Worlds) -> None:
    here = synced(world, "changed: 3%")
    change(here, 4)
    here.sync()
    resolve(here, "drop", "crm:people:p000001")
    resolve(here, "approve")
    cycle.settle(here.engine, cycle.Summary())
    assert here.held("mkt", "city")[:4] == ["Town 1", "New 1", "New 2", "New 3"]


def test_a_name_that_is_not_held_is_refused(world: Worlds) -> None:
    here = synced(world, "changed: 3%")
    change(here, 4)
    here.sync()
    with pytest.raises(BadAnswer, match="crm:people:p000008"):
        resolve(here, "approve", "crm:people:p000001", "crm:people:p000008")
    assert the_review(here).body["count"] == 4


def test_two_people_cannot_both_answer(world: Worlds) -> None:
    here = synced(world, "changed: 3%")
    change(here, 4)
    here.sync()
    number = the_review(here).id
    answer.answer(here.engine, number, "approve", "pat")
    with pytest.raises(BadAnswer, match="was closed: pat"):
        answer.answer(here.engine, number, "drop", "kim")


def test_an_answer_to_what_has_changed_since_is_refused(world: Worlds) -> None:
    here = synced(world, "changed: 3%")
    change(here, 4)
    here.sync()
    seen = decisions.token(the_review(here))
    here.edit("crm", "p000008", city="Elsewhere")
    here.sync()
    with pytest.raises(BadAnswer, match="has changed"):
        answer.answer(here.engine, the_review(here).id, "approve", "pat", seen=seen)


def test_a_first_read_is_not_weighed(world: Worlds) -> None:
    here = opened(world, "changed: 0%, emptied: 0%, deleted: 0, collapse: 0")
    here.sync()
    assert held(here) == []


def test_other_objects_go_on_while_a_run_is_held(world: Worlds) -> None:
    here = synced(world, "changed: 3%")
    change(here, 4)
    here.sync()
    here.edit("mkt", "p000008", city="Elsewhere")
    here.sync()
    assert here.held("crm", "city")[7] == "Elsewhere"


def test_nothing_is_written_over_what_a_held_run_has_seen(any_world: Worlds) -> None:
    """The other system's edit of the same record waits for the answer; then the two compete."""
    here = synced(any_world, "changed: 3%")
    change(here, 4)
    here.sync()
    writes = here.writes()
    here.edit("mkt", "p000001", city="Marketing")
    here.sync()
    assert here.writes() == writes
    assert here.held("crm", "city")[0] == "New 0"
    resolve(here, "approve")
    here.sync()
    assert here.held("crm", "city")[0] == here.held("mkt", "city")[0] == "New 0"
    assert here.quiet() == (0, 0, 0)


# ------------------------------------------------------------------------------------------------ output


def test_a_first_load_that_would_create_too_much_is_held(any_world: Worlds) -> None:
    here = opened(any_world, "created: 4", mkt=3, create="always")
    here.sync()
    assert here.writes() == 0
    review = the_review(here)
    assert review.body["waits"] == "pushes"
    assert review.body["limits"][0]["text"] == "5 records of mkt people would be created; the limit is 4"
    assert {one["fields"]["city"][0] for one in review.body["samples"]} == {None}
    assert here.quiet() == (0, 0, 0)
    resolve(here, "approve")
    here.sync()
    assert len(here.ids("mkt")) == MANY
    assert here.quiet() == (0, 0, 0)


def test_a_first_load_at_the_limit_is_written(world: Worlds) -> None:
    here = opened(world, "created: 5", mkt=3, create="always")
    here.sync()
    assert held(here) == []
    assert len(here.ids("mkt")) == MANY


def test_a_part_of_the_held_writes_can_be_approved(any_world: Worlds) -> None:
    here = opened(any_world, "created: 4", mkt=3, create="always")
    here.sync()
    name = the_review(here).body["samples"][0]["name"]
    resolve(here, "approve", name)
    here.sync()
    assert len(here.ids("mkt")) == 4
    assert the_review(here).body["count"] == 4
    resolve(here, "approve")
    here.sync()
    assert len(here.ids("mkt")) == MANY
    assert here.quiet() == (0, 0, 0)


@pytest.mark.parametrize(
    ("guard", "what"), [("changed: 3%", "changed"), ("emptied: 3%", "emptied"), ("deleted: 3", "deleted")]
)
def test_writes_of_a_run_beyond_a_limit_are_held(
    any_world: Worlds, monkeypatch: pytest.MonkeyPatch, guard: str, what: str
) -> None:
    """Without the input guards, which ask first."""
    here = synced(any_world, guard)
    monkeypatch.setattr(intake, "_can_trip", lambda *_: False)
    writes = here.writes()
    if what == "deleted":
        remove(here, 4)
    else:
        change(here, 4, city=None if what == "emptied" else "Metropolis")
    here.sweep()
    review = the_review(here)
    assert (review.body["waits"], review.body["limits"][0]["what"]) == ("pushes", what)
    assert review.body["limits"][0]["system"] == "mkt"
    assert here.writes() == writes
    assert here.quiet() == (0, 0, 0)
    resolve(here, "approve")
    here.sync()
    assert here.held("mkt", "city") == here.held("crm", "city")
    assert here.quiet() == (0, 0, 0)


def test_held_writes_survive_later_edits_of_the_same_record(world: Worlds) -> None:
    here = opened(world, "created: 4", mkt=3, create="always")
    here.sync()
    here.edit("crm", "p000008", city="Elsewhere")
    here.sync()
    assert here.writes() == 0
    resolve(here, "approve")
    here.sync()
    assert "Elsewhere" in here.held("mkt", "city")


def test_held_writes_that_are_no_longer_owed_are_withdrawn(world: Worlds) -> None:
    here = opened(world, "created: 4", mkt=3, create="always")
    here.sync()
    here.clock.pass_(1)
    here.systems["mkt"].insert("people", {"email": "p8@x.example", "city": "Town 8"})
    here.sync()
    with here.engine.store.read() as tx:
        assert queues.outbox_counts(tx) == {("mkt", "staged"): 4}
    assert here.writes() == 0


def test_to_drop_writes_is_to_undo_their_decisions(any_world: Worlds) -> None:
    """What a run decided goes back; here the run that is held is the one that had read the edits."""
    here = synced(any_world, "changed: 3%")
    change(here, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "_can_trip", lambda *_: False)
        here.sync()
    assert the_review(here).body["waits"] == "pushes"
    resolve(here, "drop")
    here.sync()
    towns = ["Town 1", "Town 2", "Town 3", "Town 4"]
    assert (here.held("mkt", "city")[:4], here.held("crm", "city")[:4]) == (towns, towns)
    assert here.quiet() == (0, 0, 0)


def test_a_first_load_that_is_dropped_writes_nothing(any_world: Worlds) -> None:
    here = opened(any_world, "changed: 3%")
    change(here, 4)
    here.sync()
    assert the_review(here).body["waits"] == "pushes"
    resolve(here, "drop")
    here.sync()
    assert (here.writes(), here.quiet()) == (0, (0, 0, 0))
    here.edit("crm", "p000001", city="Elsewhere")  # from now on it is an edit like any other
    here.sync()
    assert here.held("mkt", "city")[:2] == ["Elsewhere", "Town 2"]


def test_what_later_edits_owe_is_asked_about_again_when_a_run_is_dropped(world: Worlds) -> None:
    here = opened(world, "changed: 3%")
    change(here, 4)
    here.sync()
    here.edit("crm", "p000002", city="Later")
    here.sync()
    resolve(here, "drop")
    here.sync()
    assert here.writes() == 0  # what is left of it is asked about once more
    resolve(here, "approve")
    here.sync()
    assert here.held("mkt", "city")[:3] == ["Town 1", "Later", "Town 3"]


def test_creates_that_are_dropped_are_never_made(any_world: Worlds) -> None:
    here = opened(any_world, "created: 4", mkt=3, create="always")
    here.sync()
    resolve(here, "drop")
    here.sync()
    assert len(here.ids("mkt")) == 3
    assert here.quiet() == (0, 0, 0)
    here.edit("crm", "p000007", city="Elsewhere")
    here.sync()
    assert len(here.ids("mkt")) == 3


def test_deletions_that_are_dropped_leave_what_they_would_delete(any_world: Worlds) -> None:
    here = synced(any_world, "deleted: 2")
    remove(here, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "_can_trip", lambda *_: False)
        here.sweep()
    assert the_review(here).body["waits"] == "pushes"
    resolve(here, "drop")
    here.sync()
    assert len(here.ids("mkt")) == MANY
    assert here.quiet() == (0, 0, 0)


def test_a_mapping_change_that_would_rewrite_a_system_is_held(world: Worlds) -> None:
    text = entity_text(FIELDS, ["crm", "mkt"]).replace("match:\n", "guard: {changed: 3%}\nmatch:\n")
    assert "mkt: city" in text
    read_only = text.replace("mkt: city", "mkt: {field: city, direction: pull}")
    here = world(FIELDS, {"crm": people(), "mkt": people()}, entity=read_only)
    here.sync()
    for ids_ in (ids(3), ids(6)[3:]):  # three at a time are within the limit
        for id_ in ids_:
            here.edit("crm", id_, city=f"New {id_}")
        here.sync()
    before = here.writes()
    here.remap(text)
    here.sync()
    review = the_review(here)
    assert (review.body["waits"], review.body["count"]) == ("pushes", 6)
    assert here.writes() == before


def test_what_follows_a_write_under_way_is_held_with_its_run(
    any_world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write was claimed before the run was decided; the run's value may not go out behind it."""
    here = synced(any_world, "changed: 1%")
    monkeypatch.setattr(intake, "_can_trip", lambda *_: False)
    source = here.engine.sources["crm", "people"]
    here.edit("crm", "p000001", city="First")
    cycle.pull_source(here.engine, source)
    claims = deliver.claim(here.engine, "mkt", here.clock())
    change(here, 3)
    cycle.pull_source(here.engine, source)
    assert the_review(here).body["count"] == 2
    write(here.engine, deliver.recheck(here.engine, claims))
    here.sync()
    assert here.held("mkt", "city")[:3] == ["First", "Town 2", "Town 3"]
    with here.engine.store.read() as tx:
        assert queues.outbox_counts(tx) == {("mkt", "staged"): 3}
    resolve(here, "approve")
    here.sync()
    assert here.held("mkt", "city")[:3] == ["New 0", "New 1", "New 2"]
    assert here.quiet() == (0, 0, 0)


def test_a_write_that_was_owed_before_does_not_carry_what_is_held(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = synced(world, "changed: 1%")
    monkeypatch.setattr(intake, "_can_trip", lambda *_: False)
    source = here.engine.sources["crm", "people"]
    here.edit("crm", "p000001", city="First")
    cycle.pull_source(here.engine, source)
    writes = here.writes()
    change(here, 3)
    cycle.pull_source(here.engine, source)
    here.sync()
    assert here.writes() == writes
    resolve(here, "approve")
    here.sync()
    assert here.held("mkt", "city")[:3] == ["New 0", "New 1", "New 2"]


# --------------------------------------------------------------------------------------------- webhooks


def tell(here: Rig, count: int, *, first: int = 1, system: str = "crm", kind: str = "changed") -> None:
    """A webhook delivery for each of these people."""
    for id_ in ids(first + count - 1)[first - 1 :]:
        event = {"event": f"{id_}-{here.clock()}", "object": "people", "id": id_, "kind": kind}
        body = json.encode([{**event, "at": 1, "record": None, "into": None}])
        with here.engine.store.write() as tx:
            request = deliveries.Request(method="POST", url="x")
            arrive(tx, system, event["event"], here.clock(), request, body)
        cycle.receive_all(here.engine)
        cycle.settle(here.engine, cycle.Summary())


def test_webhooks_beyond_the_window_go_to_a_held_run(any_world: Worlds) -> None:
    here = synced(any_world, "changed: 3%")
    change(here, 6)
    tell(here, 6)
    assert here.held("mkt", "city")[:6] == ["New 0", "New 1", "New 2", "Town 4", "Town 5", "Town 6"]
    (run,) = held(here)
    assert (run.kind, the_review(here).body["count"]) == ("live", 3)
    resolve(here, "approve")
    cycle.settle(here.engine, cycle.Summary())
    assert here.held("mkt", "city")[:6] == [f"New {n}" for n in range(6)]


def test_webhooks_within_the_window_of_another_hour_pass(world: Worlds) -> None:
    here = synced(world, "changed: 3%, window: 1h")
    change(here, 3)
    tell(here, 3)
    here.clock.pass_(3700)
    for id_ in ids(6)[3:]:
        here.edit("crm", id_, city="Later")
    tell(here, 3, first=4)
    assert held(here) == []
    assert here.held("mkt", "city")[3:6] == ["Later"] * 3
    with here.engine.store.read() as tx:
        assert guards.window(tx, ("crm", "people", "person"), here.clock(), 10**12) == {"changed": 3}


def test_webhooks_that_were_dropped_are_not_brought_again_by_a_poll(any_world: Worlds) -> None:
    here = synced(any_world, "changed: 3%")
    change(here, 6)
    tell(here, 6)
    resolve(here, "drop")
    here.sync()
    assert held(here) == []
    assert here.held("mkt", "city")[3:6] == ["Town 4", "Town 5", "Town 6"]
    here.sweep()
    assert here.held("mkt", "city")[3:6] == ["New 3", "New 4", "New 5"]
    assert here.quiet() == (0, 0, 0)


def test_deleted_records_are_counted_in_the_window(world: Worlds) -> None:
    here = synced(world, "deleted: 2")
    remove(here, 4)
    tell(here, 4, kind="deleted")
    assert len(here.ids("mkt")) == MANY - 2
    assert the_review(here).body["limits"][0]["what"] == "deleted"
    resolve(here, "drop")
    cycle.settle(here.engine, cycle.Summary())
    assert len(here.ids("mkt")) == MANY - 2


def test_creates_that_live_decisions_owe_are_counted_in_the_window(any_world: Worlds) -> None:
    here = synced(any_world, "created: 2", create="always")
    for n in range(9, 14):
        here.clock.pass_(1)
        here.systems["crm"].insert("people", {"email": f"p{n}@x.example", "city": "Oslo"})
    tell(here, 5, first=9, kind="created")
    assert len(here.ids("mkt")) == MANY + 2
    review = the_review(here)
    assert (review.body["waits"], review.body["count"]) == ("pushes", 3)
    resolve(here, "approve")
    cycle.settle(here.engine, cycle.Summary())
    assert len(here.ids("mkt")) == MANY + 5


def test_what_the_broker_wrote_itself_is_not_counted(world: Worlds) -> None:
    here = synced(world, "changed: 3%")
    for _ in range(4):
        change(here, 3)
        here.sync()
        tell(here, 3, system="mkt")
        tell(here, 3)
    assert held(here) == []


def test_a_webhook_about_a_record_that_is_held_joins_it(any_world: Worlds) -> None:
    here = synced(any_world, "changed: 3%")
    change(here, 4)
    here.sync()
    tell(here, 2)
    assert here.held("mkt", "city")[:2] == ["Town 1", "Town 2"]
    assert the_review(here).body["count"] == 4


def test_a_delivery_that_is_repeated_counts_once(world: Worlds) -> None:
    here = synced(world, "changed: 3%")
    change(here, 2)
    source = here.engine.sources["crm", "people"]
    for _ in range(3):
        found = ingest.read_now(here.engine, source, ids(2), "webhook")
        with here.engine.store.write() as tx:
            intake.admit(here.engine, tx, source, found)
    with here.engine.store.read() as tx:
        assert guards.window(tx, ("crm", "people", "person"), here.clock(), 10**10) == {"changed": 2}


# ------------------------------------------------------------------------------------------- no guards


def test_without_a_guard_nothing_is_counted_or_staged(world: Worlds) -> None:
    here = world(FIELDS, {"crm": people(), "mkt": people(2)}, create="always")
    here.sync()
    change(here, MANY)
    here.sync()
    with here.engine.store.read() as tx:
        assert tx.rows("SELECT COUNT(*) FROM windows", ())[0][0] == 0
    assert here.held("mkt", "city") == here.held("crm", "city")
