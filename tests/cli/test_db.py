from __future__ import annotations

import io
import sys

import pytest

from syncbroker.store import schema
from syncbroker.store.database import open_store
from tests.cli.conftest import World


@pytest.fixture
def fresh(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A store that does not exist yet."""
    monkeypatch.setenv("SYNCBROKER_DATABASE_URL", f"sqlite:///{world.folder / 'fresh.db'}")
    return world


def test_upgrading_makes_the_tables_and_may_be_repeated(fresh: World) -> None:
    ran = fresh.run("db", "upgrade")
    assert ran.code == 0
    assert f"went from version none to {schema.head()}" in ran.out
    assert "already" in fresh.run("db", "upgrade").out
    assert fresh.run("db", "current", "--json").json["current"] is True


def test_upgrading_a_postgresql_store_works_with_the_same_command(
    world: World, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCBROKER_DATABASE_URL", postgres_url)
    assert world.run("db", "upgrade").code == 0
    assert world.run("sync", "--json").json["records"] == {"person": 2}
    assert world.run("explain", "person:ann@x.example").code == 0
    assert world.run("status", "--differences").code == 0


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def test_downgrading_asks_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    ran = world.run("db", "downgrade", "base")
    assert ran.code == 1
    assert "not confirmed; nothing was done" in ran.err
    assert world.run("db", "current", "--json").json["current"] is True


def test_downgrading_without_anybody_to_ask_needs_yes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    ran = world.run("db", "downgrade", "base")
    assert ran.code == 2
    assert "give --yes" in ran.err


def test_downgrading_to_base_drops_the_tables(world: World) -> None:
    assert world.run("db", "downgrade", "base", "--yes").code == 0
    assert world.run("db", "current", "--json").json["version"] is None
    assert "run: syncbroker db upgrade" in world.run("db", "current").out


@pytest.mark.parametrize("command", [["upgrade", "9999"], ["downgrade", "nosuch", "--yes"]])
def test_an_unknown_version_is_a_wrong_command_line(world: World, command: list[str]) -> None:
    ran = world.run("db", *command)
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_nothing_is_changed_under_a_process_that_works(world: World) -> None:
    store = open_store(world.url)
    store.claim_process()
    ran = world.run("db", "upgrade")
    assert ran.code == 1
    assert "is already working on" in ran.err
    store.close()


def test_a_file_that_is_no_database_is_one_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.folder / "notes.txt"
    path.write_text("these are notes, not a database\n" * 100)
    monkeypatch.setenv("SYNCBROKER_DATABASE_URL", f"sqlite:///{path}")
    ran = world.run("db", "current")
    assert ran.code == 1
    assert "is not a usable SQLite database" in ran.err


def test_a_folder_that_does_not_exist_is_one_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCBROKER_DATABASE_URL", "sqlite:////no/such/folder/store.db")
    ran = world.run("db", "upgrade")
    assert ran.code == 1
    assert "does not exist" in ran.err


def test_a_server_that_cannot_be_reached_is_one_message_without_the_password(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCBROKER_DATABASE_URL", "postgresql://me:hush@127.0.0.1:1/x")
    ran = world.run("db", "current")
    assert ran.code == 1
    assert "cannot be used" in ran.err
    assert "hush" not in ran.err
