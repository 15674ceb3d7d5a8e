"""A merge is taken apart: each side has what it had, and what was decided since on its own links' news."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import answer, unmerge
from syncbroker.errors import BadAnswer, Missing
from syncbroker.store import merges
from tests.engine.conftest import Worlds
from tests.engine.test_merge import ANN, AT_REST, FIELDS, LEE, ids, joined, outbox, two
from tests.support.rig import Rig


def parted(here: Rig, merge: int) -> unmerge.UnmergeReport:
    return unmerge.unmerge(here.engine, merge, "pat")


def sides(here: Rig, field: str = "name") -> dict[str, Any]:
    """The golden value of the record of each system's first link."""
    return {record.links[0].system: record.golden[field].value for record in here.records()}


def test_both_sides_get_back_what_they_had_and_so_do_the_systems(any_world: Worlds) -> None:
    here = two(any_world)
    crm, mkt = ids(here)
    before = {one.id: {name: g.value for name, g in one.golden.items()} for one in here.records()}
    number = joined(here, crm, mkt).merge
    here.sync()
    assert here.held("mkt", "name") == ["Ann Lee"]
    parted(here, number)
    here.sync()
    after = {one.id: {name: g.value for name, g in one.golden.items()} for one in here.records()}
    for id_, golden in before.items():
        assert {name: after[id_].get(name) for name in golden} == golden
    assert (here.held("crm", "name"), here.held("mkt", "name")) == (["Ann Lee"], ["A. Lee"])
    assert (here.held("crm", "tags"), here.held("mkt", "tags")) == ([["a"]], [["b"]])
    assert ids(here) == (crm, mkt)
    assert here.reviews() == []
    assert here.quiet() == AT_REST


def test_an_edit_after_the_merge_goes_to_the_side_that_its_link_came_from(world: Worlds) -> None:
    here = two(world)
    crm, mkt = ids(here)
    number = joined(here, crm, mkt).merge
    here.sync()
    here.edit("mkt", "p000001", name="Lea Lee")
    here.sync()
    assert here.held("crm", "name") == ["Lea Lee"]
    here.edit("crm", "p000001", email="new@x.example")
    here.sync()
    report = parted(here, number)
    here.sync()
    assert report.again == (1, 1)
    assert sides(here) == {"crm": "Ann Lee", "mkt": "Lea Lee"}
    assert sides(here, "email") == {"crm": "new@x.example", "mkt": "lee@x.example"}
    assert here.held("crm", "name") == ["Ann Lee"]
    assert here.held("mkt", "email") == ["lee@x.example"]
    assert here.quiet() == AT_REST


def test_an_edit_of_a_duplicate_counts_on_its_own_side(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN, LEE], "mkt": []})
    here.sync()
    one, other = (record.id for record in here.records())
    number = joined(here, one, other).merge
    here.sync()
    here.edit("crm", "p000002", name="Lea Lee")
    here.sync()
    assert here.golden("name") == ["Ann Lee"]
    parted(here, number)
    here.sync()
    assert sorted(here.golden("name")) == ["Ann Lee", "Lea Lee"]
    assert [link.primary for record in here.records() for link in record.links] == [True, True]
    assert here.held("crm", "name") == ["Ann Lee", "Lea Lee"]
    assert here.quiet() == AT_REST


def test_what_a_person_said_since_stays_with_the_survivor_and_is_listed(world: Worlds) -> None:
    here = two(world, mkt=LEE | {"phone": "+15559876543"})
    crm, mkt = ids(here)
    number = joined(here, crm, mkt).merge
    answer.answer(here.engine, here.reviews()[0].id, "value", "pat", value="+15550000000")
    here.sync()
    report = parted(here, number)
    here.sync()
    assert sides(here, "phone") == {"crm": "+15550000000", "mkt": "+15559876543"}
    assert [one.what for one in report.left] == ["phone: a person gave the value (pat)"]
    assert here.held("mkt", "phone") == ["+15559876543"]
    assert here.quiet() == AT_REST


def test_an_edit_that_met_one_of_the_other_side_counts_on_its_own(world: Worlds) -> None:
    """It built on what a person had answered for both, which is what its own side had until then."""
    here = two(world, mkt=LEE | {"phone": "+15559876543"})
    crm, mkt = ids(here)
    number = joined(here, crm, mkt).merge
    answer.answer(here.engine, here.reviews()[0].id, "value", "pat", value="+15550000000")
    here.sync()
    here.edit("crm", "p000001", phone="+15551112222")
    here.edit("mkt", "p000001", phone="+15553334444")
    here.sync()
    assert [review.kind for review in here.reviews()] == ["conflict"]
    parted(here, number)
    here.sync()
    assert sides(here, "phone") == {"crm": "+15551112222", "mkt": "+15553334444"}
    assert here.reviews() == []
    assert here.quiet() == AT_REST


def test_a_question_that_the_merge_raised_is_gone_again(world: Worlds) -> None:
    here = two(world, mkt=LEE | {"phone": "+15559876543"})
    number = joined(here, *ids(here)).merge
    parted(here, number)
    here.sync()
    assert here.reviews() == []
    assert here.quiet() == AT_REST


def test_a_question_that_was_open_before_is_asked_again(world: Worlds) -> None:
    here = world(
        FIELDS,
        {"crm": [ANN, LEE | {"phone": "+15550000001"}], "mkt": [LEE | {"phone": "+15550000002"}]},
    )
    here.sync()
    asked = str(here.reviews()[0].record_id)
    other = next(record.id for record in here.records() if record.id != asked)
    number = joined(here, other, asked).merge
    parted(here, number)
    (review,) = here.reviews()
    assert review.record_id == asked
    assert sorted(review.body["candidates"].values()) == ["+15550000001", "+15550000002"]
    answer.answer(here.engine, review.id, "mkt", "pat")
    here.sync()
    assert here.quiet() == AT_REST


def test_a_link_made_after_the_merge_stays_with_the_survivor(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN, LEE], "mkt": []})
    here.sync()
    one, other = (record.id for record in here.records())
    number = joined(here, one, other).merge
    here.systems["mkt"].insert("people", {"email": "lee@x.example"})
    here.sync()
    report = parted(here, number)
    here.sync()
    assert [left.what for left in report.left] == ["the link to p000001 in mkt, made after the merge"]
    by_id = {record.id: [link.system for link in record.links] for record in here.records()}
    assert by_id == {one: ["crm", "mkt"], other: ["crm"]}
    assert here.quiet() == AT_REST


def test_creates_are_owed_again_on_both_sides(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": []}, create="always")
    here.sync()
    here.systems["crm"].insert("people", LEE)
    here.sync()
    one, other = (record.id for record in here.records())
    number = joined(here, one, other).merge
    here.sync()
    parted(here, number)
    here.sync()
    assert sorted(here.held("mkt", "email")) == ["ann@x.example", "lee@x.example"]
    assert outbox(here) == []
    assert here.quiet() == AT_REST


def test_a_merge_can_be_made_taken_apart_and_made_again(world: Worlds) -> None:
    here = two(world)
    crm, mkt = ids(here)
    for _ in range(2):
        number = joined(here, crm, mkt).merge
        here.sync()
        assert here.held("mkt", "name") == ["Ann Lee"]
        assert here.quiet() == AT_REST
        parted(here, number)
        here.sync()
        assert here.held("mkt", "name") == ["A. Lee"]
        assert here.quiet() == AT_REST
    joined(here, mkt, crm)
    here.sync()
    assert here.held("mkt", "name") == ["Ann Lee"]
    assert here.quiet() == AT_REST


def test_a_merge_is_taken_apart_once_and_the_newest_first(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN, LEE, {"email": "eve@x.example"}], "mkt": []})
    here.sync()
    one, two_, three = (record.id for record in here.records())
    first = joined(here, one, two_).merge
    second = joined(here, three, one).merge
    with pytest.raises(BadAnswer, match=f"merge {second} came after it"):
        parted(here, first)
    assert unmerge.find_merge(here.engine, two_).id == first
    assert unmerge.find_merge(here.engine, three).id == second
    parted(here, second)
    parted(here, first)
    with pytest.raises(BadAnswer, match="no merge"):
        parted(here, first)
    with pytest.raises(BadAnswer, match="taken apart before"):
        unmerge.find_merge(here.engine, str(first))
    with pytest.raises(Missing):
        unmerge.find_merge(here.engine, two_)
    here.sync()
    assert len(here.records()) == 3
    assert here.quiet() == AT_REST


def test_a_plan_of_taking_apart_changes_nothing(world: Worlds) -> None:
    here = two(world)
    number = joined(here, *ids(here)).merge
    before = here.records(), here.last_decision()
    report = unmerge.unmerge(here.engine, number, "pat", only_plan=True)
    assert (here.records(), here.last_decision()) == before
    named = {one.field: (one.survivor, one.absorbed) for one in report.fields}
    assert named["name"] == ("Ann Lee", "A. Lee")
    with here.engine.store.read() as tx:
        found = merges.by_number(tx, number)
        assert found is not None
        assert found.undone is None


def three(worlds: Worlds) -> tuple[Rig, list[str]]:
    """Ann in crm, A. Lee in mkt, Eve in sup: a record each."""
    fields = FIELDS.replace("mkt: email}", "mkt: email, sup: email}").replace(
        "mkt: name}", "mkt: name, sup: name}"
    )
    eve = {"email": "eve@x.example", "name": "Eve Kay"}
    here = worlds(fields, {"crm": [ANN], "mkt": [LEE], "sup": [eve]})
    here.sync()
    by_system = {record.links[0].system: record.id for record in here.records()}
    return here, [by_system["crm"], by_system["mkt"], by_system["sup"]]


def test_a_merge_that_came_and_went_leaves_nothing_in_an_older_one(world: Worlds) -> None:
    here, (crm, mkt, sup) = three(world)
    first = joined(here, crm, mkt).merge
    here.sync()
    here.edit("mkt", "p000001", name="Lea Lee")
    here.sync()
    second = joined(here, crm, sup).merge
    here.sync()
    here.edit("sup", "p000001", name="Eva Kay")
    here.sync()
    here.edit("crm", "p000001", email="ann@y.example")
    here.sync()
    parted(here, second)
    here.sync()
    assert here.held("sup", "name") == ["Eva Kay"]
    assert here.held("crm", "name") == here.held("mkt", "name") == ["Lea Lee"]
    parted(here, first)
    here.sync()
    assert sides(here) == {"crm": "Ann Lee", "mkt": "Lea Lee", "sup": "Eva Kay"}
    assert sides(here, "email") == {
        "crm": "ann@y.example",
        "mkt": "lee@x.example",
        "sup": "eve@x.example",
    }
    assert here.quiet() == AT_REST


def test_an_edit_made_while_the_survivor_was_part_of_a_third_counts_in_the_older_merge(world: Worlds) -> None:
    here, (crm, mkt, sup) = three(world)
    first = joined(here, crm, mkt).merge
    here.sync()
    second = joined(here, sup, crm).merge
    here.sync()
    here.edit("mkt", "p000001", name="Lea Lee")
    here.sync()
    parted(here, second)
    here.sync()
    assert here.held("crm", "name") == here.held("mkt", "name") == ["Lea Lee"]
    parted(here, first)
    here.sync()
    assert sides(here) == {"crm": "Ann Lee", "mkt": "Lea Lee", "sup": "Eve Kay"}
    assert here.quiet() == AT_REST
