"""Credentials from the environment, from files and from the store; keys that come and go."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from syncbroker.store import credentials
from syncbroker.store.database import open_store
from tests.cli.conftest import Ran, World
from tests.support.toy_vendor import CREDENTIALS

NAME, SECRET = "TOY_TOKEN", CREDENTIALS["token"]


@pytest.fixture
def asking(world: World) -> World:
    """The crm's token is a variable."""
    file = world.mappings / "systems.yaml"
    file.write_text(file.read_text().replace(SECRET, f"${{{NAME}}}", 1))
    return world


def give(world: World, monkeypatch: pytest.MonkeyPatch, value: str, *arguments: str) -> Ran:
    monkeypatch.setattr(sys, "stdin", io.StringIO(value))
    return world.run("credentials", *(arguments or ("set", NAME)))


def keys(monkeypatch: pytest.MonkeyPatch, *given: str) -> None:
    monkeypatch.setenv("SYNCBROKER_KEYS", ",".join(given))


def test_a_variable_comes_from_the_environment(asking: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, SECRET)
    assert asking.run("sync").code == 0


def test_a_variable_comes_from_a_file(asking: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "token"))
    assert asking.run("sync").code == 0


def test_a_variable_comes_from_the_store(asking: World, monkeypatch: pytest.MonkeyPatch) -> None:
    keys(monkeypatch, asking.run("keys", "new").out.strip())
    assert give(asking, monkeypatch, f"{SECRET}\n").code == 0
    assert asking.run("check").code == 0
    assert asking.run("sync").code == 0


def test_the_environment_goes_before_the_store(asking: World, monkeypatch: pytest.MonkeyPatch) -> None:
    keys(monkeypatch, credentials.new_key())
    give(asking, monkeypatch, "another")
    monkeypatch.setenv(NAME, SECRET)
    assert asking.run("sync").code == 0


def test_the_store_never_holds_the_value_and_no_command_shows_it(
    asking: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys(monkeypatch, credentials.new_key())
    shown = [give(asking, monkeypatch, SECRET), asking.run("credentials", "list"), asking.run("check")]
    shown += [asking.run("credentials", "list", "--json"), asking.run("status")]
    assert not [one for one in shown if SECRET in one.out + one.err]
    assert NAME in shown[1].out
    for file in asking.folder.glob("*.db*"):
        assert SECRET.encode() not in file.read_bytes()


def test_keys_are_replaced_without_a_moment_without(asking: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = credentials.new_key(), credentials.new_key()
    keys(monkeypatch, old)
    give(asking, monkeypatch, SECRET)
    keys(monkeypatch, new, old)
    assert asking.run("sync").code == 0
    assert asking.run("keys", "rotate", "--json").json == {"credentials": 1}
    keys(monkeypatch, new)
    assert asking.run("sync").code == 0
    keys(monkeypatch, old)
    ran = asking.run("sync")
    assert (ran.code, f"credential {NAME} opens with none of the keys" in ran.err) == (1, True)


def test_keys_come_from_a_file(asking: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{credentials.new_key()}\n{credentials.new_key()}\n")
    monkeypatch.setenv("SYNCBROKER_KEYS_FILE", str(tmp_path / "keys"))
    assert give(asking, monkeypatch, SECRET).code == 0
    assert asking.run("sync").code == 0


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, f"the environment variable {NAME} is not set"),
        ({f"{NAME}_FILE": "/nowhere/token"}, f"the file that {NAME}_FILE names cannot be read"),
        ({"SYNCBROKER_KEYS": "a-wrong-key"}, "key 1 of SYNCBROKER_KEYS is none"),
        (
            {"SYNCBROKER_KEYS_FILE": "/nowhere/keys"},
            "the file that SYNCBROKER_KEYS_FILE names cannot be read",
        ),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_shown(
    asking: World, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    keys(monkeypatch, credentials.new_key())
    give(asking, monkeypatch, SECRET, "set", "OTHER")
    monkeypatch.delenv("SYNCBROKER_KEYS")
    if "SYNCBROKER_KEYS" in environment:  # it is looked at when a stored one is asked for
        asking.mappings.joinpath("systems.yaml").write_text(
            asking.mappings.joinpath("systems.yaml").read_text().replace(NAME, "OTHER")
        )
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ran = asking.run("sync")
    assert ran.code == 1
    assert said in ran.err
    assert "a-wrong-key" not in ran.err


def test_a_stored_credential_without_keys_says_which_it_is(
    asking: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys(monkeypatch, credentials.new_key())
    give(asking, monkeypatch, SECRET)
    monkeypatch.delenv("SYNCBROKER_KEYS")
    assert (
        f"the credential {NAME} is in the store, encrypted, and SYNCBROKER_KEYS is not set"
        in asking.run("sync").err
    )


def test_checking_needs_no_store(asking: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCBROKER_DATABASE_URL", f"sqlite:///{asking.folder / 'none.db'}")
    monkeypatch.setenv(NAME, SECRET)
    assert asking.run("check").code == 0
    monkeypatch.delenv(NAME)
    assert f"the environment variable {NAME} is not set" in asking.run("check").err
    assert not (asking.folder / "none.db").exists()


def test_a_removed_credential_is_gone(asking: World, monkeypatch: pytest.MonkeyPatch) -> None:
    keys(monkeypatch, credentials.new_key())
    give(asking, monkeypatch, SECRET)
    assert asking.run("credentials", "remove", NAME).code == 0
    assert asking.run("credentials", "remove", NAME).code == 2
    store = open_store(asking.url)
    with store.read() as tx:
        assert credentials.listed(tx) == []
    store.close()
