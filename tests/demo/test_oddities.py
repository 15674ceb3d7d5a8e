from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from syncbroker.demo import tables
from syncbroker.demo.payloads import OBJECTS
from tests.demo.support import (
    SEEDS,
    Row,
    by_email,
    contacts,
    digits,
    emails,
    is_possible,
    phones,
    rows,
    world,
)


@pytest.mark.parametrize("seed", range(12))
def test_even_a_small_world_has_every_oddity(seed: int) -> None:
    assert [name for name, keys in world(seed, 60).oddities.items() if not keys] == []


def test_no_two_oddities_happen_to_one_person() -> None:
    counts = Counter(key for keys in world().oddities.values() for key in keys)
    assert [key for key, count in counts.items() if count > 1] == []


def only_in(system: str, seed: int) -> int:
    held = {name: set(world(seed).truth[name][object].values()) for name, object in OBJECTS.items()}
    return len(held[system].difference(*(keys for name, keys in held.items() if name != system)))


def crm_and(system: str, seed: int) -> list[tuple[Row, Row]]:
    other = by_email(system, seed)
    return [(row, other[row["email"]]) for row in contacts(seed) if row["email"] in other]


def differing(system: str, seed: int, ours: str, theirs: Callable[[Row], Any]) -> int:
    return sum(
        bool(row[ours]) and bool(theirs(other)) and row[ours] != theirs(other)
        for row, other in crm_and(system, seed)
    )


def spellings(seed: int) -> int:
    """How many words the CRM has for the two commonest countries."""
    common = {*tables.COUNTRIES[0].spellings, *tables.COUNTRIES[2].spellings}
    return len({row["country"] for row in contacts(seed)} & common)


def households(seed: int) -> int:
    usable = Counter(
        (row["lastname"], row["phone"]) for row in contacts(seed) if is_possible(row["phone"] or "")
    )
    return sum(count > 1 for count in usable.values())


def twice(keys: Iterable[str]) -> int:
    return sum(count > 1 for key, count in Counter(keys).items() if key)


def bad_addresses(seed: int) -> int:
    usable = re.compile(r"[^@]+@[^@]+\.(?!invalid)\w+")
    return sum(not usable.fullmatch(email.strip()) for email in emails("billing", seed))


def statuses(status: str, seed: int) -> int:
    return sum(row["status"] == status for row in rows("marketing", seed))


def consents(crm: str, marketing: str, seed: int) -> int:
    found = crm_and("marketing", seed)
    return sum(c["marketing_consent"] == crm and m["status"] == marketing for c, m in found)


def other_tags(seed: int) -> int:
    found = [(c["interests"], m["tags"]) for c, m in crm_and("marketing", seed) if c["interests"]]
    return sum(set(ours.split(";")) != {tag["name"] for tag in theirs} for ours, theirs in found)


def other_phones(seed: int) -> int:
    found = [(c["phone"], u["phone"]) for c, u in crm_and("support", seed) if c["phone"] and u["phone"]]
    return sum(digits(ours) != digits(theirs) for ours, theirs in found)


def lost_members(seed: int) -> int:
    """Users of support whose organization has nothing but a name to tell which company it is."""
    organizations = world(seed).systems["support"]["organizations"]
    nameless = {row["id"] for row in organizations if not row["organization_fields"]["domain"]}
    return sum(row["organization_id"] in nameless for row in rows("support", seed))


def longer_names(seed: int) -> int:
    users = by_email("support", seed)
    names = [
        (row["name"], users[email]["name"])
        for email, row in by_email("billing", seed).items()
        if email in users
    ]
    return sum(ours != theirs and set(theirs.split()) < set(ours.split()) for ours, theirs in names)


def made_vip(seed: int) -> int:
    return sum(c["vip"] == "false" and u["user_fields"]["vip"] for c, u in crm_and("support", seed))


CASE = ("marketing", "billing")
FOUND: dict[str, tuple[int, Callable[[int], int]]] = {
    "people whom only the CRM knows": (20, lambda s: only_in("crm", s)),
    "people whom only marketing knows": (2, lambda s: only_in("marketing", s)),
    "people whom only billing knows": (3, lambda s: only_in("billing", s)),
    "people whom only support knows": (3, lambda s: only_in("support", s)),
    "people with one address twice in billing": (7, lambda s: twice(e.lower() for e in emails("billing", s))),
    "households": (6, households),
    "addresses that cannot be one": (4, bad_addresses),
    "people without an address": (3, lambda s: sum(not e for e in emails("support", s))),
    "addresses with capitals": (20, lambda s: sum(e != e.lower() for name in CASE for e in emails(name, s))),
    "addresses with spaces around them": (4, lambda s: sum(e != e.strip() for e in emails("billing", s))),
    "telephones that are none": (7, lambda s: sum(not is_possible(p) for p in phones(s))),
    "spellings of two countries": (8, spellings),
    "last names outside ASCII": (15, lambda s: sum(not r["lastname"].isascii() for r in contacts(s))),
    "filler": (9, lambda s: sum(v in tables.PLACEHOLDERS for r in contacts(s) for v in r.values())),
    "lead sources nobody knows": (
        6,
        lambda s: sum(r["lead_source"] in tables.LEAD_SOURCES_NOBODY_KNOWS for r in contacts(s)),
    ),
    "people who unsubscribed": (15, lambda s: statuses("unsubscribed", s)),
    "people who never subscribed": (5, lambda s: statuses("transactional", s)),
    "addresses that bounced": (2, lambda s: statuses("cleaned", s)),
    "consents withdrawn, unheard by the CRM": (8, lambda s: consents("Opted in", "unsubscribed", s)),
    "consents refused, unheard by marketing": (3, lambda s: consents("Opted out", "subscribed", s)),
    "tags that differ": (10, other_tags),
    "telephones that differ": (8, other_phones),
    "postcodes that differ": (
        8,
        lambda s: differing("billing", s, "zip", lambda r: (r["address"] or {}).get("postal_code")),
    ),
    "last names that differ": (
        5,
        lambda s: differing("marketing", s, "lastname", lambda r: r["merge_fields"]["LNAME"]),
    ),
    "languages that differ": (5, lambda s: differing("marketing", s, "hs_language", lambda r: r["language"])),
    "ways to be reached that differ": (
        9,
        lambda s: differing(
            "support", s, "preferred_contact", lambda r: r["user_fields"]["preferred_contact"]
        ),
    ),
    "notes that differ": (5, lambda s: differing("support", s, "customer_notes", lambda r: r["notes"])),
    "jobs that differ": (
        7,
        lambda s: differing("mail", s, "jobtitle", lambda r: r["custom_fields"].get("job_title")),
    ),
    "first days that differ": (
        7,
        lambda s: differing("billing", s, "customer_since", lambda r: r["metadata"].get("customer_since")),
    ),
    "VIPs by hand": (3, made_vip),
    "names with an initial in billing only": (5, longer_names),
    "rows nobody touched for five years": (
        8,
        lambda s: sum(r["updatedAt"] < "2021-09" for r in rows("crm", s)),
    ),
    "members of an organization without a domain": (5, lost_members),
    "subscriptions of a customer who is gone": (3, lambda s: world(s).expected.orphans),
    "organizations without a domain": (
        5,
        lambda s: sum(
            not row["organization_fields"]["domain"] for row in world(s).systems["support"]["organizations"]
        ),
    ),
    "companies twice in the CRM": (3, lambda s: twice(world(s).truth["crm"]["companies"].values())),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("what", FOUND)
def test_the_systems_hold_enough(what: str, seed: int) -> None:
    least, count = FOUND[what]
    assert count(seed) >= least
