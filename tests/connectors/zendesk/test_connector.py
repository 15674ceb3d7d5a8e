"""What only Zendesk does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from connectors.zendesk.connector import Zendesk
from connectors.zendesk.objects import body, item, message
from connectors.zendesk.simulator import ZendeskSimulator
from syncbroker.core.types import Event, Receipt, Write
from syncbroker.errors import BadDelivery, BadSetting, OutcomeUnknown, RateLimited, Refused, Unavailable
from syncbroker.sdk.conformance import Bench, Sample
from syncbroker.sdk.connector import Account, Delivery
from syncbroker.sdk.http import Http
from syncbroker.sdk.paths import get_path

CREDENTIALS = {
    "email": "broker@example.com",
    "api_token": "t0ken-4242",
    "webhook_secret": "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==",
}
USERS = Sample(object="users", make=lambda n: {"name": f"P{n}", "email": f"p{n}@example.com"})
Open = Callable[..., Bench]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens a bench; keyword arguments are options of the simulator."""
    with ExitStack() as stack:

        def make(**options: Any) -> Bench:
            bench = Bench(
                Zendesk, ZendeskSimulator, USERS, credentials=CREDENTIALS, simulator_options=options
            )
            return stack.enter_context(bench)

        yield make


@pytest.fixture
def bench(opened: Open) -> Bench:
    return opened()


def person(bench: Bench, **fields: Any) -> str:
    """A user that is there from the start; its id."""
    bench.control.load({"users": [{"name": "Ann", "email": "ann@example.com", **fields}]})
    return str(max(int(record["id"]) for record in bench.control.records("users")))


def held(bench: Bench, id: str, object: str = "users") -> dict[str, Any]:
    return next(record for record in bench.control.records(object) if str(record["id"]) == id)


def addresses(bench: Bench, id: str) -> dict[str, bool]:
    """Address -> whether it is the primary one."""
    with bench.simulator.lock:
        assert isinstance(bench.simulator, ZendeskSimulator)
        return {one["value"]: one["primary"] for one in bench.simulator._records.identities[int(id)]}


def update(id: str, key: str = "k", **values: Any) -> Write:
    return Write(key=key, op="update", id=id, values=values)


def create(key: str = "k", stamp: str | None = None, **values: Any) -> Write:
    return Write(key=key, op="create", values=values, stamp_id=stamp)


def send(bench: Bench, *writes: Write, object: str = "users") -> list[Receipt]:
    return bench.connector.write(object, writes, ())


def settled(bench: Bench, *writes: Write) -> dict[str, Receipt]:
    return bench.write(*writes)


def operations(bench: Bench) -> list[str]:
    return [entry.operation for entry in bench.control.log()]


# ---- an address that changes ----


def test_a_new_address_becomes_the_primary_one_and_the_old_one_stays_with_the_user(bench: Bench) -> None:
    id = person(bench)
    [receipt] = send(bench, update(id, email="eva@example.com", name="Eva"))
    assert receipt.status == "done"
    assert receipt.item
    assert [get_path(receipt.item.fields, path) for path in ("email", "name")] == ["eva@example.com", "Eva"]
    assert addresses(bench, id) == {"ann@example.com": False, "eva@example.com": True}
    assert operations(bench) == ["identities.create", "identities.make_primary", "users.update"]


def test_an_address_alone_takes_two_calls_and_shows_no_record(bench: Bench) -> None:
    id = person(bench)
    [receipt] = send(bench, update(id, email="eva@example.com"))
    assert (receipt.status, receipt.id, receipt.item) == ("done", id, None)
    assert operations(bench) == ["identities.create", "identities.make_primary"]
    assert held(bench, id)["email"] == "eva@example.com"


def test_an_address_that_the_user_has_already_is_only_made_primary(bench: Bench) -> None:
    id = person(bench)
    send(bench, update(id, "k1", email="eva@example.com"))
    [receipt] = send(bench, update(id, "k2", email="Ann@example.com"))
    assert receipt.status == "done"
    assert held(bench, id)["email"] == "ann@example.com"


def test_a_secondary_address_that_is_not_verified_is_verified_before_it_is_made_primary(bench: Bench) -> None:
    id = person(bench)
    assert isinstance(bench.simulator, ZendeskSimulator)
    with bench.simulator.lock:
        given = {"type": "email", "value": "eva@example.com", "verified": False}
        bench.simulator._records.add_identity(int(id), given)
    send(bench, update(id, email="eva@example.com"))
    assert held(bench, id)["email"] == "eva@example.com"


def test_an_address_of_somebody_else_is_refused_and_nothing_is_changed(bench: Bench) -> None:
    person(bench, name="Bob", email="bob@example.com")
    id = person(bench)
    [receipt] = send(bench, update(id, email="bob@example.com", name="Eva"))
    assert receipt.status == "refused"
    assert "already being used" in receipt.message
    assert (held(bench, id)["email"], held(bench, id)["name"]) == ("ann@example.com", "Ann")


def test_what_is_refused_after_the_address_is_told_with_what_is_changed(bench: Bench) -> None:
    id = person(bench)
    [receipt] = send(bench, update(id, email="eva@example.com", role="king"))
    assert receipt.status == "refused"
    assert receipt.message.startswith("the address is changed, the rest is not: ")


@pytest.mark.parametrize("kind", ["drop_answer", "drop_request"])
@pytest.mark.parametrize("operation", ["identities.create", "identities.make_primary", "users.update"])
def test_a_lost_call_of_the_three_leaves_the_write_in_doubt_and_a_repetition_ends_it(
    bench: Bench, kind: str, operation: str
) -> None:
    id = person(bench)
    write = update(id, email="eva@example.com", name="Eva")
    bench.control.fault(kind, operation)
    with pytest.raises(OutcomeUnknown):
        send(bench, write)
    assert send(bench, write)[0].status == "done"
    assert (held(bench, id)["email"], held(bench, id)["name"]) == ("eva@example.com", "Eva")


def test_a_limit_met_after_the_address_is_changed_is_no_promise_that_nothing_was(bench: Bench) -> None:
    id = person(bench)
    bench.control.fault("status", "users.update", status=429)
    with pytest.raises(OutcomeUnknown):
        send(bench, update(id, email="eva@example.com", name="Eva"))


def test_the_person_is_sent_no_mail_about_it(bench: Bench) -> None:
    sent: list[dict[str, Any]] = []
    bench.simulator.on_answer = lambda request, _: sent.append(request.json()) if request.body else None
    id = person(bench)
    send(bench, update(id, email="eva@example.com"))
    send(bench, create(name="Bob", email="bob@example.com"))
    assert sent[0]["identity"]["skip_verify_email"] is True
    assert sent[-1]["user"]["skip_verify_email"] is True


# ---- one write and many ----


def test_one_write_is_answered_at_once_with_the_record(bench: Bench) -> None:
    [receipt] = send(bench, create(name="Eva", email="eva@example.com", stamp="01-abc"))
    assert receipt.status == "done"
    assert receipt.item
    assert get_path(receipt.item.fields, "external_id") == "01-abc"
    assert operations(bench) == ["users.create"]


def test_several_writes_are_one_call_and_a_job(bench: Bench) -> None:
    writes = [create(f"k{n}", f"stamp-{n}", name=f"N{n}", email=f"n{n}@example.com") for n in range(3)]
    receipts = settled(bench, *writes)
    assert {receipt.status for receipt in receipts.values()} == {"done"}
    assert {key: held(bench, receipt.id or "")["name"] for key, receipt in receipts.items()} == {
        "k0": "N0",
        "k1": "N1",
        "k2": "N2",
    }
    assert [(entry.operation, entry.count) for entry in bench.control.writes()] == [("users.create_many", 3)]


def test_a_job_that_has_not_ended_gives_no_receipts(opened: Open) -> None:
    bench = opened(job_seconds=30)
    writes = [update(person(bench, email=f"p{n}@x.org"), f"k{n}", name="N") for n in range(2)]
    [job] = {receipt.job for receipt in send(bench, *writes)}
    assert job
    assert bench.connector.job("users", job, writes, ()) is None
    bench.settle(31)
    receipts = bench.connector.job("users", job, writes, ()) or []
    assert [receipt.status for receipt in receipts] == ["done", "done"]


def test_created_records_find_their_writes_in_whatever_order_those_are_asked_about(bench: Bench) -> None:
    writes = [create(key, name=f"N{key}", email=f"{key}@example.com") for key in ("b", "c", "a")]
    [job] = {receipt.job for receipt in send(bench, *writes)}
    bench.settle(1)
    receipts = bench.connector.job("users", job or "", writes[::-1], ()) or []
    assert {receipt.key: held(bench, receipt.id or "")["name"] for receipt in receipts} == {
        "a": "Na",
        "b": "Nb",
        "c": "Nc",
    }


def test_a_job_asked_about_with_only_some_of_its_creates_tells_them_by_our_stamp(bench: Bench) -> None:
    writes = [create(key, f"stamp-{key}", name=f"N{key}") for key in ("a", "b", "c")]
    [job] = {receipt.job for receipt in send(bench, *writes)}
    bench.settle(1)
    receipts = bench.connector.job("users", job or "", writes[1:], ()) or []
    assert {receipt.key: held(bench, receipt.id or "")["name"] for receipt in receipts} == {
        "b": "Nb",
        "c": "Nc",
    }


def test_a_job_asked_about_with_only_some_of_its_unstamped_creates_leaves_them_in_doubt(bench: Bench) -> None:
    writes = [create(key, name=f"N{key}") for key in ("a", "b", "c")]
    [job] = {receipt.job for receipt in send(bench, *writes)}
    bench.settle(1)
    receipts = bench.connector.job("users", job or "", writes[1:], ()) or []
    assert [receipt.status for receipt in receipts] == ["unknown", "unknown"]


def test_a_job_that_zendesk_has_forgotten_leaves_its_writes_in_doubt(bench: Bench) -> None:
    writes = [create(key, name="N") for key in ("a", "b")]
    [job] = {receipt.job for receipt in send(bench, *writes)}
    bench.settle(25 * 3600)
    receipts = bench.connector.job("users", job or "", writes, ()) or []
    assert {receipt.status for receipt in receipts} == {"unknown"}


def test_in_a_job_each_write_has_its_own_outcome(bench: Bench) -> None:
    there = person(bench, email="there@example.com")
    receipts = settled(
        bench,
        create("new", name="New", email="new@example.com"),
        create("met", name="Met", email="There@example.com"),
        create("bad", name=""),
    )
    assert {key: receipt.status for key, receipt in receipts.items()} == {
        "new": "done",
        "met": "exists",
        "bad": "refused",
    }
    assert receipts["met"].id == there
    assert "too short" in receipts["bad"].message


def test_in_a_job_of_updates_and_of_deletes_the_gone_ones_are_missing(bench: Bench) -> None:
    gone, stays = person(bench, email="gone@example.com"), person(bench)
    bench.control.remove("users", gone)
    updates = settled(bench, update(gone, "gone", notes="x"), update(stays, "stays", notes="x"))
    assert {key: receipt.status for key, receipt in updates.items()} == {"gone": "missing", "stays": "done"}
    writes = [Write(key=key, op="delete", id=id) for key, id in (("gone", gone), ("stays", stays))]
    deletes = settled(bench, *writes)
    assert {key: receipt.status for key, receipt in deletes.items()} == {"gone": "missing", "stays": "done"}


def test_users_are_created_one_by_one_where_the_account_forbids_imports_and_it_is_asked_once(
    opened: Open,
) -> None:
    bench = opened(data_imports=False)
    for batch in ("a", "b"):
        receipts = settled(bench, *(create(f"{batch}{n}", name=f"N{batch}{n}") for n in range(2)))
        assert {receipt.status for receipt in receipts.values()} == {"done"}
    assert operations(bench) == ["users.create_many", *["users.create"] * 4]


def test_a_batch_that_is_refused_as_a_whole_is_sent_write_by_write(bench: Bench) -> None:
    ids = [person(bench, email=f"p{n}@example.com") for n in range(2)]
    bench.control.fault("status", "users.update_many", status=400, json={"error": "BadRequest"})
    receipts = settled(bench, *(update(id, id, notes="x") for id in ids))
    assert {receipt.status for receipt in receipts.values()} == {"done"}
    assert operations(bench) == ["users.update_many", "users.update", "users.update"]


def test_what_was_answered_before_a_failure_is_not_lost_with_the_rest(opened: Open) -> None:
    bench = opened(data_imports=False)
    bench.control.fault("status", "users.create", status=429, skip=1)
    receipts = send(bench, *(create(f"k{n}", name=f"N{n}") for n in range(3)))
    assert [(receipt.key, receipt.status) for receipt in receipts] == [
        ("k0", "done"),
        ("k1", "unknown"),
        ("k2", "unknown"),
    ]


def test_too_many_jobs_at_once_are_a_limit_like_any_other(opened: Open) -> None:
    bench = opened(job_seconds=600)
    ids = [person(bench, email=f"p{n}@example.com") for n in range(2)]
    writes = [update(id, id, notes="x") for id in ids]
    for _ in range(30):
        send(bench, *writes)
    with pytest.raises(RateLimited) as caught:
        send(bench, *writes)
    assert caught.value.delay == 5


def test_a_job_answer_without_an_id_leaves_the_batch_in_doubt(bench: Bench) -> None:
    ids = [person(bench, email=f"p{n}@example.com") for n in range(2)]
    bench.control.fault("status", "users.update_many", status=200, json={"job_status": {}})
    with pytest.raises(OutcomeUnknown):
        send(bench, *(update(id, id, notes="x") for id in ids))


# ---- what is there already ----


def test_a_create_met_by_our_own_stamp_names_the_record_that_bears_it(bench: Bench) -> None:
    first = send(bench, create("k1", "01-ABC", name="Eva"))[0]
    again = send(bench, create("k2", "01-abc", name="Eva"))[0]
    assert (again.status, again.id) == ("exists", first.id)


def test_a_create_met_by_a_secondary_address_names_the_user_that_has_it(bench: Bench) -> None:
    id = person(bench)
    send(bench, update(id, email="eva@example.com"))
    [receipt] = send(bench, create("k2", name="Ann", email="ann@example.com"))
    assert (receipt.status, receipt.id) == ("exists", id)


def test_a_create_met_by_an_address_that_search_does_not_show_yet_is_in_doubt(opened: Open) -> None:
    bench = opened(search_lag=120)
    bench.control.insert("users", {"name": "Ann", "email": "ann@example.com"})
    write = create(name="Ann", email="ann@example.com")
    assert send(bench, write)[0].status == "unknown"
    bench.settle(121)
    assert send(bench, write)[0].status == "exists"


def test_an_organization_is_met_by_its_name(bench: Bench) -> None:
    first = send(bench, create("k1", name="Acme"), object="organizations")[0]
    again = send(bench, create("k2", name="ACME"), object="organizations")[0]
    assert (again.status, again.id) == ("exists", first.id)


# ---- reading ----


def test_a_merged_and_a_deleted_user_and_one_that_never_was_are_read_as_deleted(bench: Bench) -> None:
    loser, winner, gone = (person(bench, email=f"p{n}@example.com") for n in range(3))
    assert isinstance(bench.simulator, ZendeskSimulator)
    with bench.simulator.lock:
        bench.simulator.merge(int(loser), int(winner))
    bench.control.remove("users", gone)
    found = bench.read(loser, winner, gone, "99")
    assert {id: one.deleted for id, one in found.items()} == {
        loser: True,
        winner: False,
        gone: True,
        "99": True,
    }


def test_a_record_that_show_many_leaves_out_is_asked_for_by_itself(bench: Bench) -> None:
    id = person(bench)
    bench.control.fault("status", "users.show_many", status=200, json={"users": []})
    assert not bench.read(id)[id].deleted


def test_a_suspended_user_is_there(bench: Bench) -> None:
    id = person(bench, suspended=True)
    assert not bench.read(id)[id].deleted


@pytest.mark.parametrize(
    "keys",
    [
        {"email": "ANN@example.com"},
        {"external_id": "Ext-1"},
        {"external_id": "ext-1", "email": "ann@example.com"},
    ],
)
def test_a_find_does_not_mind_letter_case(bench: Bench, keys: dict[str, str]) -> None:
    id = person(bench, external_id="ext-1")
    assert [one.id for one in bench.connector.find("users", keys, ())] == [id]


@pytest.mark.parametrize(
    "keys", [{"email": "ann@example.com"}, {"external_id": "ext-1", "email": "bob@example.com"}]
)
def test_a_find_gives_nobody_whose_fields_differ(bench: Bench, keys: dict[str, str]) -> None:
    id = person(bench, external_id="ext-1")
    send(bench, update(id, email="eva@example.com"))  # ann@ is a secondary address from here on
    assert bench.connector.find("users", keys, ()) == []


def test_a_find_by_what_zendesk_cannot_search_is_refused(bench: Bench) -> None:
    with pytest.raises(Refused, match="email or external_id"):
        bench.connector.find("users", {"phone": "1"}, ())


def test_a_poll_asks_for_no_time_that_is_too_recent_for_zendesk(bench: Bench) -> None:
    person(bench)
    items, cursor = bench.poll(f"time:{bench.now() // 1_000_000}")
    assert items == []
    bench.settle(61)
    items, _ = bench.poll(cursor)
    assert len(items) == 1


def test_a_poll_tells_of_a_deleted_user_and_of_a_deleted_organization(bench: Bench) -> None:
    id = person(bench)
    bench.control.load({"organizations": [{"id": 7, "name": "Acme"}]})
    began = bench.now()
    bench.control.remove("users", id)
    bench.control.remove("organizations", "7")
    bench.settle(61)
    for object, gone in (("users", id), ("organizations", "7")):
        cursor = bench.connector.start_cursor(object, began) or ""
        pages = list(bench.connector.poll(object, (), cursor=cursor))
        assert [(one.id, one.deleted) for page in pages for one in page.items] == [(gone, True)]


def test_an_export_that_does_not_move_on_is_a_broken_answer(bench: Bench) -> None:
    stuck = {"organizations": [], "end_time": 1000, "end_of_stream": False}
    bench.control.fault("status", "organizations.export", status=200, json=stuck, times=0)
    with pytest.raises(Unavailable, match="does not move on"):
        list(bench.connector.poll("organizations", (), cursor="time:1000"))


def test_a_system_that_rewrites_telephone_numbers_shows_it_in_its_answer(opened: Open) -> None:
    bench = opened(strip_phone=True)
    id = person(bench)
    [receipt] = send(bench, update(id, phone="+1 (555) 123-4567"))
    assert receipt.item
    assert get_path(receipt.item.fields, "phone") == "+15551234567"


# ---- values ----


@pytest.mark.parametrize(
    ("object", "values", "sent"),
    [
        ("users", {"phone": None, "tags": None}, {"phone": None, "tags": []}),
        ("users", {"organization_id": "360000000001"}, {"organization_id": 360000000001}),
        ("users", {"user_fields.a": 1, "user_fields.b": None}, {"user_fields": {"a": 1, "b": None}}),
        ("users", {"tags": ("a", "b")}, {"tags": ["a", "b"]}),
        ("organizations", {"domain_names": None}, {"domain_names": []}),
    ],
)
def test_values_become_members_of_a_body(object: str, values: dict[str, Any], sent: dict[str, Any]) -> None:
    assert body(object, Write(key="k", op="update", id="1", values=values)) == sent


def test_a_create_leaves_out_what_is_empty_and_keeps_a_mapped_external_id() -> None:
    write = create(stamp="01-abc", name="Acme", details=None, external_id="erp-7")
    assert body("organizations", write) == {"name": "Acme", "external_id": "erp-7"}


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("2011-05-05T10:38:52Z", 1304591932000000),
        ("2011-05-05T10:38:52.5+02:00", 1304584732500000),
        ("2011-05-05T10:38:52", None),
        ("soon", None),
        (None, None),
    ],
)
def test_updated_at_is_the_stamp(text: str | None, stamp: int | None) -> None:
    assert item({"id": 1, "updated_at": text}).stamp == stamp


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (
            {
                "error": "RecordInvalid",
                "description": "Record validation errors",
                "details": {"email": [{"description": "Email: is taken", "error": "DuplicateValue"}]},
            },
            ("Email: is taken", "DuplicateValue"),
        ),
        (
            {"error": "RecordInvalid", "details": {"name": [{"description": "Name: is too short"}]}},
            ("Name: is too short", "RecordInvalid"),
        ),
        ({"error": "Forbidden", "description": "Not allowed"}, ("Not allowed", "Forbidden")),
        ({"error": {"title": "Forbidden", "message": "No access"}}, ("No access", "Forbidden")),
        ({"error": "RecordNotFound"}, ("", "RecordNotFound")),
    ],
)
def test_an_error_is_told_in_zendesks_words(payload: dict[str, Any], told: tuple[str, str]) -> None:
    assert message(422, payload) == told


# ---- set-up and webhooks ----


def offline(url: str = "", **options: Any) -> tuple[Zendesk, list[str]]:
    """A connector that calls nobody, and the base URLs that it asked an `Http` for."""
    asked: list[str] = []

    def http(base_url: str, **given: Any) -> Http:
        asked.append(base_url)
        return Http(base_url, **{"system": "support", "now": lambda: 0, **given})

    account = Account(
        system="support", credentials=CREDENTIALS, options=options, http=http, now=lambda: 0, url=url
    )
    return Zendesk(account), asked


def delivery(body: bytes, timestamp: str = "", signature: str = "", received: int = 0) -> Delivery:
    headers = {
        "x-zendesk-webhook-signature-timestamp": timestamp,
        "x-zendesk-webhook-signature": signature,
    }
    return Delivery(
        method="POST",
        url="https://broker.example/webhooks/support",
        headers=headers,
        query={},
        body=body,
        received=received,
    )


def test_the_subdomain_makes_the_address() -> None:
    assert offline(subdomain="acme")[1] == ["https://acme.zendesk.com"]


def test_a_given_url_needs_no_subdomain() -> None:
    assert offline("http://127.0.0.1:1")[1] == ["http://127.0.0.1:1"]


def test_without_either_the_account_is_not_known() -> None:
    with pytest.raises(BadSetting, match="not known"):
        offline()


def test_the_worked_signature_is_accepted_and_another_order_of_its_parts_is_not() -> None:
    connector, _ = offline(subdomain="acme")
    stamp, signature = "2026-01-02T03:04:05Z", "Iy0qXWaZkKEZyedFAcKAsUuBnrO7lDilTk41ughrT7w="
    received = 1_767_323_045_000_000
    connector.authenticate(delivery(b'{"id":1}', stamp, signature, received))
    with pytest.raises(BadDelivery):
        connector.authenticate(delivery(stamp.encode(), '{"id":1}', signature, received))


@pytest.mark.parametrize(
    ("type", "subject", "object", "kind"),
    [
        ("zen:event-type:user.created", "zen:user:5", "users", "created"),
        ("zen:event-type:user.name_changed", "zen:user:5", "users", "changed"),
        ("zen:event-type/user.identity_changed", "zen:user:5", "users", "changed"),
        ("zen:event-type:user.active_changed", "zen:user:5", "users", "changed"),
        ("zen:event-type:user.deleted", "zen:user:5", "users", "deleted"),
        ("zen:event-type:user.merged", "zen:user:5", "users", "changed"),
        ("zen:event-type:organization.deleted", "zen:organization:5", "organizations", "deleted"),
        ("zen:event-type:organization.tags_changed", "zen:organization:5", "organizations", "changed"),
    ],
)
def test_an_event_names_what_to_read(type: str, subject: str, object: str, kind: str) -> None:
    [event] = told(type=type, subject=subject)
    assert (event.object, event.id, event.kind, event.item) == (object, "5", kind, None)
    assert (event.event_id, event.at) == ("e-1", 1_767_323_045_000_000)


@pytest.mark.parametrize(
    "type",
    [
        "zen:event-type:user.last_login_changed",
        "zen:event-type:user.password_changed",
    ],
)
def test_events_that_touch_no_field_are_passed_over(type: str) -> None:
    assert told(type=type) == []


def test_events_about_other_things_are_left_for_the_broker_to_count() -> None:
    assert [one.object for one in told(type="zen:event-type:ticket.created")] == ["ticket"]


def test_a_merge_names_the_user_that_stays(bench: Bench) -> None:
    loser, winner = (person(bench, email=f"p{n}@example.com") for n in range(2))
    bench.subscribe()
    assert isinstance(bench.simulator, ZendeskSimulator)
    with bench.simulator.lock:
        bench.simulator.merge(int(loser), int(winner))
    bench.settle()
    events = [event for one in bench.deliveries for event in bench.connector.events(one)]
    assert [(event.kind, event.id, event.new_id) for event in events] == [
        ("merged", loser, winner),
        ("changed", winner, None),
    ]


def told(**changes: Any) -> list[Event]:
    envelope = {
        "type": "zen:event-type:user.name_changed",
        "account_id": 1,
        "id": "e-1",
        "time": "2026-01-02T03:04:05Z",
        "zendesk_event_version": "2022-06-20",
        "subject": "zen:user:5",
        "detail": {},
        "event": {},
    }
    return offline(subdomain="acme")[0].events(delivery(msgspec.json.encode({**envelope, **changes})))
