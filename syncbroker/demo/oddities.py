"""What has gone wrong in the five systems over the years: each oddity has a name, a share and somebody it happens to.

At most one happens to a person, so that no oddity hides another and each can be counted. The shares are for 300
people and scale with the world.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from syncbroker.demo import tables
from syncbroker.demo.truth import DAY, TODAY, Person, country_of, slug, some_phone, stream
from syncbroker.demo.views import CompanyView, Ids, View, settled

SHARES_ARE_FOR = 300


class Case(NamedTuple):
    """One person in whose data something goes wrong. `views`: theirs, by system; an act may add a second one."""

    rng: random.Random
    person: Person
    views: dict[str, list[View]]
    ids: Ids

    def of(self, system: str) -> View:
        return self.views[system][0]


class Oddity(NamedTuple):
    """`needs`: the systems that must know the person. `act` changes the person's views."""

    name: str
    share: int
    needs: tuple[str, ...]
    act: Callable[[Case], None]


class CompanyCase(NamedTuple):
    """The same for a company; `crm` is one of its views, as is `support` where the oddity needs both."""

    rng: random.Random
    views: list[CompanyView]
    ids: Ids

    def of(self, system: str) -> CompanyView:
        return next(view for view in self.views if view.system == system)


class CompanyOddity(NamedTuple):
    """`staffed`: only companies that somebody in support belongs to."""

    name: str
    share: int
    needs: tuple[str, ...]
    act: Callable[[CompanyCase], None]
    staffed: bool = False


def strike(
    seed: int, size: int, persons: Sequence[Person], views: Mapping[str, dict[str, list[View]]], ids: Ids
) -> dict[str, list[str]]:
    """Let every oddity happen to its share of the people; who it happened to (person keys) by oddity."""
    free = {person.key: person for person in persons}
    struck: dict[str, list[str]] = {}
    for oddity in ODDITIES:
        rng = stream(seed, "oddity", oddity.name)
        fit = [key for key in free if set(oddity.needs) <= views[key].keys()]
        chosen = sorted(rng.sample(fit, min(len(fit), share(oddity.share, size))))
        for key in chosen:
            oddity.act(Case(rng, free.pop(key), views[key], ids))
            for view in (view for known in views[key].values() for view in known):
                settled(view)
        struck[oddity.name] = chosen
    return struck


def strike_companies(
    seed: int, size: int, views: Mapping[str, list[CompanyView]], staffed: Collection[str], ids: Ids
) -> dict[str, list[str]]:
    """The same for companies; `views` by company key. `staffed`: keys of companies with members in support."""
    free = set(views)
    struck: dict[str, list[str]] = {}
    for oddity in COMPANY_ODDITIES:
        rng = stream(seed, "oddity", oddity.name)
        fit = sorted(key for key in free if set(oddity.needs) <= {view.system for view in views[key]})
        fit = [key for key in fit if key in staffed or not oddity.staffed]
        chosen = sorted(rng.sample(fit, min(len(fit), share(oddity.share, size))))
        for key in chosen:
            free.discard(key)
            oddity.act(CompanyCase(rng, views[key], ids))
        struck[oddity.name] = chosen
    return struck


def households(seed: int, size: int, persons: Sequence[Person]) -> list[tuple[Person, Person]]:
    """Pairs that share a last name and a telephone, but not an address: the second of each pair is changed in place.

    Both are known to the CRM only, so that no system has a second address that would settle the question.
    """
    rng = stream(seed, "oddity", "household")
    chosen = rng.sample([person for person in persons if person.systems == ("crm",)], k=2 * share(5, size))
    pairs = list(zip(chosen[::2], chosen[1::2], strict=True))
    for one, other in pairs:
        other.last, other.phone, other.country, other.company = one.last, one.phone, one.country, None
        other.street, other.city, other.postcode = one.street, one.city, one.postcode
        other.email = (
            f"{slug(other.first)}.{slug(other.last)}.{other.key[-4:]}@{rng.choice(tables.PRIVATE_MAIL)}"
        )
    return pairs


def share(of_300: int, size: int) -> int:
    """At least one, however small the world."""
    return max(1, round(of_300 * size / SHARES_ARE_FOR))


# ---- who is who ----


def _second_payer(case: Case) -> None:
    """Two customers in billing with one address: a second purchase that was made as a guest."""
    first = case.of("billing")
    second = msgspec.structs.replace(first, id=case.ids.take("billing"), created=first.created + 40 * DAY)
    second.email = (first.email or "").lower()
    second.lifetime_value, second.street, second.city, second.postcode = 1900, None, None, None
    second.country = None
    case.views["billing"].append(second)


def _private_address(*systems: str) -> Callable[[Case], None]:
    """Known with the work address in one system and with a private one in the other; the telephone is the same."""

    def act(case: Case) -> None:
        for system in systems:
            case.of(system).phone = case.person.phone
            case.of(system).first, case.of(system).last = case.person.first, case.person.last
        address = f"{slug(case.person.first)}{case.rng.randrange(60, 99)}.{slug(case.person.last)}"
        case.of(systems[1]).email = f"{address}@{case.rng.choice(tables.PRIVATE_MAIL)}"

    return act


def _bad_address(case: Case) -> None:
    view = case.of("billing")
    name = slug(case.person.last)
    view.email = case.rng.choice(
        (f"{name}(at)mail.example.com", f"{name}@shop.invalid", f"{name}@", "no@mail@here")
    )


def _no_address(case: Case) -> None:
    case.of("support").email = None
    case.of("support").phone = case.person.phone


def _longer_name(case: Case) -> None:
    """Billing has the name as it stands on the card."""
    case.of("billing").first = f"{case.person.first} {case.rng.choice('ABEJKLMRST')}."


def _spaces(case: Case) -> None:
    case.of("billing").email = f" {case.of('billing').email} "


def is_usable(address: str) -> bool:
    """Whether an address can belong to somebody: none of `_bad_address`, none that is missing."""
    name, _, domain = address.partition("@")
    return bool(name) and "." in domain and "@" not in domain and not domain.endswith(".invalid")


# ---- what they are said to be ----


def _consent_withdrawn(case: Case) -> None:
    """Unsubscribed in the marketing tool; the CRM never heard of it."""
    case.of("crm").consent, case.of("marketing").consent = "subscribed", "unsubscribed"


def _consent_refused(case: Case) -> None:
    """Told a salesman "no more mail"; the marketing tool never heard of it."""
    case.of("crm").consent, case.of("marketing").consent = "unsubscribed", "subscribed"


def _tags(case: Case) -> None:
    some = case.rng.sample(tables.TAGS, 4)
    case.of("crm").tags, case.of("marketing").tags = tuple(some[:2]), tuple(some[1:])


def _unknown_source(case: Case) -> None:
    case.of("crm").lead_source = case.rng.choice(tables.LEAD_SOURCES_NOBODY_KNOWS)


def _other_source(case: Case) -> None:
    case.of("crm").lead_source, case.of("marketing").lead_source = case.rng.sample(tables.LEAD_SOURCES, 2)


def _placeholder(case: Case) -> None:
    """A form demanded a value, so somebody typed filler."""
    field = case.rng.choice(("job_title", "phone", "company", "notes"))
    setattr(case.of("crm"), field, case.rng.choice(tables.PLACEHOLDERS))


def _bad_phone(case: Case) -> None:
    case.of(case.rng.choice(sorted(case.views.keys() & {"crm", "support"}))).phone = case.rng.choice(
        tables.BAD_PHONES
    )


def _new_phone(case: Case) -> None:
    """Support has the new number, the CRM the old one."""
    case.of("crm").phone = case.person.phone
    case.of("support").phone = _other_phone(case)
    case.of("support").changed = TODAY - 2 * DAY


def _other_phone(case: Case) -> str:
    while (number := some_phone(case.rng, country_of(case.person.country))) == case.person.phone:
        continue
    return number


def _moved(case: Case) -> None:
    """Billing has the new address, the CRM the old one, and in another country at that."""
    crm, billing = case.of("crm"), case.of("billing")
    old = case.rng.choice([country for country in tables.COUNTRIES if country.code != case.person.country])
    crm.city, crm.postcode = case.rng.choice(old.cities)
    crm.street, crm.country = f"{case.rng.randrange(1, 99)} {case.rng.choice(old.streets)}", old.spellings[0]
    person = case.person
    billing.street, billing.city, billing.postcode, billing.country = (
        person.street,
        person.city,
        person.postcode,
        person.country,
    )


def _new_job(case: Case) -> None:
    titles = case.rng.sample(tables.JOB_TITLES, 2)
    case.of("crm").job_title, case.of("mail").job_title = titles


def _renamed(case: Case) -> None:
    """Married: the CRM has the new name, the others the old one."""
    case.of("crm").last = case.rng.choice([name for name in tables.LAST_NAMES if name != case.person.last])
    case.of("marketing").last = case.person.last


def _other_way(case: Case) -> None:
    case.of("crm").contact_by, case.of("support").contact_by = case.rng.sample(tables.CONTACT_WAYS, 2)


def _other_language(case: Case) -> None:
    case.of("crm").language, case.of("marketing").language = case.rng.sample(("en", "de", "fr", "sv"), 2)


def _other_notes(case: Case) -> None:
    case.of("crm").notes, case.of("support").notes = case.rng.sample(tables.NOTES, 2)


def _later_since(case: Case) -> None:
    """The CRM counts from the day on which a salesman noticed."""
    case.of("crm").customer_since = (case.of("billing").customer_since or 0) + case.rng.randrange(3, 50) * DAY


def _old_value(case: Case) -> None:
    """Somebody typed last year's figure into the CRM."""
    case.of("crm").lifetime_value = (case.of("billing").lifetime_value or 0) // 2


def _vip_by_hand(case: Case) -> None:
    """An agent promoted an angry customer."""
    case.of("crm").vip, case.of("support").vip = False, True


def _stale(case: Case) -> None:
    """Nobody has looked at this row for years."""
    crm = case.of("crm")
    crm.created, crm.changed = TODAY - 2600 * DAY, TODAY - 1900 * DAY
    crm.job_title, crm.company = "Trainee", case.rng.choice(tables.COMPANY_STEMS)


ODDITIES = (
    Oddity("private_address_when_paying", 4, ("billing", "support"), _private_address("support", "billing")),
    Oddity("private_address_on_the_list", 6, ("crm", "marketing"), _private_address("crm", "marketing")),
    Oddity("address_twice_in_billing", 6, ("billing",), _second_payer),
    Oddity("longer_name", 5, ("billing", "support"), _longer_name),
    Oddity("vip_by_hand", 3, ("crm", "support"), _vip_by_hand),
    Oddity("other_notes", 5, ("crm", "support"), _other_notes),
    Oddity("other_way_to_be_reached", 8, ("crm", "support"), _other_way),
    Oddity("new_phone", 9, ("crm", "support"), _new_phone),
    Oddity("no_address", 3, ("support",), _no_address),
    Oddity("bad_address", 4, ("billing",), _bad_address),
    Oddity("spaces_around_the_address", 4, ("billing",), _spaces),
    Oddity("new_job", 7, ("crm", "mail"), _new_job),
    Oddity("later_since", 7, ("crm", "billing"), _later_since),
    Oddity("moved", 8, ("crm", "billing"), _moved),
    Oddity("old_value", 3, ("crm", "billing"), _old_value),
    Oddity("consent_withdrawn", 7, ("crm", "marketing"), _consent_withdrawn),
    Oddity("consent_refused", 3, ("crm", "marketing"), _consent_refused),
    Oddity("tags_differ", 10, ("crm", "marketing"), _tags),
    Oddity("other_language", 5, ("crm", "marketing"), _other_language),
    Oddity("renamed", 5, ("crm", "marketing"), _renamed),
    Oddity("other_source", 5, ("crm", "marketing"), _other_source),
    Oddity("unknown_source", 6, ("crm",), _unknown_source),
    Oddity("bad_phone", 7, ("crm",), _bad_phone),
    Oddity("placeholder", 9, ("crm",), _placeholder),
    Oddity("stale_row", 8, ("crm",), _stale),
)
"""The most demanding first, so that the easily pleased do not take their people."""


# ---- companies ----


def _no_domain(case: CompanyCase) -> None:
    """The support desk knows it by name only, so its members belong to a company that is not known yet."""
    case.of("support").domain = None


def _company_twice(case: CompanyCase) -> None:
    """Two salesmen made the same company."""
    first = case.of("crm")
    again = msgspec.structs.replace(
        first, id=case.ids.take("crm"), name=first.name.lower(), phone=None, about=None
    )
    case.views.append(again)


def _company_differs(case: CompanyCase) -> None:
    case.of("crm").employees, case.of("support").employees = 15, 42
    case.of("crm").about, case.of("support").about = case.rng.sample(tables.NOTES, 2)


def _unknown_industry(case: CompanyCase) -> None:
    case.of("crm").industry = case.rng.choice(("Unknown", "GAMBLING_CASINOS", "stuff"))


COMPANY_ODDITIES = (
    CompanyOddity("company_without_domain", 5, ("crm", "support"), _no_domain, staffed=True),
    CompanyOddity("company_differs", 6, ("crm", "support"), _company_differs),
    CompanyOddity("company_twice", 3, ("crm",), _company_twice),
    CompanyOddity("unknown_industry", 3, ("crm",), _unknown_industry),
)
