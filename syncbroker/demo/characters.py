"""The people whom the demo's story is about. Each is entered cleanly, except for the one thing that they are there for.

Their systems and what makes them special stand in `CAST`; the story finds their external ids in `World.people`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from syncbroker.demo.truth import DAY, TODAY, Company, Person
from syncbroker.demo.views import Ids, View, plain, settled

FIVE = ("crm", "marketing", "billing", "support", "mail")


class Character(msgspec.Struct, frozen=True, kw_only=True):
    """One named person of the story. `why`: what the story needs them for.

    `ids`: their external id in each system that knows them, `second_ids` where a system has them twice. `next`: values
    that the story brings in, in neutral words (see `View`). `key` is the person's key in `World.truth`.
    """

    name: str
    why: str
    key: str
    first: str
    last: str
    email: str
    ids: dict[str, str]
    second_ids: dict[str, str] = {}
    next: dict[str, str] = {}


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """How a character is cast: `facts` are the person's, `believes` what one system has instead (system -> fields)."""

    why: str
    first: str
    last: str
    systems: tuple[str, ...]
    firm: str = ""
    phone: str = "+1 206 555 0199"
    facts: Mapping[str, Any] = {}
    believes: Mapping[str, Mapping[str, Any]] = {}
    next: Mapping[str, str] = {}
    twice_in: str = ""


FERRIES = Company(
    key="company-ferries",
    name="Tern Island Ferries Inc.",
    stem="Tern Island Ferries",
    domain="ternisland.example",
    phone="+1 206 555 0100",
    country="US",
    street="1 Ferry Dock",
    city="Seattle",
    postcode="98101",
    industry="Logistics",
    employees=140,
    stage="Customer",
    about="Runs nine boats and a shop on each of them.",
    systems=("crm", "support"),
)
DELI = Company(
    key="company-deli",
    name="Möwe Feinkost GmbH",
    stem="Möwe Feinkost",
    domain="moewefeinkost.example",
    phone="+49 40 66969 001",
    country="DE",
    street="Uferweg 3",
    city="Hamburg",
    postcode="20095",
    industry="Food",
    employees=15,
    stage="Customer",
    about="Three delicatessens and a smokehouse.",
    systems=("crm", "support"),
)
FIRMS = (FERRIES, DELI)

CAST: Mapping[str, Role] = {
    "mara": Role(
        why="the same in all five systems; changes her e-mail address in the marketing preference centre",
        first="Mara",
        last="Lindqvist",
        systems=FIVE,
        firm=FERRIES.key,
        phone="+1 206 555 0101",
        next={"email": "mara.lindqvist@inbox.example.org"},
    ),
    "jonas": Role(
        why="the CRM and support change him at the same moment",
        first="Jonas",
        last="Albrecht",
        systems=("crm", "billing", "support"),
        firm=DELI.key,
        phone="+49 40 66969 002",
        next={"contact_by_crm": "Phone", "contact_by_support": "Post", "phone_crm": "+49 40 66969 101",
              "phone_support": "+49 40 66969 102"},
    ),
    "ines": Role(
        why="an agent changes her address in support, where nobody may: it is put back",
        first="Inês",
        last="Carvalho",
        systems=("crm", "marketing", "support"),
        firm=FERRIES.key,
        phone="+1 206 555 0102",
        next={"email": "ines.c@post.example.net"},
    ),
    "tobias": Role(
        why="the CRM empties his job title, which is allowed, and his telephone, which is not",
        first="Tobias",
        last="Reinholt",
        systems=("crm", "mail"),
        firm=DELI.key,
        phone="+49 40 66969 003",
    ),
    "priya": Role(
        why="unsubscribes; a colleague who sets her back to subscribed in the CRM is overruled",
        first="Priya",
        last="Raman",
        systems=FIVE,
        phone="+1 415 555 0111",
    ),
    "oskar": Role(
        why="unsubscribed long ago, though the CRM says otherwise; opts in again himself, later",
        first="Oskar",
        last="Wiklund",
        systems=("crm", "marketing"),
        phone="+46 8 465 004 11",
        facts={"consent": "unsubscribed", "country": "SE", "language": "sv"},
        believes={"crm": {"consent": "subscribed"}},
    ),
    "leila": Role(
        why="has tags in three systems; one that is taken away in one stays away in all",
        first="Leila",
        last="Haddoun",
        systems=("crm", "marketing", "support"),
        firm=FERRIES.key,
        phone="+1 206 555 0103",
        facts={"tags": ("events", "newsletter", "wholesale")},
        believes={"crm": {"tags": ("events", "wholesale")}, "support": {"tags": ("events",)}},
        next={"tag": "events"},
    ),
    "yuki": Role(
        why="not known anywhere; signs up in marketing, and the answer to creating her in the CRM is lost",
        first="Yuki",
        last="Aomori",
        systems=(),
        phone="+1 503 555 0123",
    ),
    "victor": Role(
        why="an agent makes him a VIP, which only the CRM may: it is proposed",
        first="Victor",
        last="Esposti",
        systems=("crm", "billing", "support"),
        firm=FERRIES.key,
        phone="+1 206 555 0104",
    ),
    "nadia": Role(
        why="changes in the mail tool, which tells nobody: only a sweep finds it",
        first="Nadia",
        last="Belkacem",
        systems=("crm", "marketing", "mail"),
        phone="+33 1 99 00 4321",
        facts={"country": "FR", "language": "fr", "city": "Lyon", "postcode": "69002", "street": "4 Rue du Moulin"},
        next={"last": "Belkacem-Roy"},
    ),
    "hugo": Role(
        why="shares his last name and telephone with Clara: a person has to say whether they are one",
        first="Hugo",
        last="Amsel",
        systems=("crm",),
        phone="+49 30 23125 045",
        facts={"country": "DE", "language": "de"},
    ),
    "clara": Role(
        why="the other one in Hugo's household",
        first="Clara",
        last="Amsel",
        systems=("crm",),
        phone="+49 30 23125 045",
        facts={"country": "DE", "language": "de"},
    ),
    "sofia": Role(
        why="twice in billing with one address",
        first="Sofia",
        last="Markovic",
        systems=("crm", "billing"),
        phone="+1 718 555 0144",
        twice_in="billing",
    ),
    "erik": Role(
        why="the CRM and support disagree on how to reach him from the start: a person has to choose",
        first="Erik",
        last="Solheim",
        systems=("crm", "support"),
        firm=FERRIES.key,
        phone="+1 206 555 0105",
        believes={"crm": {"contact_by": "Email"}, "support": {"contact_by": "Phone"}},
        next={"contact_by": "Phone"},
    ),
    "amara": Role(
        why="support changes her language after it stood: ignored, it is only seeded",
        first="Amara",
        last="Nwosu",
        systems=("crm", "marketing", "support"),
        phone="+44 20 7946 0042",
        facts={"country": "GB", "city": "London", "postcode": "EC1A 1BB", "street": "7 Mill Race"},
        next={"language": "fr"},
    ),
    "ruth": Role(
        why="is deleted in the CRM, while billing and support still know her",
        first="Ruth",
        last="Castellan",
        systems=("crm", "billing", "support"),
        phone="+1 312 555 0166",
    ),
}  # fmt: skip


def phones() -> set[str]:
    """Every number that the cast has or will have."""
    found = {firm.phone for firm in FIRMS} | {role.phone for role in CAST.values()}
    return found | {value for role in CAST.values() for value in role.next.values() if value.startswith("+")}


def persons() -> Iterator[tuple[str, Person]]:
    """(name, person) of everybody in the cast."""
    firms = {firm.key: firm for firm in FIRMS}
    for number, (name, role) in enumerate(CAST.items()):
        firm = firms.get(role.firm)
        pays = "billing" in role.systems
        person = Person(
            key=f"person-{name}",
            first=role.first,
            last=role.last,
            email=f"{name}@{firm.domain if firm else 'mail.example.com'}",
            phone=role.phone,
            company=firm,
            job_title="Operations Lead" if firm else "Shop Owner",
            country=firm.country if firm else "US",
            street=firm.street if firm else f"{number + 2} Lantern Avenue",
            city=firm.city if firm else "Boston",
            postcode=firm.postcode if firm else "02108",
            language="de" if firm is DELI else "en",
            lead_source="Referral",
            consent="subscribed" if "marketing" in role.systems else "never_asked",
            tags=("newsletter",),
            customer_since=TODAY - (500 + number) * DAY if pays else 0,
            lifetime_value=250_000 + 1000 * number if pays else 0,
            vip=False,
            notes="Asked for the wholesale price list.",
            contact_by="Email",
            last_seen=TODAY - 12 * DAY,
            systems=role.systems,
        )
        yield name, msgspec.structs.replace(person, **role.facts)


def enter(
    name: str, person: Person, where: Mapping[tuple[str, str], str], ids: Ids
) -> tuple[Character, list[View]]:
    """The character and their records. `where` as in `views.plain`."""
    role = CAST[name]
    found = []
    for system in role.systems:
        view = plain(person, system, where, ids)
        for field, value in role.believes.get(system, {}).items():
            setattr(view, field, value)
        found.append(settled(view))
    again = [
        msgspec.structs.replace(view, id=ids.take(view.system), created=view.created + DAY)
        for view in found
        if view.system == role.twice_in
    ]
    character = Character(
        name=name,
        why=role.why,
        key=person.key,
        first=person.first,
        last=person.last,
        email=person.email,
        ids={view.system: view.id for view in found},
        second_ids={view.system: view.id for view in again},
        next=dict(role.next),
    )
    return character, found + again
