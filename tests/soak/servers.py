"""PostgreSQL and Redis that can be killed and started again on what they left."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from sqlalchemy.engine import URL

from tests.support import postgres, redis

START_SECONDS = 60.0

# Our end of its standard input closes with our process, even after kill -9; `-QUIT` is PostgreSQL's immediate stop.
_RUN = """
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses='' -c fsync=off -c synchronous_commit=on \
    -c full_page_writes=off -c max_connections=200 -c shared_buffers=64MB -c timezone=UTC &
cat
kill -QUIT $!
wait $!
"""


class Postgres:
    """Its socket is in a folder of its own. Commits survive the server's death, not the machine's: the log is written
    to the system before a commit is answered, and never synced to the disk."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="sb-soak-"))
        self._bin, self._user = postgres.programs(self.home)
        self._shell: subprocess.Popen[bytes] | None = None
        made = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [self._bin / "initdb", "-D", self.home / "data", "-U", "postgres", *made],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            cwd=self.home,
            env={"PATH": os.defpath, "LC_ALL": "C"},
        )
        self.start()
        with self.connect() as connection:
            connection.execute("CREATE DATABASE soak")

    @property
    def socket(self) -> Path:
        return self.home / ".s.PGSQL.5432"

    def url(self, host: str | None = None, port: int | None = None) -> str:
        """Of the soak's database, as the broker is given it; through `host` and `port` where a proxy listens."""
        if host is not None:
            return f"postgresql://postgres@{host}:{port}/soak"
        found = URL.create("postgresql", "postgres", database="soak", query={"host": str(self.home)})
        return found.render_as_string(hide_password=False)

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(f"host={self.home} user=postgres dbname={database}", autocommit=True)

    def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            self._shell = subprocess.Popen(
                ["sh", "-c", _RUN, "sh", str(self._bin), str(self.home)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.home,
                user=self._user,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """Stop at once, as a crash would: connections break, and the next start recovers from the log."""
        if self._shell is not None and self._shell.stdin is not None:
            self._shell.stdin.close()
            self._shell.wait()
            self._shell = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


def redis_command(port: int, folder: Path) -> list[str]:
    """A server that keeps nothing: what it held is gone when it dies."""
    kept = ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    return [str(redis.program()), "--bind", "127.0.0.1", "--port", str(port), *kept]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
