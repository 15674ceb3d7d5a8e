"""What is true in the demo world: real companies, real people, and which systems know them.

Nothing here is wrong yet; `views` lets every system believe its own version of it.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from syncbroker.demo import tables

TODAY = 1_790_812_800
"""The world's last day, 2026-10-01T00:00:00Z, in seconds. Fixed, so that one seed is one world for ever."""
DAY = 86_400

CONSENTS = {"subscribed": 70, "unsubscribed": 14, "never_asked": 9, "bounced": 4, "pending": 3}
"""Of 100 people whom marketing knows."""


class Company(msgspec.Struct, kw_only=True):
    """`name` as its owners write it, `stem` without the legal form. `systems` that know it."""

    key: str
    name: str
    stem: str
    domain: str
    phone: str
    country: str
    street: str
    city: str
    postcode: str
    industry: str
    employees: int
    stage: str
    about: str
    systems: tuple[str, ...] = ()


class Person(msgspec.Struct, kw_only=True):
    """`consent`: subscribed, pending, never_asked, unsubscribed or bounced. `lifetime_value` in US cents."""

    key: str
    first: str
    last: str
    email: str
    phone: str
    company: Company | None
    job_title: str
    country: str
    street: str
    city: str
    postcode: str
    language: str
    lead_source: str
    consent: str
    tags: tuple[str, ...]
    customer_since: int
    lifetime_value: int
    vip: bool
    notes: str
    contact_by: str
    last_seen: int
    systems: tuple[str, ...] = ()


def stream(*what: object) -> random.Random:
    """A random stream of its own for each purpose, so that a change in one place does not move all the others."""
    return random.Random("/".join(map(str, what)))


def slug(text: str) -> str:
    """Lower-case ASCII letters and digits, the words joined by nothing: `Crane & Co Tools` -> `cranecotools`."""
    plain = text.replace("ß", "ss").replace("ø", "o").replace("ı", "i").replace("ł", "l")
    letters = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode().lower()
    return "".join(c for c in letters if c.isalnum())


def chance(rng: random.Random, percent: int) -> bool:
    """True in `percent` of 100 cases."""
    return rng.randrange(100) < percent


class Phones:
    """Hands out fictional numbers, each once."""

    def __init__(self, rng: random.Random, given: Iterable[str] = ()) -> None:
        """`given`: numbers that are somebody's already."""
        self._rng = rng
        self._given = set(given)

    def take(self, country: tables.Country) -> str:
        """As `some_phone`."""
        while True:
            number = some_phone(self._rng, country)
            if number not in self._given:
                self._given.add(number)
                return number


def some_phone(rng: random.Random, country: tables.Country) -> str:
    """A fictional number in international notation with spaces: `+44 20 7946 0123`."""
    return "".join(str(rng.randrange(10)) if c == "#" else c for c in rng.choice(country.phones))


def country_of(code: str) -> tables.Country:
    return next(country for country in tables.COUNTRIES if country.code == code)


def countries(rng: random.Random) -> tables.Country:
    """A country, by its share of the customers."""
    return rng.choices(tables.COUNTRIES, [c.share for c in tables.COUNTRIES])[0]


def companies(seed: int, size: int, phones: Phones) -> list[Company]:
    """Companies for `size` people, about one for every four; names are used once, then numbered by their city."""
    rng = stream(seed, "companies")
    count = max(12, size // 4)
    stems = list(tables.COMPANY_STEMS)
    rng.shuffle(stems)
    found = []
    for number in range(count):
        stem = stems[number % len(stems)]
        home = countries(rng)
        city, postcode = rng.choice(home.cities)
        if number >= len(stems):
            stem = f"{stem} {city} {number // len(stems) + 1}"
        stage = rng.choice(("Lead", "Customer", "Customer", "Customer"))
        found.append(
            Company(
                key=f"company-{number:03d}",
                name=f"{stem} {rng.choice(home.suffixes)}",
                stem=stem,
                domain=f"{slug(stem)}.example",
                phone=phones.take(home),
                country=home.code,
                street=f"{rng.randrange(1, 240)} {rng.choice(home.streets)}",
                city=city,
                postcode=postcode,
                industry=rng.choice(tables.INDUSTRIES)[0],
                employees=rng.choice((4, 9, 15, 28, 60, 140, 420)),
                stage=stage,
                about=f"{stem}, {city}. {rng.choice(tables.NOTES)}",
                systems=_company_systems(rng, stage),
            )
        )
    return found


def _company_systems(rng: random.Random, stage: str) -> tuple[str, ...]:
    in_support = chance(rng, 65 if stage == "Customer" else 10)
    in_crm = not in_support or chance(rng, 88)
    return ("crm",) * in_crm + ("support",) * in_support


def people(seed: int, size: int, firms: Sequence[Company], phones: Phones) -> Iterator[Person]:
    """`size` different people with different addresses."""
    taken: set[str] = set()
    for number in range(size):
        rng = stream(seed, "person", number)
        firm = rng.choice(firms) if chance(rng, 76) else None
        home = country_of(firm.country) if firm else countries(rng)
        first, last = rng.choice(tables.FIRST_NAMES), rng.choice(tables.LAST_NAMES)
        domain = firm.domain if firm else rng.choice(tables.PRIVATE_MAIL)
        email = f"{slug(first)}.{slug(last)}@{domain}"
        if email in taken:
            email = f"{slug(first)}.{slug(last)}{number}@{domain}"
        taken.add(email)
        city, postcode = (firm.city, firm.postcode) if firm else rng.choice(home.cities)
        street = firm.street if firm else f"{rng.randrange(1, 240)} {rng.choice(home.streets)}"
        systems = person_systems(rng)
        pays = "billing" in systems
        consent = "never_asked"
        if {"marketing", "mail"} & set(systems):
            consent = rng.choices(list(CONSENTS), list(CONSENTS.values()))[0]
        yield Person(
            key=f"person-{number:04d}",
            first=first,
            last=last,
            email=email,
            phone=phones.take(home),
            company=firm,
            job_title=rng.choice(tables.JOB_TITLES),
            country=home.code,
            street=street,
            city=city,
            postcode=postcode,
            language=home.language,
            lead_source=rng.choice(tables.LEAD_SOURCES),
            consent=consent,
            tags=tuple(sorted(rng.sample(tables.TAGS, rng.randrange(4)))),
            customer_since=(TODAY - rng.randrange(60, 2400) * DAY) if pays else 0,
            lifetime_value=rng.randrange(1900, 990_000) if pays else 0,
            vip=pays and chance(rng, 8),
            notes=rng.choice(tables.NOTES),
            contact_by=rng.choice(tables.CONTACT_WAYS),
            last_seen=TODAY - rng.randrange(1, 300) * DAY,
            systems=systems,
        )


def person_systems(rng: random.Random) -> tuple[str, ...]:
    """Who knows a person: most are in the CRM and somewhere else, some in all five, some in one place only."""
    chosen = {
        system
        for system, percent in (("crm", 78), ("marketing", 58), ("billing", 42), ("support", 38))
        if chance(rng, percent)
    }
    if chance(rng, 55 if "marketing" in chosen else 12):
        chosen.add("mail")
    return tuple(s for s in ("crm", "marketing", "billing", "support", "mail") if s in chosen) or ("crm",)
