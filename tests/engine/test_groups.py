"""Fields that belong together are one value with one winner, its empties included. Each case worked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.engine import answer
from tests.engine.conftest import Worlds
from tests.support.rig import Rig

AT_REST = (0, 0, 0)
Address = tuple[str | None, str | None, str | None]
RIGA: Address = ("Brivibas 1", "Riga", "LV")
OSLO: Address = ("Karl Johan 2", "Oslo", "NO")
MEMBERS = ("street", "city", "country")
EMAIL = "  email: {type: email, systems: {crm: email, mkt: email, sup: email}}\n"


def fields(deciding: str, **ways: str) -> str:
    """An address of three members. `ways`: system -> its direction."""
    lines = []
    for name in MEMBERS:
        kind = "country" if name == "country" else "text"
        systems = ", ".join(
            f"{s}: {{field: address.{name}, direction: {ways.get(s, 'both')}}}" for s in ("crm", "mkt", "sup")
        )
        lines.append(f"  {name}: {{type: {kind}, group: address, {deciding}, systems: {{{systems}}}}}")
    return EMAIL + "\n".join(lines) + "\n"


def person(address: Address) -> dict[str, Any]:
    return {"email": "ann@x.example", "address": dict(zip(MEMBERS, address, strict=True))}


def at(here: Rig, system: str) -> Address:
    held = here.held(system, "address")[0] or {}
    return tuple(held.get(name) or None for name in MEMBERS)  # type: ignore[return-value]


def everywhere(here: Rig) -> list[Address]:
    return [at(here, system) for system in here.systems]


def move(here: Rig, system: str, **members: Any) -> None:
    here.edit(system, "p000001", **{f"address__{name}": value for name, value in members.items()})


PREFER = "policy: prefer, authority: [crm, mkt]"


@pytest.mark.parametrize(
    ("deciding", "edits", "end"),
    [
        # one member edited: the others come along unchanged
        (PREFER, [("sup", {"street": "Elm 5"})], ("Elm 5", "Riga", "LV")),
        # two systems edit different members at once: one address wins whole, never a mixture
        (PREFER, [("mkt", {"street": "Elm 5"}), ("crm", {"city": "Oslo", "country": "NO"})],
         ("Brivibas 1", "Oslo", "NO")),
        (PREFER, [("sup", {"street": "Elm 5"}), ("mkt", {"city": "Oslo", "country": "NO"})],
         ("Brivibas 1", "Oslo", "NO")),
        # the winner's empties belong to it
        (PREFER, [("crm", {"street": None, "city": "Oslo", "country": "NO"})], (None, "Oslo", "NO")),
        # the whole group emptied: an empty never overwrites
        (PREFER, [("crm", {"street": None, "city": None, "country": None})], RIGA),
        (PREFER + ", empty: clear", [("crm", {"street": None, "city": None, "country": None})],
         (None, None, None)),
        # an owner's group is put back whole
        ("authority: crm", [("mkt", {"street": "Elm 5"})], RIGA),
        ("authority: crm", [("mkt", {"street": "Elm 5"}), ("crm", {"city": "Jelgava"})],
         ("Brivibas 1", "Jelgava", "LV")),
        # set once
        ("policy: seed", [("mkt", {"street": "Elm 5"})], None),
    ],
)  # fmt: skip
def test_a_group_has_one_winner(
    any_world: Worlds, deciding: str, edits: list[tuple[str, dict[str, Any]]], end: Address | None
) -> None:
    here = any_world(fields(deciding), {s: [person(RIGA)] for s in ("crm", "mkt", "sup")})
    here.sync()
    for system, members in edits:
        move(here, system, **members)
    here.sync()
    if end is None:  # let stand where it was edited, and unmoved elsewhere
        assert (at(here, "crm"), at(here, "sup")) == (RIGA, RIGA)
    else:
        assert everywhere(here) == [end] * 3
    assert here.quiet() == AT_REST


def test_at_the_first_meeting_the_whole_address_of_the_higher_rank_stands(world: Worlds) -> None:
    held = {"crm": [person((None, "Oslo", "NO"))], "mkt": [person(RIGA)], "sup": [person(RIGA)]}
    here = world(fields(PREFER), held)
    here.sync()
    assert everywhere(here) == [(None, "Oslo", "NO")] * 3


def test_an_address_in_review_is_chosen_whole(world: Worlds) -> None:
    here = world(fields("policy: review"), {s: [person(RIGA)] for s in ("crm", "mkt", "sup")})
    here.sync()
    move(here, "crm", street="Elm 5")
    move(here, "mkt", city="Oslo", country="NO")
    here.sync()
    (review,) = here.reviews()
    answer.answer(here.engine, review.id, "mkt", "eve")
    here.sync()
    assert everywhere(here) == [("Brivibas 1", "Oslo", "NO")] * 3


def test_a_conditional_owner_owns_the_whole_group(world: Worlds) -> None:
    deciding = """policy: enforce, authority: [{system: mkt, when: "record.email == 'own@x.example'"}, crm]"""
    here = world(
        fields(deciding, mkt="pull"),
        {"crm": [person(RIGA)], "mkt": [person(OSLO)], "sup": [person(RIGA)]},
    )
    here.sync()
    assert (at(here, "crm"), at(here, "sup")) == (RIGA, RIGA)
    here.edit("crm", "p000001", email="own@x.example")
    here.sync()
    assert everywhere(here) == [OSLO] * 3
    assert here.quiet() == AT_REST
