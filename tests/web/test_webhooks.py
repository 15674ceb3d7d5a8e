from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncbroker.sdk.connector import Delivery
from syncbroker.sdk.webhook import check_secret, sign
from syncbroker.store import deliveries
from syncbroker.web import webhooks
from tests.support.rig import Rig
from tests.support.toy_vendor import CREDENTIALS
from tests.web.conftest import Start, Web, until_logged

BODY = b'[{"event": "e1"}]'


def test_a_signed_delivery_is_stored_as_it_came_then_answered_then_announced(web: Web) -> None:
    answer = web.signed(BODY)
    assert (answer.status, answer.json()) == (200, {"status": "stored"})
    (stored,) = web.stored()
    assert (stored.system, stored.body) == ("crm", BODY)
    assert stored.request.url == "http://broker.example/webhooks/crm"
    assert web.nudges == [(stored.id, "crm")]


def test_a_wrong_signature_is_401_and_nothing_is_kept(web: Web) -> None:
    answer = web.signed(BODY, **{"X-Toy-Signature": "0" * 64})
    assert answer.status == 401
    assert answer.json() == {"error": "the delivery's signature is wrong"}
    assert web.stored() == []
    assert web.nudges == []


def test_a_signature_over_another_body_is_401(web: Web) -> None:
    sent = str(web.world.clock() // 1000)
    signature = sign(CREDENTIALS["webhook_secret"], sent, ".", BODY)
    answer = web.post(BODY + b" ", **{"X-Toy-Time": sent, "X-Toy-Signature": signature})
    assert answer.status == 401


def test_an_old_signature_is_401(web: Web) -> None:
    sent = str(web.world.clock() // 1000)
    signature = sign(CREDENTIALS["webhook_secret"], sent, ".", BODY)
    web.world.clock.pass_(600)
    assert web.post(BODY, **{"X-Toy-Time": sent, "X-Toy-Signature": signature}).status == 401


def test_a_proven_delivery_is_taken_whatever_its_body_says(web: Web) -> None:
    assert web.signed(b"this is no JSON").status == 200
    assert len(web.stored()) == 1


@pytest.mark.parametrize(
    "path", ["/webhooks/nobody", "/webhooks/nobody/secret", "/webhooks", "/webhooks/", "/"]
)
def test_what_is_not_there_is_404(web: Web, path: str) -> None:
    assert web.signed(BODY, path).status == 404


def test_a_system_without_webhooks_is_404(world: Rig, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = world.engine.connectors["billing"]
    monkeypatch.setattr(connector, "objects", {"firms": connector.objects["firms"]})
    assert start().signed(BODY, "/webhooks/billing").status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_405(web: Web, method: str) -> None:
    assert web.ask(method, "/webhooks/crm").status == 405


# ---- size ----


def test_a_body_that_says_it_is_too_large_is_413_unread(start: Start) -> None:
    web = start(max_delivery=1024)
    answer = web.signed(b"x" * 1025)
    assert (answer.status, answer.json()) == (413, {"error": "larger than 1024 bytes"})
    assert web.stored() == []


def test_a_body_that_turns_out_too_large_is_413(start: Start) -> None:
    web = start(max_delivery=1024)
    assert web.ask("POST", "/webhooks/crm", iter([b"x" * 512] * 8)).status == 413
    assert web.stored() == []


def test_a_body_of_the_largest_size_is_taken(start: Start) -> None:
    assert start(max_delivery=1024).signed(b"x" * 1024).status == 200


def test_a_body_that_does_not_come_is_408(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "BODY_SECONDS", 0.05)
    go_on = threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"["
        go_on.wait(1)

    assert start().ask("POST", "/webhooks/crm", slow()).status == 408


# ---- the same delivery again ----


def test_a_repeat_under_a_new_signature_is_no_second_row(web: Web) -> None:
    web.signed(BODY)
    web.world.clock.pass_(30)
    again = web.signed(BODY)
    assert (again.status, again.json()) == (200, {"status": "known"})
    assert len(web.stored()) == 1


def test_a_repeat_of_one_that_was_dealt_with_is_dealt_with_once_more(web: Web) -> None:
    """It may be another event that looks the same: a read too many does no harm, a lost event would."""
    web.signed(BODY)
    (first,) = web.stored()
    with web.world.engine.store.write() as tx:
        deliveries.done(tx, [first.id])
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
def test_without_an_id_a_delivery_is_known_by_method_query_and_body(
    change: dict[str, Any], same: bool
) -> None:
    usual: dict[str, Any] = {
        "method": "POST",
        "url": "http://broker.example",
        "headers": {},
        "query": {"a": "1"},
        "body": b"b",
        "received": 1,
    }
    one = webhooks.identity(None, Delivery(**usual))
    other = webhooks.identity(None, Delivery(**{**usual, **change}))
    assert (one == other) is same
    assert not one[1]


# ---- secret URLs ----


@pytest.fixture
def secretive(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """A vendor that does not sign: the secret is the last part of the URL, which it checks with a GET."""
    connector = web.world.engine.connectors["crm"]

    def answer_check(delivery: Delivery) -> str | None:
        return "hello" if delivery.secret == "s3cr3t" else None

    def authenticate(delivery: Delivery) -> None:
        check_secret(delivery.secret, "s3cr3t")

    monkeypatch.setattr(connector, "answer_check", answer_check)
    monkeypatch.setattr(connector, "authenticate", authenticate)
    return web


def test_a_url_check_is_answered_as_the_connector_says(secretive: Web) -> None:
    answer = secretive.ask("GET", "/webhooks/crm/s3cr3t")
    assert (answer.status, answer.text) == (200, "hello")
    assert secretive.stored() == []


@pytest.mark.parametrize("path", ["/webhooks/crm/wrong", "/webhooks/crm"])
def test_a_wrong_secret_is_401_for_checks_and_deliveries(secretive: Web, path: str) -> None:
    assert secretive.ask("GET", path).status == 401
    assert secretive.post(b"a=b", path).status == 401


def test_the_secret_is_in_neither_the_store_nor_the_log(secretive: Web) -> None:
    with capture_logs() as logs:
        answer = secretive.post(b"a=b", "/webhooks/crm/s3cr3t?x=1")
        until_logged(logs, "request")
    assert answer.status == 200
    (stored,) = secretive.stored()
    assert stored.request.url == "http://broker.example/webhooks/crm/-?x=1"
    assert "s3cr3t" not in repr(stored)
    assert "s3cr3t" not in repr(logs)
    assert "/webhooks/crm" in {line.get("route") for line in logs}


def test_credentials_and_the_senders_address_are_not_kept_but_the_vendors_headers_are(web: Web) -> None:
    ours = {"Authorization": "Basic abc", "Cookie": "a=b", "X-Forwarded-For": "192.0.2.1"}
    web.signed(BODY, **ours, **{"X-Event-Type": "person"})
    (stored,) = web.stored()
    assert set(stored.request.headers) == {"x-toy-time", "x-toy-signature", "x-event-type"}


# ---- the signed URL ----


def test_a_url_is_handed_on_as_the_vendor_knows_and_sent_it(
    world: Rig, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def authenticate(delivery: Delivery) -> None:
        seen.append(delivery.url)

    monkeypatch.setattr(world.engine.connectors["crm"], "authenticate", authenticate)
    start(public_url="https://sync.example/").post(BODY, "/webhooks/crm/a%40b?q=%40x&y")
    start().post(BODY, "/webhooks/crm")
    assert seen == ["https://sync.example/webhooks/crm/a%40b?q=%40x&y", "http://broker.example/webhooks/crm"]


# ---- trouble ----


def test_a_store_that_cannot_take_it_is_503_and_the_vendor_delivers_again(web: Web) -> None:
    with web.world.engine.store.write() as tx:
        tx.connection.exec_driver_sql("DROP TABLE deliveries")
    with capture_logs() as logs:
        answer = web.signed(BODY)
        until_logged(logs, "request")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "10"
    assert "sqlite" not in answer.text
    assert web.nudges == []
    assert [(line["outcome"], line["log_level"]) for line in logs] == [("not_stored", "error")]


def test_a_full_disk_is_503_and_later_deliveries_are_taken(web: Web) -> None:
    with web.world.engine.store.write() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    engine = web.world.engine.store.engine
    with engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.commit()
    statuses = [web.signed(b"x" * 100_000 + str(n).encode()).status for n in range(3)]
    assert 503 in statuses
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
        connection.commit()
    assert web.signed(b"x" * 100_000).status == 200


def test_a_fault_of_a_connector_is_500_logged_without_its_text(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    def authenticate(_delivery: Delivery) -> None:
        raise ValueError("ann@x.example")

    monkeypatch.setattr(web.world.engine.connectors["crm"], "authenticate", authenticate)
    with capture_logs() as logs:
        answer = web.signed(BODY)
        until_logged(logs, "fault")
    assert answer.status == 500
    assert answer.json() == {"error": "a fault of the broker; its log says more"}
    assert [(line["event"], line["status"], line["system"]) for line in logs] == [("fault", 500, "crm")]


# ---- health ----


def test_health_and_readiness(web: Web) -> None:
    assert web.ask("GET", "/healthz").json() == {"status": "ok"}
    assert web.ask("GET", "/readyz").json() == {"status": "ready", "synced": False}


def test_without_tables_it_lives_but_is_not_ready(web: Web) -> None:
    with web.world.engine.store.write() as tx:
        tx.connection.exec_driver_sql("DROP TABLE alembic_version")
    assert web.ask("GET", "/healthz").status == 200
    assert web.ask("GET", "/readyz").status == 503


def test_the_log_names_only_routes_that_are_ours(web: Web) -> None:
    with capture_logs() as logs:
        web.ask("GET", "/wp-admin/ann@x.example")
        web.ask("GET", "/webhooks/nobody/ann@x.example")
        until_logged(logs, "request", 2)
    assert [line["route"] for line in logs if line["event"] == "request"] == ["?", "?"]
