from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.store import sweep, tables
from syncbroker.store.database import Store, Tx
from syncbroker.store.records import LINK_COLUMNS
from tests.support.rig import open_ready

RUN = 5


class Link(NamedTuple):
    """A link as the tests need it; `mark`: its external id has a fingerprint that names it."""

    n: int
    external_id: str | None
    entity: str = "person"
    status: str = "live"
    mark: bool = True


@pytest.fixture
def store(ready_url: str) -> Iterator[Store]:
    opened = open_ready(ready_url)
    yield opened
    opened.close()


@contextmanager
def holding(store: Store, links: list[Link], staged: tuple[str, ...] = ()) -> Iterator[Tx]:
    """A transaction in which these are stored, undone at the end."""
    with store.engine.connect() as connection, connection.begin() as transaction:
        tx = Tx(connection)
        tx.insert(
            tables.links,
            LINK_COLUMNS,
            [
                (one.n, "crm", "people", one.external_id, one.entity, None, one.status, 0, "{}")
                for one in links
            ],
        )
        marks = [("crm", "people", one.external_id, _mark(one.n), one.n) for one in links if one.mark]
        tx.insert(tables.fingerprints, ["system", "object", "external_id", "fingerprint", "n"], marks)
        tx.insert(
            tables.inbox,
            ["id", "run", "system", "object", "external_id", "due", "body"],
            [(n, RUN, "crm", "people", id_, 0, "{}") for n, id_ in enumerate(staged)],
        )
        yield tx
        transaction.rollback()


def _mark(n: int) -> bytes:
    return n.to_bytes(16, "big")


def missing(tx: Tx, met: list[str], limit: int = 100) -> list[str]:
    seen = bytearray()
    sweep.note(seen, sweep.probe(tx, "crm", "people", met, ascending=False))
    return sweep.unseen(tx, "crm", "people", RUN, seen, limit)


PEOPLE = [Link(1, "a"), Link(2, "b"), Link(3, "c"), Link(4, "d")]


@pytest.mark.parametrize("ascending", [True, False])
def test_a_probe_tells_the_fingerprints_of_the_known_records(store: Store, ascending: bool) -> None:
    with holding(store, PEOPLE) as tx:
        stored = sweep.probe(tx, "crm", "people", ["b", "bb", "c"], ascending)
    assert stored.marks == {"b": _mark(2), "c": _mark(3)}


@pytest.mark.parametrize("ascending", [True, False])
def test_a_probe_tells_the_numbers_of_no_record_between_those_asked_for(
    store: Store, ascending: bool
) -> None:
    with holding(store, PEOPLE) as tx:
        stored = sweep.probe(tx, "crm", "people", ["a", "d"], ascending)
    assert stored.numbers == [1, 4]


@pytest.mark.parametrize(
    "marks",
    [
        pytest.param([bytes(16), b"\xff" * 16, b'"\\,\0' * 4], id="bytes that are no text"),
        pytest.param([b"a" * 16, b"b" * 16 + sweep.DROPPED, b"c" * 16], id="one was dropped"),
    ],
)
def test_a_range_and_probes_by_id_tell_the_same(store: Store, marks: list[bytes]) -> None:
    ids = ["'\"a", "b\\", "ç\u2028"]
    with holding(store, []) as tx:
        columns = ["system", "object", "external_id", "fingerprint", "n"]
        rows = [("crm", "people", id_, mark, n) for n, (id_, mark) in enumerate(zip(ids, marks, strict=True))]
        tx.insert(tables.fingerprints, columns, rows)
        ranged = sweep.probe(tx, "crm", "people", ids, ascending=True)
        assert ranged == (dict(zip(ids, marks, strict=True)), [0, 1, 2])
        assert ranged == sweep.probe(tx, "crm", "people", ids, ascending=False)


def test_a_probe_of_nothing_finds_nothing(store: Store) -> None:
    with holding(store, PEOPLE) as tx:
        assert sweep.probe(tx, "crm", "people", [], ascending=True) == ({}, [])


@pytest.mark.parametrize(
    ("links", "met", "found"),
    [
        pytest.param(PEOPLE, ["a", "b", "c", "d"], [], id="all were met"),
        pytest.param(PEOPLE, ["a", "c", "d"], ["b"], id="one was not"),
        pytest.param(PEOPLE, [], ["a", "b", "c", "d"], id="none was"),
        pytest.param([*PEOPLE, Link(9, "e", mark=False)], ["a", "b", "c", "d"], ["e"], id="no fingerprint"),
        pytest.param([Link(1, "a"), Link(2, "a", "company", mark=False)], ["a"], [], id="two entities, met"),
        pytest.param(
            [Link(1, "a"), Link(2, "a", "company", mark=False)], [], ["a"], id="two entities, not met"
        ),
        pytest.param([Link(1, "a", status="queued")], [], ["a"], id="waits for a person"),
        pytest.param([Link(1, "a", status="gone")], [], [], id="known to be gone"),
        pytest.param([Link(1, None, status="planned", mark=False)], [], [], id="not created yet"),
    ],
)
def test_links_that_a_sweep_did_not_meet_are_missing(
    store: Store, links: list[Link], met: list[str], found: list[str]
) -> None:
    with holding(store, links) as tx:
        assert missing(tx, met) == found


def test_what_the_sweep_staged_is_not_missing(store: Store) -> None:
    with holding(store, [Link(1, "a", mark=False), Link(2, "b", mark=False)], staged=("b",)) as tx:
        assert missing(tx, []) == ["a"]


def test_no_more_are_named_than_asked_for(store: Store) -> None:
    with holding(store, PEOPLE) as tx:
        assert missing(tx, [], limit=3) == ["a", "b", "c"]


def test_links_are_compared_in_portions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "NUMBERS", 2)
    with holding(store, PEOPLE) as tx:
        assert missing(tx, ["b", "d"]) == ["a", "c"]


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("sweep")
    opened = open_ready(f"sqlite:///{folder / 'store.db'}")
    yield opened
    opened.close()


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Link], list[str], tuple[str, ...]]:
    """(links, ids that were met, ids that were staged)."""
    links: list[Link] = []
    numbers = iter(draw(st.permutations(range(1, 13))))
    for id_ in "abcdef"[: draw(st.integers(0, 6))]:
        marked = draw(st.booleans())
        first = Link(next(numbers), id_, status=draw(st.sampled_from(["live", "queued"])), mark=marked)
        links.append(first)
        if draw(st.booleans()):
            status = draw(st.sampled_from(["live", "queued", "gone"]))
            links.append(Link(next(numbers), id_, "company", status=status, mark=False))
    some = st.lists(st.sampled_from("abcdefgh"), unique=True)
    return links, sorted(draw(some)), tuple(draw(some))


@given(worlds())
def test_exactly_the_live_links_neither_met_nor_staged_are_missing(
    one_store: Store, world: tuple[list[Link], list[str], tuple[str, ...]]
) -> None:
    links, met, staged = world
    known = {link.external_id for link in links if link.mark}
    live = {link.external_id for link in links if link.status != "gone"}
    with holding(one_store, links, staged) as tx:
        assert set(missing(tx, met)) == live - (known & set(met)) - set(staged)
