"""What a user, a stranger or a vendor may do wrong, against real processes: one clear message, the right exit code, no
traceback, and nothing lost."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncbroker.demo.scene import Scene, everybody
from syncbroker.demo.stage import Done, Stage, raised
from syncbroker.demo.vendors import example_mappings
from syncbroker.store import deliveries, runs
from syncbroker.store.database import open_store
from tests.acceptance.support import cast_only
from tests.support.asking import ask

FULL_DISK = """
from sqlalchemy import Engine, event
from syncbroker.cli.main import main
event.listen(Engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 1"))
main()
"""
"""The command line on a disk that has no room for another page of the store; SQLite says the same of a real one."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with raised(tmp_path_factory.mktemp("mistakes"), cast_only()) as found:
        found.make_store()
        yield found


@pytest.fixture(scope="module")
def serving(stage: Stage) -> Stage:
    """The same, with a broker that serves."""
    stage.serve()
    return stage


@contextmanager
def environment(stage: Stage, **given: str | None) -> Iterator[None]:
    """Other variables for a while; None takes one away."""
    before = dict(stage.environment)
    stage.environment |= {name: value for name, value in given.items() if value is not None}
    for name in [name for name, value in given.items() if value is None]:
        del stage.environment[name]
    yield
    stage.environment.clear()
    stage.environment.update(before)


def is_told(done: Done, code: int, *words: str) -> None:
    """It ended with this code and says these words, as a message and not as a traceback."""
    said = done.out + done.err
    assert (done.code, [word for word in words if word not in said]) == (code, []), said
    assert "Traceback" not in said
    assert "this is a fault of syncbroker" not in said


# ---------------------------------------------------------------------------------------- without the broker


def test_every_mistake_in_the_mapping_files_is_told_at_once_with_its_place(
    stage: Stage, tmp_path: Path
) -> None:
    wrong = tmp_path / "mappings"
    shutil.copytree(example_mappings(), wrong)
    contact, company = wrong / "contact.yaml", wrong / "company.yaml"
    contact.write_text(contact.read_text().replace("policy: seed", "policy: sead", 1))
    company.write_text(company.read_text().replace("transform: country_name", "transform: contry_name", 1))
    places = [
        f"{path.name}:{line_of(path, word)}:" for path, word in ((contact, "sead"), (company, "contry"))
    ]
    is_told(stage.run("check", "--mappings", str(wrong)), 1, *places, "seed", "country_name")


def line_of(path: Path, word: str) -> int:
    return next(n for n, line in enumerate(path.read_text().splitlines(), 1) if word in line)


def test_a_missing_credential_is_named_before_anything_is_done(stage: Stage) -> None:
    with environment(stage, STRIPE_KEY=None):
        is_told(stage.run("sync"), 1, "STRIPE_KEY", "systems.yaml")


def test_a_system_that_does_not_exist_is_a_wrong_command_line(stage: Stage) -> None:
    is_told(stage.run("sync", "markting"), 2, "markting", "did you mean marketing")


def test_a_full_disk_is_told_and_nothing_is_lost(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{stage.folder / 'full.db'}"
    with environment(stage, SYNCBROKER_DATABASE_URL=url):
        stage.make_store()
        with monkeypatch.context() as patch:
            patch.setattr(stage, "program", [sys.executable, "-c", FULL_DISK])
            is_told(stage.run("sync"), 1, "full.db is full", "free some space")
        done = stage.work()
    assert not done.failed
    assert links(url, "crm") == sum(len(rows) for rows in stage.world.systems["crm"].values())


def links(url: str, system: str) -> int:
    """How many records of the system the store at the URL knows, whosever they are."""
    store = open_store(url)
    try:
        with store.read() as tx:
            return sum(count for (name, _, _), count in runs.link_counts(tx).items() if name == system)
    finally:
        store.close()


def test_a_vendor_that_answers_nonsense_or_refuses_the_key_stops_no_other(stage: Stage) -> None:
    stage.systems["crm"].fault(
        "status", "contacts.*", status=200, text="<html>We are back soon</html>", times=0
    )
    try:
        with environment(stage, STRIPE_KEY="sk_test_wrong_9876543210"):
            done = stage.run("sync", "--json")
    finally:
        stage.systems["crm"].clear_faults()
    is_told(done, 1)
    found = json.loads(done.out)
    assert set(found["failed"]) == {"crm", "billing"}
    assert found["systems"]["support"]["read"] > 0
    assert "sk_test_wrong" not in done.out + done.err


# ------------------------------------------------------------------------------------------- while it serves


def test_a_second_process_on_the_same_store_is_sent_away(serving: Stage) -> None:
    assert serving.serving is not None
    is_told(serving.run("sync"), 1, f"process {serving.serving.pid}", "stop it first")


def test_a_forged_delivery_is_refused_and_leaves_no_trace(serving: Stage) -> None:
    before = delivered(serving)
    body = json.dumps([{"eventId": 1, "subscriptionType": "contact.deletion", "objectId": 1}]).encode()
    headers = {
        "X-HubSpot-Request-Timestamp": str(time.time_ns() // 1_000_000),
        "X-HubSpot-Signature-v3": base64.b64encode(bytes(32)).decode(),
    }
    assert ask("POST", serving.url, "/webhooks/crm", body=body, headers=headers).status == 401
    assert ask("POST", serving.url, "/webhooks/marketing/guessed", body=b"type=unsubscribe").status in (
        401,
        404,
    )
    assert delivered(serving) == before


def test_a_delivery_that_is_no_json_is_kept_as_rejected_and_the_broker_goes_on(serving: Stage) -> None:
    body, at = b'{"type": "zen:event-type:user.', time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    secret = serving.environment["ZENDESK_WEBHOOK_SECRET"].encode()
    digest = hmac.new(secret, at.encode() + body, hashlib.sha256).digest()
    headers = {
        "X-Zendesk-Webhook-Signature-Timestamp": at,
        "X-Zendesk-Webhook-Signature": base64.b64encode(digest).decode(),
    }
    before = delivered(serving).get("rejected", 0)
    assert ask("POST", serving.url, "/webhooks/support", body=body, headers=headers).status == 200
    scene = Scene(serving, {})
    scene.until("it is rejected", lambda: delivered(serving).get("rejected", 0) == before + 1)
    assert ask("GET", serving.url, "/healthz").status == 200


def test_a_value_that_means_nothing_becomes_a_question_and_is_not_spread(serving: Stage) -> None:
    scene = Scene(serving, everybody(serving))
    before = scene.held("support", "jonas", "phone")
    scene.edit("crm", "jonas", {"phone": "555-1234"})
    review = scene.review("jonas", "invalid", "phone")
    scene.settle()
    assert review.body["raw"] == "555-1234"
    assert scene.held("support", "jonas", "phone") == before


def delivered(stage: Stage) -> dict[str, int]:
    """How many the store has, by state."""
    with stage.engine().store.read() as tx:
        return deliveries.counts(tx)


def test_the_log_tells_of_all_this_without_a_fault(serving: Stage) -> None:
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in (serving.folder / "broker.log").read_text().splitlines()
    ]
    assert [line for line in lines if line["event"] == "fault" or line["level"] == "error"] == []
    assert "555-1234" not in str(lines)
