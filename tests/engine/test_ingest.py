"""What is staged, and with which times: nothing may look newer than it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from syncbroker.engine import cycle, ingest
from syncbroker.errors import Refused, Unavailable
from syncbroker.sdk.connector import Page
from syncbroker.store import queues, runs
from tests.engine.conftest import Worlds
from tests.support.rig import Rig

FIELDS = """\
  email: {type: email, systems: {crm: email, mkt: email}}
  city: {type: text, policy: latest, authority: [crm, mkt], systems: {crm: address.city, mkt: city}}
"""
ANN = {"email": "ann@x.example"}
AT_REST = (0, 0, 0)


def opened(world: Worlds, **given: Any) -> Rig:
    here = world(FIELDS, {"crm": [ANN], "mkt": [ANN]}, **given)
    here.sync()
    return here


def staged(world: Rig, run: int) -> list[queues.Sighting]:
    with world.engine.store.read() as tx:
        return [one.sighting for one in queues.take(tx, run, 10**18, 100)]


def test_a_poll_begins_before_its_first_page_is_fetched(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = opened(world)
    here.edit("crm", "p000001", address__city="Oslo")
    connector, fetched = here.engine.connectors["crm"], list[int]()
    real = connector.poll

    def poll(*given: Any, **more: Any) -> Iterator[Page]:
        for page in real(*given, **more):
            fetched.append(here.clock())
            yield page

    monkeypatch.setattr(connector, "poll", poll)
    result = ingest.pull(here.engine, here.engine.sources["crm", "people"])
    (one,) = staged(here, result.run)
    assert one.begun < fetched[0] < one.ended


def test_a_field_time_is_known_by_the_vendors_own_path(world: Worlds) -> None:
    here = opened(world)
    now = here.engine.now()
    sighting = queues.Sighting(
        id="p000001",
        fields={"email": "ann@x.example", "address.city": "Oslo"},
        stamp=now,
        begun=now,
        ended=now,
        field_times={"address.city": now - 500, "email": 1},
    )
    with here.engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, "crm", "people", [sighting])
    cycle.settle(here.engine, cycle.Summary())
    question = here.outcomes("adopted")[-1].question
    assert question is not None
    assert (question.since, question.until) == (now - 500, now - 500)


def test_a_reading_that_breaks_off_leaves_nothing_and_is_made_again(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world(
        FIELDS, {"crm": [{"email": f"p{n}@x.example"} for n in range(5)], "mkt": []}, options={"page": 2}
    )
    connector = here.engine.connectors["crm"]
    real = connector.scan

    def scan(*given: Any, **more: Any) -> Iterator[Page]:
        yield next(iter(real(*given, **more)))
        raise Unavailable("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(connector, "scan", scan)
        assert here.sync().failed == {"crm": "the line went dead"}
    with here.engine.store.read() as tx:
        assert queues.inbox_size(tx) == 0
        assert runs.cursor(tx, "crm", "people").first_read is None
    here.sync()
    assert len(here.records()) == 5


def test_a_cursor_that_the_vendor_forgot_makes_the_whole_object_be_read(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = opened(world)
    here.edit("crm", "p000001", email="new@x.example")

    def forgotten(*_: Any, **__: Any) -> Iterator[Page]:
        raise Refused("the cursor is too old")
        yield

    monkeypatch.setattr(here.engine.connectors["crm"], "poll", forgotten)
    here.sync()
    assert here.held("mkt") == ["new@x.example"]
    assert here.quiet() == AT_REST


def test_a_list_that_does_not_prove_to_be_whole_opens_nothing_for_creates(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world(FIELDS, {"crm": [ANN], "mkt": []}, create="always")
    connector = here.engine.connectors["mkt"]
    real = connector.scan

    def doubtful(*given: Any, **more: Any) -> Iterator[Page]:
        for page in real(*given, **more):
            yield Page(items=page.items)

    with monkeypatch.context() as patch:
        patch.setattr(connector, "scan", doubtful)
        here.sync()
        assert here.ids("mkt") == []
    here.sync()
    assert here.held("mkt") == ["ann@x.example"]


def test_an_observation_of_what_is_mapped_no_more_is_counted(world: Worlds) -> None:
    here = opened(world)
    with here.engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, "crm", "deals", [queues.Sighting(id="d1")])
    cycle.settle(here.engine, cycle.Summary())
    with here.engine.store.read() as tx:
        assert runs.counters(tx)["unmapped", "crm", "deals"] == 1
        assert queues.inbox_size(tx) == 0


def test_odd_texts_are_matched_and_those_that_no_column_can_hold_are_asked_about(any_world: Worlds) -> None:
    text = "  email: {type: text, systems: {crm: email, mkt: email}}\n"
    odd = {"email": "a\ufffe|\\|\U0001f600'; --"}
    here = any_world(text, {"crm": [odd, {"email": "a\u0000b"}], "mkt": [odd]})
    here.sync()
    assert [len(record.links) for record in here.records()] == [2, 1]
    assert [review.kind for review in here.reviews()] == ["invalid"]
    assert here.quiet() == AT_REST
