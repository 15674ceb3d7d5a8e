from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from syncbroker.sdk.connector import Delivery
from syncbroker.sdk.webhook import check_secret, sign
from syncbroker.store import queues
from syncbroker.web import webhooks
from syncbroker.web.app import make_app
from tests.support.rig import Rig
from tests.support.three import three
from tests.support.toy_vendor import CREDENTIALS


class Web:
    """The application over a world, with what it announced."""

    def __init__(self, world: Rig, **settings: Any) -> None:
        self.world = world
        self.nudges: list[tuple[int, str]] = []
        app = make_app(
            world.engine,
            world.settings.model_copy(update=settings),
            lambda number, system: self.nudges.append((number, system)),
            lambda: False,
        )
        self.client = TestClient(app, base_url="http://broker.example", raise_server_exceptions=False)

    def post(self, body: bytes, path: str = "/webhooks/crm", **headers: str) -> Any:
        return self.client.post(path, content=body, headers=headers)

    def signed(self, body: bytes, path: str = "/webhooks/crm", **headers: str) -> Any:
        sent = str(self.world.clock() // 1000)
        signature = sign(CREDENTIALS["webhook_secret"], sent, ".", body)
        return self.post(body, path, **{"X-Toy-Time": sent, "X-Toy-Signature": signature, **headers})

    def stored(self) -> list[queues.Stored]:
        with self.world.engine.store.read() as tx:
            found = [queues.delivery(tx, number) for number, _ in queues.new_deliveries(tx, 100)]
        return [one for one in found if one is not None]


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[Rig]:
    with three(tmp_path, sqlite_url) as made:
        yield made


@pytest.fixture
def web(world: Rig) -> Iterator[Web]:
    made = Web(world)
    with made.client:
        yield made


BODY = b'[{"event": "e1"}]'


def test_a_signed_delivery_is_stored_as_it_came_then_answered_then_announced(web: Web) -> None:
    answer = web.signed(BODY)
    assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
    (stored,) = web.stored()
    assert (stored.system, stored.body) == ("crm", BODY)
    assert stored.request.url == "http://broker.example/webhooks/crm"
    assert web.nudges == [(stored.id, "crm")]


def test_a_wrong_signature_is_401_and_nothing_is_kept(web: Web) -> None:
    answer = web.signed(BODY, **{"X-Toy-Signature": "0" * 64})
    assert answer.status_code == 401
    assert answer.json() == {"error": "the delivery's signature is wrong"}
    assert web.stored() == []
    assert web.nudges == []


def test_a_signature_over_another_body_is_401(web: Web) -> None:
    sent = str(web.world.clock() // 1000)
    signature = sign(CREDENTIALS["webhook_secret"], sent, ".", BODY)
    answer = web.post(BODY + b" ", **{"X-Toy-Time": sent, "X-Toy-Signature": signature})
    assert answer.status_code == 401


def test_an_old_signature_is_401(web: Web) -> None:
    sent = str(web.world.clock() // 1000)
    signature = sign(CREDENTIALS["webhook_secret"], sent, ".", BODY)
    web.world.clock.pass_(600)
    assert web.post(BODY, **{"X-Toy-Time": sent, "X-Toy-Signature": signature}).status_code == 401


def test_a_proven_delivery_is_taken_whatever_its_body_says(web: Web) -> None:
    assert web.signed(b"this is no JSON").status_code == 200
    assert len(web.stored()) == 1


@pytest.mark.parametrize(
    "path", ["/webhooks/nobody", "/webhooks/nobody/secret", "/webhooks", "/webhooks/", "/"]
)
def test_what_is_not_there_is_404(web: Web, path: str) -> None:
    assert web.signed(BODY, path).status_code == 404


def test_a_system_without_webhooks_is_404(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = type(web.world.engine.connectors["billing"])
    monkeypatch.setattr(connector, "objects", {"firms": connector.objects["firms"]})
    assert Web(web.world).signed(BODY, "/webhooks/billing").status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_405(web: Web, method: str) -> None:
    assert web.client.request(method, "/webhooks/crm").status_code == 405


# ---- size ----


def test_a_body_that_says_it_is_too_large_is_413_unread(world: Rig) -> None:
    web = Web(world, max_delivery=1024)
    answer = web.signed(b"x" * 1025)
    assert (answer.status_code, answer.json()) == (413, {"error": "larger than 1024 bytes"})
    assert web.stored() == []


def test_a_body_that_turns_out_too_large_is_413_and_never_held_whole(world: Rig) -> None:
    web = Web(world, max_delivery=1024)
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(64):
            taken += 1
            yield b"x" * 512

    assert web.client.post("/webhooks/crm", content=endless()).status_code == 413


def test_a_body_of_the_largest_size_is_taken(world: Rig) -> None:
    assert Web(world, max_delivery=1024).signed(b"x" * 1024).status_code == 200


# ---- the same delivery again ----


def test_a_repeat_under_a_new_signature_is_no_second_row(web: Web) -> None:
    web.signed(BODY)
    web.world.clock.pass_(30)
    again = web.signed(BODY)
    assert (again.status_code, again.json()) == (200, {"status": "known"})
    assert len(web.stored()) == 1


def test_a_repeat_of_one_that_was_dealt_with_is_dealt_with_once_more(web: Web) -> None:
    """It may be another event that looks the same: a read too many does no harm, a lost event would."""
    web.signed(BODY)
    (first,) = web.stored()
    with web.world.engine.store.write() as tx:
        queues.close_delivery(tx, first.id, "done")
    web.signed(BODY)
    assert [one.id for one in web.stored()] == [first.id]
    assert web.nudges == [(first.id, "crm")] * 2


def test_two_bodies_are_two_deliveries_and_two_systems_too(web: Web) -> None:
    web.signed(BODY)
    web.signed(BODY + b" ")
    web.signed(BODY, "/webhooks/marketing")
    assert len(web.stored()) == 3


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"headers": {"x-signature": "other"}}, True),
        ({"received": 2}, True),
        ({"secret": "other", "url": "http://other.example"}, True),
        ({"body": b"other"}, False),
        ({"method": "GET"}, False),
        ({"query": {"a": "2"}}, False),
    ],
)
def test_a_delivery_is_known_by_method_query_and_body(change: dict[str, Any], same: bool) -> None:
    usual: dict[str, Any] = {
        "method": "POST", "url": "http://broker.example", "headers": {}, "query": {"a": "1"}, "body": b"b", "received": 1,
    }  # fmt: skip
    one, other = Delivery(**usual), Delivery(**{**usual, **change})
    assert (webhooks.identity(one) == webhooks.identity(other)) is same


# ---- secret URLs ----


@pytest.fixture
def secretive(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """A vendor that does not sign: the secret is the last part of the URL, which it checks with a GET."""
    connector = type(web.world.engine.connectors["crm"])

    def answer_check(_self: object, delivery: Delivery) -> str | None:
        return "hello" if delivery.secret == "s3cr3t" else None

    def authenticate(_self: object, delivery: Delivery) -> None:
        check_secret(delivery.secret, "s3cr3t")

    monkeypatch.setattr(connector, "answer_check", answer_check)
    monkeypatch.setattr(connector, "authenticate", authenticate)
    return web


def test_a_url_check_is_answered_as_the_connector_says(secretive: Web) -> None:
    answer = secretive.client.get("/webhooks/crm/s3cr3t")
    assert (answer.status_code, answer.text) == (200, "hello")
    assert secretive.stored() == []


@pytest.mark.parametrize("path", ["/webhooks/crm/wrong", "/webhooks/crm"])
def test_a_wrong_secret_is_401_for_checks_and_deliveries(secretive: Web, path: str) -> None:
    assert secretive.client.get(path).status_code == 401
    assert secretive.post(b"a=b", path).status_code == 401


def test_the_secret_is_in_neither_the_store_nor_the_log(secretive: Web) -> None:
    with capture_logs() as logs:
        answer = secretive.post(b"a=b", "/webhooks/crm/s3cr3t?x=1")
    assert answer.status_code == 200
    (stored,) = secretive.stored()
    assert stored.request.url == "http://broker.example/webhooks/crm/-?x=1"
    assert "s3cr3t" not in repr(stored)
    assert "s3cr3t" not in repr(logs)
    assert "/webhooks/crm" in {line.get("route") for line in logs}


def test_credentials_and_the_senders_address_are_not_kept_but_the_vendors_headers_are(web: Web) -> None:
    web.signed(
        BODY, **{"Authorization": "Basic abc", "Cookie": "a=b", "X-Forwarded-For": "192.0.2.1", "X-Event-Type": "person"}
    )  # fmt: skip
    (stored,) = web.stored()
    assert set(stored.request.headers) == {"x-toy-time", "x-toy-signature", "x-event-type"}


# ---- the signed URL ----


def test_a_url_is_handed_on_as_the_vendor_knows_and_sent_it(
    world: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def authenticate(_self: object, delivery: Delivery) -> None:
        seen.append(delivery.url)

    monkeypatch.setattr(type(world.engine.connectors["crm"]), "authenticate", authenticate)
    Web(world, public_url="https://sync.example/").post(BODY, "/webhooks/crm/a%2Fb?q=%40x&y")
    Web(world).post(BODY, "/webhooks/crm")
    assert seen == ["https://sync.example/webhooks/crm/a%2Fb?q=%40x&y", "http://broker.example/webhooks/crm"]


# ---- trouble ----


def test_a_store_that_cannot_take_it_is_503_and_the_vendor_delivers_again(web: Web) -> None:
    with web.world.engine.store.write() as tx:
        tx.connection.exec_driver_sql("DROP TABLE deliveries")
    with capture_logs() as logs:
        answer = web.signed(BODY)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert "sqlite" not in answer.text
    assert web.nudges == []
    assert "delivery not stored" in {line["event"] for line in logs}


def test_a_full_disk_is_503_and_later_deliveries_are_taken(web: Web) -> None:
    with web.world.engine.store.write() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    engine = web.world.engine.store.engine
    with engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.commit()
    statuses = [web.signed(b"x" * 100_000 + str(n).encode()).status_code for n in range(3)]
    assert 503 in statuses
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
        connection.commit()
    assert web.signed(b"x" * 100_000).status_code == 200


def test_a_fault_of_a_connector_is_500_logged_without_its_text(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    def authenticate(_self: object, _delivery: Delivery) -> None:
        raise ValueError("ann@x.example")

    monkeypatch.setattr(type(web.world.engine.connectors["crm"]), "authenticate", authenticate)
    with capture_logs() as logs:
        answer = web.signed(BODY)
    assert answer.status_code == 500
    assert json.loads(answer.text) == {"error": "a fault of the broker; its log says more"}
    assert [line["event"] for line in logs] == ["fault", "request"]


# ---- health ----


def test_health_and_readiness(web: Web) -> None:
    assert web.client.get("/healthz").json() == {"status": "ok"}
    assert web.client.get("/readyz").json() == {"status": "ready", "synced": False}


def test_without_tables_it_lives_but_is_not_ready(web: Web) -> None:
    with web.world.engine.store.write() as tx:
        tx.connection.exec_driver_sql("DROP TABLE alembic_version")
    assert web.client.get("/healthz").status_code == 200
    assert web.client.get("/readyz").status_code == 503


def test_the_log_names_only_routes_that_are_ours(web: Web) -> None:
    with capture_logs() as logs:
        web.client.get("/wp-admin/ann@x.example")
        web.client.get("/webhooks/nobody/ann@x.example")
    assert [line["route"] for line in logs if line["event"] == "request"] == ["?", "?"]
