from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from connectors.mailchimp import audience
from connectors.mailchimp.connector import OVERLAP, SKEW, Mailchimp
from connectors.mailchimp.members import subscriber_hash
from connectors.mailchimp.simulator import MailchimpSimulator
from syncbroker.core.types import Item, Write
from syncbroker.errors import BadSetting, RateLimited, Refused
from syncbroker.sdk.conformance import Bench
from syncbroker.sdk.connector import Account
from syncbroker.sdk.paths import get_path
from tests.connectors.mailchimp.conftest import LIST_ID

SECOND = 1_000_000


def address(item: Item) -> Any:
    return get_path(item.fields, "email_address")


def test_the_id_is_the_md5_of_the_lower_case_address() -> None:
    assert subscriber_hash("Urist.McVankab@Freddiesjokes.com") == "62eeb292278cc15f5817cb78f7790b08"


def test_tags_are_names(bench: Bench) -> None:
    id = bench.load(1)[0]
    assert get_path(bench.present(id).fields, "tags") == ["customer"]


def test_the_stamp_is_the_second_of_the_last_change(bench: Bench) -> None:
    given = {"email_address": "a@example.org", "last_changed": "2026-01-05T10:00:07+00:00"}
    bench.control.load({"members": [given]})
    assert bench.present(subscriber_hash("a@example.org")).stamp == 1_767_607_207 * SECOND


def test_archived_members_are_in_no_scan(bench: Bench) -> None:
    ids = bench.load(3)
    assert bench.write(Write(key="k", op="delete", id=ids[1]))["k"].status == "done"
    assert {item.id for item in bench.scan()} == {ids[0], ids[2]}


def test_a_scan_asks_for_no_more_than_it_uses(bench: Bench) -> None:
    bench.load(1)
    (page,) = bench.pages()
    (item,) = page.items
    assert "_links" not in item.fields
    assert "stats" not in item.fields


def test_an_audience_loaded_in_one_second_is_scanned_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "PAGE", 7)
    stamped = [
        {"email_address": f"p{n}@example.org", "last_changed": "2026-01-05T10:00:00+00:00"} for n in range(30)
    ]
    bench.control.load({"members": stamped})
    pages = bench.pages()
    found = [address(item) for page in pages for item in page.items]
    assert sorted(found) == sorted(one["email_address"] for one in stamped)
    assert pages[-1].proven


def test_a_scan_during_which_somebody_changed_proves_nothing_but_misses_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "PAGE", 5)
    stamped = [
        {"email_address": f"p{n}@example.org", "last_changed": f"2026-01-05T10:00:{n:02}+00:00"}
        for n in range(20)
    ]
    bench.control.load({"members": stamped})
    first = subscriber_hash("p0@example.org")
    change = {"object": "members", "id": first, "changes": {"merge_fields.FNAME": "Eve"}}
    bench.control.fault("edit_before", "members.list", skip=1, edit=change)
    pages = bench.pages()
    assert {item.id for page in pages for item in page.items} == {
        subscriber_hash(one["email_address"]) for one in stamped
    }
    assert not pages[-1].proven


def test_the_first_poll_begins_before_the_scan_did(bench: Bench) -> None:
    assert bench.connector.start_cursor("members", 10_000 * SECOND) == str(10_000 - SKEW)


def test_a_poll_goes_back_a_little_for_changes_that_were_listed_late(bench: Bench) -> None:
    id = bench.load(1)[0]
    stamp = bench.present(id).stamp
    assert stamp is not None
    _, cursor = bench.poll("0")
    assert cursor == str(stamp // SECOND - OVERLAP)


def test_in_a_quiet_audience_the_cursor_moves_on_with_the_clock(bench: Bench) -> None:
    bench.load(1)
    bench.settle(10 * SKEW)
    began = bench.now() // SECOND
    _, cursor = bench.poll("0")
    assert int(cursor) >= began - SKEW
    items, _ = bench.poll(cursor)
    assert items == []


def test_a_find_without_an_address_finds_nothing(bench: Bench) -> None:
    assert bench.connector.find("members", {"email_address": None}, ()) == []


def test_there_are_no_jobs_and_no_history(bench: Bench) -> None:
    assert bench.connector.history("members", "x", "status") == []
    with pytest.raises(Refused):
        bench.connector.job("members", "x", [], ())


def test_the_eleventh_open_request_is_turned_away(bench: Bench) -> None:
    id = bench.load(1)[0]
    simulator = cast("MailchimpSimulator", bench.simulator)

    def outcome(_: int) -> str:
        try:
            bench.present(id)
        except RateLimited:
            return "limited"
        return "read"

    with ThreadPoolExecutor(11) as pool:
        with simulator.lock:  # nobody is answered before all have asked
            asked = [pool.submit(outcome, n) for n in range(11)]
            while simulator.open_requests < 11:
                time.sleep(0.001)
        found = sorted(one.result() for one in asked)
    assert found == ["limited", *["read"] * 10]


def test_without_an_address_of_its_own_the_key_says_which_data_centre() -> None:
    asked: list[str] = []

    def http(base_url: str, **_: Any) -> Any:
        asked.append(base_url)

    Mailchimp(account("0123456789abcdef-us21", http))
    assert asked == ["https://us21.api.mailchimp.com"]


@pytest.mark.parametrize("key", ["0123456789abcdef", "key-", "key-evil.example/", "key-us 1"])
def test_a_key_without_a_data_centre_is_a_matter_of_set_up(key: str) -> None:
    with pytest.raises(BadSetting, match="data centre") as caught:
        Mailchimp(account(key, lambda *_, **__: None))
    assert key not in str(caught.value)


def account(key: str, http: Any) -> Account:
    return Account(
        system="marketing",
        credentials={"api_key": key},
        options={"list_id": LIST_ID},
        http=http,
        now=lambda: 0,
    )
