"""What an observation would do to a link, and which limits a number of records passes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core import guards
from syncbroker.core.guards import Change, Collapses, Tally, tripped, weigh
from syncbroker.core.mapping import Guard
from syncbroker.core.plan import PENDING, Seen
from syncbroker.core.state import FieldState, LinkState

HELD = FieldState(
    raw="Riga", value="Riga", met=True, base="Riga", known=("Bonn", "Riga"), sent=(("Oslo", 99),)
)
LINK = LinkState(1, "crm", "people", "p1", order=50, seen=50, fields={"city": HELD})
OPEN = LinkState(1, "crm", "people", "p1", order=50, seen=50, open=True, fields={"city": HELD})
BAD = LinkState(1, "crm", "people", "p1", fields={"city": FieldState(raw="?", invalid="no city")})


def seen(value: Any, raw: Any = "as it is", invalid: str = "") -> dict[str, Seen]:
    return {"city": Seen(value if raw == "as it is" else raw, value, invalid)}


@pytest.mark.parametrize(
    ("link", "shown", "change"),
    [
        (LINK, seen("Riga"), {}),
        (LINK, seen("Riga", raw=" riga"), {}),
        (LINK, seen("Turku"), {"city": ("Riga", "Turku")}),
        (LINK, seen(None), {"city": ("Riga", None)}),
        (LINK, seen("Oslo"), {}),
        (LINK, seen("Bonn"), {"city": ("Riga", "Bonn")}),
        (OPEN, seen("Bonn"), {}),
        (LINK, seen(None, raw="%", invalid="no city"), {"city": ("Riga", "%")}),
        (BAD, seen("Riga"), {"city": ("?", "Riga")}),
        (BAD, seen(None, raw="?", invalid="no city"), {}),
        (LINK, seen(None, raw="f9", invalid=PENDING), {}),
        (LINK, {"name": Seen("Ann", "Ann")}, {}),
        (LINK, {}, {}),
    ],
    ids=[
        "the same",
        "another spelling",
        "another value",
        "emptied",
        "our own write, seen to arrive",
        "a value from before",
        "a write under way, seen to arrive",
        "what cannot be read",
        "what could not be read",
        "still not readable",
        "a reference that is not linked",
        "a field seen for the first time",
        "nothing shown",
    ],
)
def test_what_an_observation_would_change(link: LinkState, shown: dict[str, Seen], change: Any) -> None:
    assert weigh(link, shown).fields == change


def test_what_cannot_be_read_is_not_emptied() -> None:
    assert weigh(LINK, seen(None, raw="%", invalid="no city")).emptied == ()
    assert weigh(LINK, seen(None)).emptied == ("city",)


def test_a_state_older_than_the_last_one_changes_nothing() -> None:
    assert weigh(LINK, seen("Turku"), order=49) == Change()
    assert weigh(LINK, seen("Turku"), order=51).fields == {"city": ("Riga", "Turku")}


def test_a_record_without_a_link_is_new_and_a_deleted_one_nothing() -> None:
    assert weigh(None, seen("Riga")) == Change(new=True)
    assert weigh(None, {}, deleted=True) == Change()
    assert weigh(LINK, {}, deleted=True) == Change(deleted=True)


def test_a_record_that_is_known_to_be_gone_is_not_deleted_again() -> None:
    gone = LinkState(1, "crm", "people", "p1", status="gone")
    assert weigh(gone, {}, deleted=True) == Change()


@pytest.mark.parametrize(
    ("guard", "counts", "links", "trips"),
    [
        (Guard(), {"changed": 10**6, "emptied": 10**6, "deleted": 10**6, "created": 10**6}, 1, []),
        (Guard(changed=0.1), {"changed": 10}, 3, []),
        (Guard(changed=0.1), {"changed": 11}, 3, ["changed"]),
        (Guard(changed=0.1), {"changed": 200}, 2000, []),
        (Guard(changed=0.1), {"changed": 201}, 2000, ["changed"]),
        (Guard(changed=0.07), {"changed": 7}, 100, []),
        (Guard(changed=0.0), {"changed": 1}, 100, ["changed"]),
        (Guard(emptied=0.01), {"changed": 50, "emptied": 1}, 100, []),
        (Guard(emptied=0.01), {"changed": 50, "emptied": 2}, 100, ["emptied"]),
        (Guard(deleted=25), {"deleted": 25}, 100, []),
        (Guard(deleted=25), {"deleted": 26}, 100, ["deleted"]),
        (Guard(created=500), {"created": 500}, 0, []),
        (Guard(created=500), {"created": 501}, 0, ["created"]),
        (Guard(changed=0.1, deleted=1), {"changed": 11, "deleted": 2}, 0, ["changed", "deleted"]),
    ],
)
def test_a_limit_is_passed_by_more_than_it_and_not_by_as_much(
    guard: Guard, counts: dict[str, int], links: int, trips: list[str]
) -> None:
    assert [one.what for one in tripped(guard, Tally(**counts), links)] == trips  # type: ignore[arg-type]  # numbers


def collapsing(pairs: list[tuple[Any, Any]]) -> Tally:
    tally = Tally()
    for held, shown in pairs:
        tally.add(Change({"city": (held, shown)}))
    return tally


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([(f"Town {n}", "X") for n in range(4)], 4),
        ([("Riga", "X")] * 9, 1),
        ([(f"Town {n}", f"New {n}") for n in range(9)], 1),
        ([(f"Town {n}", None) for n in range(9)], 0),
        ([(None, "X")] * 9, 0),
        ([("a", "X"), ("b", "X"), ("c", "Y"), ("d", "Y"), ("e", "Y")], 3),
    ],
    ids=[
        "different to one",
        "one to one",
        "different to different",
        "emptied",
        "filled",
        "the largest group",
    ],
)
def test_a_collapse_is_different_values_that_become_one(pairs: list[tuple[Any, Any]], found: int) -> None:
    assert collapsing(pairs).collapses.largest()[0] == found
    limits = tripped(Guard(collapse=2), collapsing(pairs), 100)
    assert [one.found for one in limits] == ([found] if found > 2 else [])


def test_a_collapse_is_found_among_many_other_values() -> None:
    collapses = Collapses(bound=50)
    for n in range(2000):
        collapses.add({"city": (f"Town {n}", f"New {n}")})
        if n % 20 == 0:
            collapses.add({"city": (f"Town {n}", "Metropolis")})
    assert collapses.largest() == (100, "city", "Metropolis")
    assert len(collapses._groups) <= 51


CHANGES = st.builds(
    Change,
    st.dictionaries(
        st.sampled_from(["city", "name"]),
        st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["c", "d", None])),
    ),
    st.booleans(),
)


@given(
    st.lists(CHANGES, max_size=30),
    st.builds(
        Guard,
        changed=st.none() | st.floats(0, 1),
        emptied=st.none() | st.floats(0, 1),
        deleted=st.none() | st.integers(0, 20),
        collapse=st.none() | st.integers(0, 3),
    ),
    st.integers(0, 500),
)
def test_what_is_called_harmless_passes_no_limit_and_more_records_pass_no_fewer(
    changes: list[Change], guard: Guard, links: int
) -> None:
    tally, before = Tally(), 0
    for n, change in enumerate(changes, 1):
        tally.add(change)
        passed = len(tripped(guard, tally, links))
        assert not (passed and guards.harmless(guard, n))
        assert passed >= before
        before = passed
    assert tally.seen == len(changes)
    assert tally.emptied <= tally.changed <= tally.seen - tally.deleted


@given(st.lists(CHANGES, max_size=20), st.randoms())
def test_the_order_of_observations_does_not_matter(changes: list[Change], random: Any) -> None:
    shuffled = list(changes)
    random.shuffle(shuffled)
    one, other = Tally(), Tally()
    for change in changes:
        one.add(change)
    for change in shuffled:
        other.add(change)
    assert one.counts == other.counts
    assert one.collapses.largest()[0] == other.collapses.largest()[0]
