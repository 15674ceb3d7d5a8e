"""Undo sets back exactly what is still the decisions' own, in the broker and in the systems, and lists the rest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from syncbroker.engine import answer, cycle, find, undo
from syncbroker.engine import scope as scopes
from syncbroker.engine.replay import replay
from syncbroker.engine.scope import Scope
from syncbroker.engine.undo import Undone
from syncbroker.errors import Missing
from syncbroker.sdk.simulator import Fault
from syncbroker.store import decisions, runs, tables
from tests.engine.conftest import Worlds
from tests.engine.test_identity import FIRM, WORKS
from tests.support.rig import Rig
from tests.support.stage import Death, Killed, dying

EMAIL = "  email: {type: email, systems: {crm: email, mkt: email}}"
CITY = f"{EMAIL}\n  city: {{type: text, policy: prefer, systems: {{crm: city, mkt: city}}}}"
CLEARED = CITY.replace("policy: prefer", "policy: prefer, empty: clear")
ANN = {"email": "ann@x.example", "city": "Riga"}
BOB = {"email": "bob@x.example", "city": "Bonn"}
BOTH: dict[str, list[dict[str, Any]]] = {"crm": [ANN, BOB], "mkt": [ANN, BOB]}
AT_REST = (0, 0, 0)


def started(world: Worlds, fields: str = CITY, data: Any = None, **given: Any) -> Rig:
    made = world(fields, data or BOTH, **given)
    made.sync()
    return made


def edited(world: Rig, system: str = "crm", id: str = "p000001", **changes: Any) -> int:
    """Somebody edits, a sync follows; returns the run that decided it."""
    world.edit(system, id, **changes)
    world.sync()
    return last_run(world)


def last_run(world: Rig) -> int:
    """The run of the newest decision."""
    with world.engine.store.read() as tx:
        (newest,) = decisions.search(tx, limit=1)
    return newest.run


def undone(world: Rig, run: int, **given: Any) -> Undone:
    done = undo.carry_out(world.engine, Scope(run=run), "Kim", **given)
    world.sync()
    return done


def cities(world: Rig) -> dict[str, list[Any]]:
    return {"golden": world.golden("city"), **{name: world.held(name, "city") for name in world.systems}}


def everywhere(*values: Any) -> dict[str, list[Any]]:
    return {name: list(values) for name in ("golden", "crm", "mkt")}


# ---- what goes back ----


def test_a_runs_value_goes_back_in_the_broker_and_in_every_system(any_world: Worlds) -> None:
    world = started(any_world)
    run = edited(world, city="Oslo")
    assert cities(world) == everywhere("Oslo", "Bonn")
    done = undone(world, run)
    assert (done.values, done.left, done.writes) == (1, [], {"crm": 1, "mkt": 1})
    assert cities(world) == everywhere("Riga", "Bonn")
    assert world.quiet() == AT_REST


def test_an_undoing_is_a_decision_under_the_persons_name_with_run_cause_and_event(world: Worlds) -> None:
    there = started(world)
    run = edited(there, city="Oslo")
    done = undone(there, run)
    (outcome,) = there.outcomes("undone")
    assert (outcome.field, outcome.system, outcome.after) == ("city", "crm", "Riga")
    assert outcome.cause is not None
    assert (outcome.cause.via, outcome.cause.event) == ("undo", f"run {run}")
    assert outcome.place.startswith("mappings/person.yaml:")
    with there.engine.store.read() as tx:
        (decision,) = decisions.search(tx, kind="undone")
        of_run = runs.get(tx, done.run)
    assert (decision.actor, decision.run) == ("Kim", done.run)
    assert of_run is not None
    assert (of_run.kind, of_run.state, of_run.counts["changed"]) == ("undo", "done", 1)
    golden = there.records()[0].golden["city"]
    assert (golden.source, golden.decision) == ("", decision.id)


def test_several_decisions_of_the_scope_in_a_row_go_back_to_before_the_first(any_world: Worlds) -> None:
    world = started(any_world)
    since = world.clock()
    for city in ("Oslo", "Turku", "Lund"):
        edited(world, city=city)
    done = undo.carry_out(world.engine, Scope(since=since, system="crm"), "Kim")
    world.sync()
    assert len(done.reverted[0].decisions) == 3
    assert cities(world) == everywhere("Riga", "Bonn")


def test_only_the_trailing_run_goes_back(world: Worlds) -> None:
    """crm, mkt, crm: undoing crm's edits leads back to mkt's."""
    there = started(world)
    since = there.clock()
    edited(there, city="Oslo")
    edited(there, "mkt", city="Turku")
    edited(there, city="Lund")
    undo.carry_out(there.engine, Scope(since=since, system="crm"), "Kim")
    there.sync()
    assert cities(there) == everywhere("Turku", "Bonn")


def test_a_mapping_versions_decisions_go_back(any_world: Worlds) -> None:
    world = started(any_world)
    edited(world, city="Oslo")
    bad = (world.folder / "person.yaml").read_text().replace("policy: prefer", "policy: latest")
    world.remap(bad)
    edited(world, city="Turku")
    edited(world, "mkt", "p000002", city="Lund")
    version = world.engine.mapping.version
    scope = scopes.of_mapping(world.engine, version[:6])
    assert scope.mapping == version
    undo.carry_out(world.engine, scope, "Kim")
    world.sync()
    assert cities(world) == everywhere("Oslo", "Bonn")


def test_a_scope_is_narrowed_by_field_and_entity(world: Worlds) -> None:
    fields = f"{CITY}\n  name: {{type: text, policy: prefer, systems: {{crm: name, mkt: name}}}}"
    there = started(world, fields)
    run = edited(there, city="Oslo", name="Ann")
    assert undo.plan(there.engine, Scope(run=run, entity="firm")).empty
    done = undo.carry_out(there.engine, Scope(run=run, field="city"), "Kim")
    assert [one.field for one in done.reverted] == ["city"]
    assert there.golden("name") == ["Ann", None]


def test_a_group_goes_back_as_a_whole(world: Worlds) -> None:
    fields = f"""{EMAIL}
  street: {{type: text, group: address, policy: prefer, systems: {{crm: street, mkt: street}}}}
  city: {{type: text, group: address, policy: prefer, systems: {{crm: city, mkt: city}}}}"""
    there = started(world, fields)
    run = edited(there, city="Oslo", street="Elm 1")
    undone(there, run)
    assert there.held("mkt", "city")[0] == "Riga"
    assert there.held("crm", "street")[0] is None


def test_a_match_key_that_goes_back_is_found_by_its_former_value_again(world: Worlds) -> None:
    there = started(world)
    run = edited(there, email="new@x.example")
    undone(there, run)
    assert there.held("mkt") == ["ann@x.example", "bob@x.example"]
    there.systems["crm"].insert("people", {"email": "new@x.example", "city": "Lund"})
    there.sync()
    assert len(there.records()) == 3  # the address is free again


def test_a_write_that_was_still_owed_is_withdrawn(world: Worlds) -> None:
    there = started(world)
    there.systems["mkt"].faults.append(Fault(operation="people.write", kind="status", status=401, times=0))
    run = edited(there, city="Oslo")
    assert cities(there)["mkt"] == ["Riga", "Bonn"]
    before = len(there.systems["mkt"].log)
    undone(there, run)
    there.systems["mkt"].faults.clear()
    there.clock.pass_(60)
    there.sync()
    assert cities(there) == everywhere("Riga", "Bonn")
    assert [entry for entry in there.systems["mkt"].log[before:] if entry.write] == []


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("kind", ["drop_answer", "drop_request"])
def test_a_write_that_is_in_doubt_while_it_is_undone_comes_to_the_same_end(
    world: Worlds, people: Any, conditional: bool, kind: Any
) -> None:
    people(conditional=conditional)
    there = started(world)
    there.systems["mkt"].faults.append(Fault(operation="people.write", kind=kind))
    run = edited(there, city="Oslo")
    undo.undo_run(there.engine, run, "Kim")
    for _ in range(3):
        there.clock.pass_(400)
        there.sync()
    assert cities(there) == everywhere("Riga", "Bonn")
    assert there.quiet() == AT_REST


# ---- the system whose edit is undone ----


def test_an_edit_there_after_the_undo_was_written_builds_on_it(any_world: Worlds) -> None:
    world = started(any_world)
    undone(world, edited(world, city="Oslo"))
    edited(world, city="Lund")
    assert world.outcomes("adopted", "conflict_resolved")[-1].kind == "adopted"
    assert cities(world) == everywhere("Lund", "Bonn")
    assert world.quiet() == AT_REST


def test_an_edit_there_before_the_undo_was_written_competes_with_the_person(any_world: Worlds) -> None:
    world = started(any_world)
    run = edited(world, city="Oslo")
    undo.undo_run(world.engine, run, "Kim")
    edited(world, city="Lund")  # its author saw Oslo, not Riga
    outcome = world.outcomes("conflict_resolved")[-1]
    assert (outcome.system, outcome.after) == ("crm", "Riga")
    assert cities(world) == everywhere("Riga", "Bonn")
    assert world.quiet() == AT_REST


def test_an_edit_elsewhere_before_the_undo_was_written_competes_too(world: Worlds) -> None:
    there = started(world)
    run = edited(there, city="Oslo")
    undo.undo_run(there.engine, run, "Kim")
    edited(there, "mkt", city="Lund")
    assert cities(there) == everywhere("Riga", "Bonn")
    assert there.quiet() == AT_REST


def test_under_latest_an_edit_of_which_nothing_tells_that_it_is_newer_is_a_tie_that_the_person_wins(
    world: Worlds,
) -> None:
    there = started(world, CITY.replace("policy: prefer", "policy: latest"))
    run = edited(there, city="Oslo")
    undo.undo_run(there.engine, run, "Kim")
    edited(there, city="Lund")  # some time between the last look at it and now
    assert there.outcomes("conflict_resolved")[-1].why.startswith("nothing tells which edit is newer")
    assert cities(there) == everywhere("Riga", "Bonn")


def test_a_system_that_the_mapping_never_writes_keeps_its_value_and_is_named(world: Worlds) -> None:
    there = started(world, CITY.replace("crm: city", "crm: {field: city, direction: pull}"))
    done = undone(there, edited(there, city="Oslo"))
    assert done.reverted[0].stays == {"crm": "pull only"}
    assert done.reverted[0].writes == ["mkt"]
    assert cities(there) == {"golden": ["Riga", "Bonn"], "crm": ["Oslo", "Bonn"], "mkt": ["Riga", "Bonn"]}
    assert there.quiet() == AT_REST


# ---- what is left, and why ----


def left(done: Undone) -> list[tuple[str, str]]:
    return [(one.field, one.why) for one in done.left]


def test_a_value_that_was_changed_since_is_left_and_listed_with_the_decision(any_world: Worlds) -> None:
    world = started(any_world)
    run = edited(world, city="Oslo")
    edited(world, "mkt", city="Lund")
    done = undone(world, run)
    assert done.values == 0
    (one,) = done.left
    assert (one.field, one.why, one.kind, one.actor) == ("city", "changed since", "adopted", "rules")
    assert one.decision == world.records()[0].golden["city"].decision
    assert cities(world) == everywhere("Lund", "Bonn")


def test_a_value_that_came_back_by_another_decision_is_left(world: Worlds) -> None:
    there = started(world)
    run = edited(there, city="Oslo")
    edited(there, "mkt", city="Lund")
    edited(there, "mkt", city="Oslo")
    assert left(undone(there, run)) == [("city", "changed since")]
    assert cities(there) == everywhere("Oslo", "Bonn")


REVIEWED = CITY.replace("policy: prefer", "policy: review")


def test_a_value_in_review_is_left(world: Worlds) -> None:
    there = started(world, REVIEWED)
    run = edited(there, city="Oslo")
    there.edit("crm", "p000001", city="Turku")
    there.edit("mkt", "p000001", city="Lund")
    there.sync()
    assert left(undone(there, run)) == [("city", "in review")]


def test_a_value_that_a_person_confirmed_since_is_left(world: Worlds) -> None:
    there = started(world, REVIEWED)
    there.edit("crm", "p000001", city="Turku")
    there.edit("mkt", "p000001", city="Lund")
    there.sync()
    first = min(outcome.review for outcome in there.outcomes("conflict_queued"))
    answer.answer(there.engine, first, "crm", "Pat")
    there.sync()
    (one,) = undo.plan(there.engine, Scope(since=1, system="crm", field="city")).left[-1:]
    assert (one.why, one.kind, one.actor) == ("confirmed since", "resolved_by_person", "Pat")


def test_a_field_that_the_mapping_no_longer_has_is_left(world: Worlds) -> None:
    there = started(world)
    run = edited(there, city="Oslo")
    there.remap((there.folder / "person.yaml").read_text().replace(CITY, EMAIL))
    assert left(undone(there, run)) == [("city", "the mapping no longer has it")]


def test_an_entity_that_the_mapping_no_longer_has_is_left(world: Worlds) -> None:
    there = started(world)
    run = edited(there, city="Oslo")
    unmapped = replace(there.engine, plans={})
    assert left(undo.plan(unmapped, Scope(run=run))) == [("city", "the mapping no longer has it")]
    assert left(undo.undo_run(unmapped, run, "Kim")) == [("city", "the mapping no longer has it")]


def test_a_value_that_the_mapping_no_longer_allows_is_left(world: Worlds) -> None:
    there = started(world)
    run = edited(there, city="12")
    text = (there.folder / "person.yaml").read_text()
    there.remap(text.replace("{type: text, policy: prefer", "{type: integer, policy: prefer"))
    there.sync()
    assert undone(there, run).values == 0
    assert there.held("mkt", "city")[0] in ("12", 12)


def test_the_first_value_that_a_system_was_seen_to_hold_is_left(any_world: Worlds) -> None:
    world = any_world(CLEARED, {"crm": [ANN], "mkt": [{"email": "ann@x.example"}]})
    world.sync()
    done = undo.carry_out(world.engine, Scope(since=1, system="crm"), "Kim")
    assert done.values == 0
    assert ("city", "the first value that crm was seen to hold; there was none before") in left(done)
    assert ("", "a system brought the record in; undo deletes none") in left(done)


NO_CITY = {"crm": [{"email": "ann@x.example"}], "mkt": [{"email": "ann@x.example"}]}


def test_a_value_where_there_was_none_is_emptied_again_where_the_mapping_empties(any_world: Worlds) -> None:
    world = started(any_world, CLEARED, NO_CITY)
    undone(world, edited(world, city="Oslo"))
    assert cities(world) == everywhere(None)
    assert world.quiet() == AT_REST


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("", "there was no value before, and the mapping never empties the field"),
        (", empty: clear, required: true", "there was no value before, and the field is required"),
    ],
)
def test_a_value_where_there_was_none_stays_where_it_cannot_be_emptied(
    world: Worlds, more: str, why: str
) -> None:
    there = started(world, CITY.replace("policy: prefer", f"policy: prefer{more}"), NO_CITY)
    assert left(undone(there, edited(there, city="Oslo"))) == [("city", why)]
    assert cities(there) == everywhere("Oslo")


def test_a_restriction_is_not_loosened(world: Worlds) -> None:
    rule = "{type: choice, choices: {Yes: [yes], No: [no]}, policy: most_restrictive, order: [Yes, No], "
    rule += "systems: {crm: city, mkt: city}}"
    there = started(world, f"{EMAIL}\n  city: {rule}", {name: [{**ANN, "city": "Yes"}] for name in BOTH})
    run = edited(there, city="No")
    assert there.golden("city") == ["No"]
    assert left(undone(there, run)) == [("city", "it would loosen a restriction without fresh consent")]


def test_a_run_that_changed_nothing_has_nothing_to_undo(world: Worlds) -> None:
    there = started(world)
    assert undo.plan(there.engine, Scope(run=999)).empty


# ---- the plan, and doing it again ----


def test_the_plan_says_what_is_done_and_changes_nothing(any_world: Worlds) -> None:
    world = started(any_world)
    run = edited(world, city="Oslo")
    before = world.last_decision()
    planned = undo.plan(world.engine, Scope(run=run))
    assert world.last_decision() == before
    done = undone(world, run)
    assert (planned.reverted, planned.left, planned.writes) == (done.reverted, done.left, done.writes)
    (one,) = planned.reverted
    assert (one.now, one.back, one.label, one.system) == ("Oslo", "Riga", "ann@x.example", "crm")


def test_undoing_twice_finds_it_undone_already(world: Worlds) -> None:
    there = started(world)
    run = edited(there, city="Oslo")
    undone(there, run)
    again = undone(there, run)
    assert (again.values, left(again)) == (0, [("city", "undone already")])


@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_an_undo_can_be_undone_and_that_again(any_world: Worlds, times: int) -> None:
    world = started(any_world)
    run = edited(world, city="Oslo")
    for _ in range(times):
        run = undone(world, run).run
    assert cities(world) == everywhere("Riga" if times % 2 else "Oslo", "Bonn")
    assert world.quiet() == AT_REST


def test_an_undo_by_time_does_not_undo_undoings(world: Worlds) -> None:
    there = started(world)
    since = there.clock()
    edited(there, city="Oslo")
    scope = Scope(since=since, system="crm")
    undo.carry_out(there.engine, scope, "Kim")
    there.sync()
    assert undo.carry_out(there.engine, scope, "Kim").values == 0
    assert cities(there) == everywhere("Riga", "Bonn")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 7))
def test_an_undo_that_broke_off_is_run_again_to_the_same_end(
    world: Worlds, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    monkeypatch.setattr(scopes, "CHUNK", 1)
    people = [{"email": f"p{n}@x.example", "city": "Riga"} for n in range(4)]
    there = started(world, CITY, {"crm": people, "mkt": people})
    for n in range(4):
        there.edit("crm", f"p00000{n + 1}", city="Oslo")
    there.sync()
    run = last_run(there)
    with dying(Death(at, after), there), pytest.raises(Killed):
        undo.carry_out(there.engine, Scope(run=run), "Kim")
    cycle.recover(there.engine)
    undo.carry_out(there.engine, Scope(run=run), "Kim")
    there.sync()
    assert cities(there) == everywhere(*["Riga"] * 4)
    assert len(there.outcomes("undone")) == 4
    with there.engine.store.read() as tx:
        assert [one for one in runs.unfinished(tx) if one.kind == "undo"] == []


def test_a_long_list_is_cut_and_counted(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo, "LISTED", 1)
    there = started(world)
    there.edit("crm", "p000001", city="Oslo")
    run = edited(there, id="p000002", city="Oslo")
    done = undo.plan(there.engine, Scope(run=run))
    assert (done.values, len(done.reverted)) == (2, 1)


def test_the_same_undo_by_two_people_at_once_is_done_once(world: Worlds) -> None:
    there = started(world)
    run = edited(there, city="Oslo")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda who: undo.undo_run(there.engine, run, who), ["Kim", "Pat"]))
    assert sorted(one.values for one in done) == [0, 1]
    assert len(there.outcomes("undone")) == 1


def test_an_undoing_is_no_decision_of_a_rule_when_it_is_replayed(world: Worlds) -> None:
    there = started(world)
    undone(there, edited(there, city="Oslo"))
    done = replay(there.engine)
    assert (done.difference, done.without_rule["undone by a person"]) == (None, 1)


def referring(world: Worlds) -> tuple[Rig, int]:
    """A run pointed Ann in crm to another firm."""
    firms = [{"name": "Acme"}, {"name": "Zoo"}]
    there = world(
        WORKS,
        {"crm": [ANN | {"firm": "f000001"}], "mkt": [ANN]},
        more={"firm.yaml": FIRM.replace("CREATE", "never")},
        firms={"crm": firms, "mkt": firms},
    )
    for _ in range(4):
        there.sync()
        there.clock.pass_(20)
    return there, edited(there, firm="f000002")


def test_a_reference_goes_back(any_world: Worlds) -> None:
    world, run = referring(any_world)
    assert world.held("mkt", "firm") == ["f000002"]
    undone(world, run)
    assert world.held("mkt", "firm") == world.held("crm", "firm") == ["f000001"]


def test_a_reference_to_a_record_that_is_gone_is_left(any_world: Worlds) -> None:
    world, run = referring(any_world)
    (acme,) = find.find(world.engine, "firm", "Acme")
    with world.engine.store.write() as tx:
        tx.delete(tables.records, ["id"], [(acme,)])
    assert left(undo.plan(world.engine, Scope(run=run))) == [("firm", "it refers to a record that is gone")]


def test_a_scope_that_names_nothing_holds_nothing(world: Worlds) -> None:
    there = started(world)
    edited(there, city="Oslo")
    assert undo.undo_run(there.engine, 0, "Kim").values == 0
    assert undo.plan(there.engine, Scope(since=1)).empty


def test_a_run_or_version_that_does_not_exist_is_missing(world: Worlds) -> None:
    there = started(world)
    with pytest.raises(Missing, match="no run 99"):
        scopes.of_run(there.engine, 99)
    with pytest.raises(Missing, match="no mapping version begins with zz"):
        scopes.of_mapping(there.engine, "zz")
