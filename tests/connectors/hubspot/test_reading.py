"""How HubSpot is read: polls through a search that lags, companies as a field, merges, the recycle bin, histories."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.hubspot import connector as module
from connectors.hubspot import webhooks
from connectors.hubspot.simulator import HANDS, HubSpotSimulator
from syncbroker.core.types import Actor, Item, Write
from syncbroker.errors import BadSetting, RateLimited, Refused, Unavailable
from syncbroker.sdk.conformance import Bench
from syncbroker.sdk.conformance_bench import fields_of
from tests.connectors.hubspot.conftest import Hub

START = 1_700_000_000_000


def stood_since(n: int, ms: int) -> dict[str, Any]:
    """A contact that was last modified at `ms`."""
    return {"properties": {"email": f"p{n}@example.com"}, "createdAt": str(ms), "updatedAt": str(ms)}


def polled(bench: Bench, cursor: int) -> list[Item]:
    return bench.poll(str(cursor))[0]


def calls(bench: Bench, since: int = 0) -> list[str]:
    return [entry.operation for entry in bench.control.log(since)]


# ---- polls ----


def test_a_poll_over_several_pages_sees_every_record(hubspot: Hub) -> None:
    bench = hubspot()
    bench.control.load({"contacts": [stood_since(n, START + n) for n in range(450)]})
    assert {item.id for item in polled(bench, START)} == {str(101 + n) for n in range(450)}


def test_a_record_modified_between_two_pages_pulls_no_other_one_out_of_sight(hubspot: Hub) -> None:
    bench = hubspot(search_lag=0)
    bench.control.load({"contacts": [stood_since(n, START + n) for n in range(250)]})
    pages = bench.connector.poll("contacts", ["email"], cursor=str(START))
    seen = {item.id for item in next(pages).items}
    bench.control.edit("contacts", "101", {"firstname": "Moved"})
    seen |= {item.id for page in pages for item in page.items}
    assert seen == {str(101 + n) for n in range(250)}


def test_records_of_one_millisecond_fill_several_pages(hubspot: Hub) -> None:
    bench = hubspot()
    bench.control.load({"contacts": [stood_since(n, START) for n in range(450)]})
    assert len({item.id for item in polled(bench, START)}) == 450


def test_more_records_than_one_query_gives_are_read_by_moving_the_window(hubspot: Hub) -> None:
    bench = hubspot(search_ceiling=400)
    bench.control.load({"contacts": [stood_since(n, START + n) for n in range(1_000)]})
    assert len({item.id for item in polled(bench, START)}) == 1_000


def test_a_millisecond_beyond_the_ceiling_is_left_to_a_sweep(
    hubspot: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEARCH_CEILING", 400)
    bench = hubspot(search_ceiling=400)
    bench.control.load({"contacts": [stood_since(n, START) for n in range(450)]})
    with pytest.raises(Refused, match="share one time"):
        polled(bench, START)


def test_a_poll_resumes_after_any_page(hubspot: Hub) -> None:
    bench = hubspot()
    bench.control.load({"contacts": [stood_since(n, START + n) for n in range(450)]})
    first = next(bench.connector.poll("contacts", ["email"], cursor=str(START)))
    rest = bench.connector.poll("contacts", ["email"], cursor=str(START), resume=first.resume)
    seen = {item.id for page in [first, *rest] for item in page.items}
    assert len(seen) == 450


def test_a_change_that_search_does_not_know_yet_is_seen_by_the_next_poll(hubspot: Hub) -> None:
    bench = hubspot(search_lag=5)
    bench.control.load({"contacts": [stood_since(0, START)]})
    made = bench.control.insert("contacts", {"email": "late@example.com"})
    items, cursor = bench.poll(str(START))
    assert made not in {item.id for item in items}
    bench.settle(5)
    assert made in {item.id for item in bench.poll(cursor)[0]}


def test_a_cursor_stays_behind_what_was_seen_and_never_goes_back(hubspot: Hub) -> None:
    bench = hubspot()
    bench.control.load({"contacts": [stood_since(0, START)]})
    late = START + 10 * module.OVERLAP
    assert bench.poll(str(START - 10 * module.OVERLAP))[1] == str(START - module.OVERLAP)
    assert bench.poll(str(late))[1] == str(late)


# ---- companies of contacts ----


def linked_world(hubspot: Hub, **options: Any) -> Bench:
    """Companies 101 and 102; contact 103 of 101, contact 104 without a company."""
    bench = hubspot(search_lag=0, **options)
    companies = [{"properties": {"name": name, "domain": f"{name}.example"}} for name in ("acme", "bolt")]
    contacts = [
        {"properties": {"email": "a@example.com", "company_id": "101"}},
        {"properties": {"email": "b@example.com"}},
    ]
    bench.control.load({"companies": companies, "contacts": contacts})
    return bench


READS = {
    "scan": lambda bench, paths: bench.connector.scan("contacts", paths),
    "poll": lambda bench, paths: bench.connector.poll("contacts", paths, cursor="0"),
}


@pytest.mark.parametrize("way", READS)
def test_pages_show_the_primary_company(hubspot: Hub, way: str) -> None:
    bench = linked_world(hubspot)
    items = [item for page in READS[way](bench, ["email", "company_id"]) for item in page.items]
    assert {item.id: fields_of(item)["company_id"] for item in items} == {"103": "101", "104": None}


def test_a_read_shows_the_primary_company_with_one_more_call(hubspot: Hub) -> None:
    bench = linked_world(hubspot)
    items = bench.connector.read("contacts", ["103", "104"], ["company_id"])
    assert {item.id: fields_of(item)["company_id"] for item in items} == {"103": "101", "104": None}
    assert calls(bench) == ["contacts.batch_read", "associations.batch_read"]


def test_a_company_that_nobody_asked_for_costs_no_call(hubspot: Hub) -> None:
    bench = linked_world(hubspot)
    (item,) = bench.connector.read("contacts", ["103"], ["email"])
    assert "company_id" not in item.fields
    assert calls(bench) == ["contacts.batch_read"]


def test_of_several_companies_the_primary_one_counts(hubspot: Hub) -> None:
    bench = linked_world(hubspot)
    bench.control.edit("contacts", "103", {"company_id": "102"})
    (record,) = [each for each in bench.control.records("contacts") if each["id"] == "103"]
    assert {each["id"] for each in record["associations"]["companies"]["results"]} == {"101", "102"}
    (item,) = bench.connector.read("contacts", ["103"], ["company_id"])
    assert fields_of(item)["company_id"] == "102"


# ---- find ----


def test_an_address_is_found_before_search_knows_it(hubspot: Hub) -> None:
    bench = hubspot(search_lag=60)
    id = bench.control.insert("contacts", {"email": "new@example.com"})
    found = bench.connector.find("contacts", {"email": "NEW@example.com"}, ["email"])
    assert [item.id for item in found] == [id]
    assert calls(bench) == ["contacts.batch_read"]


@pytest.mark.parametrize("object", ["contacts", "companies"])
def test_the_brokers_id_is_found_before_search_knows_it(hubspot: Hub, object: str) -> None:
    bench = hubspot(search_lag=60)
    values = {"email": "a@example.com"} if object == "contacts" else {"name": "Acme"}
    write = Write(key="k", op="create", values=values, stamp_id="0192-77")
    (receipt,) = bench.connector.write(object, [write], [])
    found = bench.connector.find(object, {"syncbroker_id": "0192-77"}, [])
    assert [item.id for item in found] == [receipt.id]


def test_other_keys_wait_for_search(hubspot: Hub) -> None:
    bench = hubspot(search_lag=5)
    id = bench.control.insert("companies", {"name": "Acme", "domain": "acme.example"})
    assert bench.connector.find("companies", {"domain": "acme.example"}, []) == []
    bench.settle(5)
    found = bench.connector.find("companies", {"domain": "acme.example", "name": "ACME"}, ["name"])
    assert [item.id for item in found] == [id]


def test_every_key_must_fit(hubspot: Hub) -> None:
    bench = hubspot()
    bench.control.insert("contacts", {"email": "a@example.com", "phone": "1"})
    asked = {"email": "a@example.com", "phone": "2"}
    assert bench.connector.find("contacts", asked, []) == []


def test_an_empty_key_finds_nothing_and_asks_nobody(hubspot: Hub) -> None:
    bench = hubspot()
    assert bench.connector.find("contacts", {"email": None, "phone": "1"}, []) == []
    assert calls(bench) == []


def test_a_property_that_is_not_unique_is_searched(hubspot: Hub) -> None:
    bench = hubspot(options={"stamp_property": "jobtitle"}, search_lag=0)
    id = bench.control.insert("contacts", {"jobtitle": "0192-77"})
    found = bench.connector.find("contacts", {"jobtitle": "0192-77"}, [])
    assert [item.id for item in found] == [id]


# ---- merged and archived records ----


def merged(hubspot: Hub, **options: Any) -> tuple[Bench, str]:
    """Contacts 101 and 102 merged by a person; the id of the survivor."""
    bench = hubspot(search_lag=0, **options)
    bench.load(2)
    simulator = bench.simulator
    assert isinstance(simulator, HubSpotSimulator)
    first, second = simulator.portal.live("contacts")
    return bench, simulator.portal.merge(first, second, HANDS["person"]).id


@pytest.mark.parametrize(("makes_new", "survivor"), [(False, "101"), (True, "103")])
def test_the_id_of_a_merged_record_leads_to_the_survivor(
    hubspot: Hub, makes_new: bool, survivor: str
) -> None:
    bench, id = merged(hubspot, merge_makes_new=makes_new)
    assert id == survivor
    (item,) = bench.connector.read("contacts", ["102"], ["email"])
    assert (item.merged_into, item.deleted) == (survivor, False)


def test_a_survivor_shows_its_former_ids(hubspot: Hub) -> None:
    bench, survivor = merged(hubspot, merge_makes_new=True)
    items = [*bench.scan(), *bench.read(survivor).values(), *polled(bench, 0)]
    assert {item.aliases for item in items} == {("101", "102")}


def test_a_survivor_is_found_by_all_its_addresses(hubspot: Hub) -> None:
    bench, survivor = merged(hubspot)
    found = bench.connector.find("contacts", {"email": "p1@example.com"}, ["email"])
    assert [(item.id, fields_of(item)["email"]) for item in found] == [(survivor, "p0@example.com")]


def test_an_archived_record_is_deleted_since_its_archiving(hubspot: Hub) -> None:
    bench = hubspot()
    (id,) = bench.load(1)
    before = bench.now()
    bench.control.remove("contacts", id)
    item = bench.read(id)[id]
    assert item.deleted
    assert item.stamp is not None
    assert before - 1_000 <= item.stamp <= bench.now()


def test_an_id_that_never_was_is_deleted(hubspot: Hub) -> None:
    bench = hubspot()
    assert bench.read("4711")["4711"].deleted


# ---- histories ----


def test_history_tells_our_writes_from_those_of_others(hubspot: Hub) -> None:
    bench = hubspot()
    (id,) = bench.load(1)
    bench.control.edit("contacts", id, {"firstname": "Person"})
    bench.write(Write(key="k", op="update", id=id, values={"firstname": "Broker"}))
    bench.control.edit("contacts", id, {"firstname": "Other"}, actor="integration")
    bench.control.edit("contacts", id, {"firstname": "Flow"}, actor="automation")
    told = [
        (change.value, change.ours, change.actor.origin)
        for change in bench.connector.history("contacts", id, "firstname")
    ]
    assert told == [
        ("Flow", False, "automation"),
        ("Other", False, "integration"),
        ("Broker", True, "integration"),
        ("Person", False, "person"),
    ]


def test_the_app_is_asked_for_once_and_only_when_it_matters(hubspot: Hub) -> None:
    bench = hubspot()
    (id,) = bench.load(1)
    bench.write(Write(key="k", op="update", id=id, values={"firstname": "Broker"}))
    for _ in range(2):
        bench.connector.history("contacts", id, "firstname")
    assert calls(bench).count("account.token_info") == 1


def test_an_app_that_the_options_name_is_not_asked_for(hubspot: Hub) -> None:
    bench = hubspot(options={"app_id": 7}, app_id=7)
    (id,) = bench.load(1)
    bench.write(Write(key="k", op="update", id=id, values={"firstname": "Broker"}))
    assert bench.connector.history("contacts", id, "firstname")[0].ours
    assert "account.token_info" not in calls(bench)


def test_an_app_that_hubspot_does_not_tell_must_be_named(hubspot: Hub) -> None:
    bench = hubspot()
    (id,) = bench.load(1)
    bench.write(Write(key="k", op="update", id=id, values={"firstname": "Broker"}))
    bench.control.fault("status", "account.token_info", status=404, json={})
    with pytest.raises(BadSetting, match="app_id"):
        bench.connector.history("contacts", id, "firstname")


def test_there_is_no_history_of_associations(hubspot: Hub) -> None:
    bench = linked_world(hubspot)
    assert bench.connector.history("contacts", "103", "company_id") == []


def test_an_actor_is_never_named_by_an_address() -> None:
    assert webhooks.actor("CRM_UI", "someone@example.com") == Actor(origin="person")


# ---- limits and locks ----


@pytest.mark.parametrize(
    ("limits", "seconds"), [({"ten_secondly": 0}, 10.0), ({"daily": 0}, 3600.0)], ids=["rolling", "daily"]
)
def test_a_full_limit_says_how_long_to_wait(hubspot: Hub, limits: dict[str, int], seconds: float) -> None:
    bench = hubspot(limits=limits)
    with pytest.raises(RateLimited) as caught:
        bench.read("101")
    assert caught.value.delay == seconds


def test_searches_have_a_limit_of_their_own(hubspot: Hub) -> None:
    bench = hubspot(limits={"search_secondly": 0, "ten_secondly": 100})
    bench.read("101")
    with pytest.raises(RateLimited) as caught:
        polled(bench, START)
    assert caught.value.delay == 1.0


@pytest.mark.parametrize("status", [423, 477])
def test_a_locked_record_or_account_is_tried_again(hubspot: Hub, status: int) -> None:
    bench = hubspot()
    bench.control.fault("status", status=status, json={"message": "locked"})
    with pytest.raises(Unavailable):
        bench.write(Write(key="k", op="update", id="101", values={"firstname": "x"}))
