"""The unit of work, the bulk ways in and out, and every way in which a store cannot be used."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from syncbroker.errors import BadSetting, Retry, StoreUnusable
from syncbroker.store import bulk, database, runs, tables
from syncbroker.store.database import Store, Tx, open_store
from tests.support.rig import open_ready

FP = ["system", "object", "external_id", "fingerprint", "n"]


def put(store: Store, *ids: str, n: int = 1) -> None:
    with store.write() as tx:
        tx.insert(tables.fingerprints, FP, [("crm", "people", id_, b"x", n) for id_ in ids])


def ids(store: Store) -> list[str]:
    with store.read() as tx:
        return sorted(row.external_id for row in tx.run(tables.fingerprints.select()))


# ------------------------------------------------------------------------------------------ unit of work


class Holding:
    """Holds the transaction that is to tell of it, as a workspace does."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        tx.after.append(self.tell)

    def tell(self) -> None:
        """Nobody listens."""


def test_what_a_transaction_held_is_let_go_of_without_waiting_for_the_collector(store: Store) -> None:
    gc.disable()
    try:
        with store.write() as tx:
            held = weakref.ref(Holding(tx))
        del tx
        assert held() is None
    finally:
        gc.enable()


def test_what_a_transaction_wrote_is_there_afterwards(store: Store) -> None:
    put(store, "a", "b")
    assert ids(store) == ["a", "b"]


def test_an_error_undoes_the_whole_transaction(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        tx.insert(tables.fingerprints, FP, [("crm", "people", "a", b"x", 1)])
        raise ZeroDivisionError
    assert ids(store) == []


def test_numbers_are_consecutive_and_never_given_twice(store: Store) -> None:
    with store.write() as tx:
        assert list(tx.numbers("links", 3)) == [1, 2, 3]
        assert list(tx.numbers("runs", 1)) == [1]
    with store.write() as tx:
        assert list(tx.numbers("links", 2)) == [4, 5]


def test_writers_at_once_get_different_numbers(store: Store) -> None:
    got: list[int] = []

    def take() -> None:
        for _ in range(5):
            with store.write() as tx:
                got.extend(tx.numbers("links", 2))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(got) == list(range(1, 41))


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    store = open_store(f"sqlite:///{file}")
    with store.write() as tx:
        tx.connection.exec_driver_sql("CREATE TABLE t (id INTEGER)")
        modes = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}
    store.close()
    assert modes == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm"), 384)


def test_a_reader_sees_nothing_of_a_transaction_that_is_open(store: Store) -> None:
    with store.write() as tx:
        tx.insert(tables.fingerprints, FP, [("crm", "people", "a", b"x", 1)])
        assert ids(store) == []
    assert ids(store) == ["a"]


# ----------------------------------------------------------------------------------- bulk ways in and out


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([], []),
        (["a"], ["a"]),
        (["a", "zz", "c"], ["a", "c"]),
        (["'; --", "b\\", 'q"', "é", "\U0001f600"], ['q"', "é"]),
    ],
)
def test_a_lookup_finds_each_asked_value(store: Store, asked: list[str], found: list[str]) -> None:
    put(store, "a", "b", "c", 'q"', "é")
    with store.read() as tx:
        rows = tx.lookup(
            tables.fingerprints, ["external_id", "n"], "external_id", asked, system="crm", object="people"
        )
    assert sorted(row[0] for row in rows) == found


def test_a_lookup_takes_other_columns_as_fixed(store: Store) -> None:
    put(store, "a")
    with store.read() as tx:
        assert (
            tx.lookup(tables.fingerprints, ["n"], "external_id", ["a"], system="mkt", object="people") == []
        )


def test_a_lookup_takes_numbers_and_many_of_them(store: Store) -> None:
    rows = [(n, "crm", "people", f"id{n}", "person", None, "live", 0, "{}") for n in range(1, 1201)]
    with store.write() as tx:
        tx.insert(tables.links, [c.name for c in tables.links.columns], rows)
        found = tx.lookup(tables.links, ["n"], "n", [*range(5, 1200, 7), 2**62, -1])
    assert sorted(row[0] for row in found) == list(range(5, 1200, 7))


def test_inserting_again_is_an_error_or_ignored_or_replaces(store: Store) -> None:
    put(store, "a", n=1)
    row = [("crm", "people", "a", b"y", 2)]
    with store.write() as tx:
        tx.insert(tables.fingerprints, FP, row, conflict="ignore")
        assert tx.lookup(tables.fingerprints, ["n"], "external_id", ["a"])[0][0] == 1
        tx.insert(tables.fingerprints, FP, row, conflict="replace")
        assert tx.lookup(tables.fingerprints, ["n"], "external_id", ["a"])[0][0] == 2
    with pytest.raises(Exception, match=r"(?i)unique|wrote the same"), store.write() as tx:
        tx.insert(tables.fingerprints, FP, row)


def test_rows_are_changed_and_deleted_by_their_keys(store: Store) -> None:
    put(store, "a", "b")
    with store.write() as tx:
        tx.update(tables.fingerprints, ["system", "external_id"], ["n"], [(9, "crm", "b")])
        tx.delete(tables.fingerprints, ["system", "external_id"], [("crm", "a"), ("mkt", "b")])
    with store.read() as tx:
        assert [(r.external_id, r.n) for r in tx.run(tables.fingerprints.select())] == [("b", 9)]


def test_of_rows_with_one_key_the_last_stays(store: Store) -> None:
    put(store, "a", "b")
    keys = ["system", "object", "external_id"]
    with store.write() as tx:
        tx.update(tables.fingerprints, keys, ["n"], [(n, "crm", "people", "a") for n in (7, 8, 9)])
        rows = [("crm", "people", "b", b"\x00\xff", n) for n in (5, 6)]
        tx.insert(tables.fingerprints, FP, rows, conflict="replace")
    with store.read() as tx:
        found = tx.lookup(tables.fingerprints, ["external_id", "fingerprint", "n"], "system", ["crm"])
    assert sorted((id_, bytes(mark), n) for id_, mark, n in found) == [("a", b"x", 9), ("b", b"\x00\xff", 6)]


def test_more_than_one_statement_takes_is_sent_in_several(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST", 300)
    texts = list(bulk._json(["n"], [(n,) for n in range(100)]))
    assert len(texts) > 1
    assert max(map(len, texts)) <= 300
    put(store, *"abcdefg")
    with store.write() as tx:
        tx.update(tables.fingerprints, ["external_id"], ["n"], [(ord(id_), id_) for id_ in "abcdefg"])
    with store.read() as tx:
        found = tx.lookup(tables.fingerprints, ["external_id", "n"], "system", ["crm"])
    assert sorted(found) == [(id_, ord(id_)) for id_ in "abcdefg"]


def test_any_text_number_bytes_or_nothing_is_stored_as_it_is(store: Store) -> None:
    columns = ["id", "system", "dedupe", "received", "request", "attempts", "state", "body", "error"]
    texts = ['"quoted" \\ {curly}', "\x01\x1f\x7f\u2028", "🦊 ünïcödé", "", "null"]
    rows = [(2**62 + n, text, text, -n, text, n, text, text.encode(), None) for n, text in enumerate(texts)]
    with store.write() as tx:
        tx.insert(tables.deliveries, columns, rows)
        found = tx.lookup(tables.deliveries, columns, "attempts", range(len(rows)))
    assert sorted((*row[:7], bytes(row[7]), row[8]) for row in found) == sorted(rows)


def test_nothing_to_write_is_nothing_asked(store: Store) -> None:
    with store.write() as tx:
        tx.insert(tables.fingerprints, FP, [])
        tx.update(tables.fingerprints, ["n"], ["system"], [])
        tx.delete(tables.fingerprints, ["n"], [])


# ------------------------------------------------------------------------------------- stores not usable


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is not a database URL"),
        ("mysql://u:geheim@h/d", "a store on mysql is not supported"),
        ("oracle://x", "a store on oracle is not supported"),
    ],
)
def test_a_url_that_names_no_store_is_a_bad_setting(url: str, message: str) -> None:
    with pytest.raises(BadSetting, match=message) as told:
        open_store(url)
    assert "geheim" not in str(told.value)


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="does not exist"):
        open_store(f"sqlite:///{tmp_path / 'nowhere' / 'store.db'}")


def test_a_server_that_does_not_answer_is_told_without_its_password() -> None:
    store = open_store("postgresql://user:geheim@127.0.0.1:1/db")
    with pytest.raises(StoreUnusable, match="cannot be used") as told, store.read():
        pass
    assert "geheim" not in str(told.value)


def test_a_store_without_tables_says_so(store_url: str) -> None:
    store = open_store(store_url)
    with pytest.raises(StoreUnusable, match="has no tables"), store.read() as tx:
        runs.first_reads(tx)
    with pytest.raises(StoreUnusable, match="has no tables"), store.read() as tx:
        tx.lookup(tables.links, ["n"], "n", [1])
    store.close()


@pytest.mark.parametrize("content", [b"this is a letter and no database at all" * 40, b"\0" * 5000])
def test_a_file_that_is_no_database_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "store.db").write_bytes(content)
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    with pytest.raises(StoreUnusable, match="not a usable SQLite database"), store.read() as tx:
        runs.first_reads(tx)
    store.close()


def test_a_damaged_database_says_so(sqlite: Store, tmp_path: Path) -> None:
    put(sqlite, *(f"id{n:06}" for n in range(3000)))
    sqlite.close()
    path = tmp_path / "store.db"
    content = bytearray(path.read_bytes())
    content[4096 * 20 : 4096 * 200] = b"\xff" * len(content[4096 * 20 : 4096 * 200])
    path.write_bytes(content)
    store = open_store(f"sqlite:///{path}")
    with pytest.raises(StoreUnusable, match="not a usable SQLite database"):
        for table in tables.metadata.tables.values():
            with store.read() as tx:
                tx.run(table.select()).all()
    store.close()


def test_a_full_disk_is_told_and_nothing_of_the_transaction_stays(sqlite: Store) -> None:
    put(sqlite, "a")
    with pytest.raises(StoreUnusable, match=r"disk under .* is full") as told, sqlite.write() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        tx.insert(tables.fingerprints, FP, [("crm", "people", f"id{n}", b"x" * 900, n) for n in range(500)])
    assert "nothing is lost" in told.value.hint
    sqlite.engine.dispose()  # the limit was that connection's own
    assert ids(sqlite) == ["a"]
    put(sqlite, "b")


def test_a_read_only_store_says_so(sqlite: Store) -> None:
    """As root every file can be written to, so SQLite itself is told to refuse."""

    def refuse(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    event.listen(sqlite.engine, "connect", refuse)
    sqlite.engine.dispose()
    with pytest.raises(StoreUnusable, match="read-only"):
        put(sqlite, "a")
    assert ids(sqlite) == []


def test_a_store_that_another_process_writes_to_for_long_is_busy(
    sqlite: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_MS", 50)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    impatient = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    with pytest.raises(Retry, match="is busy"):
        put(impatient, "a")
    assert ids(impatient) == []  # readers are not in the way
    other.execute("ROLLBACK")
    other.close()
    put(impatient, "a")
    impatient.close()


def test_threads_that_read_and_then_write_wait_for_each_other(sqlite: Store) -> None:
    """A deferred transaction that reads first fails when another writer was quicker."""
    put(sqlite, "a", n=0)
    wrong: list[BaseException] = []

    def add() -> None:
        for _ in range(10):
            try:
                with sqlite.write() as tx:
                    ((n,),) = tx.lookup(tables.fingerprints, ["n"], "external_id", ["a"])
                    tx.update(tables.fingerprints, ["external_id"], ["n"], [(n + 1, "a")])
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test tells
                wrong.append(error)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []
    with sqlite.read() as tx:
        assert tx.lookup(tables.fingerprints, ["n"], "external_id", ["a"])[0][0] == 40


# ---------------------------------------------------------------------------------------- one process only


def test_a_second_process_on_one_file_is_refused_by_the_number_of_the_first(
    sqlite: Store, sqlite_url: str
) -> None:
    sqlite.claim_process()
    sqlite.claim_process()  # once more is nothing
    code = (
        "import sys; from syncbroker.errors import StoreUnusable; from syncbroker.store.database import open_store\n"
        "store = open_store(sys.argv[1])\n"
        "try:\n    store.claim_process()\nexcept StoreUnusable as error:\n    print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, sqlite_url], capture_output=True, text=True, check=True
    )
    assert f"process {os.getpid()} is already working" in told.stdout
    assert "hint: stop it first" in told.stdout


def test_the_file_is_free_again_once_its_process_let_go(sqlite: Store, sqlite_url: str) -> None:
    sqlite.claim_process()
    sqlite.close()
    other = open_ready(sqlite_url)
    other.claim_process()
    other.close()


def test_looking_needs_no_claim(sqlite: Store, sqlite_url: str) -> None:
    sqlite.claim_process()
    other = open_store(sqlite_url)
    put(other, "a")
    assert ids(other) == ["a"]
    other.close()


def test_a_postgresql_store_takes_any_number_of_processes(postgres_url: str) -> None:
    stores = [open_store(postgres_url) for _ in range(2)]
    for one in stores:
        one.claim_process()
        assert not one.single
        one.close()


def test_a_lock_file_that_cannot_be_made_is_told(
    sqlite: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(StoreUnusable, match=r"store\.db\.lock cannot be opened: Permission denied"):
        sqlite.claim_process()


def test_deciders_of_several_processes_take_turns(ready_postgres_url: str) -> None:
    stores = [open_ready(ready_postgres_url) for _ in range(2)]
    order: list[str] = []
    first_in, may_go = threading.Event(), threading.Event()

    def first() -> None:
        with stores[0].write() as tx:
            tx.serialise("decide")
            first_in.set()
            may_go.wait(10)
            order.append("first")

    def second() -> None:
        first_in.wait(10)
        with stores[1].write() as tx:
            may_go.set()
            tx.serialise("decide")
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert order == ["first", "second"]
    for one in stores:
        one.close()
