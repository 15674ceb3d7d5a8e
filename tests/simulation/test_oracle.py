"""The oracle sees what is wrong: worlds that came to rest are broken by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from syncbroker.simulation.oracle import check
from syncbroker.simulation.people import Cast
from syncbroker.simulation.play import FragileStore, Play
from syncbroker.simulation.script import write_script
from syncbroker.simulation.systems import Row


def rested(cast: Cast, store: FragileStore) -> Play:
    play = Play(cast, 11, frozenset(), store)
    play.tell(write_script(cast, 11, frozenset()))
    assert check(play).violations == []
    return play


def a_linked_row(play: Play) -> Row:
    """A person in `crm` who is in `mkt`, too."""
    here, there = (play.world.collections[name, "people"] for name in ("crm", "mkt"))
    known = {str(row.now.fields["email"]).casefold().strip() for row in there.rows.values()}
    return next(row for row in here.rows.values() if str(row.now.fields["email"]).casefold().strip() in known)


def differ(play: Play) -> None:
    row = a_linked_row(play)
    play.world.collections["crm", "people"].change(
        row, {"about": "somebody else"}, play.world.clock(), "ours"
    )


def overrule(play: Play) -> None:
    row = a_linked_row(play)
    play.world.collections["crm", "people"].change(row, {"owner": "nobody"}, play.world.clock(), "ours")


def never_rest(play: Play) -> None:
    play.quiet.writes = 1


def twice(play: Play) -> None:
    made = next(one for one in play.world.wrote if one.op == "create" and one.made)
    play.world.wrote.append(replace(made, at=made.at + 1))


def appear(play: Play) -> None:
    row = play.world.make("crm", "people", 1, {"email": "unheard-of@x.example"})
    assert row is not None


def raise_(play: Play) -> None:
    play.failed = "KeyError in decide.py:1"


@pytest.mark.parametrize(
    ("invariant", "breaks"),
    [(1, differ), (1, overrule), (2, never_rest), (3, twice), (9, appear), (9, raise_)],
)
def test_a_broken_world_is_seen(
    cast: Cast, fragile: FragileStore, invariant: int, breaks: Callable[[Play], None]
) -> None:
    play = rested(cast, fragile)
    breaks(play)
    assert invariant in {one.invariant for one in check(play).violations}
