"""A way between two processes that can be cut: at any time, or exactly between a commit and its answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

WAIT = 0.05


class Proxy:
    """Listens on loopback and passes bytes on to `upstream`, a port on loopback or a Unix socket."""

    def __init__(self, upstream: int | Path) -> None:
        self.upstream = upstream
        self.cuts = 0
        self._lock = threading.Lock()
        self._armed = 0
        self._sought = b""
        self._refusing = False
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def arm(self, sought: bytes, times: int) -> None:
        """The next `times` requests that contain `sought` are passed on, and the connection is cut before their
        answer comes back."""
        with self._lock:
            self._sought, self._armed = sought, times

    def cut(self) -> None:
        """End every connection now."""
        with self._lock:
            found = list(self._open)
        for one in found:
            _end(one)

    def refuse(self, refusing: bool) -> None:
        """While refusing, new connections are closed at once."""
        self._refusing = refusing
        if refusing:
            self.cut()

    def close(self) -> None:
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # closed
                return
            if self._refusing:
                _end(client)
                continue
            try:
                server = self._connect()
            except OSError:
                _end(client)
                continue
            pair = _Pair(client, server)
            with self._lock:
                self._open |= {client, server}
            threading.Thread(target=self._ask, args=(pair,), daemon=True).start()
            threading.Thread(target=self._answer, args=(pair,), daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self.upstream, int):
            return socket.create_connection(("127.0.0.1", self.upstream), timeout=None)
        found = socket.socket(socket.AF_UNIX)
        found.connect(str(self.upstream))
        return found

    def _ask(self, pair: _Pair) -> None:
        for data in _parts(pair.client):
            with self._lock:
                if self._armed and self._sought in data:
                    self._armed -= 1
                    self.cuts += 1
                    pair.doomed = True
            with contextlib.suppress(OSError):
                pair.server.sendall(data)
        self._drop(pair)

    def _answer(self, pair: _Pair) -> None:
        for data in _parts(pair.server):
            if pair.doomed:  # it has been done there, and nobody here will hear of it
                break
            with contextlib.suppress(OSError):
                pair.client.sendall(data)
        self._drop(pair)

    def _drop(self, pair: _Pair) -> None:
        with self._lock:
            self._open -= {pair.client, pair.server}
        _end(pair.client)
        _end(pair.server)


class _Pair:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server, self.doomed = client, server, False


def _parts(source: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            data = source.recv(65_536)
        except OSError:
            return
        if not data:
            return
        yield data


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
