"""A process that dies anywhere around a merge, or taking it apart, leaves the same end; and two decide it at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncbroker.core.types import Receipt
from syncbroker.engine import Engine, cycle, deliver, merge, referrers, settle, unmerge
from syncbroker.errors import BadAnswer, Missing, Retry
from syncbroker.store import merges, records, tables
from tests.engine.conftest import Worlds
from tests.engine.test_merge import ANN, AT_REST, FIELDS, LEE, ids, joined, two
from tests.support.rig import Rig
from tests.support.stage import THIRDS, Death, Killed, Stage, dying
from tests.support.writing import answered, write

SIMPLE = """\
  email: {type: email, required: true, authority: [crm, mkt], policy: prefer, systems: {crm: email, mkt: email}}
  city: {type: text, authority: [crm, mkt], policy: prefer, systems: {crm: city, mkt: city}}
  tags: {type: tags, policy: union, systems: {crm: tags, mkt: tags}}
"""
DATA = {
    "crm": [{"email": "ann@x.example", "city": "Riga", "tags": ["a"]}, {"email": "bob@x.example"}],
    "mkt": [{"email": "lee@x.example", "city": "Bonn", "tags": ["b"]}],
}


def by_system(engine: Engine) -> dict[str, str]:
    """System and external id, with a space between -> record."""
    with engine.store.read() as tx:
        found = tx.run(tables.links.select().where(tables.links.c.external_id.is_not(None)))
        return {f"{row.system} {row.external_id}": str(row.record_id) for row in found}


def merge_once(engine: Engine) -> None:
    where = by_system(engine)
    if where["crm p000001"] != where["mkt p000001"]:
        cycle.settle_writes(engine, list(where.values()))
        merge.merge(engine, where["crm p000001"], where["mkt p000001"], "pat")


def unmerge_once(engine: Engine) -> None:
    where = by_system(engine)
    if where["crm p000001"] == where["mkt p000001"]:
        cycle.settle_writes(engine, list(where.values()))
        found = unmerge.find_merge(engine, where["crm p000001"])
        unmerge.unmerge(engine, found.id, "pat")


def story(stage: Stage, engine: Engine, death: Death) -> None:
    world = stage.world
    cycle.sync(engine)
    steps: list[Callable[[Engine], Any]] = [
        merge_once,
        cycle.sync,
        lambda _: world.edit("mkt", "p000001", city="Oslo"),
        cycle.sync,
        unmerge_once,
        cycle.sync,
    ]
    for step in steps:
        try:
            with dying(death, world):
                step(engine)
        except Killed:
            engine = replace(engine, shapes={})
            for _ in range(3):
                world.clock.pass_(350)
                cycle.recover(engine)
                cycle.sync(engine)
            step(engine)
    for _ in range(2):
        world.clock.pass_(350)
        cycle.sync(engine)
    cycle.sweep(engine)


@pytest.mark.parametrize("third", THIRDS)
def test_a_process_that_dies_around_a_merge_leaves_the_same_end(
    world: Worlds, tmp_path: Path, third: int
) -> None:
    stage = Stage(world(SIMPLE, DATA, delete="detach"), tmp_path)
    engine, alive = stage.again(), Death(0, after=False)
    story(stage, engine, alive)
    wanted = stage.end()
    assert [one["city"] for one in wanted["mkt"][0]] == ["Oslo"]
    for at in range(1 + third, alive.commits + 1, 3):
        after = bool(at % 2)  # before and after a commit in turn: either way the next one finds the same
        story(stage, stage.again(), Death(at, after))
        assert (at, after, stage.end()) == (at, after, wanted)


# --------------------------------------------------------------------------------------------- at once, late


def test_a_create_that_is_answered_after_the_merge_was_refused_is_part_of_it(world: Worlds) -> None:
    """The create is in doubt when the merge is asked for; it is settled first, and its link moves."""
    here = world(FIELDS, {"crm": [ANN, LEE], "mkt": []}, create="always")
    for source in here.engine.sources.values():
        cycle.pull_source(here.engine, source)
    one, other = (record.id for record in here.records())
    claims = deliver.claim(here.engine, "mkt", here.engine.now())
    assert [claim.write.op for claim in claims] == ["create", "create"]
    with pytest.raises(Retry):
        joined(here, one, other)
    write(here.engine, claims)
    joined(here, one, other)
    cycle.settle(here.engine, cycle.Summary())
    (record,) = here.records()
    assert sorted(link.system for link in record.links) == ["crm", "crm", "mkt", "mkt"]
    assert len(here.held("mkt")) == 2
    assert here.quiet() == AT_REST


def test_an_answer_that_comes_after_a_merge_of_what_it_was_sent_for_changes_nothing(world: Worlds) -> None:
    here = two(world)
    here.edit("mkt", "p000001", name="Lea Lee")
    crm, mkt = ids(here)
    joined(here, crm, mkt)
    (claim,) = deliver.claim(here.engine, "mkt", here.engine.now())
    settle.give_back(here.engine, [claim], 0)
    here.sync()
    before = here.records()
    late = Receipt(key=claim.write.key, status="done", id="p000001")
    settle.receipts(here.engine, claim.source, [answered(here.engine, [(claim, late)])])
    assert here.records() == before


def test_a_push_that_is_claimed_while_its_link_moves_is_not_lost(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim had looked up whose link it is before the merge, and got its turn after it."""
    here = two(world)
    real = records.link_states
    with here.engine.store.read() as tx:
        former = real(tx, [link.n for record in here.records() for link in record.links])
    joined(here, *ids(here))
    answers = [former]

    def link_states(tx: Any, numbers: Any) -> Any:
        return answers.pop() if answers else real(tx, numbers)

    monkeypatch.setattr(deliver.records, "link_states", link_states)
    (claim,) = deliver.claim(here.engine, "mkt", here.engine.now())
    assert claim.record_id == here.records()[0].id
    write(here.engine, [claim])
    here.sync()
    assert here.held("mkt", "name") == ["Ann Lee"]
    assert here.quiet() == AT_REST


def test_two_people_who_merge_at_once_make_one_merge(any_world: Worlds) -> None:
    here = two(any_world)
    crm, mkt = ids(here)
    told = at_once(here, [lambda: joined(here, crm, mkt), lambda: joined(here, mkt, crm)])
    assert sorted(told) == ["Missing", "done"]
    assert len(here.records()) == 1
    here.sync()
    assert here.quiet() == AT_REST


def test_two_people_who_take_it_apart_at_once_do_it_once(any_world: Worlds) -> None:
    here = two(any_world)
    number = joined(here, *ids(here)).merge
    apart = lambda: unmerge.unmerge(here.engine, number, "pat")  # noqa: E731  # said twice
    assert sorted(at_once(here, [apart, apart])) == ["BadAnswer", "done"]
    here.sync()
    assert len(here.records()) == 2
    assert here.quiet() == AT_REST


def at_once(here: Rig, calls: list[Callable[[], Any]]) -> list[str]:
    start, told = threading.Barrier(len(calls)), list[str]()

    def say(call: Callable[[], Any]) -> None:
        start.wait()
        try:
            call()
            told.append("done")
        except (BadAnswer, Missing) as error:
            told.append(type(error).__name__)

    threads = [threading.Thread(target=say, args=(call,)) for call in calls]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return told


def test_a_merge_whose_process_died_before_the_references_were_followed_is_finished_later(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = two(world)
    crm, mkt = ids(here)
    with monkeypatch.context() as patch:
        patch.setattr(referrers, "catch_up", lambda _: None)
        joined(here, crm, mkt)
    here.sync()
    with here.engine.store.read() as tx:
        assert merges.repointing(tx) == []
        assert set(records.load(tx, [crm, mkt])) == {crm}
