"""Erasure on request: nothing of the record is left anywhere, and nothing of it comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from syncbroker.engine import answer, cycle, merge, purge, unmerge
from syncbroker.engine.explain import explain
from syncbroker.engine.find import find_one
from syncbroker.engine.replay import replay
from syncbroker.errors import BadAnswer, Missing, Retry
from syncbroker.store import audit, decisions, deliveries, queues, tables
from tests.engine.conftest import Worlds
from tests.engine.test_delivery import listen
from tests.engine.test_identity import referring, wait
from tests.support.chains import broken
from tests.support.deliveries import arrive
from tests.support.rig import Rig

MARK = "zebra"
FIELDS = """\
  email: {type: email, required: true, authority: crm, policy: enforce, systems: {crm: email, mkt: email}}
  name: {type: text, policy: review, first_meeting: review, systems: {crm: name, mkt: name}}
  city: {type: text, policy: latest, systems: {crm: city, mkt: city}}
  note: {type: text, authority: crm, policy: enforce, on_foreign_edit: propose, systems: {crm: note, mkt: note}}
"""
DATA: dict[str, list[dict[str, Any]]] = {
    "crm": [
        {"email": "zebra1@x.example", "name": "Zebra Two", "city": "Zebra Three", "note": "zebra4"},
        {"email": "ann@x.example", "name": "Ann", "city": "Riga"},
        {"email": "zebra5@x.example", "name": "Zebra Six"},
    ],
    "mkt": [
        {"email": "zebra1@x.example", "name": "Zebra Seven", "city": "Zebra Eight"},
        {"email": "ann@x.example", "name": "Ann"},
    ],
}


def lived(here: Rig) -> str:
    """A record that came by polls, webhooks, reviews, a merge and an undone one; with writes and an open question."""
    deal = listen(here, "crm")
    here.sync()
    here.edit("crm", "p000001", city="Zebra Nine")
    deal()
    here.edit("mkt", "p000001", note="zebra10")
    here.sync()
    review = next(one for one in here.reviews() if one.kind == "conflict")
    answer.answer(here.engine, review.id, "crm", "pat")
    mine, other = find_one(here.engine, "person", "zebra1@x.example"), here.id_of("zebra5@x.example")
    merge.merge(here.engine, mine, other, "pat")
    here.sync()
    here.edit("crm", "p000001", note="zebra11")
    deal()
    here.sync()
    here.sweep()
    return mine


@pytest.fixture
def here(any_world: Worlds) -> Rig:
    return any_world(FIELDS, DATA, create="always")


def stored(here: Rig) -> list[tuple[str, str]]:
    """(table, column) of everything in the store that still holds the mark."""
    found = []
    with here.engine.store.read() as tx:
        for table in tables.metadata.sorted_tables:
            for row in tx.run(table.select()).mappings():
                for column, value in row.items():
                    shown = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                    if MARK in shown.lower():
                        found.append((table.name, column))
    return found


def test_no_column_and_no_byte_of_the_file_holds_anything_of_it(here: Rig) -> None:
    mine = lived(here)
    assert {table for table, _ in stored(here)} >= {"records", "links", "decisions", "deliveries", "merges"}
    done = purge.carry_out(here.engine, mine, "pat")
    assert stored(here) == []
    if here.engine.store.single:
        assert done.compacted
        path = Path(str(here.engine.store.engine.url.database))
        for file in path.parent.glob(f"{path.name}*"):
            assert MARK.encode() not in file.read_bytes().lower(), file.name


def test_it_does_not_come_back_and_is_counted(here: Rig) -> None:
    purge.carry_out(here.engine, lived(here), "pat")
    here.systems["crm"].webhook = ""  # what it sends from now on is kept as long as any delivery
    here.edit("crm", "p000001", city="Zebra Twelve")
    writes = here.writes()
    here.sync()
    here.sweep()
    assert (stored(here), here.writes()) == ([], writes)
    with here.engine.store.read() as tx:
        assert tx.run(text("SELECT SUM(count) FROM counters WHERE what = 'tombstoned'")).scalar_one() > 0
    assert [one.golden["email"].value for one in here.records()] == ["ann@x.example"]
    assert here.quiet() == (0, 0, 0)


def test_its_decisions_keep_their_place_and_the_log_still_verifies(here: Rig) -> None:
    mine = lived(here)
    with here.engine.store.read() as tx:
        before = decisions.history(tx, mine)
    purge.carry_out(here.engine, mine, "pat")
    with here.engine.store.read() as tx:
        after = decisions.history(tx, mine)
    assert [(one.id, one.at, one.run, one.actor) for one in after] == [
        (one.id, one.at, one.run, one.actor) for one in before
    ]
    assert [[(o.kind, o.field, o.system, o.place) for o in one.outcomes] for one in after] == [
        [(o.kind, o.field, o.system, o.place) for o in one.outcomes] for one in before
    ]
    assert all(one.erased for one in after)
    assert broken(here.engine.store) == []


def test_what_was_erased_is_replayed_as_erased(here: Rig) -> None:
    purge.carry_out(here.engine, lived(here), "pat")
    done = replay(here.engine)
    assert (done.difference, done.erased > 5, done.verified > 0) == (None, True, True)


@pytest.mark.parametrize("name", ["crm:p000001", "the record's id"])
def test_who_asks_for_it_is_told_that_it_was_purged(here: Rig, name: str) -> None:
    mine = lived(here)
    purge.carry_out(here.engine, mine, "pat")
    with pytest.raises(Missing, match="was purged"):
        find_one(here.engine, "person", name if ":" in name else mine)
    with pytest.raises(Missing):
        explain(here.engine, mine)


def test_who_erased_it_is_written_down_without_saying_who_it_was(here: Rig) -> None:
    mine = lived(here)
    purge.carry_out(here.engine, mine, "pat")
    with here.engine.store.read() as tx:
        row = audit.entries(tx)[0]
    assert (row.person, row.action, row.subject) == ("pat", "purge", mine)
    assert row.body["rows"]["decisions"] > 0


def test_others_are_left_as_they_are(here: Rig) -> None:
    mine = lived(here)
    ann = here.id_of("ann@x.example")
    before = explain(here.engine, ann)
    purge.carry_out(here.engine, mine, "pat")
    assert explain(here.engine, ann) == before


def test_a_write_under_way_is_settled_first(here: Rig) -> None:
    mine = lived(here)
    with here.engine.store.write() as tx:
        n = tx.run(tables.links.select().where(tables.links.c.record_id == mine)).first()
        assert n is not None
        row = queues.Row(
            link=n.n,
            system=n.system,
            object=n.object,
            op="update",
            state="unknown",
            due=0,
            attempts=1,
            run=0,
            push=queues.Push(),
        )
        queues.save_outbox(tx, [row])
    with pytest.raises(Retry, match="under way"):
        purge.carry_out(here.engine, mine, "pat")
    assert stored(here)


def test_a_delivery_that_waits_is_dealt_with_first(here: Rig) -> None:
    mine = lived(here)
    request = deliveries.Request(method="POST", url="http://x.example/")
    with here.engine.store.write() as tx:
        arrive(tx, "crm", "new", here.clock(), request, b'[{"id": "p000001"}]')
    with pytest.raises(Retry, match="not dealt with"):
        purge.plan(here.engine, mine)


def test_an_open_question_about_it_and_another_record_is_answered_first(world: Worlds) -> None:
    here = world(
        FIELDS.replace("policy: latest", "policy: latest"),
        {"crm": [{"email": "a@x.example"}, {"email": "b@x.example"}], "mkt": []},
    )
    here.sync()
    here.edit("crm", "p000002", email="a@x.example")
    here.sync()
    assert [one.kind for one in here.reviews()] == ["merge"]
    with pytest.raises(BadAnswer, match="review"):
        purge.plan(here.engine, here.records()[0].id)


def test_a_record_that_was_one_with_it_for_a_while_keeps_only_its_own(any_world: Worlds) -> None:
    data = {system: [dict(one) for one in people[:2]] for system, people in DATA.items()}
    data["crm"][1] |= {"note": "owl"}  # what only the other one had stays with both
    here = any_world(FIELDS, data, create="always")
    deal = listen(here, "crm")
    here.sync()
    mine, other = here.id_of("zebra1@x.example"), here.id_of("ann@x.example")
    number = merge.merge(here.engine, other, mine, "pat").merge
    here.sync()
    deal()
    unmerge.unmerge(here.engine, number, "pat")
    for _ in range(3):
        here.clock.pass_(120)
        here.sync()
    deal()
    here.sweep()
    purge.carry_out(here.engine, mine, "pat")
    assert stored(here) == []
    assert broken(here.engine.store) == []
    here.systems["crm"].webhook = ""
    assert here.quiet() == (0, 0, 0)


def test_a_record_that_refers_to_it_is_left_in_peace(any_world: Worlds) -> None:
    people = [{"email": "p0@x.example", "firm": "f000001"}]
    here = referring(
        any_world,
        {"crm": people, "mkt": [{"email": "p0@x.example"}]},
        {"crm": [{"name": "Zebra"}], "mkt": [{"name": "Zebra"}]},
    )
    here.sync()
    wait(here)
    firm = next(one.id for one in here.records() if one.entity == "firm")
    done = purge.carry_out(here.engine, firm, "pat")
    assert (done.referrers, stored(here)) == (1, [])
    writes = here.writes()
    wait(here)
    assert (here.writes(), here.quiet()) == (writes, (0, 0, 0))
    cycle.sweep(here.engine)
    assert stored(here) == []
