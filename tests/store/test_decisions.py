"""The decision log: what is packed comes back, and searches and counts agree with it."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncbroker.core.resolve import Question
from syncbroker.core.state import Golden
from syncbroker.core.types import Actor
from syncbroker.store import decisions, packing
from syncbroker.store.database import Store
from syncbroker.store.decisions import Cause, Decision, Outcome, Review
from tests.support.rig import open_ready


def decision(number: int, *pairs: tuple[str, str], **given_: Any) -> Decision:
    outcomes = [Outcome(kind=kind, field=field) for kind, field in pairs]  # type: ignore[arg-type]  # texts of a table
    usual: dict[str, Any] = {
        "record_id": "r",
        "entity": "person",
        "run": 1,
        "at": number,
        "actor": "rules",
        "mapping": "v",
    }
    return Decision(id=number, outcomes=outcomes, **(usual | given_))


LOG = [
    decision(1, ("created", ""), ("adopted", "email"), ("adopted", "name")),
    decision(2, ("edit_reverted", "email"), run=2, record_id="s"),
    decision(3, ("created", ""), ("adopted", "email"), ("adopted", "name"), run=2),
    decision(4, ("adopted", "name"), ("adopted", "name")),
]


@pytest.fixture
def log(store: Store) -> Store:
    with store.write() as tx:
        decisions.append(tx, LOG, {})
    return store


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"kind": "adopted"}, [4, 3, 1]),
        ({"field": "email"}, [3, 2, 1]),
        ({"kind": "adopted", "field": "email"}, [3, 1]),
        ({"kind": "edit_reverted", "field": "name"}, []),
        ({"kind": "nonsense"}, []),
        ({"run": 2}, [3, 2]),
        ({"since": 3}, [4, 3]),
        ({"before": 3}, [2, 1]),
        ({"limit": 1}, [4]),
        ({"kind": "adopted", "before": 4, "limit": 1}, [3]),
    ],
)
def test_decisions_are_found_by_what_they_decided(
    log: Store, asked: dict[str, Any], found: list[int]
) -> None:
    with log.read() as tx:
        assert [one.id for one in decisions.search(tx, **asked)] == found


def test_outcomes_are_counted_by_kind(log: Store) -> None:
    with log.read() as tx:
        assert decisions.counts(tx) == {"adopted": 6, "created": 2, "edit_reverted": 1}
        assert decisions.counts(tx, since_id=2) == {"adopted": 4, "created": 1}
        assert decisions.last_id(tx) == 4


def test_a_records_history_is_newest_first_and_whole(log: Store) -> None:
    with log.read() as tx:
        assert decisions.history(tx, "r") == [LOG[3], LOG[2], LOG[0]]
        assert decisions.by_number(tx, 2) == LOG[1]
        assert decisions.by_number(tx, 99) is None


def test_a_transaction_that_is_undone_leaves_no_memory_of_its_shapes(store: Store) -> None:
    shapes: dict[str, int] = {}
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        decisions.append(tx, LOG[:1], shapes)
        raise ZeroDivisionError
    with store.write() as tx:
        decisions.append(tx, LOG[1:2], shapes)
    with store.write() as tx:
        decisions.append(tx, LOG[:1], shapes)
    with store.read() as tx:
        assert decisions.counts(tx) == {"adopted": 2, "created": 1, "edit_reverted": 1}


def test_two_processes_may_meet_the_same_new_shape_at_once(ready_postgres_url: str) -> None:
    stores = [open_ready(ready_postgres_url) for _ in range(2)]
    wrong: list[BaseException] = []
    first_in, may_go = threading.Event(), threading.Event()

    def first() -> None:
        with stores[0].write() as tx:
            decisions.append(tx, LOG[:1], {})
            first_in.set()
            may_go.wait(10)

    def second() -> None:
        first_in.wait(10)
        try:
            with stores[1].write() as tx:
                threading.Timer(0.2, may_go.set).start()
                decisions.append(tx, LOG[2:3], {})
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test tells
            wrong.append(error)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []
    with stores[0].read() as tx:
        assert decisions.counts(tx) == {"adopted": 4, "created": 2}
    for one in stores:
        one.close()


# ------------------------------------------------------------------------------------------------- packing


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(max_size=5)
    | st.tuples(st.integers(0, 9), st.just("USD"))
)
GOLDEN = st.builds(
    Golden,
    value=VALUES,
    source=st.sampled_from(["", "crm"]),
    since=st.integers(0, 9),
    until=st.integers(0, 9),
    decision=st.integers(0, 3),
    frozen=st.none() | st.dictionaries(st.sampled_from(["", "crm"]), VALUES),
    review=st.integers(0, 3),
)
ACTOR = st.none() | st.builds(
    Actor, origin=st.sampled_from(["person", "unknown"]), name=st.sampled_from(["", "x"])
)
QUESTION = st.builds(
    Question,
    system=st.sampled_from(["crm", "mkt"]),
    pull=st.booleans(),
    can_push=st.booleans(),
    raw=st.none() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    value=VALUES,
    invalid=st.sampled_from(["", "broken"]),
    empty=st.sampled_from(["", "cleared"]),
    golden=GOLDEN,
    held=VALUES,
    seen_before=st.booleans(),
    base=VALUES,
    met=st.booleans(),
    since=st.integers(0, 2),
    until=st.integers(0, 2),
    late=st.booleans(),
    unsure=st.booleans(),
    sweep=st.booleans(),
    linked=st.sampled_from([(), ("crm",), ("crm", "mkt")]),
    consent=st.sampled_from(["", "form-7"]),
    actor=ACTOR,
    seen=st.integers(0, 2),
)
OUTCOME = st.builds(
    Outcome,
    kind=st.sampled_from(["adopted", "agreed"]),
    field=st.sampled_from(["", "email"]),
    system=st.sampled_from(["", "crm", "mkt"]),
    link=st.integers(0, 2),
    policy=st.sampled_from(["", "prefer"]),
    place=st.just("f:1"),
    why=st.text(max_size=3),
    winner=st.just("crm"),
    after=VALUES,
    question=st.none() | QUESTION,
    cause=st.none()
    | st.builds(Cause, via=st.sampled_from(["poll", "sweep"]), event=st.just(""), at=st.integers(0, 2)),
    review=st.integers(0, 2),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(OUTCOME, min_size=1, max_size=5))
def test_what_is_packed_comes_back_equal(outcomes: list[Outcome]) -> None:
    assert packing.unpack(packing.pack(outcomes)) == outcomes


FORMER = (
    '[["crm",3,{"via":"poll","event":"e","at":7},5,6,7,["crm","mkt"],{"origin":"person","name":"pat"},'
    '[["linked","","","p.yaml:2","the same email","",null,0,null,null,null,null,null],'
    '["conflict_queued","city","review","p.yaml:9","both changed","","Riga",271,"Oslo","Bonn","Bonn",'
    '["Riga","mkt",1,2,3,{"":"Riga","crm":"Oslo"},4,""],{"review":4,"flips":2}],'
    '["adopted","fee","prefer","p.yaml:10","no value","crm",[12,"EUR"],259,[12,"EUR"],null,null,null,'
    '{"linked":["crm"]}]]]]'
)


def test_what_was_packed_before_outcomes_were_grouped_is_still_read() -> None:
    pat, cause = Actor(origin="person", name="pat"), Cause("poll", "e", 7)
    asked = {"system": "crm", "since": 5, "until": 6, "seen": 7, "actor": pat}
    before = Golden("Riga", "mkt", 1, 2, 3, {"": "Riga", "crm": "Oslo"}, 4)
    edit = Question(
        value="Oslo", golden=before, held="Bonn", seen_before=True, base="Bonn", met=True, flips=2,
        linked=("crm", "mkt"), **asked,
    )  # fmt: skip
    first = Question(value=(12, "EUR"), linked=("crm",), **asked)
    usual: dict[str, Any] = {"system": "crm", "link": 3, "cause": cause}
    assert packing.unpack(FORMER) == [
        Outcome(kind="linked", place="p.yaml:2", why="the same email", **usual),
        Outcome(
            kind="conflict_queued", field="city", policy="review", place="p.yaml:9", why="both changed",
            after="Riga", question=edit, review=4, **usual,
        ),
        Outcome(
            kind="adopted", field="fee", policy="prefer", place="p.yaml:10", why="no value", winner="crm",
            after=(12, "EUR"), question=first, **usual,
        ),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------- reviews


def review(number: int, **given_: Any) -> Review:
    usual: dict[str, Any] = {
        "kind": "conflict", "entity": "person", "record_id": "r", "link": None, "field": "f", "system": "",
        "opened": number,
    }  # fmt: skip
    return Review(id=number, **(usual | given_))


def test_open_reviews_wait_oldest_first_until_they_are_closed(store: Store) -> None:
    with store.write() as tx:
        decisions.open_reviews(
            tx, [review(2), review(1), review(3, kind="match", record_id="s", body={"a": [1]})]
        )
        decisions.renew_reviews(tx, {2: {"candidates": {"crm": None}}})
        decisions.close_reviews(tx, [(1, 50, "pat")])
        assert [one.id for one in decisions.waiting(tx)] == [2, 3]
        assert [one.id for one in decisions.waiting(tx, kind="match")] == [3]
        assert [one.id for one in decisions.waiting(tx, record_id="r")] == [2]
        assert decisions.waiting_counts(tx) == {"conflict": 1, "match": 1}
        closed, renewed = decisions.review(tx, 1), decisions.review(tx, 2)
    assert closed is not None
    assert renewed is not None
    assert (closed.closed, closed.person) == (50, "pat")
    assert renewed == msgspec.structs.replace(review(2), body={"candidates": {"crm": None}})
