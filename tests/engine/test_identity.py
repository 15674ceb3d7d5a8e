"""Which external records are one real thing: matching, duplicates, renames, vendor-side merges, references."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from syncbroker.core.types import Event, Item
from syncbroker.engine import answer, cycle, deliver, ingest, settle
from syncbroker.errors import BadAnswer
from syncbroker.store import deliveries, queues, records, runs
from syncbroker.store.queues import Sighting
from tests.engine.conftest import Worlds
from tests.support.deliveries import arrive
from tests.support.rig import Rig, entity_text
from tests.support.writing import answered

FIELDS = """\
  email: {type: email, authority: [crm, mkt], policy: prefer, systems: {crm: email, mkt: email}}
  name: {type: person_name, authority: [crm, mkt], policy: prefer, systems: {crm: name, mkt: name}}
  phone: {type: phone, authority: [crm, mkt], policy: prefer, systems: {crm: phone, mkt: phone}}
"""
ANN = {"email": "ann@x.example", "name": "Ann Lee", "phone": "+15551234567"}
AT_REST = (0, 0, 0)


def links(world: Rig) -> list[list[tuple[str, str | None, bool]]]:
    """Of every record: (system, external id, is it the primary)."""
    return [
        [(one.system, one.external_id, one.primary) for one in record.links] for record in world.records()
    ]


def stage(world: Rig, system: str, *sightings: Sighting) -> None:
    with world.engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, system, "people", sightings)
    cycle.settle(world.engine, cycle.Summary())


def seen(world: Rig, id_: str, fields: dict[str, Any] | None = None, **given: Any) -> Sighting:
    now = world.engine.now()
    return Sighting(id=id_, fields=fields or {}, stamp=now, begun=now, ended=now, **given)


def count(world: Rig, what: str, system: str = "crm") -> int:
    with world.engine.store.read() as tx:
        return runs.counters(tx).get((what, system, "people"), 0)


# ------------------------------------------------------------------------------------------------ matching


def test_records_with_an_equal_key_are_one_and_others_are_not(any_world: Worlds) -> None:
    here = any_world(FIELDS, {"crm": [ANN, {"email": "bob@x.example"}], "mkt": [{"email": " ANN@X.example"}]})
    here.sync()
    assert links(here) == [[("crm", "p000001", True), ("mkt", "p000001", True)], [("crm", "p000002", True)]]


def test_the_old_address_of_a_person_leads_to_nobody_any_more(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]})
    here.sync()
    here.edit("crm", "p000001", email="lee@x.example")
    here.sync()
    assert here.held("mkt") == ["lee@x.example"]
    here.systems["crm"].insert("people", {"email": "ann@x.example", "name": "Ann Other"})
    here.sync()
    assert [len(one) for one in links(here)] == [2, 1]
    assert here.quiet() == AT_REST


def test_a_linked_record_is_never_matched_again(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN, {"email": "bob@x.example"}], "mkt": [ANN]})
    here.sync()
    before = links(here)
    here.edit("mkt", "p000001", email="bob@x.example")
    here.sync()
    assert links(here) == before


def test_the_address_that_a_person_gave_in_an_answer_finds_the_record(world: Worlds) -> None:
    text = FIELDS.replace(
        "policy: prefer, systems: {crm: email",
        "policy: enforce, on_foreign_edit: propose, systems: {crm: email",
    )
    text = text.replace("authority: [crm, mkt], policy: enforce", "authority: crm, policy: enforce")
    here = world(text, {"crm": [ANN], "mkt": [ANN]})
    here.sync()
    here.edit("mkt", "p000001", email="new@x.example")
    here.sync()
    answer.answer(here.engine, here.reviews()[0].id, "value", "pat", value="third@x.example")
    here.sync()
    here.systems["mkt"].insert("people", {"email": "third@x.example"})
    here.sync()
    assert [len(one) for one in links(here)] == [3]


QUEUED = FIELDS.replace("email: {type", "email: {type")


def ambiguous(world: Worlds, **given: Any) -> Rig:
    """Two people in crm share a phone; mkt's record has that phone and no address."""
    entity = entity_text(FIELDS, ["crm", "mkt"], **given).replace(
        "match:\n", "match:\n  - {on: [phone], then: link}\n"
    )
    one = ANN | {"email": "ann@x.example"}
    other = {"email": "bob@x.example", "name": "Bob Lee", "phone": ANN["phone"]}
    here = world(FIELDS, {"crm": [one], "mkt": []}, entity=entity)
    here.sync()
    stage(here, "crm", seen(here, "p000009", {"email": "bob@x.example", "name": "Bob Lee"}))
    stage(here, "crm", seen(here, "p000009", other))
    here.systems["mkt"].insert("people", {"phone": ANN["phone"], "name": "A. Lee"})
    here.systems["crm"]._live["people"]["p000009"] = {
        "id": "p000009", "version": here.clock() // 1000, "by": "person", "fields": dict(other),
    }  # fmt: skip
    here.sync()
    for review in here.reviews():
        if review.kind == "merge":  # the two in crm are people of one household
            answer.answer(here.engine, review.id, "keep", "pat")
    return here


def test_a_key_that_hits_two_records_is_asked_about_and_never_guessed(world: Worlds) -> None:
    here = ambiguous(world)
    (review,) = here.reviews()
    assert (review.kind, len(review.body["records"])) == ("match", 2)
    assert [len(one) for one in links(here)] == [1, 1]
    assert here.quiet() == AT_REST


def test_a_person_says_which_record_it_is(any_world: Worlds) -> None:
    here = ambiguous(any_world)
    (review,) = here.reviews()
    ann = next(record for record in here.records() if record.golden["email"].value == "ann@x.example")
    answer.answer(here.engine, review.id, ann.id, "pat")
    here.sync()
    assert sorted(len(one) for one in links(here)) == [1, 2]
    assert here.held("mkt", "email") == ["ann@x.example"]
    assert here.held("mkt", "name") == ["Ann Lee"]
    assert here.reviews() == []
    assert here.quiet() == AT_REST


def test_a_person_says_that_it_is_a_record_of_its_own(world: Worlds) -> None:
    here = ambiguous(world)
    (review,) = here.reviews()
    answer.answer(here.engine, review.id, "new", "pat")
    here.sync()
    assert sorted(len(one) for one in links(here)) == [1, 1, 1]
    assert here.held("mkt", "name") == ["A. Lee"]
    assert here.quiet() == AT_REST


def test_an_incomplete_look_at_a_queued_record_settles_nothing(world: Worlds) -> None:
    here = ambiguous(world)
    stage(here, "mkt", seen(here, "p000001", {"name": "A Lee"}, complete=False))
    assert [review.kind for review in here.reviews()] == ["match"]
    assert [len(one) for one in links(here)] == [1, 1]


def test_a_queued_record_that_turns_out_to_be_clear_is_linked_by_itself(world: Worlds) -> None:
    here = ambiguous(world)
    here.edit("mkt", "p000001", phone=None, email="bob@x.example")
    here.sync()
    assert here.reviews() == []
    assert sorted(len(one) for one in links(here)) == [1, 2]
    assert here.quiet() == AT_REST


def test_a_queued_record_that_is_deleted_asks_nothing_any_more(world: Worlds) -> None:
    here = ambiguous(world)
    here.systems["mkt"].remove("people", "p000001")
    here.sweep()
    assert here.reviews() == []


def test_of_two_people_who_answer_at_once_only_one_wins(any_world: Worlds) -> None:
    here = ambiguous(any_world)
    (review,) = here.reviews()
    start, told = threading.Barrier(2), list[str]()

    def say(choice: str, person: str) -> None:
        start.wait()
        try:
            answer.answer(here.engine, review.id, choice, person)
            told.append("taken")
        except BadAnswer as error:
            told.append(error.message)

    threads = [
        threading.Thread(target=say, args=(choice, person))
        for choice, person in ((review.body["records"][0], "ann"), ("new", "bob"))
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(told)[1] == "taken"
    assert "was closed" in min(told)
    assert [one.review for one in here.outcomes("resolved_by_person")].count(review.id) == 1
    here.sync()
    assert here.quiet() == AT_REST


@pytest.mark.parametrize(("choice", "message"), [("", "is no answer"), ("crm", "is no answer")])
def test_an_answer_that_the_review_does_not_offer_is_refused(
    world: Worlds, choice: str, message: str
) -> None:
    here = ambiguous(world)
    with pytest.raises(BadAnswer, match=message):
        answer.answer(here.engine, here.reviews()[0].id, choice, "pat")
    with pytest.raises(BadAnswer, match="no review"):
        answer.answer(here.engine, 999, choice, "pat")


# --------------------------------------------------------------------------------------------- duplicates


def duplicated(world: Worlds) -> Rig:
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]})
    here.sync()
    twin = here.systems["crm"]._make("people", {"email": "ann@x.example", "name": "Ann B. Lee"}, "person")
    assert twin["id"] == "p000002"
    here.sync()
    return here


def test_a_second_link_of_one_system_is_reported_and_takes_no_part(world: Worlds) -> None:
    here = duplicated(world)
    assert links(here) == [[("crm", "p000001", True), ("mkt", "p000001", True), ("crm", "p000002", False)]]
    assert count(here, "duplicate_link") == 1
    here.edit("crm", "p000002", name="Somebody Else")
    here.edit("crm", "p000001", phone="+15552223333")
    here.sync()
    assert here.held("mkt", "name") == ["Ann Lee"]
    assert here.held("crm", "phone") == ["+15552223333", None]
    assert here.quiet() == AT_REST


def test_when_the_primary_is_deleted_the_duplicate_takes_its_place(world: Worlds) -> None:
    here = duplicated(world)
    here.systems["crm"].remove("people", "p000001")
    here.sweep()
    for review in here.reviews():
        answer.answer(here.engine, review.id, "detach", "pat")
    here.sync()
    assert links(here) == [[("mkt", "p000001", True), ("crm", "p000002", True)]]
    here.edit("mkt", "p000001", phone="+15552223333")
    here.sync()
    assert here.held("crm", "phone") == ["+15552223333"]
    assert here.quiet() == AT_REST


@pytest.mark.parametrize(("loser", "survivor"), [("p000001", "p000002"), ("p000002", "p000001")])
def test_when_a_vendor_merges_duplicates_the_survivor_is_the_primary(
    any_world: Worlds, loser: str, survivor: str
) -> None:
    here = duplicated(any_world)
    here.systems["crm"].merge(loser, survivor)
    here.sweep()
    assert sorted(links(here)[0]) == [("crm", survivor, True), ("mkt", "p000001", True)]
    here.edit("mkt", "p000001", phone="+15552223333")
    here.sync()
    assert here.held("crm", "phone") == ["+15552223333"]
    assert here.quiet() == AT_REST


def test_what_a_vendor_merged_is_not_created_there_again(world: Worlds) -> None:
    """Two people in both systems; crm's users merge them there."""
    people = [ANN, {"email": "bob@x.example", "name": "Bob Ray"}]
    here = world(FIELDS, {"crm": people, "mkt": people}, create="always")
    here.sync()
    here.systems["crm"].merge("p000001", "p000002")
    here.sweep()
    here.sync()
    assert here.ids("crm") == ["p000002"]
    assert here.quiet() == AT_REST


def test_a_vendor_side_merge_into_an_unknown_record_re_points_the_link(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]})
    here.sync()
    stage(here, "crm", seen(here, "p000001", merged_into="p000007"))
    stage(here, "crm", seen(here, "p000007", ANN | {"phone": "+15552223333"}))
    assert links(here) == [[("crm", "p000007", True), ("mkt", "p000001", True)]]
    assert here.held("mkt", "phone") == ["+15552223333"]


def test_a_merge_that_is_told_twice_makes_no_empty_record(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]}, delete="detach")
    here.sync()
    stage(here, "crm", seen(here, "p000001", merged_into="p000007"))
    stage(here, "crm", seen(here, "p000007", deleted=True))
    stage(here, "crm", seen(here, "p000001", merged_into="p000007"))
    assert len(here.records()) == 1


# ------------------------------------------------------------------------------------------------- renames


def test_an_id_that_changes_is_followed_and_nothing_is_created_or_deleted(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]}, create="always")
    here.sync()
    made = here.writes()
    stage(here, "mkt", seen(here, "p000055", ANN | {"name": "Ann New"}, renamed_from="p000001"))
    assert links(here) == [[("crm", "p000001", True), ("mkt", "p000055", True)]]
    assert count(here, "renamed", "mkt") == 1
    assert here.held("crm", "name") == ["Ann New"]
    assert here.writes() - made == 1


def test_an_alias_that_stays_leads_to_the_id_that_changes(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": []})
    here.sync()
    stage(here, "mkt", seen(here, "hash-1", ANN, aliases=("unique-7",)))
    stage(here, "mkt", seen(here, "hash-2", ANN | {"email": "lee@x.example"}, aliases=("unique-7",)))
    assert links(here) == [[("crm", "p000001", True), ("mkt", "hash-2", True)]]
    assert here.held("crm") == ["lee@x.example"]


def test_an_old_state_that_comes_late_under_the_old_id_is_old_and_makes_no_record(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": []})
    here.sync()
    old = seen(here, "hash-1", ANN, read=False)
    stage(here, "mkt", seen(here, "hash-1", ANN, aliases=("unique-7",)))
    stage(here, "mkt", seen(here, "hash-2", ANN | {"name": "Ann New"}, aliases=("unique-7",)))
    stage(here, "mkt", old)
    assert [len(one) for one in links(here)] == [2]
    assert here.golden("name") == ["Ann New"]


def test_a_missing_old_id_is_no_deletion_of_the_record_that_moved(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": []}, delete="detach")
    here.sync()
    stage(here, "mkt", seen(here, "hash-1", ANN, aliases=("unique-7",)))
    stage(here, "mkt", seen(here, "hash-2", ANN, aliases=("unique-7",)))
    stage(here, "mkt", seen(here, "hash-1", deleted=True))
    assert links(here) == [[("crm", "p000001", True), ("mkt", "hash-2", True)]]


# ------------------------------------------------------------------------------------------------ webhooks


def delivered(world: Rig, system: str, *events: Event) -> None:
    connector = world.engine.connectors[system]
    real = connector.events
    connector.events = lambda _delivery: list(events)  # type: ignore[method-assign]
    with world.engine.store.write() as tx:
        request = deliveries.Request(method="POST", url="http://x.example/")
        arrive(tx, system, str(world.clock()), world.clock(), request, b"[]")
    cycle.receive_all(world.engine)
    connector.events = real  # type: ignore[method-assign]
    cycle.settle(world.engine, cycle.Summary())


def test_a_hint_without_a_version_causes_a_read(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]})
    here.sync()
    here.edit("crm", "p000001", name="Ann New")
    delivered(
        here, "crm", Event(object="people", id="p000001", kind="changed", item=Item(id="p000001", fields={}))
    )
    assert here.held("mkt", "name") == ["Ann New"]


def test_one_delivery_may_tell_of_a_merge_and_of_a_change_of_the_survivor(world: Worlds) -> None:
    here = duplicated(world)
    here.systems["crm"].merge("p000001", "p000002")
    here.edit("crm", "p000002", name="Ann Merged")
    delivered(
        here,
        "crm",
        Event(object="people", id="p000001", kind="merged", new_id="p000002"),
        Event(object="people", id="p000002", kind="changed"),
    )
    assert sorted(links(here)[0]) == [("crm", "p000002", True), ("mkt", "p000001", True)]
    assert here.held("mkt", "name") == ["Ann Merged"]


@pytest.mark.parametrize(("object_", "what"), [("deals", "unknown_event"), ("firms", "unmapped_event")])
def test_a_delivery_about_what_is_not_read_is_counted(world: Worlds, object_: str, what: str) -> None:
    """The connector may know the object, which the mapping does not read, or not know it at all."""
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]})
    here.sync()
    delivered(here, "crm", Event(object=object_, id="d1", kind="changed"))
    with here.engine.store.read() as tx:
        assert runs.counters(tx)[what, "crm", ""] == 1


def test_a_stale_state_that_was_only_counted_does_not_hide_a_return_to_it(world: Worlds) -> None:
    """Its fingerprint must not be taken for that of the record's present state."""
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]})
    here.sync()
    source = here.engine.sources["crm", "people"]
    (old,) = ingest.read_now(here.engine, source, ["p000001"], "read")
    here.edit("crm", "p000001", name="Ann New")
    here.sync()
    stage(here, "crm", msgspec.structs.replace(old, read=False))  # an event that was long under way
    assert here.held("mkt", "name") == ["Ann New"]
    here.edit("crm", "p000001", name="Ann Lee")
    here.sync()
    assert here.held("mkt", "name") == ["Ann Lee"]
    assert here.quiet() == AT_REST


# ---------------------------------------------------------------------------------------------- references


FIRM = """\
entity: firm
links:
  crm: {object: firms, create: CREATE}
  mkt: {object: firms, create: CREATE}
match:
  - {on: [name]}
fields:
  name: {type: text, required: true, authority: [crm, mkt], policy: prefer, systems: {crm: name, mkt: name}}
"""
WORKS = (
    FIELDS
    + "  firm: {type: reference, entity: firm, authority: [crm, mkt], policy: prefer, "
    + "systems: {crm: firm, mkt: firm}}\n"
)


def wait(world: Rig, times: int = 4) -> None:
    for _ in range(times):
        world.clock.pass_(20)
        for simulator in world.systems.values():
            simulator.advance()
        world.sync()


def referring(world: Worlds, data: Any, firms: Any, create: str = "never", works: str = WORKS) -> Rig:
    return world(works, data, more={"firm.yaml": FIRM.replace("CREATE", create)}, firms=firms, create=create)


def test_a_reference_is_the_other_systems_own_id(world: Worlds) -> None:
    firms = {"crm": [{"name": "Zoo"}, {"name": "Acme"}], "mkt": [{"name": "Acme"}]}
    here = referring(world, {"crm": [ANN | {"firm": "f000002"}], "mkt": [ANN]}, firms)
    here.sync()
    wait(here)
    assert here.held("mkt", "firm") == ["f000001"]
    assert here.quiet() == AT_REST


def test_a_reference_to_what_is_not_linked_yet_waits_and_is_no_clearing(any_world: Worlds) -> None:
    here = referring(
        any_world,
        {"crm": [ANN | {"firm": "f000001"}], "mkt": [ANN]},
        {"crm": [{"name": "Acme"}], "mkt": [{"name": "Acme"}]},
    )
    here.sync()
    wait(here)
    assert here.held("mkt", "firm") == ["f000001"]
    here.edit("crm", "p000001", firm="f000002")  # it exists nowhere yet
    wait(here, 1)
    assert here.held("mkt", "firm") == ["f000001"]
    with here.engine.store.read() as tx:
        assert runs.pending_reference_count(tx) == 1
    here.systems["crm"].insert("firms", {"name": "Zoo"})
    here.systems["mkt"].insert("firms", {"name": "Zoo"})
    wait(here)
    assert here.held("mkt", "firm") == ["f000002"]
    with here.engine.store.read() as tx:
        assert runs.pending_reference_count(tx) == 0
    assert here.quiet() == AT_REST


def test_a_reference_is_written_once_its_target_was_created_there(world: Worlds) -> None:
    here = referring(
        world,
        {"crm": [ANN | {"firm": "f000001"}], "mkt": []},
        {"crm": [{"name": "Acme"}], "mkt": []},
        "always",
    )
    here.sync()
    wait(here, 6)
    assert here.held("mkt", "name", "firms") == ["Acme"]
    assert here.held("mkt", "firm") == ["f000001"]
    assert here.quiet() == AT_REST


def test_a_create_waits_for_a_required_reference(world: Worlds) -> None:
    works = WORKS.replace("entity: firm,", "entity: firm, required: true,")
    here = referring(
        world,
        {"crm": [ANN | {"firm": "f000001"}], "mkt": []},
        {"crm": [{"name": "Acme"}], "mkt": []},
        "always",
        works,
    )
    here.sync()
    assert here.ids("mkt") == []
    wait(here, 6)
    assert here.held("mkt", "firm") == ["f000001"]
    assert len(here.ids("mkt")) == 1
    assert here.quiet() == AT_REST


def test_a_broken_reference_is_counted_and_disturbs_nothing(world: Worlds) -> None:
    here = referring(world, {"crm": [ANN | {"firm": "f000404"}], "mkt": [ANN]}, {"crm": [], "mkt": []})
    here.sync()
    with here.engine.store.read() as tx:
        assert runs.pending_reference_count(tx) == 1
    here.edit("crm", "p000001", name="Ann New")
    here.sync()
    assert here.held("mkt", "name") == ["Ann New"]
    assert here.quiet() == AT_REST


def test_a_reference_of_a_record_whose_match_was_asked_about_is_followed_after_the_answer(
    world: Worlds,
) -> None:
    text = FIRM.replace("on: [name]", "on: [name], then: review").replace("CREATE", "never")
    here = world(
        WORKS,
        {"crm": [ANN | {"firm": "f000001"}], "mkt": [ANN | {"firm": "f000001"}]},
        more={"firm.yaml": text},
        firms={"crm": [{"name": "Acme"}], "mkt": [{"name": "Acme"}]},
    )
    here.sync()
    wait(here, 1)
    (review,) = here.reviews()
    assert review.entity == "firm"
    answer.answer(here.engine, review.id, review.body["records"][0], "pat")
    wait(here)
    with here.engine.store.read() as tx:
        assert runs.pending_reference_count(tx) == 0
    assert here.quiet() == AT_REST


def test_an_answer_that_shows_a_reference_which_is_not_linked_yet_lets_it_wait(world: Worlds) -> None:
    """It was changed between our re-check and our write; nothing else will tell of it again."""
    here = referring(
        world,
        {"crm": [ANN | {"firm": "f000001"}], "mkt": [ANN]},
        {"crm": [{"name": "Acme"}], "mkt": [{"name": "Acme"}]},
    )
    here.sync()
    wait(here)
    simulator = here.systems["mkt"]
    apply = simulator._apply

    def raced(object_: str, op: str, one: Any) -> Any:
        done = apply(object_, op, one)
        simulator._live["people"][one["id"]]["fields"]["firm"] = "f000002"
        return done

    simulator._apply = raced  # type: ignore[method-assign]  # a workflow at the vendor
    here.edit("crm", "p000001", name="Ann New")
    here.sync()
    del simulator.__dict__["_apply"]
    here.systems["crm"].insert("firms", {"name": "Zoo"})
    here.systems["mkt"].insert("firms", {"name": "Zoo"})
    wait(here)
    assert here.held("crm", "firm") == ["f000002"]
    assert here.quiet() == AT_REST


# --------------------------------------------------------------------------- our own creates, met too early


def test_a_created_record_that_is_met_before_its_answer_and_has_no_key_is_no_second_one(
    any_world: Worlds,
) -> None:
    entity = entity_text(FIELDS, ["crm", "mkt"], create="always", match="phone")
    here = any_world(
        FIELDS, {"crm": [{"email": "ann@x.example", "name": "Ann Lee"}], "mkt": []}, entity=entity
    )
    for system in ("crm", "mkt"):
        cycle.pull_source(here.engine, here.engine.sources[system, "people"])
    sure = deliver.recheck(here.engine, deliver.claim(here.engine, "mkt", here.engine.now()))
    source = sure[0].source
    receipts = here.engine.connectors["mkt"].write("people", [one.write for one in sure], source.paths)
    cycle.pull_source(here.engine, here.engine.sources["mkt", "people"])
    settle.receipts(here.engine, source, [answered(here.engine, zip(sure, receipts, strict=True))])
    for _ in range(3):
        here.clock.pass_(60)
        here.sync()
    assert (len(here.ids("crm")), len(here.ids("mkt"))) == (1, 1)
    assert [len(one) for one in links(here) if one] == [2]
    assert here.quiet() == AT_REST


def test_what_comes_under_a_former_id_while_a_write_is_under_way_waits_no_longer_than_it(
    world: Worlds,
) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": []})
    here.sync()
    stage(here, "mkt", seen(here, "hash-1", ANN, aliases=("unique-7",)))
    stage(here, "mkt", seen(here, "hash-2", ANN, aliases=("unique-7",)))
    here.edit("crm", "p000001", name="Ann New")
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    claims = deliver.claim(here.engine, "mkt", here.engine.now())
    stage(here, "mkt", seen(here, "hash-1", ANN, read=False))
    settle.give_back(here.engine, claims, 10**12)
    here.clock.pass_(120)
    cycle.settle(here.engine, cycle.Summary())
    with here.engine.store.read() as tx:
        assert queues.inbox_size(tx) == 0


def test_a_record_that_another_process_linked_a_moment_ago_is_no_duplicate(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its link was not there yet when links were looked up, and is there once its record is held."""
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]})
    here.sync()
    with monkeypatch.context() as patch:
        patch.setattr(records, "by_external_id", lambda *_: {})
        stage(here, "mkt", seen(here, "p000001", ANN | {"name": "Ann New"}))
    assert links(here) == [[("crm", "p000001", True), ("mkt", "p000001", True)]]
    assert here.golden("name") == ["Ann New"]
