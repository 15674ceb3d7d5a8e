"""Opening the store and its unit of work. Everything above speaks `Tx`; the two dialects differ only in here.

SQLite runs in WAL mode with one writer: a transaction that may write begins IMMEDIATE, because a deferred one that
reads first fails when another writer was quicker. PostgreSQL runs READ COMMITTED with any number of writers; who keeps
to the records that it locked shares the lock `decide`, everybody else takes it alone (see `engine.sharing`).
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import orjson
from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from syncbroker.errors import BadSetting, Busy, Retry, StoreUnusable
from syncbroker.store import bulk, tables

BUSY_MS = 10_000

TRIES = 5
"""How often a transaction is tried when other processes are in its way."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Tx:
    """One transaction. `lookup`, `insert` and `update` are the bulk ways in and out; `run` takes any Core statement."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sqlite = connection.dialect.name == "sqlite"
        self.after: list[Callable[[], None]] = []  # done once all of it is committed, never after an error

    def run(self, statement: Any, parameters: Any = None) -> Any:
        return self.connection.execute(statement, parameters)

    def lookup(
        self, table: Table, columns: Sequence[str], key: str, values: Sequence[Any], **fixed: Any
    ) -> list[Any]:
        """Rows whose `key` is one of `values` and whose other columns equal `fixed`. One probe per value.

        SQLite plans `IN (list)` and plain joins from the wrong side; a CROSS JOIN from the list keeps the order.
        """
        if not values:
            return []
        picked = ", ".join(f"t.{name}" for name in columns)
        if self.sqlite:
            where = "".join(f" AND t.{name} = ?" for name in fixed)
            sql = f"SELECT {picked} FROM json_each(?) j CROSS JOIN {table.name} t WHERE t.{key} = j.value{where}"  # noqa: S608  # names come from our own tables
            arguments: tuple[Any, ...] = (orjson.dumps(list(values)).decode(), *fixed.values())
        else:
            where = "".join(f" AND t.{name} = %s" for name in fixed)
            # %b is binary: a long list as text costs ten times as much
            sql = f"SELECT {picked} FROM {table.name} t WHERE t.{key} = ANY(%b){where}"  # noqa: S608  # as above
            arguments = (list(values), *fixed.values())
        return self.rows(sql, arguments)

    def rows(self, sql: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows as the driver gives them, for what is asked often: a statement that `run` builds and whose columns
        it names costs ten times as much as fetching them. `sql` has a question mark for each argument."""
        result = self.connection.exec_driver_sql(sql if self.sqlite else _marked(sql), arguments)
        try:
            return list(result.cursor.fetchall())
        except self.connection.dialect.loaded_dbapi.Error as error:  # SQLite reads while it fetches
            raise DBAPIError(sql, None, error) from error
        finally:
            result.close()

    def insert(
        self,
        table: Table,
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        *,
        conflict: bulk.Conflict = "error",
    ) -> None:
        """`replace`: what another row has under the same primary key; of two of these rows the later one stays."""
        bulk.insert(self.connection, table, columns, rows, conflict)

    def update(
        self, table: Table, keys: Sequence[str], columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Rows are (*columns, *keys)."""
        bulk.update(self.connection, table, keys, columns, rows)

    def delete(self, table: Table, keys: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        bulk.delete(self.connection, table, keys, rows)

    def numbers(self, name: str, count: int) -> Sequence[int]:
        """`count` numbers of a sequence that were never given before, rising.

        SQLite counts in the table `sequences`. PostgreSQL has sequences of its own (`tables.NUMBERED`), because a row
        that counts would be locked until the transaction ends. So its numbers have gaps, and a lower one may become
        visible after a higher one; of one record they follow each other, for whoever decides it holds its row.
        """
        if not self.sqlite:
            rows = self.rows(
                "SELECT nextval(%s::text::regclass) FROM generate_series(1, %s)",
                (f"{tables.NUMBERS}{name}", count),
            )
            return [int(row[0]) for row in rows]
        sql = (
            "INSERT INTO sequences (name, last) VALUES (?, ?) ON CONFLICT (name) "
            "DO UPDATE SET last = sequences.last + excluded.last RETURNING last"
        )
        last = int(self.connection.exec_driver_sql(sql, (name, count)).scalar_one())
        return range(last - count + 1, last + 1)

    def serialise(self, name: str, *, shared: bool = False) -> None:
        """Wait until no other transaction holds `name`, and hold it until this one ends. SQLite has one writer anyway.

        `shared`: several may hold it at once, but none while one has it alone.
        """
        if not self.sqlite:
            lock = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
            self.connection.exec_driver_sql(f"SELECT {lock}(hashtext(%s))", (name,))

    def serialise_all(self, names: Iterable[str]) -> None:
        """The same for several, in their order: who takes them so can wait for each other in no ring."""
        for name in sorted(set(names)):
            self.serialise(name)

    def serialised(self, name: str) -> bool:
        """Hold `name` until this transaction ends if no other one does; whether it is held now."""
        if self.sqlite:
            return True
        return bool(self.rows("SELECT pg_try_advisory_xact_lock(hashtext(%s))", (name,))[0][0])


@cache
def _marked(sql: str) -> str:
    """The statement as psycopg wants it."""
    return sql.replace("?", "%s")


class Turns:
    """A lock that whoever waited longest gets next: a run of many chunks lets the others in between each two."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._taken = False

    def __enter__(self) -> None:
        mine = threading.Lock()
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine.acquire()
            self._waiting.append(mine)
        try:
            mine.acquire()
        except BaseException:  # such as Ctrl-C: the turn is handed on, now or when it comes
            with self._lock:
                gave_up = mine in self._waiting
                if gave_up:
                    self._waiting.remove(mine)
            if not gave_up:
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


class Store:
    """An open database. `write()` and `read()` give a `Tx` that commits on leaving, or rolls back on an error."""

    def __init__(self, engine: Engine, where: str) -> None:
        self.engine = engine
        self.where = where
        self._lock: int | None = None
        # SQLite's own waiting is a sleep that grows; threads of one process hand the turn on at once, in order
        self._turn: AbstractContextManager[Any] = Turns() if self.single else nullcontext()

    @property
    def single(self) -> bool:
        """Only one process works on it (SQLite)."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Tx]:
        with self._turn, translated(self.where), self.engine.connect() as connection:
            writing = connection.execution_options(writes=True)
            with writing.begin():
                tx = Tx(writing)
                yield tx
        after, tx.after = (
            tx.after,
            [],
        )  # it may hold the transaction: a circle would keep all of that in memory
        for tell in after:
            tell()

    @contextmanager
    def read(self) -> Iterator[Tx]:
        with translated(self.where), self.engine.connect() as connection, connection.begin():
            yield Tx(connection)

    def claim_process(self) -> None:
        """Make this the one process that works on a SQLite store (others may look and answer reviews).

        StoreUnusable names the process that already does. PostgreSQL takes any number.
        """
        path = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or not path or path == ":memory:" or self._lock is not None:
            return
        try:
            handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreUnusable(
                f"the lock file {path}.lock cannot be opened: {error.strerror}",
                hint="check the permissions of the file and folder",
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise StoreUnusable(
                f"process {other} is already working on {path}",
                hint="stop it first, or use PostgreSQL for several processes (SYNCBROKER_DATABASE_URL)",
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        self._lock = handle

    def close(self) -> None:
        self.engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def unhindered(work: Callable[_P, _T]) -> Callable[_P, _T]:
    """`work` is one transaction, and done again when another process was in its way."""

    @wraps(work)
    def patient(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        for _ in range(TRIES - 1):
            try:
                return work(*args, **kwargs)
            except Busy:
                continue
        return work(*args, **kwargs)

    return patient


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Database errors in the words of our tree. The driver's text never shows parameters."""
    try:
        yield
    except DBAPIError as error:
        raise _translate(error, where) from error
    except PoolTimeout as error:
        raise Busy(f"the store {where} is busy", hint="too much at once; try again") from error


def _translate(error: DBAPIError, where: str) -> Exception:
    text = str(error.orig)
    low = text.lower()
    kind = type(error.orig).__name__.lower()
    if "no such column" in low or "undefinedcolumn" in kind:
        return StoreUnusable(
            f"the store {where} has other tables than this release expects", hint="run: syncbroker db upgrade"
        )
    if "no such table" in low or "undefinedtable" in kind:
        return StoreUnusable(f"the store {where} has no tables", hint="run: syncbroker db upgrade")
    if "disk is full" in low or "no space left" in low or "diskfull" in type(error.orig).__name__.lower():
        return StoreUnusable(
            f"the disk under {where} is full", hint="free some space and start again; nothing is lost"
        )
    if "readonly" in low or "read-only" in low:
        return StoreUnusable(
            f"the store {where} is read-only", hint="check the permissions of the file and folder"
        )
    if "unable to open" in low:
        return StoreUnusable(
            f"the store {where} cannot be opened", hint="check that its folder exists and can be written"
        )
    if "not a database" in low or "malformed" in low:
        return StoreUnusable(
            f"{where} is not a usable SQLite database", hint="restore a backup, or name another file"
        )
    if "database is locked" in low or "deadlock" in low or "could not serialize" in low:
        return Busy(f"the store {where} is busy", hint="another process is writing; try again")
    if "locknotavailable" in type(error.orig).__name__.lower():
        return Retry(
            f"the store {where} is busy: something holds a table, or another upgrade is under way",
            hint="nothing was changed; try again, when less is going on",
        )
    if "uniqueviolation" in type(error.orig).__name__.lower():
        return Busy(f"the store {where} is busy", hint="two processes wrote the same at once; try again")
    if isinstance(error, OperationalError) or error.connection_invalidated:
        first = text.strip().splitlines()[0] if text.strip() else type(error.orig).__name__
        return StoreUnusable(
            f"the store {where} cannot be used: {first}", hint="is the database running and reachable?"
        )
    return error


def _make_private(_dialect: Any, _record: Any, arguments: list[str], _named: Any) -> None:
    """A new file is its owner's alone, as are the logs that SQLite keeps beside it; an old one stays as it is."""
    path = arguments[0]
    if path and path != ":memory:":
        with suppress(OSError):  # there already; or it cannot be made, which SQLite says itself
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def open_store(url: str) -> Store:
    """Open (SQLite: and create) the database at an SQLAlchemy URL. Does not create tables."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadSetting(
            "SYNCBROKER_DATABASE_URL is not a database URL", hint="for example sqlite:///syncbroker.db"
        ) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise BadSetting(
            f"a store on {parsed.get_backend_name()} is not supported", hint="use sqlite:/// or postgresql://"
        )
    where = parsed.render_as_string(hide_password=True)
    try:
        if parsed.get_backend_name() == "sqlite":
            if parsed.database and parsed.database != ":memory:":
                folder = Path(parsed.database).absolute().parent
                if not folder.is_dir():
                    raise StoreUnusable(
                        f"the folder {folder} does not exist", hint="make it, or name another file"
                    )
            waiting = {"timeout": BUSY_MS / 1000, "check_same_thread": False}
            engine = create_engine(
                parsed, pool_size=16, max_overflow=48, connect_args=waiting, hide_parameters=True
            )
            event.listen(engine, "do_connect", _make_private)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            waiting = {"connect_timeout": 10}
            engine = create_engine(
                parsed,
                pool_pre_ping=True,
                pool_size=8,
                max_overflow=24,
                connect_args=waiting,
                hide_parameters=True,
            )
    except NoSuchModuleError as error:
        raise BadSetting(
            f"no database driver for {parsed.drivername}", hint="use sqlite:/// or postgresql://"
        ) from error
    return Store(engine, where)


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 would begin by itself; we say how
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_MS}",
        "cache_size=-8192",
        "temp_store=MEMORY",
        "wal_autocheckpoint=16000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def create_all(store: Store) -> None:
    """All tables at once, for tests and throw-away stores; real ones are made by migrations."""
    with store.write() as tx:
        tables.metadata.create_all(tx.connection)
