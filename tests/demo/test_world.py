from __future__ import annotations

import hashlib
import importlib
import re

import msgspec
import phonenumbers
import pytest

from syncbroker.demo import tables
from syncbroker.demo.payloads import COMPANY_OBJECTS, OBJECTS
from syncbroker.demo.world import World, build_world
from tests.demo.support import EMAIL_PATH, SEEDS, Row, digits, emails, is_possible, phones, rows, world

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
