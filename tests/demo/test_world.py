from __future__ import annotations

import hashlib
import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import msgspec
import phonenumbers
import pytest

from syncbroker.demo import tables
from syncbroker.demo.payloads import COMPANY_OBJECTS, OBJECTS
from syncbroker.demo.world import World, build_world

SEEDS = [0, 1, 7, 2026]
Row = dict[str, Any]

EMAIL_PATH = {
    "crm": lambda row: row["properties"]["email"],
    "marketing": lambda row: row["email_address"],
    "billing": lambda row: row["email"],
    "support": lambda row: row["email"],
    "mail": lambda row: row["email"],
}


@cache
def world(seed: int = 7, size: int = 300) -> World:
    return build_world(seed, size)


def rows(system: str, seed: int = 7) -> list[Row]:
    return world(seed).systems[system][OBJECTS[system]]


def emails(system: str, seed: int = 7) -> list[str]:
    return [EMAIL_PATH[system](row) or "" for row in rows(system, seed)]


def contacts(seed: int) -> list[Row]:
    return [row["properties"] for row in rows("crm", seed)]


def by_email(system: str, seed: int) -> dict[str, Row]:
    return {
        EMAIL_PATH[system](row).strip().lower(): row for row in rows(system, seed) if EMAIL_PATH[system](row)
    }


def phones(seed: int) -> Iterable[str]:
    yield from (row["phone"] for row in contacts(seed) if row["phone"])
    yield from (row["phone"] for row in rows("support", seed) if row["phone"])
    yield from (row["phone"] for row in rows("billing", seed) if row["phone"])
    yield from (
        row["merge_fields"]["PHONE"] for row in rows("marketing", seed) if row["merge_fields"]["PHONE"]
    )
    yield from (row["phone_number"] for row in rows("mail", seed) if row["phone_number"])


def is_possible(phone: str) -> bool:
    try:
        found = phonenumbers.is_possible_number_with_reason(phonenumbers.parse(phone, "US"))
    except phonenumbers.NumberParseException:
        return False
    return found == phonenumbers.ValidationResult.IS_POSSIBLE


# ---- one seed is one world ----


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_builds_the_same_world(seed: int) -> None:
    assert msgspec.json.encode(build_world(seed)) == msgspec.json.encode(build_world(seed))


def test_another_seed_builds_another_world() -> None:
    assert world(1).systems != world(2).systems


def test_a_world_too_small_for_its_oddities_is_refused() -> None:
    with pytest.raises(ValueError, match="60 at least"):
        build_world(1, size=59)


def test_a_world_is_plain_json() -> None:
    encoded = msgspec.json.encode(world())
    assert msgspec.json.decode(encoded, type=World) == world()


# ---- shapes ----


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("system", list(OBJECTS))
def test_the_truth_names_every_record_once(system: str, seed: int) -> None:
    for object, records in world(seed).systems[system].items():
        ids = [str(record["id"]) for record in records]
        assert len(ids) == len(set(ids))
        assert set(ids) == set(world(seed).truth[system][object])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("system", ["crm", "marketing", "support", "mail"])
def test_no_address_is_twice_where_the_vendor_forbids_it(system: str, seed: int) -> None:
    given = [email.lower() for email in emails(system, seed) if email]
    assert len(given) == len(set(given))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_members_id_is_the_md5_of_its_address(seed: int) -> None:
    for row in rows("marketing", seed):
        assert row["id"] == hashlib.md5(row["email_address"].lower().encode()).hexdigest()


def test_every_contact_of_the_crm_has_every_property() -> None:
    assert len({tuple(row["properties"]) for row in rows("crm")}) == 1


def test_everybody_is_in_range_of_no_telephone_and_no_mailbox() -> None:
    reserved = re.compile(r"(.*\.)?(example|example\.(com|net|org)|invalid)")
    for system in OBJECTS:
        for email in filter(None, emails(system)):
            domain = re.split(r"@|\(at\)", email.strip().lower())[-1]
            assert reserved.fullmatch(domain) or email in {f"{email.split('@')[0]}@", "no@mail@here"}


@pytest.mark.parametrize("seed", SEEDS)
def test_all_telephone_numbers_are_from_ranges_kept_for_fiction(seed: int) -> None:
    templates = [template for country in tables.COUNTRIES for template in country.phones]
    free = re.compile("|".join(re.escape(re.sub(" ", "", t)).replace(r"\#", r"\d") for t in templates))
    for phone in phones(seed):
        if phone in tables.BAD_PHONES or phone in tables.PLACEHOLDERS:
            continue
        number = phonenumbers.parse(phone, "US")
        assert is_possible(phone)
        e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        assert free.fullmatch(e164)


# ---- who is who ----


@pytest.mark.parametrize("seed", SEEDS)
def test_no_address_belongs_to_two_people(seed: int) -> None:
    owners: dict[str, set[str]] = {}
    for system, object in OBJECTS.items():
        for row in rows(system, seed):
            email = (EMAIL_PATH[system](row) or "").strip().lower()
            if email:
                owners.setdefault(email, set()).add(world(seed).truth[system][object][str(row["id"])])
    shared = {email for email, keys in owners.items() if len(keys) > 1}
    assert shared <= {"no@mail@here"}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_expected_is_what_is_there(seed: int) -> None:
    made, expected = world(seed), world(seed).expected
    persons = {key for system, object in OBJECTS.items() for key in made.truth[system][object].values()}
    companies = {
        key for system, object in COMPANY_OBJECTS.items() for key in made.truth[system][object].values()
    }
    payers = {row["id"] for row in rows("billing", seed)}
    orphans = [row for row in made.systems["billing"]["subscriptions"] if row["customer"] not in payers]
    assert expected.persons == len(persons)
    assert expected.companies == len(companies)
    assert expected.orphans == len(orphans) == len(made.oddities["gone_payer"])
    assert expected.subscriptions == len(made.truth["billing"]["subscriptions"])


def test_a_few_hundred_people_and_their_companies_are_there() -> None:
    assert 300 <= world().expected.persons <= 320
    assert 70 <= world().expected.companies <= 90


# ---- oddities ----


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


def digits(phone: str) -> str:
    """The last nine: enough to see that two numbers are not the same one in two formats."""
    return "".join(filter(str.isdigit, phone))[-9:]


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


# ---- the story's people ----


@pytest.mark.parametrize("seed", SEEDS)
def test_every_character_is_where_the_world_says(seed: int) -> None:
    for character in world(seed).people.values():
        for ids in (character.ids, character.second_ids):
            for system, id in ids.items():
                assert world(seed).truth[system][OBJECTS[system]][id] == character.key


def record(name: str, system: str) -> Row:
    wanted = world().people[name].ids[system]
    return next(row for row in rows(system) if str(row["id"]) == wanted)


def test_mara_is_the_same_in_all_five_systems() -> None:
    character = world().people["mara"]
    found = {EMAIL_PATH[system](record("mara", system)) for system in OBJECTS}
    assert found == {character.email}
    assert {digits(record("mara", s)["phone"]) for s in ("billing", "support")} == {"065550101"}


def test_oskar_unsubscribed_and_the_crm_does_not_know() -> None:
    assert record("oskar", "marketing")["status"] == "unsubscribed"
    assert record("oskar", "crm")["properties"]["marketing_consent"] == "Opted in"


def test_priya_is_subscribed() -> None:
    assert record("priya", "marketing")["status"] == "subscribed"


def test_the_tag_that_leila_will_lose_is_in_all_three_systems() -> None:
    tag = world().people["leila"].next["tag"]
    assert tag in record("leila", "crm")["properties"]["interests"].split(";")
    assert tag in {each["name"] for each in record("leila", "marketing")["tags"]}
    assert tag in record("leila", "support")["tags"]


def test_yuki_is_nowhere_yet() -> None:
    assert world().people["yuki"].ids == {}
    assert not any(world().people["yuki"].email == email for system in OBJECTS for email in emails(system))


def test_hugo_and_clara_share_last_name_and_telephone() -> None:
    hugo, clara = (record(name, "crm")["properties"] for name in ("hugo", "clara"))
    assert (hugo["lastname"], hugo["phone"]) == (clara["lastname"], clara["phone"])
    assert hugo["email"] != clara["email"]


def test_sofia_is_twice_in_billing() -> None:
    sofia = world().people["sofia"]
    assert sofia.second_ids["billing"] != sofia.ids["billing"]
    assert emails("billing").count(sofia.email) == 2


def test_the_crm_and_support_disagree_on_how_to_reach_erik() -> None:
    crm, support = record("erik", "crm")["properties"], record("erik", "support")["user_fields"]
    assert {crm["preferred_contact"], support["preferred_contact"]} == {"Email", "Phone"}


@pytest.mark.parametrize(
    ("name", "systems"),
    [
        ("jonas", {"crm", "billing", "support"}),
        ("ines", {"crm", "marketing", "support"}),
        ("tobias", {"crm", "mail"}),
        ("victor", {"crm", "billing", "support"}),
        ("nadia", {"crm", "marketing", "mail"}),
        ("amara", {"crm", "marketing", "support"}),
        ("ruth", {"crm", "billing", "support"}),
    ],
)
def test_the_others_are_known_where_the_story_needs_them(name: str, systems: set[str]) -> None:
    assert world().people[name].ids.keys() == systems


# ---- the simulators ----

SIMULATORS = {
    "crm": "connectors.hubspot.simulator:HubSpotSimulator",
    "marketing": "connectors.mailchimp.simulator:MailchimpSimulator",
    "billing": "connectors.stripe.simulator:StripeSimulator",
    "support": "connectors.zendesk.simulator:ZendeskSimulator",
    "mail": "connectors.sendgrid.simulator:SendGridSimulator",
}


@pytest.mark.parametrize("system", list(SIMULATORS))
@pytest.mark.parametrize("seed", [7, 2026])
def test_every_record_loads_into_its_simulator_under_its_own_id(system: str, seed: int) -> None:
    module, _, name = SIMULATORS[system].partition(":")
    credentials = {
        "api_key": "key-us21",
        "access_token": "token",
        "email": "admin@example.com",
        "api_token": "token",
    }
    simulator = getattr(importlib.import_module(module), name)(credentials=credentials)
    simulator.load(world(seed).systems[system])
    for object, records in world(seed).systems[system].items():
        assert {str(one["id"]) for one in simulator.records(object)} == {str(one["id"]) for one in records}
