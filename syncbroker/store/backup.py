"""A SQLite store copied while it is worked on, and put back. PostgreSQL has tools of its own for both.

A copy is the state of one moment: a reading transaction is open while it is made, so that writers neither wait for it
nor change it. It is checked before it gets its name, and its name is given at once or not at all.

What happened after a backup is unknown to the store that is put back. `mark` writes that down: writes that were under
way have an unknown outcome, and every object is read whole before it is polled again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from syncbroker.core.types import Micros
from syncbroker.errors import StoreUnusable
from syncbroker.store import audit, schema, tables
from syncbroker.store.database import Store, Tx

PAGES = 2_000
"""Pages copied in one step, about 8 MB."""

Progress = Callable[[int, int], None]
"""(pages copied in this step, pages in all)."""


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A checked copy. `version` is that of its tables, `size` in bytes."""

    file: str
    version: str
    size: int


def unwatched(_step: int, _total: int) -> None:
    """Nobody looks."""


def path_of(store: Store) -> Path:
    """The file of a SQLite store. StoreUnusable for another one, with the commands that it has instead."""
    path = store.engine.url.database
    if not store.single:
        name = store.engine.url.set(drivername="postgresql", password=None).render_as_string()
        raise StoreUnusable(
            "a PostgreSQL store is backed up by PostgreSQL",
            hint=f"pg_dump --format=custom --file=FILE --dbname='{name}', and back with: pg_restore --clean "
            f"--if-exists --single-transaction --dbname='{name}' FILE, then: syncbroker restore --mark",
        )
    if not path or path == ":memory:":
        raise StoreUnusable("a store in memory has no file", hint="name a file in SYNCBROKER_DATABASE_URL")
    return Path(path)


def make(store: Store, file: Path, progress: Progress = unwatched) -> Backup:
    """Copy the store into a new file that only its owner can read."""
    source = path_of(store)
    if file.exists():
        raise StoreUnusable(f"{file} exists already", hint="name a new file; a backup is never written over")
    with _part(file) as part:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(part)) as new:
            old.execute("BEGIN")
            old.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()  # from here on it sees this moment
            _copy(old, new, progress)
            new.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        version = verify(part)
        _named(part, file)
    return Backup(file=str(file), version=version, size=file.stat().st_size)


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, progress: Progress) -> None:
    last = 0

    def step(_status: int, remaining: int, total: int) -> None:
        nonlocal last
        progress(total - remaining - last, total)
        last = total - remaining

    try:
        old.backup(new, pages=PAGES, progress=step)
    except sqlite3.Error as error:
        raise StoreUnusable(f"the copy broke off: {error}", hint="is there room on the disk?") from error


def verify(file: Path) -> str:
    """The version of a copy's tables. StoreUnusable when it is damaged, or no store that this release knows."""
    if not file.is_file():
        raise StoreUnusable(f"there is no file {file}")
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as found:
            (said,) = found.execute("PRAGMA integrity_check(1)").fetchone()
            row = (
                found.execute("SELECT version_num FROM alembic_version").fetchone() if said == "ok" else None
            )
    except sqlite3.Error as error:
        raise StoreUnusable(
            f"{file} is no usable copy of a store: {error}", hint="try an older one"
        ) from error
    if said != "ok" or row is None:
        raise StoreUnusable(f"{file} is damaged: {said}", hint="try an older one")
    version = str(row[0])
    try:
        ScriptDirectory.from_config(schema.config()).get_revision(version)
    except CommandError:
        raise StoreUnusable(
            f"{file} is at version {version}, which this release does not know",
            hint="use the release that made it, or a newer one",
        ) from None
    return version


def put_back(store: Store, file: Path, person: str, now: Micros) -> Path | None:
    """Make a copy the store, and `mark` it. Returns where the old one was moved, if there was one.

    The caller has claimed the process (`Store.claim_process`). StoreUnusable while anybody else has the store open.
    """
    target = path_of(store)
    verify(file)
    store.engine.dispose()  # a connection of ours would look like somebody else's
    aside = None
    with _part(target) as part:
        url = f"{file.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(url, uri=True)) as old, closing(sqlite3.connect(part)) as new:
            _copy(old, new, unwatched)
        if target.exists():
            _alone(target)
            stamp = datetime.fromtimestamp(now / 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
            aside = target.with_name(f"{target.name}.before-{stamp}")
            for end in (
                "-wal",
                "-shm",
                "",
            ):  # a log that is left beside another file would be taken for its own
                found = target.with_name(f"{target.name}{end}")
                if found.exists():
                    found.rename(aside.with_name(f"{aside.name}{end}"))
        _named(part, target)
    if schema.current(store) == schema.head():
        with store.write() as tx:
            mark(tx, person, now, {"file": file.name})
    return aside


def mark(tx: Tx, person: str, now: Micros, body: dict[str, str]) -> None:
    """The store is an older one than the systems have seen: what it believes is under way is not."""
    o, c = tables.outbox, tables.cursors
    tx.run(o.update().where(o.c.state == "claimed").values(state="unknown", due=0))
    tx.run(c.update().values(rules=None))  # read whole, as after a change of the reading rules
    tx.run(tables.leases.delete())
    audit.note(tx, now, person, "restore", "store", body)


def _alone(target: Path) -> None:
    """Fold the log into the file, which only the last one who has it open can. StoreUnusable when that is not us."""
    try:
        with closing(sqlite3.connect(target, timeout=1)) as found:
            found.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            raise StoreUnusable(
                f"another process has {target} open", hint="stop every serve, also those without a worker"
            ) from None
        # a damaged store is what a restore is for: it is moved aside as it is


@contextmanager
def _part(file: Path) -> Iterator[Path]:
    """A file beside the one to be made, 0600 from the start; gone afterwards unless it was given its name."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        yield part
    except OSError as error:
        raise StoreUnusable(
            f"{file} cannot be written: {error.strerror}", hint="name another folder"
        ) from error
    finally:
        for left in (part, part.with_name(f"{part.name}-journal")):
            left.unlink(missing_ok=True)


def _named(part: Path, file: Path) -> None:
    """Give a finished file its name, on the disk and not only in memory; what has the name already stays."""
    _sync(part)
    os.link(part, file)
    part.unlink()
    _sync(file.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
