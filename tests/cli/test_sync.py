from __future__ import annotations

import pytest

from syncbroker.sdk.simulator import Fault
from syncbroker.store.database import open_store
from tests.cli.conftest import World, lines


def test_a_sync_tells_records_links_decisions_writes_and_reviews(world: World) -> None:
    ran = world.run("sync")
    assert ran.code == 0
    assert "records   2 person" in ran.out
    assert "links     2 crm, 2 marketing, 2 billing" in ran.out
    assert lines(ran.out, "adopted", "edits taken over")
    assert lines(ran.out, "reviews waiting: 1 conflict")
    assert "ann" not in ran.out.lower()


def test_progress_goes_to_standard_error_as_plain_lines_without_a_terminal(world: World) -> None:
    ran = world.run("sync")
    assert "crm people: 2 read, 2 decided\n" in ran.err
    assert "\x1b" not in ran.err


def test_bars_are_drawn_where_they_are_asked_for(world: World) -> None:
    ran = world.run("sync", "--progress")
    assert lines(ran.err, "crm people", "2 read, 2 decided")
    assert "━" in ran.err


def test_a_second_sync_writes_and_decides_nothing(synced: World) -> None:
    ran = synced.run("sync")
    assert ran.code == 0
    assert "decisions none: nothing had changed" in ran.out


def test_a_sync_in_json_counts_the_calls_that_were_made(world: World) -> None:
    ran = world.run("sync", "--json")
    assert ran.err == ""
    crm = ran.json["systems"]["crm"]
    assert crm["calls"] == len(world.systems["crm"].log)
    assert ran.json["systems"]["marketing"]["created"] == 1
    assert ran.json["reviews"] == {"conflict": 1}
    assert ran.json["failed"] == {}


def test_only_the_systems_named_are_read(synced: World) -> None:
    before = len(synced.systems["crm"].log)
    ran = synced.run("sync", "marketing", "--json")
    assert ran.json["systems"]["crm"]["calls"] == 0
    assert len(synced.systems["crm"].log) == before


def test_an_unknown_system_is_a_wrong_command_line_with_near_names(world: World) -> None:
    ran = world.run("sync", "marketng")
    assert ran.code == 2
    assert ran.err == "syncbroker: there is no system 'marketng'\n    hint: did you mean marketing?\n"


def test_a_failing_system_is_one_and_the_others_go_on(world: World) -> None:
    world.systems["billing"].faults.append(Fault(kind="status", status=401, times=0))
    ran = world.run("sync")
    assert ran.code == 1
    assert lines(ran.out, "billing failed: ")
    assert lines(ran.out, "links", "2 crm, 2 marketing")
    assert "Traceback" not in ran.err
    assert lines(ran.err, "billing", "failed")


def test_a_sweep_finds_what_no_poll_shows(synced: World) -> None:
    record = synced.systems["crm"]._live["people"]["p000001"]
    record["fields"]["name"] = "Anna Lee"
    record["version"] += 1
    assert synced.run("sync").code == 0
    ran = synced.run("sweep", "--json")
    assert ran.code == 0
    assert ran.json["systems"]["crm"]["read"] == 2
    assert synced.held("marketing", "name")[0] == "Anna Lee"


def test_a_store_without_tables_says_what_to_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.folder / "empty.db"
    path.touch()
    monkeypatch.setenv("SYNCBROKER_DATABASE_URL", f"sqlite:///{path}")
    ran = world.run("sync")
    assert ran.code == 1
    assert "has no tables\n    hint: run: syncbroker db upgrade" in ran.err


def test_a_store_that_does_not_exist_is_not_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.folder / "nowhere.db"
    monkeypatch.setenv("SYNCBROKER_DATABASE_URL", f"sqlite:///{path}")
    ran = world.run("status")
    assert ran.code == 1
    assert "does not exist\n    hint: run: syncbroker db upgrade" in ran.err
    assert not path.exists()


def test_a_second_process_on_the_same_file_is_told_which_one_works(world: World) -> None:
    store = open_store(world.url)
    store.claim_process()
    ran = world.run("sync")
    assert ran.code == 1
    assert "is already working on" in ran.err
    assert "PostgreSQL" in ran.err
    assert world.run("status").code == 0  # looking is allowed
    store.close()


def test_a_full_disk_is_one_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy import event

    from syncbroker.store import database

    opening = database.open_store

    def small(url: str) -> database.Store:
        store = opening(url)

        @event.listens_for(store.engine, "connect")
        def _limit(connection: object, _record: object) -> None:
            connection.execute("PRAGMA max_page_count = 1")  # type: ignore[attr-defined]  # sqlite3's; it rounds up

        return store

    monkeypatch.setattr(database, "open_store", small)
    for n in range(200):
        world.systems["crm"].insert("people", {"email": f"p{n}@x.example", "name": f"Person {n}"})
    ran = world.run("sync")
    assert ran.code == 1
    assert "is full\n    hint: free some space" in ran.err
    assert "Traceback" not in ran.err


def test_the_program_runs_as_a_module_and_leaves_its_exit_code(world: World) -> None:
    assert world.finish("sync", "--json").json["records"] == {"person": 2}
    ran = world.finish("sync", "nosuch")
    assert ran.code == 2
    assert ran.out == ""
