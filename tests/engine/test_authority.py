"""Authority with terms: who decides while a condition holds and until authority lapses, and what is in between."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import answer, cycle, deliver
from tests.engine.conftest import Worlds
from tests.support.rig import Rig
from tests.support.writing import write

ANN = {"email": "ann@x.example"}
AT_REST = (0, 0, 0)
DAY = 86_400.0

HEAD = """  email: {type: email, systems: {crm: email, mkt: email, sup: email}}
  status: {type: text, policy: prefer, systems: {crm: status, mkt: status, sup: status}}
"""
WHILE_PAID = (
    HEAD
    + """  city:
    type: text
    policy: enforce
    authority: [{system: mkt, when: "record.status == 'paid'"}, crm]
    systems: {crm: city, mkt: city, sup: city}
"""
)
PULLED = WHILE_PAID.replace("mkt: city,", "mkt: {field: city, direction: pull},")
LAPSING = (
    HEAD
    + """  city:
    type: text
    policy: enforce
    authority: [{system: mkt, stale_after: 90d}, crm]
    systems: {crm: city, mkt: {field: city, direction: pull}, sup: city}
"""
)


def three(**given: Any) -> dict[str, list[dict[str, Any]]]:
    return {name: [ANN | given.get(name, {})] for name in ("crm", "mkt", "sup")}


def everywhere(world: Rig, path: str = "city") -> list[Any]:
    return [world.held(name, path)[0] for name in world.systems]


def who(world: Rig) -> list[tuple[str, str]]:
    return [(str(o.kind), o.system) for o in world.outcomes() if o.field == "city"][3:]


def open_world(any_world: Worlds, fields: str, *, status: str = "trial", **given: Any) -> Rig:
    """Ann in Riga in all three systems, at rest. The last is the first to be read with a golden city."""
    held = {"city": "Riga", "status": status}
    world = any_world(fields, three(crm=held, mkt=held, sup=held), **given)
    world.sync()
    assert world.quiet() == AT_REST
    return world


# ------------------------------------------------------------------------------------------ a condition


@pytest.mark.parametrize(
    ("status", "editor", "city", "kind"),
    [
        ("trial", "crm", "Oslo", "adopted"),
        ("trial", "mkt", "Riga", "edit_reverted"),
        ("paid", "crm", "Riga", "edit_reverted"),
        ("paid", "mkt", "Oslo", "adopted"),
        ("paid", "sup", "Riga", "edit_reverted"),
        ("", "mkt", "Riga", "edit_reverted"),  # an empty field is not 'paid'
    ],
)
def test_the_owner_is_the_first_authority_whose_condition_holds(
    world: Worlds, status: str, editor: str, city: str, kind: str
) -> None:
    here = open_world(world, WHILE_PAID, status=status)
    here.edit(editor, "p000001", city="Oslo")
    here.sync()
    assert everywhere(here) == [city] * 3
    assert who(here) == [(kind, editor)]
    assert here.quiet() == AT_REST


def test_why_somebody_has_no_authority_is_said(world: Worlds) -> None:
    here = open_world(world, WHILE_PAID)
    here.edit("mkt", "p000001", city="Oslo")
    here.sync()
    (outcome,) = here.outcomes("edit_reverted")
    assert outcome.why == "crm has authority, mkt has none: not while record.status == 'paid'"
    assert outcome.question is not None
    assert outcome.question.barred == (("mkt", "not while record.status == 'paid'"),)


def test_a_condition_reads_the_values_from_before_and_authority_then_passes_on(world: Worlds) -> None:
    here = open_world(world, WHILE_PAID)
    here.edit("mkt", "p000001", status="paid", city="Oslo")
    here.sync()
    assert who(here) == [("edit_reverted", "mkt"), ("authority_changed", "mkt")]
    assert everywhere(here) == ["Oslo"] * 3
    assert here.quiet() == AT_REST


# ------------------------------------------------------------------------------------ the owner changes


def test_when_authority_passes_on_what_the_new_owner_holds_is_taken(any_world: Worlds) -> None:
    here = open_world(any_world, PULLED)
    here.edit("mkt", "p000001", city="Oslo")  # ignored: it has no authority, and nothing is pushed there
    here.sync()
    assert [here.held("crm", "city"), here.held("sup", "city")] == [["Riga"], ["Riga"]]
    here.edit("crm", "p000001", status="paid")
    here.sync()
    assert everywhere(here) == ["Oslo"] * 3
    (outcome,) = here.outcomes("authority_changed")
    assert (outcome.winner, outcome.why) == ("mkt", "authority passed from crm to mkt")
    assert here.quiet() == AT_REST


def test_when_authority_comes_back_what_the_first_owner_holds_is_taken_again(world: Worlds) -> None:
    fields = PULLED.replace("crm: city", "crm: {field: city, direction: pull}")
    here = open_world(world, fields, status="paid")
    here.edit("mkt", "p000001", city="Oslo")
    here.sync()
    assert here.golden("city") == ["Oslo"]
    here.edit("sup", "p000001", status="trial")
    here.sync()
    assert (here.golden("city"), here.held("sup", "city")) == (["Riga"], ["Riga"])
    assert here.quiet() == AT_REST


def test_a_value_that_the_new_owner_is_still_owed_is_not_its_opinion(world: Worlds) -> None:
    here = open_world(world, WHILE_PAID)
    here.edit("crm", "p000001", city="Oslo")
    pull(here, "crm")  # mkt is owed Oslo and still holds Riga
    here.edit("crm", "p000001", status="paid")
    here.sync()
    assert everywhere(here) == ["Oslo"] * 3
    assert here.outcomes("authority_changed") == []


@pytest.mark.parametrize("city", ["", None])
def test_an_owner_that_holds_nothing_takes_nothing_away(world: Worlds, city: str | None) -> None:
    held = {"city": "Riga", "status": "trial"}
    here = world(PULLED, three(crm=held, mkt={"status": "trial", "city": city}, sup=held))
    here.sync()
    here.edit("crm", "p000001", status="paid")
    here.sync()
    assert here.golden("city") == ["Riga"]
    assert here.quiet() == AT_REST


def test_an_owner_that_is_not_linked_owns_nothing(world: Worlds) -> None:
    held = {"city": "Riga", "status": "paid"}
    here = world(WHILE_PAID, {"crm": [ANN | held], "mkt": [], "sup": [ANN | held]})
    here.sync()
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    assert here.golden("city") == ["Oslo"]


def test_an_owner_whose_record_is_deleted_loses_authority(world: Worlds) -> None:
    here = open_world(world, WHILE_PAID, status="paid", delete="detach")
    here.systems["mkt"].remove("people", "p000001")
    here.sweep()
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    assert (here.golden("city"), here.held("sup", "city")) == (["Oslo"], ["Oslo"])
    assert here.quiet() == AT_REST


def test_without_any_owner_edits_are_judged_by_what_they_build_on(world: Worlds) -> None:
    only = WHILE_PAID.replace(", crm]", "]")
    here = open_world(world, only)
    here.edit("sup", "p000001", city="Oslo")
    here.sync()
    assert everywhere(here) == ["Oslo"] * 3
    (outcome,) = (o for o in here.outcomes("adopted") if o.field == "city" and o.system == "sup")
    assert outcome.why == "no system has authority now"


def test_a_field_in_review_does_not_change_hands(world: Worlds) -> None:
    here = open_world(world, WHILE_PAID)
    for _ in range(4):
        here.edit("sup", "p000001", city="Oslo")
        here.sync()
    assert [one.kind for one in here.reviews()] == ["contested"]
    here.edit("crm", "p000001", status="paid")
    here.sync()
    assert [one.kind for one in here.reviews()] == ["contested"]
    assert here.outcomes("authority_changed") == []


# ------------------------------------------------------------------------------------------------ lapsing


def test_authority_lapses_so_long_after_the_last_edit(any_world: Worlds) -> None:
    here = open_world(any_world, LAPSING)
    here.clock.pass_(89 * DAY)
    here.edit("crm", "p000001", city="Oslo")
    here.sync()
    assert who(here) == [("edit_reverted", "crm")]
    here.clock.pass_(2 * DAY)
    here.edit("crm", "p000001", city="Turku")
    here.sync()
    assert here.golden("city") == ["Turku"]
    assert who(here)[1:] == [("adopted", "crm")]
    assert here.quiet() == AT_REST


def test_authority_that_lapsed_stays_so_whoever_edits_next(world: Worlds) -> None:
    here = open_world(world, LAPSING)
    here.clock.pass_(91 * DAY)
    for city in ("Oslo", "Turku", "Paris"):
        here.edit("crm", "p000001", city=city)
        here.sync()
        assert here.golden("city") == [city]


def test_an_edit_brings_authority_back(world: Worlds) -> None:
    here = open_world(world, LAPSING)
    here.clock.pass_(91 * DAY)
    here.edit("mkt", "p000001", city="Oslo")
    here.sync()
    here.edit("crm", "p000001", city="Turku")
    here.sync()
    assert [here.held("crm", "city"), here.held("sup", "city")] == [["Oslo"], ["Oslo"]]
    assert who(here) == [("adopted", "mkt"), ("edit_reverted", "crm")]


def test_a_lapse_is_noticed_when_it_comes(any_world: Worlds) -> None:
    fields = LAPSING.replace("crm: city", "crm: {field: city, direction: pull}")
    here = open_world(any_world, fields)
    here.edit("crm", "p000001", city="Oslo")  # ignored, and let stand
    here.sync()
    assert here.golden("city") == ["Riga"]
    here.clock.pass_(91 * DAY)
    cycle.settle(here.engine, cycle.Summary())
    assert (here.golden("city"), here.held("sup", "city")) == (["Oslo"], ["Oslo"])
    (outcome,) = here.outcomes("authority_changed")
    assert outcome.why == "authority passed from mkt to crm"
    assert here.quiet() == AT_REST


def test_authority_that_lapses_while_an_edit_is_in_flight_was_lost_before_it_is_judged(world: Worlds) -> None:
    here = open_world(world, LAPSING)
    here.clock.pass_(90 * DAY - 100)
    here.edit("crm", "p000001", city="Oslo")
    here.clock.pass_(200)
    here.sync()
    assert (here.golden("city"), who(here)) == (["Oslo"], [("adopted", "crm")])


def test_a_write_under_way_is_waited_for_before_authority_passes_on(world: Worlds) -> None:
    here = open_world(world, WHILE_PAID)
    here.edit("crm", "p000001", city="Oslo")
    pull(here, "crm")
    claimed = deliver.claim(here.engine, "mkt", here.engine.now())
    here.edit("crm", "p000001", status="paid")
    pull(here, "crm")
    write(here.engine, deliver.recheck(here.engine, claimed))
    here.sync()
    assert everywhere(here) == ["Oslo"] * 3
    assert here.records()[0].golden["city"].owner == "mkt"
    assert here.quiet() == AT_REST


def test_a_persons_answer_stands_until_the_owner_edits(world: Worlds) -> None:
    here = open_world(world, PULLED, status="paid")
    for _ in range(4):
        here.edit("sup", "p000001", city="Oslo")
        here.sync()
    (review,) = here.reviews()
    answer.answer(here.engine, review.id, "value", "eve", value="Bonn")
    here.sync()
    assert (here.golden("city"), here.held("crm", "city")) == (["Bonn"], ["Bonn"])
    assert here.quiet() == AT_REST


def pull(here: Rig, system: str) -> None:
    """What changed there is decided; nothing is delivered."""
    cycle.pull_source(here.engine, here.engine.sources[system, "people"])
