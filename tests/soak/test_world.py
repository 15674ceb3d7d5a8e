"""The soak's judge sees what is wrong: a soak that could not fail would prove nothing."""

from __future__ import annotations

from typing import Any

from syncbroker.sdk.paths import set_path
from tests.soak.play import Kill, quantiles, recovery
from tests.soak.world import AUTHORITY, OBJECTS, PATHS, Edit, World, Wrote

ANN = "p00000@soak.example"


def world(*edits: tuple[str, str, str]) -> World:
    """One person, edited by (system, field, value)."""
    found = World(1)
    found.people[ANN] = dict.fromkeys(OBJECTS, "1")
    found.born[ANN] = {name: f"{name}-000000" for name in AUTHORITY}
    found.edits += [Edit(n, n + 1, system, ANN, name, value) for n, (system, name, value) in enumerate(edits)]
    return found


def records(**values: str) -> dict[str, list[Any]]:
    """What every system holds of the one person."""
    found: dict[str, list[Any]] = {}
    for system in OBJECTS:
        one: dict[str, Any] = {}
        for name, path in PATHS.items():
            set_path(one, path[system], {"email": ANN}.get(name) or values.get(name, f"{name}-000000"))
        found[system] = [one]
    return found


def wrote(system: str, value: str, *, status: int = 200, at: int = 0) -> Wrote:
    return Wrote(at, system, "update", status, [value])


def test_the_last_edit_of_the_authority_must_stand_everywhere() -> None:
    judged = world(("crm", "title", "title-000001"), ("crm", "title", "title-000002"))
    assert judged.wrong(records(title="title-000002")) == []
    assert len(judged.wrong(records(title="title-000001"))) == 3


def test_what_somebody_else_typed_must_be_gone() -> None:
    judged = world(("billing", "title", "other-000001"))
    assert judged.wrong(records()) == []
    assert len(judged.wrong(records(title="other-000001"))) == 3


def test_whoever_is_missing_twice_there_or_unknown_is_told() -> None:
    missing, twice, stranger = records(), records(), records()
    missing["crm"] = []
    twice["billing"] *= 2
    stranger["support"][0]["email"] = "who@soak.example"
    assert world().wrong(missing) == [f"{ANN} is 0 times in crm"]
    assert world().wrong(twice) == [f"{ANN} is 2 times in billing"]
    assert world().wrong(stranger) == [
        f"{ANN} is 0 times in support",
        "who@soak.example is a stranger in support",
    ]


def test_a_value_may_be_sent_once_and_once_more_for_each_time_it_was_typed_over() -> None:
    judged = world(("crm", "title", "title-000001"), ("billing", "title", "other-000002"))
    once, again = wrote("billing", "title-000001"), wrote("support", "title-000001")
    assert judged.doubled([once, once, again]) == []
    assert judged.doubled([once, once, once]) == ["billing was sent title-000001 3 times"]
    assert judged.doubled([again, again]) == ["support was sent title-000001 2 times"]
    assert judged.doubled([again, wrote("support", "title-000001", status=503)]) == []


def test_the_spread_counts_the_first_writing_of_an_edit_that_decides() -> None:
    judged = world(("crm", "title", "title-000001"), ("billing", "title", "other-000002"))
    told = [wrote("billing", "title-000001", at=501), wrote("billing", "title-000001", at=900)]
    assert judged.spread(told) == [500]


def test_recovery_is_from_a_kill_to_the_next_accepted_write() -> None:
    told = [wrote("crm", "a", at=5), wrote("crm", "b", at=9, status=503), wrote("crm", "c", at=3_000_010)]
    assert recovery([Kill(10, "worker-1"), Kill(3_000_020, "web")], told) == {"worker": [3.0, 3.0, 3.0]}


def test_quantiles_are_of_what_was_seen() -> None:
    assert quantiles([3.0, 1.0, 2.0]) == [2.0, 3.0, 3.0]
    assert quantiles([]) == []
