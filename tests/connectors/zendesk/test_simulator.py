"""The simulated Zendesk, asked directly, under a clock that stands still until it is moved."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from connectors.zendesk.simulator import ZendeskSimulator
from syncbroker.sdk.simulator import request

START = 1_700_000_000
USER = base64.b64encode(b"a@x.org/token:t").decode()


class Desk:
    """A simulator with its clock (Unix seconds) and what its webhook was sent."""

    def __init__(self, **options: Any) -> None:
        self.seconds = float(START)
        self.sent: list[tuple[Mapping[str, str], bytes]] = []
        self.zendesk = ZendeskSimulator(
            now=lambda: int(self.seconds * 1_000_000),
            credentials={"email": "a@x.org", "api_token": "t", "webhook_secret": "hush"},
            webhook="http://127.0.0.1:1/hook",
            options=options,
        )
        self.zendesk.deliver = self._deliver

    def ask(
        self, method: str, target: str, body: Any = None, authorization: str = f"Basic {USER}"
    ) -> tuple[int, Any]:
        raw = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        asked = request(method, f"/api/v2/{target}", headers={"Authorization": authorization}, body=raw)
        wire = self.zendesk.answer(asked)
        assert wire
        self.answered = wire
        is_json = "json" in wire.headers.get("Content-Type", "")
        return wire.status, msgspec.json.decode(wire.body) if is_json else None

    def user(self, name: str = "Ann", **fields: Any) -> int:
        return int(self.zendesk.insert("users", {"name": name, **fields}))

    def told(self) -> list[dict[str, Any]]:
        """What the webhook was sent since this was asked last."""
        self.zendesk.advance()
        found = [msgspec.json.decode(body) for _, body in self.sent]
        self.sent.clear()
        return found

    def _deliver(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> int:
        self.sent.append((headers, body))
        return 200


@pytest.fixture
def desk() -> Desk:
    return Desk()


# ---- access and paths ----


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer t", "Basic x", f"Basic {base64.b64encode(b'a@x.org:t').decode()}"],
)
def test_wrong_credentials_are_answered_401(desk: Desk, authorization: str) -> None:
    assert desk.ask("GET", "users", authorization=authorization)[0] == 401


@pytest.mark.parametrize("path", ["users", "users.json", "organizations.json", "users/search.json?query=x"])
def test_a_path_may_end_in_json(desk: Desk, path: str) -> None:
    assert desk.ask("GET", path)[0] == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "tickets"), ("PATCH", "users/1"), ("GET", "users/1/2/3")]
)
def test_an_unknown_path_is_an_invalid_endpoint(desk: Desk, method: str, path: str) -> None:
    assert desk.ask(method, path) == (404, {"error": "InvalidEndpoint", "description": "Not found"})


@pytest.mark.parametrize(
    "path", ["users/5", "organizations/5", "users/me-not", "users/5/identities", "job_statuses/5"]
)
def test_an_unknown_record_is_not_found(desk: Desk, path: str) -> None:
    assert desk.ask("GET", path) == (404, {"error": "RecordNotFound", "description": "Not found"})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"user": 7}', b'{"name": "x"}'])
def test_a_body_without_a_user_is_a_bad_request(desk: Desk, body: bytes) -> None:
    assert desk.ask("POST", "users", body)[0] == 400


def test_more_calls_a_minute_than_the_limit_are_answered_429_in_plain_text_with_the_time_to_wait() -> None:
    desk = Desk(rate_limit=2)
    assert [desk.ask("GET", "users")[0] for _ in range(3)] == [200, 200, 429]
    assert desk.answered.body == b"Number of allowed API requests per minute exceeded"
    desk.seconds += int(desk.answered.headers["Retry-After"])
    assert desk.ask("GET", "users")[0] == 200
    assert (desk.answered.headers["X-Rate-Limit"], desk.answered.headers["X-Rate-Limit-Remaining"]) == (
        "2",
        "1",
    )


# ---- lists ----


def test_a_list_pages_by_cursor_in_the_order_of_ids(desk: Desk) -> None:
    ids = [desk.user(f"N{n}") for n in range(5)]
    _, first = desk.ask("GET", "users?page[size]=3")
    _, second = desk.ask("GET", f"users?page[size]=3&page[after]={first['meta']['after_cursor']}")
    assert [one["id"] for page in (first, second) for one in page["users"]] == ids
    assert [page["meta"]["has_more"] for page in (first, second)] == [True, False]


def test_a_cursor_is_not_moved_by_what_is_deleted_meanwhile(desk: Desk) -> None:
    ids = [desk.user(f"N{n}") for n in range(4)]
    _, first = desk.ask("GET", "users?page[size]=2")
    desk.ask("DELETE", f"users/{ids[0]}")
    _, second = desk.ask("GET", f"users?page[size]=2&page[after]={first['meta']['after_cursor']}")
    assert [one["id"] for one in second["users"]] == ids[2:]


def test_a_list_pages_by_number_too(desk: Desk) -> None:
    ids = [desk.user(f"N{n}") for n in range(3)]
    _, first = desk.ask("GET", "users.json?per_page=2")
    _, second = desk.ask("GET", "users.json?per_page=2&page=2")
    assert [one["id"] for page in (first, second) for one in page["users"]] == ids
    assert first["next_page"].endswith("/api/v2/users.json?page=2&per_page=2")
    assert second["next_page"] is None


def test_a_cursor_of_somebody_else_is_refused(desk: Desk) -> None:
    assert desk.ask("GET", "users?page[after]=%21")[0] == 400


def test_search_finds_any_address_of_a_user_and_lags() -> None:
    desk = Desk(search_lag=120)
    id = desk.user(email="ann@x.org")
    desk.seconds += 121
    desk.ask("POST", f"users/{id}/identities", {"identity": {"type": "email", "value": "eva@x.org"}})

    def found(address: str) -> int:
        return int(desk.ask("GET", "users/search?query=" + quote(f'email:"{address}"'))[1]["count"])

    assert (found("ANN@x.org"), found("eva@x.org")) == (1, 0)
    desk.seconds += 121
    assert found("eva@x.org") == 1


def test_show_many_takes_ids_or_external_ids_and_leaves_out_the_unknown(desk: Desk) -> None:
    one, other = desk.user("A", external_id="Ext-1"), desk.user("B")
    by_id = desk.ask("GET", f"users/show_many?ids={one},{other},99")[1]
    by_key = desk.ask("GET", "users/show_many?external_ids=ext-1,ext-2")[1]
    assert [user["id"] for user in by_id["users"]] == [one, other]
    assert [user["id"] for user in by_key["users"]] == [one]


# ---- exports ----


def test_an_export_leaves_out_the_last_minute_and_refuses_to_begin_in_it(desk: Desk) -> None:
    desk.user()
    assert desk.ask("GET", f"incremental/users/cursor?start_time={START - 59}")[0] == 422
    assert desk.ask("GET", f"incremental/users/cursor?start_time={START - 60}")[1]["users"] == []
    desk.seconds += 61
    assert len(desk.ask("GET", f"incremental/users/cursor?start_time={START}")[1]["users"]) == 1


def test_an_export_by_cursor_goes_on_where_it_ended_even_within_one_second(desk: Desk) -> None:
    ids = [desk.user(f"N{n}") for n in range(3)]
    desk.seconds += 61
    _, first = desk.ask("GET", f"incremental/users/cursor?start_time={START}&per_page=2")
    _, second = desk.ask("GET", f"incremental/users/cursor?cursor={first['after_cursor']}&per_page=2")
    assert [one["id"] for page in (first, second) for one in page["users"]] == ids
    assert [page["end_of_stream"] for page in (first, second)] == [False, True]
    desk.zendesk.edit("users", str(ids[0]), {"notes": "x"})
    desk.seconds += 61
    _, third = desk.ask("GET", f"incremental/users/cursor?cursor={second['after_cursor']}")
    assert [one["id"] for one in third["users"]] == [ids[0]]


def test_an_export_of_organizations_goes_by_time_and_lists_the_deleted_ones(desk: Desk) -> None:
    id = desk.zendesk.insert("organizations", {"name": "Acme"})
    desk.seconds += 5
    desk.zendesk.remove("organizations", id)
    desk.seconds += 61
    _, answer = desk.ask("GET", f"incremental/organizations?start_time={START}")
    assert [(one["id"], bool(one["deleted_at"])) for one in answer["organizations"]] == [(int(id), True)]
    assert (answer["end_time"], answer["end_of_stream"]) == (START + 5, True)


def test_exports_have_a_limit_of_their_own() -> None:
    desk = Desk(export_limit=1)
    start = f"incremental/users/cursor?start_time={START - 100}"
    assert [desk.ask("GET", start)[0] for _ in range(2)] == [200, 429]
    assert desk.ask("GET", "users")[0] == 200


# ---- writes ----


@pytest.mark.parametrize(
    ("given", "member", "error"),
    [
        ({"email": "a@x.org"}, "name", "BlankValue"),
        ({"name": "A", "email": "nobody"}, "email", "InvalidValue"),
        ({"name": "A", "email": "Ann@X.org"}, "email", "DuplicateValue"),
        ({"name": "A", "external_id": "EXT-1"}, "external_id", "DuplicateValue"),
        ({"name": "A", "role": "king"}, "role", "InvalidValue"),
        ({"name": "A", "organization_id": 5}, "organization", "InvalidValue"),
    ],
)
def test_what_zendesk_does_not_take_is_named_and_nothing_is_made(
    desk: Desk, given: dict[str, Any], member: str, error: str
) -> None:
    desk.user(email="ann@x.org", external_id="ext-1")
    status, answer = desk.ask("POST", "users", {"user": given})
    assert (status, answer["error"]) == (422, "RecordInvalid")
    assert answer["details"][member][0]["error"] == error
    assert len(desk.zendesk.records("users")) == 1


def test_an_updates_email_is_one_more_address_and_changes_no_field(desk: Desk) -> None:
    id = desk.user(email="ann@x.org")
    _, answer = desk.ask("PUT", f"users/{id}", {"user": {"email": "eva@x.org"}})
    _, listed = desk.ask("GET", f"users/{id}/identities")
    assert answer["user"]["email"] == "ann@x.org"
    assert [(one["value"], one["primary"]) for one in listed["identities"]] == [
        ("ann@x.org", True),
        ("eva@x.org", False),
    ]


def test_a_primary_address_that_is_not_verified_does_not_show_while_another_one_is(desk: Desk) -> None:
    id = desk.user(email="ann@x.org")
    given = {"identity": {"type": "email", "value": "eva@x.org", "primary": True}}
    _, made = desk.ask("POST", f"users/{id}/identities", given)
    assert desk.ask("GET", f"users/{id}")[1]["user"]["email"] == "ann@x.org"
    desk.ask("PUT", f"users/{id}/identities/{made['identity']['id']}", {"identity": {"verified": True}})
    assert desk.ask("GET", f"users/{id}")[1]["user"]["email"] == "eva@x.org"


def test_an_agents_change_of_the_address_replaces_it(desk: Desk) -> None:
    id = desk.user(email="ann@x.org")
    desk.zendesk.edit("users", str(id), {"email": "Eva@x.org"})
    _, listed = desk.ask("GET", f"users/{id}/identities")
    assert [one["value"] for one in listed["identities"]] == ["eva@x.org"]


def test_a_deleted_user_can_be_read_as_inactive_but_not_written_and_gives_its_address_free(
    desk: Desk,
) -> None:
    id = desk.user(email="ann@x.org")
    assert desk.ask("DELETE", f"users/{id}")[1]["user"]["active"] is False
    assert desk.ask("GET", f"users/{id}")[1]["user"]["active"] is False
    assert desk.ask("PUT", f"users/{id}", {"user": {"name": "x"}})[0] == 404
    assert desk.ask("POST", "users", {"user": {"name": "A", "email": "ann@x.org"}})[0] == 201


def test_a_deleted_organization_is_gone_and_its_users_have_none(desk: Desk) -> None:
    organization = desk.zendesk.insert("organizations", {"name": "Acme"})
    id = desk.user(organization_id=int(organization))
    assert desk.ask("DELETE", f"organizations/{organization}")[0] == 204
    assert desk.ask("GET", f"organizations/{organization}")[0] == 404
    assert desk.ask("GET", f"users/{id}")[1]["user"]["organization_id"] is None


def test_a_merged_user_is_gone_and_its_address_belongs_to_the_other(desk: Desk) -> None:
    loser, winner = desk.user(email="old@x.org"), desk.user(email="ann@x.org")
    assert desk.ask("PUT", f"users/{loser}/merge", {"user": {"id": winner}})[1]["user"]["id"] == winner
    assert desk.ask("GET", f"users/{loser}")[0] == 404
    _, listed = desk.ask("GET", f"users/{winner}/identities")
    assert {one["value"]: one["primary"] for one in listed["identities"]} == {
        "ann@x.org": True,
        "old@x.org": False,
    }


def test_an_agent_cannot_be_merged(desk: Desk) -> None:
    loser, winner = desk.user(role="agent"), desk.user()
    assert desk.ask("PUT", f"users/{loser}/merge", {"user": {"id": winner}})[0] == 422


def test_a_telephone_number_is_kept_as_given_unless_the_account_rewrites_it() -> None:
    for strip, shown in ((False, "+1 (555) 123-4567"), (True, "+15551234567")):
        desk = Desk(strip_phone=strip)
        id = desk.user(phone="+1 (555) 123-4567")
        assert desk.ask("GET", f"users/{id}")[1]["user"]["phone"] == shown


def test_a_write_that_changes_nothing_keeps_the_stamp_and_is_told_to_nobody(desk: Desk) -> None:
    id = desk.user(notes="x")
    desk.told()
    desk.seconds += 10
    _, answer = desk.ask("PUT", f"users/{id}", {"user": {"notes": "x"}})
    assert answer["user"]["updated_at"] == "2023-11-14T22:13:20Z"
    assert desk.told() == []


# ---- jobs ----


def test_a_job_is_queued_then_completed_with_a_result_per_record(desk: Desk) -> None:
    id = desk.user()
    given = {"users": [{"id": id, "notes": "x"}, {"id": 99, "notes": "x"}]}
    _, queued = desk.ask("PUT", "users/update_many", given)
    job = queued["job_status"]
    assert (job["status"], job["results"]) == ("queued", None)
    desk.seconds += 1
    desk.zendesk.advance()
    _, ended = desk.ask("GET", f"job_statuses/{job['id']}.json")
    assert ended["job_status"]["status"] == "completed"
    assert [(one["id"], one["success"]) for one in ended["job_status"]["results"]] == [
        (id, True),
        (99, False),
    ]


def test_one_change_may_be_made_to_many_by_their_ids(desk: Desk) -> None:
    ids = [desk.user("A"), desk.user("B")]
    desk.ask("PUT", f"users/update_many.json?ids={ids[0]},{ids[1]}", {"user": {"notes": "x"}})
    desk.seconds += 1
    desk.zendesk.advance()
    assert [one["notes"] for one in desk.zendesk.records("users")] == ["x", "x"]


def test_a_call_takes_a_hundred_records_and_no_more(desk: Desk) -> None:
    many = [{"name": f"N{n}"} for n in range(101)]
    assert desk.ask("POST", "users/create_many", {"users": many[:100]})[0] == 200
    assert desk.ask("POST", "users/create_many", {"users": many})[0] == 400
    assert desk.ask("POST", "users/create_many", {"users": []})[0] == 400


def test_users_may_be_imported_only_where_the_account_allows_it() -> None:
    desk = Desk(data_imports=False)
    answer = {"error": "Forbidden", "description": "Data imports are not enabled"}
    assert desk.ask("POST", "users/create_many", {"users": [{"name": "A"}]}) == (403, answer)
    assert desk.ask("POST", "organizations/create_many", {"organizations": [{"name": "A"}]})[0] == 200


# ---- webhooks ----


def test_a_write_is_told_in_one_delivery_per_attribute_and_by_api_as_by_hand(desk: Desk) -> None:
    id = desk.user(email="ann@x.org", phone="1")
    assert [event["type"] for event in desk.told()] == ["zen:event-type:user.created"]
    changes = {"name": "Eva", "notes": "x", "user_fields": {"tier": "gold"}}
    desk.ask("PUT", f"users/{id}", {"user": changes})
    by_api = desk.told()
    desk.zendesk.edit("users", str(id), {"name": "Ann", "notes": None, "user_fields.tier": "none"})
    by_hand = desk.told()
    types = [event["type"].rpartition(".")[2] for event in by_api]
    assert types == ["name_changed", "notes_changed", "custom_field_changed"]
    assert [event["type"].rpartition(".")[2] for event in by_hand] == types
    assert by_api[0]["event"] == {"current": "Eva", "previous": "Ann"}
    assert (by_api[0]["subject"], by_api[0]["detail"]["id"]) == (f"zen:user:{id}", str(id))


def test_an_organizations_domains_and_details_are_told_to_nobody(desk: Desk) -> None:
    id = desk.zendesk.insert("organizations", {"name": "Acme"})
    desk.told()
    desk.zendesk.edit("organizations", id, {"domain_names": ["x.org"], "details": "x", "tags": ["T"]})
    assert [event["type"] for event in desk.told()] == ["zen:event-type:organization.tags_changed"]


def test_a_deletion_is_told_twice(desk: Desk) -> None:
    id = desk.user()
    desk.told()
    desk.zendesk.remove("users", str(id))
    types = [event["type"].rpartition(".")[2] for event in desk.told()]
    assert types == ["active_changed", "deleted"]


def test_what_is_loaded_is_told_to_nobody_and_may_name_an_organization_that_is_gone(desk: Desk) -> None:
    desk.zendesk.load({"users": [{"id": 5, "name": "Ann", "email": "a@b.org", "organization_id": 77}]})
    assert desk.told() == []
    [record] = desk.zendesk.records("users")
    assert (record["id"], record["organization_id"], record["email"]) == (5, 77, "a@b.org")


def test_a_delivery_is_signed_over_its_time_and_body(desk: Desk) -> None:
    desk.user()
    desk.zendesk.advance()
    headers, body = desk.sent[0]
    signed = headers["X-Zendesk-Webhook-Signature-Timestamp"].encode() + body
    expected = base64.b64encode(hmac.new(b"hush", signed, hashlib.sha256).digest()).decode()
    assert headers["X-Zendesk-Webhook-Signature"] == expected


@pytest.mark.parametrize(
    ("method", "path", "body", "operation"),
    [
        ("GET", "users?page[size]=1", b"", ("users.list", False, 0)),
        ("GET", "users/show_many?ids=1,2", b"", ("users.show_many", False, 0)),
        ("POST", "users", b'{"user": {}}', ("users.create", True, 1)),
        ("POST", "users/create_many.json", b'{"users": [{}, {}]}', ("users.create_many", True, 2)),
        ("PUT", "organizations/update_many", b"nonsense", ("organizations.update_many", True, 1)),
        ("DELETE", "users/destroy_many?ids=1,2,3", b"", ("users.destroy_many", True, 3)),
        ("PUT", "users/1/identities/2/make_primary", b"", ("identities.make_primary", True, 1)),
        ("GET", "incremental/users/cursor", b"", ("users.export", False, 0)),
        ("GET", "tickets/1", b"", ("unknown", False, 0)),
    ],
)
def test_each_request_has_a_name_for_the_log(
    desk: Desk, method: str, path: str, body: bytes, operation: tuple[str, bool, int]
) -> None:
    assert desk.zendesk.operation(request(method, f"/api/v2/{path}", body=body)) == operation
