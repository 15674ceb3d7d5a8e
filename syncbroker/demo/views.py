"""What each system believes: the truth as that system's users typed it, with their gaps and habits.

A view is one vendor record in neutral words. Habits are harmless (another spelling, another telephone format); what is
really wrong is added afterwards, by `oddities`. None stands for a field that nobody filled in.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from syncbroker.demo import tables
from syncbroker.demo.truth import DAY, TODAY, Company, Person, chance, country_of, stream

ADDRESS = ("street", "city", "postcode", "country")

KNOWS: Mapping[str, Mapping[str, int]] = {
    "crm": {
        "first": 100, "last": 100, "email": 100, "phone": 80, "company": 95, "job_title": 70, "address": 85,
        "language": 50, "lead_source": 85, "consent": 75, "tags": 60, "customer_since": 60, "vip": 100, "notes": 30,
        "contact_by": 50,
    },
    "marketing": {
        "first": 95, "last": 95, "email": 100, "phone": 35, "company": 60, "language": 80, "lead_source": 40,
        "consent": 100, "tags": 100,
    },
    "billing": {
        "first": 100, "last": 100, "email": 100, "phone": 60, "company": 80, "address": 85, "customer_since": 100,
        "lifetime_value": 100,
    },
    "support": {
        "first": 100, "last": 100, "email": 100, "phone": 55, "language": 70, "tags": 40, "vip": 100, "notes": 25,
        "contact_by": 45, "last_seen": 90,
    },
    "mail": {"first": 90, "last": 90, "email": 100, "phone": 20, "address": 30, "job_title": 30},
}  # fmt: skip
"""What each system has a place for, and in how many of 100 records it is filled in."""


class View(msgspec.Struct, kw_only=True):
    """One person as one system has them. `id` is the vendor's. `company_id`: the external id of the company there.

    Dates are seconds since 1970, `lifetime_value` is in cents; everything else is as typed. `changed`: last change.
    """

    id: str
    key: str
    system: str
    first: str | None = None
    last: str | None = None
    email: str | None = None
    phone: str | None = None
    company: str | None = None
    company_id: str | None = None
    job_title: str | None = None
    street: str | None = None
    city: str | None = None
    postcode: str | None = None
    country: str | None = None
    language: str | None = None
    lead_source: str | None = None
    consent: str | None = None
    tags: tuple[str, ...] = ()
    customer_since: int | None = None
    lifetime_value: int | None = None
    vip: bool = False
    notes: str | None = None
    contact_by: str | None = None
    last_seen: int | None = None
    created: int = 0
    changed: int = 0

    @property
    def full_name(self) -> str:
        return " ".join(part for part in (self.first, self.last) if part)


class CompanyView(msgspec.Struct, kw_only=True):
    """One company as one system has it."""

    id: str
    key: str
    system: str
    name: str
    domain: str | None = None
    phone: str | None = None
    street: str | None = None
    city: str | None = None
    postcode: str | None = None
    country: str | None = None
    industry: str | None = None
    employees: int | None = None
    stage: str | None = None
    about: str | None = None
    created: int = 0
    changed: int = 0


class Ids:
    """External ids in each vendor's own shape, each once, ascending where the vendor's are."""

    def __init__(self, seed: int) -> None:
        self._rng = stream(seed, "ids")
        self._next = {"crm": 5_100_000_100, "support": 36_000_100_000}

    def take(self, system: str, prefix: str = "cus_") -> str:
        """`prefix` is for billing, whose ids name their object. Marketing has none: see `member_id`."""
        if system in self._next:
            self._next[system] += self._rng.randrange(1, 60)
            return str(self._next[system])
        if system == "billing":
            letters = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
            return prefix + "".join(self._rng.choices(letters, k=14))
        hexes = f"{self._rng.getrandbits(128):032x}"
        return f"{hexes[:8]}-{hexes[8:12]}-4{hexes[13:16]}-a{hexes[17:20]}-{hexes[20:]}"


def member_id(email: str) -> str:
    """Mailchimp's id of a member: MD5 of the lower-case address (vendor's `subscriber_hash`)."""
    return hashlib.md5(email.lower().encode(), usedforsecurity=False).hexdigest()


def phone_as_typed(rng: random.Random, number: str, country: str) -> str:
    """The same number in one of the ways in which people write it; abroad, the country's prefix stays."""
    parts = number.split(" ")
    if country in {"US", "CA"}:
        _, area, mid, end = parts
        formats = (
            f"({area}) {mid}-{end}",
            f"{area}-{mid}-{end}",
            f"{area}.{mid}.{end}",
            area + mid + end,
            f"+1-{area}-{mid}-{end}",
            f"1 {area} {mid} {end}",
        )
        return rng.choice(formats)
    return rng.choice((number, "".join(parts), "-".join(parts), f"{parts[0]} (0){' '.join(parts[1:])}"))


def company_as_typed(rng: random.Random, company: Company) -> str:
    """With or without its legal form, and in one of the cases that keyboards produce."""
    name = rng.choice((company.name, company.name, company.stem, company.name.rstrip(".")))
    return rng.choice((name, name, name, name.upper(), name.lower()))


def plain_company(company: Company, system: str, ids: Ids) -> CompanyView:
    """A company as a careful person would have entered it."""
    crm = system == "crm"
    view = CompanyView(
        id=ids.take(system),
        key=company.key,
        system=system,
        name=company.name,
        domain=company.domain,
        phone=company.phone,
        country=country_of(company.country).spellings[0],
        employees=company.employees,
        about=company.about,
        created=TODAY - 700 * DAY,
        changed=TODAY - 30 * DAY,
    )
    if crm:
        view.street, view.city, view.postcode = company.street, company.city, company.postcode
        view.industry, view.stage = company.industry, company.stage
    return view


def companies(seed: int, firms: Iterable[Company], ids: Ids) -> Iterator[CompanyView]:
    """Every system's version of every company it knows."""
    for firm in firms:
        for system in firm.systems:
            rng = stream(seed, firm.key, system)
            crm = system == "crm"
            view = plain_company(firm, system, ids)
            view.name = company_as_typed(rng, firm)
            view.domain = rng.choice((firm.domain, firm.domain, firm.domain.title(), f"www.{firm.domain}"))
            view.phone = (
                phone_as_typed(rng, firm.phone, firm.country) if chance(rng, 70 if crm else 30) else None
            )
            view.country = (
                rng.choice(country_of(firm.country).spellings) if chance(rng, 85 if crm else 50) else None
            )
            view.employees = firm.employees if chance(rng, 70 if crm else 25) else None
            view.industry = view.industry if chance(rng, 75) else None
            view.about = firm.about if chance(rng, 40) else None
            if not chance(rng, 70):
                view.street = view.city = view.postcode = None
            _date(rng, view)
            yield view


def plain(person: Person, system: str, where: Mapping[tuple[str, str], str], ids: Ids) -> View:
    """A person as a careful user of the system would have entered them, with everything it has a place for.

    `where`: (company key, system) -> the company's external id there.
    """
    has = KNOWS[system]
    view = View(id="" if system == "marketing" else ids.take(system), key=person.key, system=system)
    for name in has.keys() - {"address", "company"}:
        setattr(view, name, getattr(person, name) or None)
    view.vip = person.vip and "vip" in has
    view.tags = person.tags if "tags" in has else ()
    if person.company:
        view.company = person.company.name if "company" in has else None
        view.company_id = where.get((person.company.key, system))
    if "address" in has:
        view.street, view.city, view.postcode = person.street, person.city, person.postcode
        view.country = person.country if system == "billing" else country_of(person.country).spellings[0]
    view.created, view.changed = TODAY - 400 * DAY, TODAY - 20 * DAY
    return settled(view)


def people(
    seed: int, persons: Iterable[Person], where: Mapping[tuple[str, str], str], ids: Ids
) -> Iterator[View]:
    """Every system's version of every person it knows."""
    for person in persons:
        for system in person.systems:
            view = plain(person, system, where, ids)
            _habits(stream(seed, person.key, system), person, view)
            yield settled(view)


def settled(view: View) -> View:
    """The view with the id that follows from its address, where the vendor makes ids that way."""
    if view.system == "marketing":
        view.id = member_id(view.email or "")
    return view


def _habits(rng: random.Random, person: Person, view: View) -> None:
    """Leave gaps, and write what is left as people write it."""
    empty: dict[str, Any] = {"tags": (), "vip": False}
    for name, percent in KNOWS[view.system].items():
        if chance(rng, percent):
            continue
        for field in ADDRESS if name == "address" else (name,):
            setattr(view, field, empty.get(field))
    if view.email:
        view.email = rng.choice((*(view.email,) * 5, view.email.title(), view.email.capitalize()))
    if view.phone:
        view.phone = phone_as_typed(rng, view.phone, person.country)
    if view.company and person.company:
        view.company = company_as_typed(rng, person.company)
    if view.country and view.system != "billing":
        view.country = rng.choice(country_of(person.country).spellings)
    if view.lead_source:
        view.lead_source = rng.choice(tables.LEAD_SOURCE_WORDS[view.lead_source])
    if view.system == "crm" and view.consent == "pending":
        view.consent = None  # only the marketing tool knows of a confirmation that is still outstanding
    _date(rng, view)


def _date(rng: random.Random, view: View | CompanyView) -> None:
    view.created = TODAY - rng.randrange(90, 1500) * DAY
    view.changed = min(view.created + rng.randrange(1, 400) * DAY, TODAY - DAY)
