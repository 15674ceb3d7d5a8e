"""The demo world: a few hundred customers of an invented company, as five systems have them.

`build_world(seed)` makes the truth first (`truth`), lets every system believe its own version of it (`views`), lets
things go wrong (`oddities`), adds the people of the story (`characters`), and writes it all down in the vendors' shapes
(`payloads`). One seed is one world for ever: nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from syncbroker.demo import characters, oddities, payloads, tables, truth, views
from syncbroker.demo.characters import Character
from syncbroker.demo.payloads import COMPANY_OBJECTS, OBJECTS, Subscription
from syncbroker.demo.truth import DAY, TODAY, stream
from syncbroker.demo.views import CompanyView, Ids, View

Systems = dict[str, dict[str, list[dict[str, Any]]]]
"""System -> object -> records in the vendor's payload shape."""

SMALLEST = 60
"""People; in a smaller world some oddity would find nobody to happen to."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What is really out there, counted from the truth and not from what any broker makes of it.

    `persons`, `companies`: real ones known to at least one system. `addresses`: different usable e-mail addresses,
    upper and lower case being the same; nobody has anybody else's. `without_address`: vendors' records with none.
    Matched by address alone, the people become `addresses + without_address` golden records, less one for each match
    that waits for a person.
    `subscriptions`: all of them; `orphans`: those whose customer is gone. `records`: per system and object.
    """

    persons: int
    companies: int
    addresses: int
    without_address: int
    subscriptions: int
    orphans: int
    records: dict[str, dict[str, int]]


class World(msgspec.Struct, frozen=True, kw_only=True):
    """`systems`: system -> object -> records, what each simulator loads. `people`: the story's characters by name.

    `truth`: system -> object -> external id -> key of the one person, company or subscription that it really is.
    `oddities`: what went wrong -> the keys of those whom it happened to.
    """

    seed: int
    size: int
    systems: Systems
    people: dict[str, Character]
    truth: dict[str, dict[str, dict[str, str]]]
    oddities: dict[str, list[str]]
    expected: Expected


def build_world(seed: int, size: int = 300) -> World:
    """`size`: how many people there are beside the story's characters. ValueError below 60."""
    if size < SMALLEST:
        raise ValueError(f"a world of {size} people is too small to hold every oddity: {SMALLEST} at least")
    ids = Ids(seed)
    phones = truth.Phones(stream(seed, "phones"), given=characters.phones())
    firms = truth.companies(seed, size, phones)
    persons = list(truth.people(seed, size, firms, phones))
    households = oddities.households(seed, size, persons)

    held = _by_key(views.companies(seed, firms, ids))
    for firm in characters.FIRMS:
        held[firm.key] = [views.plain_company(firm, system, ids) for system in firm.systems]
    where = {(view.key, view.system): view.id for known in held.values() for view in known}

    known = _by_key_and_system(views.people(seed, persons, where, ids))
    for person in (person for pair in households for person in pair):
        known[person.key]["crm"][0].phone = person.phone
    spared = {person.key for pair in households for person in pair}
    struck = oddities.strike(seed, size, [p for p in persons if p.key not in spared], known, ids)
    struck["household"] = sorted(spared)
    staffed = {p.company.key for p in persons if p.company and "support" in p.systems}
    plain = {firm.key: held[firm.key] for firm in firms if firm.systems}
    struck |= oddities.strike_companies(seed, size, plain, staffed, ids)

    people = {}
    for name, person in characters.persons():
        people[name], entered = characters.enter(name, person, where, ids)
        known |= _by_key_and_system(entered)

    everybody = [view for person in known.values() for records in person.values() for view in records]
    subscriptions = _subscriptions(seed, size, everybody, ids)
    struck["gone_payer"] = [each.key for each in subscriptions if each.key.startswith("gone-")]
    systems, owners = _written(everybody, [view for each in held.values() for view in each], subscriptions)
    return World(
        seed=seed,
        size=size,
        systems=systems,
        people=people,
        truth=owners,
        oddities=dict(sorted(struck.items())),
        expected=_expected(everybody, held, subscriptions, systems),
    )


def _written(
    everybody: list[View], firms: list[CompanyView], subscriptions: list[Subscription]
) -> tuple[Systems, dict[str, dict[str, dict[str, str]]]]:
    """What every system holds, and who is who there."""
    systems: Systems = {}
    owners: dict[str, dict[str, dict[str, str]]] = {}
    for system, object in OBJECTS.items():
        here = [view for view in everybody if view.system == system]
        systems[system] = {object: payloads.people(system, here)}
        owners[system] = {object: {view.id: view.key for view in here}}
    for system, object in COMPANY_OBJECTS.items():
        there = [firm for firm in firms if firm.system == system]
        systems[system][object] = payloads.companies(system, there)
        owners[system][object] = {firm.id: firm.key for firm in there}
    systems["billing"]["subscriptions"] = [payloads.subscription(each) for each in subscriptions]
    owners["billing"]["subscriptions"] = {each.id: each.key for each in subscriptions}
    return systems, owners


def _expected(
    everybody: list[View],
    held: dict[str, list[CompanyView]],
    subscriptions: list[Subscription],
    systems: Systems,
) -> Expected:
    usable = [(view.email or "").strip().lower() for view in everybody]
    usable = [address for address in usable if oddities.is_usable(address)]
    payers = {view.id for view in everybody if view.system == "billing"}
    return Expected(
        persons=len({view.key for view in everybody}),
        companies=sum(bool(known) for known in held.values()),
        addresses=len(set(usable)),
        without_address=len(everybody) - len(usable),
        subscriptions=len(subscriptions),
        orphans=sum(each.customer not in payers for each in subscriptions),
        records={
            system: {name: len(rows) for name, rows in data.items()} for system, data in systems.items()
        },
    )


def _by_key(found: Iterable[CompanyView]) -> dict[str, list[CompanyView]]:
    grouped: dict[str, list[CompanyView]] = {}
    for view in found:
        grouped.setdefault(view.key, []).append(view)
    return grouped


def _by_key_and_system(found: Iterable[View]) -> dict[str, dict[str, list[View]]]:
    grouped: dict[str, dict[str, list[View]]] = {}
    for view in found:
        grouped.setdefault(view.key, {}).setdefault(view.system, []).append(view)
    return grouped


def _subscriptions(seed: int, size: int, everybody: list[View], ids: Ids) -> list[Subscription]:
    """Most payers have one, some have had another; a few belong to customers that were deleted since."""
    found: list[Subscription] = []
    for payer in (view for view in everybody if view.system == "billing"):
        rng = stream(seed, "subscriptions", payer.id)
        for number in range(rng.choice((0, 1, 1, 1, 1, 2))):
            status = (
                rng.choice(("active", "active", "active", "past_due", "trialing"))
                if not number
                else "canceled"
            )
            found.append(_subscription(rng.randrange(len(tables.PLANS)), payer.id, status, len(found), ids))
    for number in range(oddities.share(3, size)):
        gone = _subscription(number % len(tables.PLANS), ids.take("billing"), "canceled", len(found), ids)
        gone.key = f"gone-{gone.key}"
        found.append(gone)
    return found


def _subscription(plan: int, customer: str, status: str, number: int, ids: Ids) -> Subscription:
    name, amount = tables.PLANS[plan]
    return Subscription(
        id=ids.take("billing", "sub_"),
        key=f"subscription-{number:04d}",
        customer=customer,
        plan=name,
        amount=amount,
        status=status,
        created=TODAY - (40 + 7 * number % 900) * DAY,
        period_end=TODAY + (number % 28) * DAY,
    )
