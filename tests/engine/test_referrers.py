"""References of other records follow a merge, and go back when it is taken apart."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import cycle, merge, referrers, unmerge
from syncbroker.store import merges
from tests.engine.conftest import Worlds
from tests.engine.test_identity import FIELDS, referring, wait
from tests.support.rig import Rig

AT_REST = (0, 0, 0)
FIRMS = {"crm": [{"name": "Acme"}, {"name": "Acme Works"}], "mkt": [{"name": "Acme"}]}


def people(*firms: str) -> list[dict[str, Any]]:
    return [{"email": f"p{n}@x.example", "firm": firm} for n, firm in enumerate(firms)]


def open_world(worlds: Worlds) -> Rig:
    """Three people in crm: two of the first firm, one of the second, which only crm has."""
    data = {"crm": people("f000001", "f000002", "f000001"), "mkt": people("", "", "")}
    here = referring(worlds, data, FIRMS)
    here.sync()
    wait(here)
    assert here.held("mkt", "firm") == ["f000001", "", "f000001"]
    return here


def firms(here: Rig) -> list[str]:
    """Acme, then Acme Works."""
    found = [one for one in here.records() if one.entity == "firm"]
    return [one.id for one in sorted(found, key=lambda one: str(one.golden["name"].value))]


def refer(here: Rig) -> list[Any]:
    return [
        one.golden["firm"].value
        for one in sorted(here.records(), key=lambda one: str(one.golden.get("email")))
        if one.entity == "person"
    ]


def test_a_reference_to_the_absorbed_record_leads_to_the_survivor_in_every_system(
    any_world: Worlds,
) -> None:
    here = open_world(any_world)
    acme, works = firms(here)
    merge.merge(here.engine, acme, works, "pat")
    assert refer(here) == [acme, acme, acme]
    wait(here)
    assert here.held("mkt", "firm") == ["f000001", "f000001", "f000001"]
    assert here.held("crm", "firm") == ["f000001", "f000002", "f000001"]
    assert [(o.field, o.after) for o in here.outcomes("merged") if o.field] == [("firm", acme)]
    assert here.quiet() == AT_REST


def test_a_reference_goes_back_when_the_merge_is_taken_apart(world: Worlds) -> None:
    here = open_world(world)
    acme, works = firms(here)
    number = merge.merge(here.engine, acme, works, "pat").merge
    wait(here)
    unmerge.unmerge(here.engine, number, "pat")
    wait(here)
    assert refer(here) == [acme, works, acme]
    assert here.held("crm", "firm") == ["f000001", "f000002", "f000001"]
    assert here.quiet() == AT_REST


def test_whoever_decides_before_the_references_were_followed_sees_them_followed(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = open_world(world)
    acme, works = firms(here)
    with monkeypatch.context() as patch:
        patch.setattr(merge.referrers, "catch_up", lambda _: None)
        merge.merge(here.engine, acme, works, "pat")
    assert refer(here) == [acme, works, acme]
    before = here.last_decision()
    here.systems["crm"].edit("people", "p000002", {"firm": "f000001"})
    cycle.pull_source(here.engine, here.engine.sources["crm", "people"])
    assert refer(here) == [acme, acme, acme]
    with here.engine.store.read() as tx:
        assert merges.repointing(tx) == []
    assert here.last_decision() >= before
    wait(here)
    assert here.quiet() == AT_REST


def test_references_are_followed_in_chunks_and_taken_up_where_they_stopped(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referrers, "CHUNK", 1)
    here = open_world(world)
    acme, works = firms(here)
    with monkeypatch.context() as patch:
        patch.setattr(merge.referrers, "catch_up", lambda _: None)
        merge.merge(here.engine, works, acme, "pat")
    with here.engine.store.read() as tx:
        (work,) = merges.repointing(tx)
    assert referrers._chunk(here.engine, work) is not None
    cycle.recover(here.engine)
    here.sync()
    assert refer(here) == [works, works, works]
    wait(here)
    assert here.quiet() == AT_REST


def test_two_that_referred_to_each_other_refer_to_nobody(world: Worlds) -> None:
    boss = "  boss: {type: reference, entity: person, authority: crm, systems: {crm: city}}\n"
    data = {"crm": [{"email": "a@x.example"}, {"email": "b@x.example", "city": "p000001"}], "mkt": []}
    here = world(FIELDS + boss, data)
    here.sync()
    wait(here)
    a, b = here.records()
    assert b.golden["boss"].value == a.id
    number = merge.merge(here.engine, a.id, b.id, "pat").merge
    (one,) = here.records()
    assert one.golden.get("boss") is None or one.golden["boss"].value is None
    wait(here)
    assert here.quiet() == AT_REST
    unmerge.unmerge(here.engine, number, "pat")
    wait(here)
    assert [one.golden["boss"].value for one in here.records() if one.id == b.id] == [a.id]
    assert here.quiet() == AT_REST
