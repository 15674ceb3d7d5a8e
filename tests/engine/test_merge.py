"""Two records become one: links move, values meet under their rules, nothing stale is left, the world agrees again."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.core.resolve import resolve
from syncbroker.engine import answer, cycle, deliver, merge
from syncbroker.errors import BadAnswer, Missing, Retry
from syncbroker.store import merges, queues, runs, tables
from tests.engine.conftest import Worlds
from tests.support.rig import Rig, entity_text

FIELDS = """\
  email: {type: email, authority: [crm, mkt], policy: prefer, systems: {crm: email, mkt: email}}
  name: {type: person_name, authority: [crm, mkt], policy: prefer, systems: {crm: name, mkt: name}}
  phone: {type: phone, policy: review, first_meeting: review, systems: {crm: phone, mkt: phone}}
  tags: {type: tags, policy: union, systems: {crm: tags, mkt: tags}}
"""
ANN = {"email": "ann@x.example", "name": "Ann Lee", "phone": "+15551234567", "tags": ["a"]}
LEE = {"email": "lee@x.example", "name": "A. Lee", "tags": ["b"]}
AT_REST = (0, 0, 0)


def two(worlds: Worlds, crm: Any = ANN, mkt: Any = LEE, **given: Any) -> Rig:
    """One record in crm, another one in mkt."""
    here = worlds(FIELDS, {"crm": [crm], "mkt": [mkt]}, **given)
    here.sync()
    return here


def ids(here: Rig) -> tuple[str, str]:
    """The record of crm's first and that of mkt's first."""
    by_system = {one.links[0].system: one.id for one in here.records()}
    return by_system["crm"], by_system["mkt"]


def joined(here: Rig, survivor: str, absorbed: str) -> merge.MergeReport:
    return merge.merge(here.engine, survivor, absorbed, "pat")


def outbox(here: Rig) -> list[queues.Row]:
    with here.engine.store.read() as tx:
        numbers = [row[0] for row in tx.run(tables.outbox.select())]
        return list(queues.outbox_rows(tx, numbers).values())


# ------------------------------------------------------------------------------------------------ what it does


def test_the_links_of_both_are_the_survivors_and_the_systems_agree(any_world: Worlds) -> None:
    here = two(any_world, mkt=LEE | {"phone": None})
    joined(here, *ids(here))
    here.sync()
    (record,) = here.records()
    assert sorted((one.system, one.primary) for one in record.links) == [("crm", True), ("mkt", True)]
    assert here.held("mkt", "name") == here.held("crm", "name") == ["Ann Lee"]
    assert here.held("mkt", "tags") == here.held("crm", "tags") == [["a", "b"]]
    assert here.held("mkt", "phone") == [ANN["phone"]]
    assert here.quiet() == AT_REST


def test_each_field_is_decided_by_its_own_rule_and_resolves_again_to_the_same(world: Worlds) -> None:
    here = two(world)
    crm, mkt = ids(here)
    joined(here, mkt, crm)
    found = [o for o in here.outcomes() if o.cause is not None and o.cause.via == "merge" and o.question]
    assert {o.field: o.kind for o in found} == {
        "email": "conflict_resolved",
        "name": "conflict_resolved",
        "phone": "adopted",
        "tags": "conflict_resolved",
    }
    plan = here.engine.plans["person"]
    for one in found:
        verdict = resolve(plan.fields[one.field].rule, one.question)
        assert (verdict.kind, verdict.golden.value, verdict.why) == (one.kind, one.after, one.why)
    assert here.golden("name") == ["Ann Lee"]


def test_a_policy_that_asks_queues_a_question_and_goes_on(world: Worlds) -> None:
    here = two(world, mkt=LEE | {"phone": "+15559876543"})
    joined(here, *ids(here))
    (review,) = here.reviews()
    assert (review.kind, review.field) == ("conflict", "phone")
    assert here.quiet() != AT_REST
    answer.answer(here.engine, review.id, "mkt", "pat")
    here.sync()
    assert here.held("crm", "phone") == here.held("mkt", "phone") == ["+15559876543"]
    assert here.quiet() == AT_REST


def test_both_records_say_what_became_of_them(world: Worlds) -> None:
    here = two(world)
    crm, mkt = ids(here)
    joined(here, crm, mkt)
    found = [(o.after, o.kind) for o in here.outcomes("merged")]
    assert sorted(found) == sorted([(mkt, "merged"), (crm, "merged")])
    with here.engine.store.read() as tx:
        assert merges.survivors(tx, [mkt]) == {mkt: crm}


def test_a_second_link_of_a_system_is_a_duplicate_and_takes_no_part(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN, LEE], "mkt": []})
    here.sync()
    one, other = (record.id for record in here.records())
    joined(here, one, other)
    here.sync()
    (record,) = here.records()
    assert [link.primary for link in record.links] == [True, False]
    assert here.held("crm", "name") == ["Ann Lee", "A. Lee"]
    with here.engine.store.read() as tx:
        assert runs.counters(tx)["duplicate_link", "crm", "people"] == 1
    assert here.quiet() == AT_REST


def test_creates_that_are_owed_are_dropped_where_the_other_has_the_record(world: Worlds) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": [LEE]}, create="always")
    for source in here.engine.sources.values():
        cycle.pull_source(here.engine, source)
    assert [row.op for row in outbox(here)] == ["create", "create"]
    crm, mkt = sorted(here.records(), key=lambda record: record.links[0].system)
    joined(here, crm.id, mkt.id)
    assert [row.op for row in outbox(here)] == ["update", "update"]
    cycle.settle(here.engine, cycle.Summary())
    assert here.held("mkt", "name") == here.held("crm", "name") == ["Ann Lee"]
    assert here.quiet() == AT_REST


def test_a_refused_create_of_the_absorbed_record_leaves_neither_row_nor_review(world: Worlds) -> None:
    entity = entity_text(FIELDS, ["crm", "mkt"], create="always", match="phone")
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN | {"phone": None}]}, entity=entity)
    here.sync()
    assert [one.kind for one in here.reviews()] == ["refused", "refused"]
    one, other = (record.id for record in here.records())
    joined(here, one, other)
    assert (here.reviews(), outbox(here)) == ([], outbox(here)[:1])
    here.sync()
    assert (here.reviews(), outbox(here)) == ([], [])
    assert here.quiet() == AT_REST


def test_a_question_about_the_absorbed_record_goes_on_about_the_survivor(world: Worlds) -> None:
    here = world(
        FIELDS,
        {"crm": [ANN, LEE | {"phone": "+15550000001"}], "mkt": [LEE | {"phone": "+15550000002"}]},
    )
    here.sync()
    (asked,) = here.reviews()
    other = next(record.id for record in here.records() if record.id != asked.record_id)
    joined(here, other, str(asked.record_id))
    (review,) = here.reviews()
    assert (review.id, review.record_id) == (asked.id, other)
    assert sorted(map(str, review.body["candidates"].values())) == [
        "+15550000001",
        "+15550000002",
        ANN["phone"],
    ]
    answer.answer(here.engine, review.id, "golden" if "" in review.body["candidates"] else "mkt", "pat")
    here.sync()
    assert here.quiet() == AT_REST


def test_a_person_s_answer_is_not_outranked_by_the_other_record(world: Worlds) -> None:
    text = FIELDS.replace("policy: review, first_meeting: review", "authority: crm, on_foreign_edit: propose")
    here = world(text, {"crm": [ANN], "mkt": [ANN, LEE | {"phone": "+15550000009"}]})
    here.sync()
    here.edit("mkt", "p000001", phone="+15550000001")
    here.sync()
    answer.answer(here.engine, here.reviews()[0].id, "accept", "pat")
    here.sync()
    first, other = here.records()
    joined(here, other.id, first.id)
    here.sync()
    assert here.golden("phone") == ["+15550000001"]
    assert here.quiet() == AT_REST


# ---------------------------------------------------------------------------------------- what it refuses


def test_a_plan_changes_nothing(world: Worlds) -> None:
    here = two(world)
    before = here.records(), here.last_decision()
    report = merge.merge(here.engine, *ids(here), "pat", only_plan=True)
    assert (here.records(), here.last_decision()) == before
    assert {one.field: one.after for one in report.fields}["name"] == "Ann Lee"
    assert [(one.system, one.what) for one in report.links] == [("mkt", "moved")]


def test_a_record_that_is_gone_or_itself_cannot_be_merged(world: Worlds) -> None:
    here = two(world)
    crm, mkt = ids(here)
    with pytest.raises(BadAnswer, match="itself"):
        joined(here, crm, crm)
    joined(here, crm, mkt)
    with pytest.raises(Missing, match="there is no record") as error:
        joined(here, crm, mkt)
    assert crm in error.value.hint


def test_a_write_under_way_is_settled_first(world: Worlds) -> None:
    here = two(world)
    here.edit("crm", "p000001", name="Ann Other")
    crm, mkt = ids(here)
    joined(here, crm, mkt)
    here.edit("crm", "p000001", name="Ann Third")
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    deliver.claim(here.engine, "mkt", here.engine.now())
    other = here.systems["crm"].insert("people", {"email": "new@x.example"})
    assert other
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    new = next(record.id for record in here.records() if record.id != crm)
    with pytest.raises(Retry, match="being written to"):
        joined(here, new, crm)
