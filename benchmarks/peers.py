"""What the broker is compared with: what a team would write by hand to keep a copy of the same three files.

None of these matches records, decides fields or writes down why; each takes what the files say. The first two know
nothing of what changed, so their sweeps are their loads once more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import psycopg
import xxhash
from sqlalchemy import Column, Engine, MetaData, Table, Text, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks import world
from benchmarks.job import Job, Result
from benchmarks.server import plain
from benchmarks.world import FIELDS, PAGE, SYSTEMS, decode_id

CHUNK = 5000
COMMIT = 1000

Files = Mapping[str, Path]


def connect(url: str) -> Engine:
    """With the settings that the broker gives its own SQLite store."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "cache_size=-8192",
        "temp_store=MEMORY",
        "wal_autocheckpoint=16000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


# ------------------------------------------------------------------------------------ SQLAlchemy Core, in bulk

_core = MetaData()
_copies = {
    system: Table(
        f"core_{system}",
        _core,
        Column("id", Text, primary_key=True),
        *(Column(name, Text) for name in FIELDS),
    )
    for system in SYSTEMS
}


def core(engine: Engine, files: Files) -> int:
    """One table per system; lists of dicts in chunks, one statement, one transaction per file."""
    insert = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert
    seen = 0
    for system, path in files.items():
        statement = insert(_copies[system])
        statement = statement.on_conflict_do_update(
            index_elements=["id"], set_={name: statement.excluded[name] for name in FIELDS}
        )
        with path.open("rb") as lines, engine.begin() as connection:
            while rows := [orjson.loads(line) for line in islice(lines, CHUNK)]:
                connection.execute(statement, rows)
                seen += len(rows)
    return seen


# ------------------------------------------------------------------------------------- SQLAlchemy ORM, row by row


class _Base(DeclarativeBase):
    """The ORM script's tables."""


class _Person:
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    email: Mapped[str | None] = mapped_column(Text)
    first_name: Mapped[str | None] = mapped_column(Text)
    last_name: Mapped[str | None] = mapped_column(Text)
    company: Mapped[str | None] = mapped_column(Text)
    city: Mapped[str | None] = mapped_column(Text)
    phone: Mapped[str | None] = mapped_column(Text)
    plan: Mapped[str | None] = mapped_column(Text)
    notes: Mapped[str | None] = mapped_column(Text)


class _Crm(_Person, _Base):
    __tablename__ = "orm_crm"


class _Marketing(_Person, _Base):
    __tablename__ = "orm_marketing"


class _Billing(_Person, _Base):
    __tablename__ = "orm_billing"


_MODELS: dict[str, type[_Person]] = {"crm": _Crm, "marketing": _Marketing, "billing": _Billing}


def orm(engine: Engine, files: Files, sample: int) -> int:
    """`session.merge` for each of the first `sample` rows of each file; a commit after every thousand."""
    seen = 0
    for system, path in files.items():
        model = _MODELS[system]
        with path.open("rb") as lines, Session(engine) as session:
            for count, line in enumerate(islice(lines, sample), 1):
                session.merge(model(**orjson.loads(line)))
                seen += 1
                if count % COMMIT == 0:
                    session.commit()
            session.commit()
    return seen


# --------------------------------------------------------------------------------- the floor, on the bare driver

_RANGE = (
    "SELECT external_id, fingerprint FROM floor "
    "WHERE system = {0} AND object = {0} AND external_id BETWEEN {0} AND {0}"
)


class Floor:
    """What no sweep can do without: read the file, find the id, hash the line, join with what is stored.

    Nothing is written, nothing is made of what differs.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        if self._sqlite:
            self._connection: Any = sqlite3.connect(str(parsed.database), isolation_level=None)
            self._mark, blob, narrow = "?", "BLOB", " WITHOUT ROWID"
        else:
            self._connection = psycopg.connect(plain(url), autocommit=True)
            self._mark, blob, narrow = "%s", "BYTEA", ""
        self._connection.execute(
            f"CREATE TABLE IF NOT EXISTS floor (system TEXT, object TEXT, external_id TEXT, fingerprint {blob}, "
            f"PRIMARY KEY (system, object, external_id)){narrow}"
        )

    def fill(self, files: Files) -> int:
        """Put what the files say now into the narrow table."""
        mark = self._mark
        sql = (
            f"INSERT INTO floor VALUES ({mark}, {mark}, {mark}, {mark}) "
            "ON CONFLICT (system, object, external_id) DO UPDATE SET fingerprint = excluded.fingerprint"
        )
        self._connection.execute("BEGIN")
        seen = 0
        for system, path in files.items():
            for page in _marked(path):
                self._connection.cursor().executemany(sql, [(system, "people", *pair) for pair in page])
                seen += len(page)
        self._connection.execute("COMMIT")
        return seen

    def sweep(self, files: Files) -> tuple[int, int]:
        """How many records there are, and how many of them differ."""
        sql = _RANGE.format(self._mark)
        cursor = self._connection.cursor() if self._sqlite else self._connection.cursor(binary=True)
        seen = different = 0
        for system, path in files.items():
            for page in _marked(path):
                cursor.execute(sql, (system, "people", page[0][0], page[-1][0]))
                seen += len(page)
                different += len(set(page).difference(cursor.fetchall()))
        return seen, different


def _marked(path: Path) -> Iterator[list[tuple[str, bytes]]]:
    digest = xxhash.xxh3_128_digest
    with path.open("rb") as lines:
        while page := [(decode_id(line).id, digest(line)) for line in islice(lines, PAGE)]:
            yield page


def prepare(job: Job) -> Callable[[], Result]:
    paths = world.files(Path(job.folder))
    if job.who == "floor":
        floor = Floor(job.url)
        if job.what == "load":
            return lambda: (floor.fill(paths), 0, {})
        return lambda: (*floor.sweep(paths), {})
    engine = connect(job.url)
    if job.who == "core":
        _core.create_all(engine)
        return lambda: (core(engine, paths), 0, {})
    _Base.metadata.create_all(engine)
    return lambda: (orm(engine, paths, job.sample), 0, {})
