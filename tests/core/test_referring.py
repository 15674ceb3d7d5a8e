"""Which records a record refers to, and how it comes to refer to another one."""

from __future__ import annotations

from syncbroker.core.mapping import ValueSpec
from syncbroker.core.referring import repoint, targets
from syncbroker.core.state import FieldState, Golden, LinkState, Record
from syncbroker.core.types import Type
from tests.support.rules import plan, rule

FIRM = rule("prefer", name="firm", spec=ValueSpec(type=Type.REFERENCE, entity="firm"))
PLAN = plan(FIRM, rule("prefer", name="note"))


def person() -> Record:
    state = FieldState(raw="f1", value="old", met=True, base="old", sent=(("old", 9),), known=("old", "x"))
    link = LinkState(n=1, system="crm", object="people", external_id="p1", fields={"firm": state})
    golden = {"firm": Golden("old", "crm", frozen={"crm": "old", "mkt": "third"}), "note": Golden("old")}
    return Record("r", "person", golden, {1: link})


def test_all_that_values_candidates_and_links_lead_to_is_a_target_and_texts_are_not() -> None:
    assert targets(PLAN, person()) == {"old", "third"}


def test_every_place_that_named_the_one_names_the_other() -> None:
    record = person()
    assert repoint(PLAN, record, {"old": "new"}) == ["firm"]
    state = record.by_number[1].fields["firm"]
    assert record.golden["firm"] == Golden("new", "crm", frozen={"crm": "new", "mkt": "third"})
    assert (state.raw, state.value, state.base, state.sent, state.known) == (
        "f1", "new", "new", (("new", 9),), ("new", "x"),
    )  # fmt: skip
    assert record.golden["note"].value == "old"


def test_what_refers_elsewhere_is_left_alone() -> None:
    record = person()
    before = dict(record.golden), dict(record.by_number)
    assert repoint(PLAN, record, {"other": "new"}) == []
    assert (record.golden, record.by_number) == before


def test_references_in_a_group_are_found_in_their_place() -> None:
    grouped = plan(
        rule("prefer", name="firm", spec=FIRM.spec, group="job"), rule("prefer", name="title", group="job")
    )
    record = Record("r", "person", {"job": Golden(("old", "old"))}, {})
    assert targets(grouped, record) == {"old"}
    repoint(grouped, record, {"old": "new"})
    assert record.golden["job"].value == ("new", "old")
