"""Writes that go wrong in every way a network and a vendor can think of: nothing is lost, doubled or overwritten."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from syncbroker.engine import answer, cycle, deliver, ingest, settle
from syncbroker.engine.doubt import REQUEST_LIFE
from syncbroker.sdk.simulator import Edit, Fault
from syncbroker.store import deliveries, queues, runs
from tests.engine.conftest import Worlds
from tests.support.deliveries import arrive
from tests.support.rig import START, Rig
from tests.support.telling import until
from tests.support.toy_vendor import ToyConnector
from tests.support.writing import answered

ANN = {"email": "ann@x.example"}
AT_REST = (0, 0, 0)
FIELDS = """\
  email: {type: email, systems: {crm: email, mkt: email}}
  city: {type: text, authority: [crm, mkt], policy: prefer, systems: {crm: city, mkt: city}}
  name: {type: person_name, authority: [crm, mkt], policy: prefer, systems: {crm: name, mkt: name}}
"""
RIGA = {"crm": [ANN | {"city": "Riga"}], "mkt": [ANN | {"city": "Riga"}]}


def fault(world: Rig, system: str, kind: Any, **given: Any) -> None:
    world.systems[system].faults.append(Fault(kind=kind, operation="people.write", **given))


def opened(world: Worlds, data: Any = None, **given: Any) -> Rig:
    here = world(FIELDS, data or RIGA, **given)
    here.sync()
    return here


def until_settled(world: Rig) -> None:
    """Syncs over a minute: what was put off comes due."""
    for _ in range(4):
        world.sync()
        world.clock.pass_(15)


def cities(world: Rig) -> list[Any]:
    return [world.held(name, "city")[0] for name in world.systems]


def creates(world: Rig, system: str) -> int:
    return len(world.systems[system].records("people"))


UNCONDITIONAL = pytest.mark.parametrize("conditional", [True, False], ids=["conditional", "re-checked"])


# --------------------------------------------------------------------------- an edit between check and write


def test_an_edit_between_re_check_and_write_is_never_overwritten_by_a_conditional_write(
    any_world: Worlds,
) -> None:
    here = opened(any_world)
    here.edit("crm", "p000001", city="Oslo")
    fault(here, "mkt", "edit_before", edit=Edit(object="people", id="p000001", changes={"name": "Ann Lee"}))
    here.sync()
    assert cities(here) == ["Oslo", "Oslo"]
    assert [here.held(name, "name") for name in here.systems] == [["Ann Lee"], ["Ann Lee"]]
    assert here.quiet() == AT_REST


def test_a_competing_edit_between_re_check_and_write_is_decided_by_its_rule(world: Worlds) -> None:
    here = opened(world)
    here.edit("mkt", "p000001", city="Oslo")
    fault(here, "crm", "edit_before", edit=Edit(object="people", id="p000001", changes={"city": "Turku"}))
    here.sync()
    assert cities(here) == ["Turku", "Turku"]
    assert here.quiet() == AT_REST


def test_without_conditional_writes_an_event_of_the_edit_that_our_write_removed_still_competes(
    world: Worlds, people: Any
) -> None:
    people(conditional=False)
    here = opened(world)
    here.edit("mkt", "p000001", city="Oslo")
    told = listen(here, "crm")
    fault(here, "crm", "edit_before", edit=Edit(object="people", id="p000001", changes={"city": "Turku"}))
    here.sync()
    told()
    here.sync()
    assert here.kinds().get("overwritten_unseen") == 1
    assert cities(here) == ["Turku", "Turku"]
    assert here.quiet() == AT_REST


def listen(world: Rig, system: str) -> Any:
    """Webhooks of a system are stored as they come; the returned call deals with them."""
    simulator, engine = world.systems[system], world.engine

    def store(method: str, url: str, headers: Any, body: bytes) -> int:
        low = {name.lower(): value for name, value in headers.items()}
        request = deliveries.Request(method=method, url=url, headers=low)
        with engine.store.write() as tx:
            arrive(tx, system, f"{len(simulator.sent)}", engine.now(), request, body)
        return 200

    simulator.deliver = store
    simulator.webhook = "http://broker.example/hooks"

    def deal() -> None:
        assert simulator.idle()
        cycle.receive_all(engine)

    return deal


def test_an_edit_that_the_re_check_sees_is_decided_in_the_same_cycle(world: Worlds, people: Any) -> None:
    people(conditional=False)
    here = opened(world)
    here.edit("mkt", "p000001", city="Oslo")
    made = Edit(object="people", id="p000001", changes={"city": "Turku"})
    here.systems["crm"].faults.append(Fault(kind="edit_before", operation="people.read", edit=made))
    here.sync()
    assert cities(here) == ["Turku", "Turku"]
    assert here.quiet() == AT_REST


@UNCONDITIONAL
def test_an_edit_that_comes_before_the_re_check_goes_first(
    world: Worlds, people: Any, conditional: bool
) -> None:
    people(conditional=conditional)
    here = opened(world)
    here.edit("mkt", "p000001", city="Oslo")
    source = here.engine.sources["mkt", "people"]
    cycle.pull_source(here.engine, source)
    here.edit("crm", "p000001", city="Turku")
    here.sync()
    assert cities(here) == ["Turku", "Turku"]
    assert here.quiet() == AT_REST


# ------------------------------------------------------------------------------------- answers that are lost


@UNCONDITIONAL
@pytest.mark.parametrize("lost", ["drop_answer", "drop_request"])
def test_a_lost_answer_is_settled_by_reading(
    world: Worlds, people: Any, conditional: bool, lost: str
) -> None:
    people(conditional=conditional)
    here = opened(world)
    before = here.writes()
    here.edit("crm", "p000001", city="Oslo")
    fault(here, "mkt", lost)
    until_settled(here)
    assert cities(here) == ["Oslo", "Oslo"]
    assert here.writes() - before == (1 if lost == "drop_answer" else 2)
    assert here.kinds().get("conflict_resolved", 0) == 0
    assert here.quiet() == AT_REST


@UNCONDITIONAL
@pytest.mark.parametrize(("editor", "end"), [("crm", "Turku"), ("mkt", "Oslo")])
def test_after_a_lost_request_a_user_edit_competes_and_never_builds(
    world: Worlds, people: Any, conditional: bool, editor: str, end: str
) -> None:
    """The write may still land; what is seen instead must not count as built on what we believed."""
    people(conditional=conditional, history=False)
    other = {"crm": "mkt", "mkt": "crm"}[editor]
    here = opened(world)
    here.edit(other, "p000001", city="Oslo")
    fault(here, editor, "drop_request")
    cycle.pull_source(here.engine, here.engine.sources[other, "people"])
    deliver.deliver_some(here.engine, editor, here.engine.now())
    here.edit(editor, "p000001", city="Turku")
    until_settled(here)
    assert cities(here) == [end, end]
    assert here.quiet() == AT_REST


def test_after_a_lost_request_an_edit_of_another_field_still_builds(world: Worlds, people: Any) -> None:
    people(history=False)
    here = opened(
        world,
        {"crm": [ANN | {"city": "Riga", "name": "Ann"}], "mkt": [ANN | {"city": "Riga", "name": "Ann"}]},
    )
    here.edit("crm", "p000001", city="Oslo")
    fault(here, "mkt", "drop_request")
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    deliver.deliver_some(here.engine, "mkt", here.engine.now())
    here.edit("mkt", "p000001", name="Ann Lee")
    until_settled(here)
    assert [here.held(name, "name") for name in here.systems] == [["Ann Lee"], ["Ann Lee"]]
    assert cities(here) == ["Oslo", "Oslo"]
    assert here.quiet() == AT_REST


def test_where_the_vendor_tells_who_wrote_an_undo_after_a_lost_answer_is_an_edit(world: Worlds) -> None:
    here = opened(world)
    here.edit("crm", "p000001", city="Oslo")
    fault(here, "mkt", "drop_answer")
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    deliver.deliver_some(here.engine, "mkt", here.engine.now())
    assert here.held("mkt", "city") == ["Oslo"]
    here.edit("mkt", "p000001", city="Riga")  # a person puts the old value back
    until_settled(here)
    assert cities(here) == ["Riga", "Riga"]
    assert here.quiet() == AT_REST


def test_where_the_vendor_tells_who_wrote_an_edit_after_a_lost_answer_builds_on_it(world: Worlds) -> None:
    here = opened(world)
    here.edit("crm", "p000001", city="Oslo")
    fault(here, "mkt", "drop_answer")
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    deliver.deliver_some(here.engine, "mkt", here.engine.now())
    here.edit("mkt", "p000001", city="Turku")
    until_settled(here)
    assert cities(here) == ["Turku", "Turku"]
    assert here.quiet() == AT_REST


def test_an_answer_that_comes_after_others_settled_the_write_changes_nothing(world: Worlds) -> None:
    here = opened(world)
    here.edit("crm", "p000001", city="Oslo")
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    sure = deliver.recheck(here.engine, deliver.claim(here.engine, "mkt", here.engine.now()))
    source = sure[0].source
    slow = here.engine.connectors["mkt"].write("people", [one.write for one in sure], source.paths)
    here.clock.pass_(deliver.LEASE / 1_000_000 + 1)
    here.sync()  # whoever else works takes the outcome for unknown, and reads
    here.edit("crm", "p000001", city="Turku")
    here.sync()
    settle.receipts(here.engine, source, [answered(here.engine, zip(sure, slow, strict=True))])
    with here.engine.store.read() as tx:
        assert runs.counters(tx)["late_answer", "mkt", "people"] == 1
    assert cities(here) == ["Turku", "Turku"]
    assert here.quiet() == AT_REST


def test_a_vendor_that_never_answers_is_left_alone_and_the_others_go_on(world: Worlds) -> None:
    text = FIELDS.replace("mkt: city", "mkt: city, sup: city").replace("mkt: email", "mkt: email, sup: email")
    here = world(text, {**RIGA, "sup": [ANN | {"city": "Riga"}]})
    here.sync()
    here.edit("crm", "p000001", city="Oslo")
    fault(here, "mkt", "drop_request", times=0)
    tries = len(here.systems["mkt"].log)
    summary = here.sync()
    assert summary.delivered.failed.keys() == {"mkt"}
    assert len(here.systems["mkt"].log) - tries < 20
    assert here.held("sup", "city") == ["Oslo"]
    here.systems["mkt"].faults.clear()
    until_settled(here)
    assert here.held("mkt", "city") == ["Oslo"]


def test_an_answer_is_settled_while_the_next_call_hangs(world: Worlds, people: Any) -> None:
    people(batch={"create": 1, "update": 1})
    people_ = [{"email": f"p{n}@x.example", "city": "Riga"} for n in range(2)]
    here = opened(world, {"crm": people_, "mkt": people_})
    for id_ in here.ids("crm"):
        here.edit("crm", id_, city="Oslo")
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    fault(here, "mkt", "hang_after", skip=1, seconds=60.0)

    def owed() -> int:
        with here.engine.store.read() as tx:
            return queues.outbox_counts(tx).get(("mkt", "claimed"), 0)

    delivering = threading.Thread(target=deliver.deliver, args=(here.engine, "mkt"))
    delivering.start()
    until(lambda: here.held("mkt", "city") == ["Oslo", "Oslo"])
    until(lambda: owed() == 1)
    here.systems["mkt"].stop()  # lets go of whoever waits in a fault
    delivering.join()


def test_a_push_that_waits_behind_one_that_failed_is_not_in_doubt(world: Worlds, people: Any) -> None:
    """Claims of later batches, when an earlier one's call fails, were never sent."""
    people(batch={"create": 1, "update": 1})
    people_ = [{"email": f"p{n}@x.example", "city": "Riga"} for n in range(3)]
    here = opened(world, {"crm": people_, "mkt": people_})
    for id_ in here.ids("crm"):
        here.edit("crm", id_, city="Oslo")
    fault(here, "mkt", "status", status=429, times=0)
    here.sync()
    with here.engine.store.read() as tx:
        assert queues.outbox_counts(tx) == {("mkt", "due"): 3}
        links = [one for record in here.records() for one in record.links]
    assert not any(link.open for link in links)


@pytest.mark.parametrize("kind", ["status", "drop_request"])
def test_a_systems_breaker_opens_after_failures_and_closes_by_itself(world: Worlds, kind: str) -> None:
    here = opened(world)
    here.edit("crm", "p000001", city="Oslo")
    fault(here, "mkt", kind, status=429, times=0)
    for _ in range(6):
        here.clock.pass_(11)
        here.sync()
    with here.engine.store.read() as tx:
        assert runs.breaker(tx, "mkt").open_until > here.clock.at
    here.systems["mkt"].faults.clear()
    here.clock.pass_(60)
    here.sync()
    assert cities(here) == ["Oslo", "Oslo"]
    with here.engine.store.read() as tx:
        assert runs.breaker(tx, "mkt").failures == 0


# ------------------------------------------------------------------------------------------ systems that rewrite


@UNCONDITIONAL
def test_a_system_that_rewrites_our_value_is_not_written_to_again(
    world: Worlds, people: Any, conditional: bool
) -> None:
    people(conditional=conditional)
    here = world(FIELDS, RIGA, options={"upper": ["city"]})
    here.sync()
    before = here.writes()
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    assert cities(here) == ["OSLO", "OSLO"]
    assert here.writes() - before <= 1
    assert here.quiet() == AT_REST


def test_an_equivalence_ends_when_the_system_shows_something_else(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN | {"city": "Riga"}], "mkt": [ANN]})
    here.systems["mkt"].options["upper"] = ["city"]
    here.sync()
    assert cities(here) == ["Riga", "RIGA"]
    assert here.golden("city") == ["Riga"]
    assert here.quiet() == AT_REST
    here.systems["mkt"].options["upper"] = []
    here.edit("mkt", "p000001", city="Turku")
    here.sync()
    assert cities(here) == ["Turku", "Turku"]
    here.edit("mkt", "p000001", city="RIGA")  # what it once showed for ours is its own value now
    here.sync()
    assert cities(here) == ["RIGA", "RIGA"]
    assert here.quiet() == AT_REST


# -------------------------------------------------------------------------------------------------- refusals


def test_a_refusal_becomes_a_review_and_never_blocks_its_neighbours(any_world: Worlds) -> None:
    people_ = [{"email": f"p{n}@x.example", "city": "Riga"} for n in range(3)]
    here = opened(any_world, {"crm": people_, "mkt": people_})
    refuse(here, "mkt", "Oslo")
    here.edit("crm", "p000002", city="Oslo")
    here.edit("crm", "p000003", city="Turku")
    here.sync()
    assert here.held("mkt", "city") == ["Riga", "Riga", "Turku"]
    (review,) = here.reviews()
    assert (review.kind, review.body["message"]) == ("refused", "city is not served")
    assert here.quiet() == AT_REST


def refuse(world: Rig, system: str, city: str) -> None:
    """A vendor that says no to one value."""
    simulator = world.systems[system]
    apply = simulator._apply

    def refusing(object_: str, op: str, one: Any) -> Any:
        if one.get("values", {}).get("city") == city:
            return {
                "key": one["key"],
                "status": "refused",
                "id": one.get("id"),
                "message": "city is not served",
            }
        return apply(object_, op, one)

    simulator._apply = refusing  # type: ignore[method-assign]  # a vendor of its own ways


def test_a_refused_value_that_changes_is_sent_again_and_its_review_closes(world: Worlds) -> None:
    here = opened(world)
    refuse(here, "mkt", "Oslo")
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    assert len(here.reviews()) == 1
    here.edit("crm", "p000001", city="Turku")
    here.sync()
    assert (cities(here), here.reviews()) == (["Turku", "Turku"], [])
    assert here.quiet() == AT_REST


def test_a_refused_value_keeps_no_other_field_of_the_record_back(world: Worlds) -> None:
    here = opened(world)
    refuse(here, "mkt", "Oslo")
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    (review,) = here.reviews()
    here.edit("crm", "p000001", name="Ann Lee")
    here.sync()
    assert (here.held("mkt", "name"), here.held("mkt", "city")) == (["Ann Lee"], ["Riga"])
    assert [one.id for one in here.reviews()] == [review.id]
    assert here.quiet() == AT_REST
    del here.systems["mkt"].__dict__["_apply"]
    answer.answer(here.engine, review.id, "retry", "pat")
    here.sync()
    assert cities(here) == ["Oslo", "Oslo"]
    assert here.quiet() == AT_REST


def test_a_cleared_field_is_not_taken_for_a_refused_one(world: Worlds) -> None:
    text = FIELDS.replace("type: person_name, ", "type: person_name, empty: clear, ")
    here = world(text, {name: [ANN | {"city": "Riga", "name": "Ann Lee"}] for name in ("crm", "mkt")})
    here.sync()
    refuse(here, "mkt", "Oslo")
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    here.edit("crm", "p000001", name=None)
    here.sync()
    assert here.held("mkt", "name") == [None]
    assert here.quiet() == AT_REST


@pytest.mark.parametrize(("choice", "end"), [("retry", "Oslo"), ("drop", "Riga")])
def test_a_person_has_a_refused_write_sent_again_or_lets_it_be(world: Worlds, choice: str, end: str) -> None:
    here = opened(world)
    refuse(here, "mkt", "Oslo")
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    refuse(here, "mkt", "nowhere")
    del here.systems["mkt"].__dict__["_apply"]
    (review,) = here.reviews()
    answer.answer(here.engine, review.id, choice, "pat")
    here.sync()
    assert cities(here) == ["Oslo", end]
    assert here.reviews() == []
    assert here.quiet() == AT_REST


# --------------------------------------------------------------------------------------------------- creates


ALONE = {"crm": [ANN | {"city": "Riga"}], "mkt": []}


@pytest.mark.parametrize("lost", ["drop_answer", "drop_request"])
def test_a_lost_answer_to_a_create_makes_no_duplicate(any_world: Worlds, lost: str) -> None:
    here = any_world(FIELDS, ALONE, create="always")
    fault(here, "mkt", lost)
    until_settled(here)
    here.clock.pass_(REQUEST_LIFE / 1_000_000)
    until_settled(here)
    assert creates(here, "mkt") == 1
    assert cities(here) == ["Riga", "Riga"]
    assert [len(record.links) for record in here.records()] == [2]
    assert here.quiet() == AT_REST


def test_a_create_in_doubt_is_not_repeated_while_its_request_may_still_arrive(world: Worlds) -> None:
    here = world(FIELDS, ALONE, create="always")
    fault(here, "mkt", "drop_request")
    until_settled(here)
    assert creates(here, "mkt") == 0
    here.systems["mkt"].insert("people", ALONE["crm"][0])  # it arrives now
    here.clock.pass_(REQUEST_LIFE / 1_000_000)
    until_settled(here)
    assert creates(here, "mkt") == 1
    assert [len(record.links) for record in here.records()] == [2]


def test_a_create_that_cannot_be_looked_for_is_never_repeated_blindly(world: Worlds, people: Any) -> None:
    people(keys=())
    here = world(FIELDS, {"crm": [ANN | {"city": "Riga"}], "mkt": []}, create="always")
    here.systems["mkt"]._apply = duplicating(here.systems["mkt"])  # type: ignore[method-assign]  # a lax vendor
    fault(here, "mkt", "drop_answer")
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    cycle.pull_source(here.engine, here.engine.sources["mkt", "people"])
    for _ in range(3):
        cycle.settle(here.engine, cycle.Summary())
        here.clock.pass_(15)
    assert creates(here, "mkt") == 1
    assert [review.kind for review in here.reviews()] == ["refused"]
    here.sync()  # the record is read, recognised, and linked
    assert (creates(here, "mkt"), here.reviews()) == (1, [])
    assert here.quiet() == AT_REST


@pytest.mark.parametrize("lost", ["drop_answer", "drop_request"])
@pytest.mark.parametrize("keys", [("email",), ()], ids=["looked for", "not to be found"])
def test_a_create_in_doubt_is_repeated_at_once_where_the_vendor_knows_its_key(
    world: Worlds, people: Any, lost: str, keys: tuple[str, ...]
) -> None:
    people(keys=keys, remembers=86_400.0)
    here = world(FIELDS, ALONE, create="always")
    here.systems["mkt"]._apply = remembering(here.systems["mkt"])  # type: ignore[method-assign]
    fault(here, "mkt", lost)
    begun = here.clock.at
    here.sync()
    here.sync()
    assert (creates(here, "mkt"), here.reviews()) == (1, [])
    assert [len(record.links) for record in here.records()] == [2]
    assert here.clock.at - begun < 5_000_000
    assert here.quiet() == AT_REST


def test_a_create_that_stays_in_doubt_is_repeated_under_one_key_and_not_without_end(
    world: Worlds, people: Any, sent: list[str]
) -> None:
    people(remembers=86_400.0)
    here = world(FIELDS, ALONE, create="always")
    fault(here, "mkt", "drop_request", times=0)
    while len(set(sent)) < 2:
        here.sync()
        here.clock.pass_(10)
        assert len(sent) < 100
    assert 2 < sent.count(sent[0]) <= 32  # at most one every ten seconds, for as long as a request lives
    assert here.clock.at - START >= 2 * REQUEST_LIFE


def test_a_create_in_doubt_is_not_repeated_once_the_vendor_may_have_forgotten_its_key(
    world: Worlds, people: Any, sent: list[str]
) -> None:
    people(remembers=20.0)
    here = world(FIELDS, ALONE, create="always")
    fault(here, "mkt", "drop_request", times=0)
    here.sync()
    tried = len(sent)
    here.clock.pass_(21)
    until_settled(here)
    assert len(sent) == tried


def test_a_create_in_doubt_keeps_its_key_where_repeating_it_is_turned_away(
    world: Worlds, people: Any, sent: list[str]
) -> None:
    people(keys=(), remembers=86_400.0)
    here = world(FIELDS, ALONE, create="always")
    here.systems["mkt"]._apply = remembering(here.systems["mkt"])  # type: ignore[method-assign]
    fault(here, "mkt", "drop_answer")
    fault(here, "mkt", "status", status=429, times=2)
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    cycle.pull_source(here.engine, here.engine.sources["mkt", "people"])
    for _ in range(8):
        cycle.settle(here.engine, cycle.Summary())
        here.clock.pass_(15)
    assert (len(sent) > 1, len(set(sent)), creates(here, "mkt")) == (True, 1, 1)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The key of every write that is sent."""
    keys: list[str] = []
    write = ToyConnector.write

    def noting(self: Any, object: str, writes: Any, paths: Any) -> Any:
        keys.extend(one.key for one in writes)
        return write(self, object, writes, paths)

    monkeypatch.setattr(ToyConnector, "write", noting)
    return keys


def remembering(simulator: Any) -> Any:
    """A vendor that takes the same address twice, but no key."""
    once, answers = duplicating(simulator), dict[str, Any]()

    def apply(object_: str, op: str, one: Any) -> Any:
        if op != "create":
            return once(object_, op, one)
        if one["key"] not in answers:
            answers[one["key"]] = once(object_, op, one)
        return answers[one["key"]]

    return apply


def duplicating(simulator: Any) -> Any:
    """A vendor that takes the same address twice."""
    apply = simulator._apply

    def lax(object_: str, op: str, one: Any) -> Any:
        if op != "create":
            return apply(object_, op, one)
        made = simulator._make(object_, one["values"], "api")
        return {"key": one["key"], "status": "done", "id": made["id"], "record": made}

    return lax


def test_a_create_that_meets_an_existing_record_links_it(world: Worlds, people: Any) -> None:
    """Found only when the vendor says so: it was made after we had looked."""
    here = world(FIELDS, ALONE, create="always")
    here.sync()
    here.systems["crm"].insert("people", {"email": "bob@x.example", "city": "Bonn"})
    person = {"email": "bob@x.example", "name": "Bob Ray"}
    simulator = here.systems["mkt"]
    apply = simulator._apply

    def raced(object_: str, op: str, one: Any) -> Any:
        if op == "create" and not any(
            r["fields"].get("email") == person["email"] for r in simulator.records("people")
        ):
            simulator.insert("people", person)
        return apply(object_, op, one)

    simulator._apply = raced  # type: ignore[method-assign]  # a person is quicker than we are
    until_settled(here)
    assert here.held("mkt", "email") == ["ann@x.example", "bob@x.example"]
    assert here.held("crm", "name") == [None, "Bob Ray"]
    assert [len(record.links) for record in here.records()] == [2, 2]
    assert here.quiet() == AT_REST


def test_a_create_that_exists_without_saying_where_becomes_a_review(world: Worlds, people: Any) -> None:
    people(keys=())
    here = world(FIELDS, ALONE, create="always")
    simulator = here.systems["mkt"]

    def secretive(object_: str, op: str, one: Any) -> Any:
        return {"key": one["key"], "status": "exists"}

    simulator._apply = secretive  # type: ignore[method-assign]  # a vendor of few words
    until_settled(here)
    assert [review.kind for review in here.reviews()] == ["refused"]
    assert sum(entry.write for entry in simulator.log) == 1


def test_a_create_waits_for_a_required_value(world: Worlds) -> None:
    text = FIELDS.replace("type: person_name", "type: person_name, required: true")
    here = world(text, ALONE, create="always")
    here.sync()
    assert creates(here, "mkt") == 0
    with here.engine.store.read() as tx:
        assert queues.outbox_counts(tx) == {("mkt", "waiting"): 1}
    assert here.quiet() == AT_REST
    here.edit("crm", "p000001", name="Ann Lee")
    here.sync()
    assert here.held("mkt", "name") == ["Ann Lee"]
    assert here.quiet() == AT_REST


def test_a_create_that_waits_for_a_value_goes_on_waiting_when_something_else_is_linked(world: Worlds) -> None:
    text = FIELDS.replace("type: person_name", "type: person_name, required: true")
    here = world(text, ALONE, create="always")
    here.sync()
    here.systems["mkt"].insert("people", {"email": "bob@x.example", "name": "Bob Ray"})
    here.sync()
    with here.engine.store.read() as tx:
        assert queues.outbox_counts(tx) == {("mkt", "waiting"): 1}
    assert here.quiet() == AT_REST


def test_nothing_is_created_before_the_first_read_of_the_object_is_complete(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": [{"email": "bob@x.example"}]}, create="always")
    here.systems["mkt"].faults.append(Fault(kind="status", operation="people.list", status=503, times=0))
    summary = here.sync()
    assert set(summary.failed) == {"mkt"}
    assert (creates(here, "mkt"), creates(here, "crm")) == (1, 1)
    here.systems["mkt"].faults.clear()
    here.clock.pass_(60)
    here.sync()
    assert sorted(here.held("mkt")) == sorted(here.held("crm")) == ["ann@x.example", "bob@x.example"]
    assert here.quiet() == AT_REST


def test_a_write_to_what_was_deleted_meanwhile_asks_what_follows_and_stops(world: Worlds) -> None:
    here = opened(world)
    here.edit("crm", "p000001", city="Oslo")
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    here.systems["mkt"].remove("people", "p000001")
    here.sync()
    assert [review.kind for review in here.reviews()] == ["delete"]
    assert here.quiet() == AT_REST


# --------------------------------------------------------------------------------------- asynchronous writes


FIRM = """\
entity: firm
links:
  crm: {object: people, create: never}
  mkt: {object: firms, create: always}
match:
  - {on: [name]}
fields:
  name: {type: text, required: true, authority: crm, systems: {crm: name, mkt: name}}
  country: {type: country, authority: crm, systems: {crm: status, mkt: country}}
"""


def wait(world: Rig, seconds: float = 2.0) -> None:
    world.clock.pass_(seconds)
    for simulator in world.systems.values():
        simulator.advance()


def test_a_job_is_asked_about_until_it_is_done(any_world: Worlds) -> None:
    here = any_world("", {"crm": [{"name": "Acme", "status": "US"}], "mkt": []}, entity=FIRM)
    here.sync()
    assert here.held("mkt", "name", "firms") == []
    for _ in range(3):
        wait(here)
        here.sync()
    assert here.held("mkt", "name", "firms") == ["Acme"]
    here.edit("crm", "p000001", status="DE")
    here.sync()
    for _ in range(6):
        wait(here, 10)
        here.sync()
    assert here.held("mkt", "country", "firms") == ["DE"]
    assert len(here.systems["mkt"].records("firms")) == 1
    wait(here, 60)
    assert here.quiet() == AT_REST


def test_a_read_that_lags_behind_our_write_is_not_taken_for_an_undo(world: Worlds) -> None:
    here = world(
        "",
        {"crm": [{"name": "Acme", "status": "US"}], "mkt": []},
        entity=FIRM,
        firms={"mkt": [{"name": "Acme"}]},
    )
    here.sync()
    here.clock.pass_(0.6)
    here.sync()  # the job is done, but its effect cannot be read yet
    assert here.kinds().get("edit_reverted", 0) == 0
    for _ in range(4):
        wait(here, 20)
        here.sync()
    assert here.held("mkt", "country", "firms") == ["US"]
    assert here.kinds().get("edit_reverted", 0) == 0
    assert here.quiet() == AT_REST


def test_what_waited_for_a_write_is_decided_before_the_next_one_is_claimed(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN | {"city": "Riga"}], "mkt": [ANN | {"city": "Riga"}]})
    here.sync()
    here.edit("crm", here.ids("crm")[0], city="Oslo")
    cycle.decide_run(
        here.engine, ingest.pull(here.engine, here.engine.sources["crm", "people"]), cycle.Summary()
    )
    source = here.engine.sources["mkt", "people"]
    found = ingest.read_now(here.engine, source, here.ids("mkt"), "read")
    with here.engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, "mkt", "people", found)
    assert deliver.claim(here.engine, "mkt", here.clock()) == []
    cycle.decide_waiting(here.engine, cycle.Summary())
    assert len(deliver.claim(here.engine, "mkt", here.clock())) == 1
