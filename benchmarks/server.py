"""The CPU time of a PostgreSQL server on this machine, which is no part of the time of the process that uses it."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
from sqlalchemy import make_url


def plain(url: str) -> str:
    """The URL as the bare driver takes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


class Server:
    """Its processes, and those that it outlived. Always 0 for SQLite, and where `/proc` does not show the server."""

    def __init__(self, url: str) -> None:
        self._first = 0
        if url.startswith("postgresql"):
            with psycopg.connect(plain(url)) as connection:
                row = connection.execute("SELECT pg_backend_pid(), inet_server_addr() IS NULL").fetchone()
                if row and row[1]:  # on this machine: reached through a Unix socket
                    fields = _stat(row[0])
                    self._first = int(fields[1]) if fields else 0

    def seconds(self) -> float:
        if not self._first:
            return 0.0
        ticks = 0
        for pid in [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]:
            fields = _stat(pid)
            if fields and pid == self._first:
                ticks += sum(int(part) for part in fields[11:15])  # its own, and those of its ended children
            elif fields and int(fields[1]) == self._first:
                ticks += sum(int(part) for part in fields[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the command's name (proc(5)); the second is the parent's pid."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
