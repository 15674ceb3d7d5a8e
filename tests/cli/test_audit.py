"""Every action of a person is a decision or an audit row with a name: command by command."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, select
from typer.main import get_command

from syncbroker.cli.main import app
from syncbroker.store import credentials, tables
from syncbroker.store.database import open_store
from tests.cli.conftest import World

LOOKS = "changes nothing in the store"
WORKS = "rules decide, no person"
LEAVES = {
    "check": LOOKS,
    "credentials list": LOOKS,
    "credentials remove": "audit",
    "credentials set": "audit",
    "db current": LOOKS,
    "db downgrade": "audit",
    "db upgrade": "audit",
    "decisions": LOOKS,
    "demo": "works on a store of its own",
    "drift": LOOKS,
    "explain": LOOKS,
    "keys new": LOOKS,
    "keys rotate": "audit",
    "lift": "audit",
    "merge": "decision",
    "purge": "audit",
    "replay": LOOKS,
    "review list": LOOKS,
    "review resolve": "decision",
    "review show": LOOKS,
    "serve": WORKS,
    "simulate": LOOKS,
    "status": LOOKS,
    "sweep": WORKS,
    "sync": WORKS,
    "undo": "decision",
    "unmerge": "decision",
    "worker": WORKS,
    # of the runtime's other parts, each with tests of its own
    "backup": "audit",
    "pause": "audit",
    "audit": LOOKS,
    "retention": "audit",
    "schedule": LOOKS,
    "restore": "audit",
    "resume": "audit",
    "retry": "audit",
    "scheduler": WORKS,
    "webhooks list": LOOKS,
    "webhooks register": "audit",
    "webhooks test": LOOKS,
}


def commands(command: Any, head: str = "") -> Iterator[str]:
    for name, one in command.commands.items():
        if getattr(one, "commands", None):
            yield from commands(one, f"{head}{name} ")
        else:
            yield head + name


def test_of_every_command_it_is_said_what_it_leaves() -> None:
    assert set(commands(get_command(app))) <= set(LEAVES)


def trail(world: World, name: str) -> tuple[int, int]:
    """(decisions, audit rows) in the name of a person."""
    store = open_store(world.url)
    d, a = tables.decisions.c, tables.audit.c
    with store.read() as tx:
        found = (
            tx.run(select(func.count()).where(d.actor == name)).scalar_one(),
            tx.run(select(func.count()).where(a.person == name)).scalar_one(),
        )
    store.close()
    return found


def review(world: World, kind: str) -> str:
    found = world.run("review", "list", "--kind", kind, "--json").json
    return str(found[0]["number"])


def merging(world: World) -> list[str]:
    return ["merge", "person:ann@x.example", "person:bob@x.example", "--yes", "--by", "Kim"]


DRIVEN: dict[str, Callable[[World], list[str]]] = {
    "review resolve": lambda w: [
        "review",
        "resolve",
        review(w, "conflict"),
        "--choose",
        "crm",
        "--person",
        "Kim",
    ],
    "merge": merging,
    "undo": lambda w: ["undo", "1", "--yes", "--person", "Kim", "--creates"],
    "lift": lambda _: ["lift", "crm", "people", "p000001", "--person", "Kim"],
    "purge": lambda _: ["purge", "--record", "person:bob@x.example", "--yes", "--person", "Kim"],
    "credentials set": lambda _: ["credentials", "set", "TOKEN", "--person", "Kim"],
    "credentials remove": lambda _: ["credentials", "remove", "OTHER", "--person", "Kim"],
    "keys rotate": lambda _: ["keys", "rotate", "--person", "Kim"],
}


@pytest.fixture
def ready(synced: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A conflict waits, a tombstone stands, a credential is stored."""
    monkeypatch.setenv("SYNCBROKER_KEYS", credentials.new_key())
    monkeypatch.setattr(sys, "stdin", io.StringIO("a value"))
    assert synced.run("credentials", "set", "OTHER").code == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("a value"))
    return synced


@pytest.mark.parametrize("command", sorted(DRIVEN))
def test_what_a_person_does_is_written_down_in_their_name(ready: World, command: str) -> None:
    if command == "lift":
        ready.run("purge", "--record", "person:ann@x.example", "--yes")
    before = trail(ready, "Kim")
    ran = ready.run(*DRIVEN[command](ready))
    assert ran.code == 0, ran.err
    after = trail(ready, "Kim")
    assert after[LEAVES[command] == "audit"] > before[LEAVES[command] == "audit"]


def test_taking_a_merge_apart_is_a_decision(ready: World) -> None:
    made = ready.run(*merging(ready), "--json").json
    before = trail(ready, "Kim")
    assert ready.run("unmerge", str(made["report"]["merge"]), "--yes", "--by", "Kim").code == 0
    assert trail(ready, "Kim")[0] > before[0]


def test_an_upgrade_is_written_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCBROKER_DATABASE_URL", f"sqlite:///{world.folder / 'fresh.db'}")
    assert world.run("db", "upgrade").code == 0
    store = open_store(f"sqlite:///{world.folder / 'fresh.db'}")
    with store.read() as tx:
        assert [row.action for row in tx.run(tables.audit.select())] == ["db upgrade"]
    store.close()


def test_nothing_of_the_erased_record_is_named_in_the_trail(ready: World) -> None:
    assert ready.run("purge", "--record", "person:bob@x.example", "--yes", "--person", "Kim").code == 0
    store = open_store(ready.url)
    with store.read() as tx:
        rows = [str(tuple(row)) for row in tx.run(tables.audit.select())]
    store.close()
    assert not [row for row in rows if "bob" in row.lower()]
    shown = ready.run("explain", "person:crm:p000002")
    assert (shown.code, "was purged" in shown.err) == (2, True)
    assert "erased on request" in ready.run("replay", "--verify").out
    assert ready.run("decisions", "--verify").code == 0


def test_decisions_of_an_older_release_are_told_apart_right_after_the_upgrade(ready: World) -> None:
    assert ready.run("db", "downgrade", "0002", "--yes").code == 0
    assert ready.run("db", "upgrade").code == 0
    found = ready.run("decisions", "--verify", "--json")
    assert (found.code, found.json["broken"]) == (0, 0)
    assert found.json["unsealed"] == found.json["decisions"] > 0


def test_a_log_that_is_gone_with_its_record_is_missed_by_the_exported_heads(ready: World) -> None:
    heads = ready.folder / "heads.jsonl"
    assert ready.run("decisions", "--export-heads", str(heads)).code == 0
    assert f"removed, inserted or moved since {heads.name}" in ready.run(
        "decisions", "--verify", "--heads", str(heads)
    ).out.replace("\n", " ")
    store = open_store(ready.url)
    with store.write() as tx:
        row = tx.run(tables.decisions.select().where(tables.decisions.c.record_id != "")).first()
        assert row is not None
        for table, key in (
            (tables.decisions, "record_id"),
            (tables.links, "record_id"),
            (tables.records, "id"),
        ):
            tx.run(table.delete().where(table.c[key] == row.record_id))
    store.close()
    ran = ready.run("decisions", "--verify", "--heads", str(heads))
    assert ran.code == 1
    assert "\n  1 chain of the exported heads: all their decisions were removed" in ran.out


def test_a_changed_log_ends_verify_with_the_record_and_the_decision(ready: World) -> None:
    heads = ready.folder / "heads.jsonl"
    assert ready.run("decisions", "--export-heads", str(heads)).code == 0
    told = ready.run("decisions", "--verify", "--heads", str(heads), "--json")
    assert (told.code, told.json["broken"]) == (0, 0)
    store = open_store(ready.url)
    with store.write() as tx:
        row = tx.run(tables.decisions.select().where(tables.decisions.c.record_id != "")).first()
        assert row is not None
        tx.run(tables.decisions.update().where(tables.decisions.c.id == row.id).values(actor="nobody"))
    store.close()
    ran = ready.run("decisions", "--verify")
    assert ran.code == 1
    assert f"{row.record_id}, decision {row.id}: it was altered" in ran.out
    assert ready.run("decisions", "--export-heads", str(heads)).code == 1
