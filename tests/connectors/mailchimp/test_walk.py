from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from connectors.mailchimp.walk import Place, Row, advance

PAGE = 4


class Vendor:
    """A member list as GET .../members shows it: id -> `last_changed`; equal times in a steady order."""

    def __init__(self, members: dict[str, int]) -> None:
        self.members = members
        self.clock = max(members.values(), default=0)

    def page(self, place: Place) -> tuple[list[Row], int]:
        rows = sorted(
            (
                Row(id, changed)
                for id, changed in self.members.items()
                if place.since is None or changed > place.since
            ),
            key=lambda row: (row.changed, row.id),
        )
        return rows[place.offset : place.offset + PAGE], len(rows)


def walk(vendor: Vendor, between: Callable[[Vendor], None] = lambda _: None) -> tuple[list[str], bool]:
    """All ids in the order they were seen, without the rows asked for twice, and whether it was proven to be all."""
    place: Place | None = Place()
    seen: list[str] = []
    steady = False
    while place is not None:
        rows, total = vendor.page(place)
        seen += [row.id for row in rows if row.id != place.last or row is not rows[0]]
        place, steady = advance(place, rows, total)
        between(vendor)
    return seen, steady


names = st.text("abcdefgh", min_size=1, max_size=3)
audiences = st.dictionaries(names, st.integers(1, 6), max_size=30)


@given(audiences)
def test_a_quiet_audience_is_seen_whole_and_once_and_says_so(members: dict[str, int]) -> None:
    seen, steady = walk(Vendor(members))
    assert sorted(seen) == sorted(members)
    assert steady


changes = st.tuples(st.sampled_from(["touch", "drop", "add"]), names)


def changer(done: list[tuple[str, str]], planned: list[tuple[str, str] | None]) -> Callable[[Vendor], None]:
    """Makes the next planned change after each page."""
    todo = iter(planned)

    def between(vendor: Vendor) -> None:
        vendor.clock += 1
        change = next(todo, None)
        if change is None:
            return
        what, id = change
        done.append(change)
        if what == "drop":
            vendor.members.pop(id, None)
        elif (what == "touch") == (id in vendor.members):
            vendor.members[id] = vendor.clock

    return between


@given(audiences, st.lists(changes, max_size=8))
def test_a_view_that_is_proven_holds_everybody_who_stayed(
    members: dict[str, int], planned: list[tuple[str, str]]
) -> None:
    done: list[tuple[str, str]] = []
    seen, steady = walk(Vendor(dict(members)), changer(done, list(planned)))
    stayed = set(members) - {id for what, id in done if what == "drop"}
    assert not steady or stayed <= set(seen)


@given(audiences, changes, st.integers(0, 8))
def test_one_change_at_any_time_hides_nobody(
    members: dict[str, int], change: tuple[str, str], page: int
) -> None:
    done: list[tuple[str, str]] = []
    seen, _ = walk(Vendor(dict(members)), changer(done, [None] * page + [change]))
    stayed = set(members) - {id for what, id in done if what == "drop"}
    assert stayed <= set(seen)


def test_a_member_that_changes_while_the_pages_are_read_hides_nobody() -> None:
    vendor = Vendor({f"m{n:02}": n for n in range(20)})

    def between(vendor: Vendor) -> None:
        vendor.clock += 1
        vendor.members["m00"] = vendor.clock if vendor.clock < 25 else vendor.members["m00"]

    seen, steady = walk(vendor, between)
    assert set(seen) == set(vendor.members)
    assert not steady


def test_within_one_second_a_shifted_row_makes_that_second_be_read_again() -> None:
    vendor = Vendor({f"m{n:02}": 7 for n in range(20)})
    dropped = iter(["m00"])

    def between(vendor: Vendor) -> None:
        vendor.members.pop(next(dropped, ""), None)

    seen, steady = walk(vendor, between)
    assert set(vendor.members) <= set(seen)
    assert not steady


def test_a_vendor_that_ignores_the_order_is_read_to_its_end_and_proves_nothing() -> None:
    place: Place | None = Place()
    rows = [Row("b", 9), Row("a", 3), Row("c", 5), Row("d", 4), Row("e", 1)]
    seen = []
    steady = True
    while place is not None:
        page = rows[place.offset : place.offset + 2]
        seen += [row.id for row in page]
        place, steady = advance(place, page, len(rows))
    assert seen == ["b", "a", "c", "d", "e"]
    assert not steady


def test_fewer_rows_than_the_vendor_counts_prove_nothing() -> None:
    assert advance(Place(), [], 3) == (None, False)
