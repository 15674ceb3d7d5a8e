"""A process as others see it in the store: the leases it holds, the pushes in its hands, and whether it is to end.

A thread prolongs the leases every few seconds. When the process is killed they run out (`leases.TERM`), and
whoever comes next takes up what it had begun. On SQLite only one process works, so nothing of this is written:
what is held within the process is enough, and after a start nobody else can hold anything.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

import structlog
from uuid_utils.compat import uuid7

from syncbroker.errors import Retry, SyncbrokerError
from syncbroker.store import leases
from syncbroker.store.database import Store

BEAT = 5.0
"""Seconds between two prolongings: three may fail before a lease is over."""

FORGOTTEN = 3_600_000_000
"""How long (µs) the row of a process that is gone stays."""

_log = structlog.get_logger()


class Holder:
    """The leases of one process. Its threads exclude each other by name, too: a name is held once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.id = f"{socket.gethostname()[:40]}/{os.getpid()}/{uuid7().hex[-12:]}"
        self._alive = f"process:{self.id}"
        self._names: set[str] = set()
        self._lost: set[str] = set()
        self._hands: set[str] = set()
        self._lock = threading.Lock()
        self._beating: threading.Thread | None = None
        self._ended = threading.Event()
        self.halted = threading.Event()

    # ---- leases ----

    def take(self, name: str) -> bool:
        """Whether this thread has it now; never waits."""
        return bool(self.take_all([name]))

    def take_all(self, names: Iterable[str]) -> list[str]:
        """Those of the names that this thread has now, in one transaction; never waits."""
        with self._lock:
            free = [] if self.halted.is_set() else [name for name in names if name not in self._names]
            self._names.update(free)
            self._lost.difference_update(free)
        if self._store.single or not free:
            return free
        taken: list[str] = []
        try:
            self._live()
            with self._store.write() as tx:
                found = [name for name in free if leases.take(tx, name, self.id)]
            taken = found
        finally:
            self._drop(set(free).difference(taken))
        return taken

    def release(self, *names: str) -> None:
        """Free for others at once. A lease that cannot be given back for now runs out by itself."""
        self._drop(names)
        if self._store.single or not names:
            return
        try:
            with self._store.write() as tx:
                leases.release(tx, names, self.id)
        except SyncbrokerError as error:
            _log.warning("put off", work="release", error=error.message)

    @contextmanager
    def holding(self, *names: str) -> Iterator[str]:
        """The first of the names that is free, for the body; "" when none is."""
        taken = next((name for name in names if self.take(name)), "")
        try:
            yield taken
        finally:
            if taken:
                self.release(taken)

    @contextmanager
    def holding_all(self, names: Iterable[str]) -> Iterator[list[str]]:
        """Those of the names that are free, for the body."""
        taken = self.take_all(names)
        try:
            yield taken
        finally:
            self.release(*taken)

    def lost(self, name: str) -> bool:
        """Whether another process has a lease now that this one had taken: it was held up for too long."""
        with self._lock:
            return name in self._lost

    def others_hold(self, names: Iterable[str]) -> set[str]:
        """Those of the names that are held now, by this process or another one."""
        wanted = list(names)
        if self._store.single or not wanted:
            with self._lock:
                return self._names & set(wanted)
        with self._store.read() as tx:
            return leases.held(tx, wanted)

    # ---- pushes ----

    def announce(self) -> str:
        """The id under which pushes are claimed; others see from now on that it is alive."""
        if not self._store.single:
            self._live()
        return self.id

    @contextmanager
    def handling(self, keys: Iterable[str]) -> Iterator[None]:
        """Claimed pushes (by their keys) that are being written."""
        given = set(keys)
        with self._lock:
            self._hands |= given
        try:
            yield
        finally:
            with self._lock:
                self._hands -= given

    def abandoned(self, claims: Iterable[tuple[str, str]]) -> set[str]:
        """Of (holder, key) of claimed pushes the keys of those that nobody is at any more."""
        given = list(claims)
        with self._lock:
            hands = set(self._hands)
        others = {f"process:{holder}" for holder, _ in given if holder != self.id}
        alive = self.others_hold(others) if others and not self._store.single else set[str]()
        return {
            key
            for holder, key in given
            if (key not in hands if holder == self.id else f"process:{holder}" not in alive)
        }

    # ---- life ----

    def begin(self) -> bool:
        """Whether no other process worked when this one began to."""
        if self._store.single:
            return True
        self._live()
        with self._store.read() as tx:
            return not leases.others(tx, "process:", self.id)

    def _live(self) -> None:
        """Say that this process is alive, and go on saying so."""
        with self._lock:
            if self._beating is not None or self._ended.is_set():
                return
            self._beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            beating = self._beating
        with self._store.write() as tx:
            leases.forget(tx, "process:", FORGOTTEN)
            leases.take(tx, self._alive, self.id)
        beating.start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                self.beat()
            except SyncbrokerError as error:
                _log.warning("put off", work="heartbeat", error=error.message)
            except Exception:  # noqa: BLE001  # the next beat may succeed; without any, others take over, which is safe
                _log.exception("fault", work="heartbeat")

    def beat(self) -> None:
        """Prolong what is held; note what another process has taken meanwhile. What could not be given back is not
        held any more, and runs out."""
        with self._lock:
            before = set(self._names)
        with self._store.write() as tx:
            kept = leases.renew(tx, self.id, before | {self._alive})
            if self._alive not in kept:
                leases.take(tx, self._alive, self.id)
        with self._lock:
            lost = (before & self._names) - kept - self._lost
            self._lost |= lost
        if lost:
            _log.warning("lease lost", work="heartbeat", ids=sorted(lost))

    def check(self, name: str = "") -> None:
        """Retry when the process is to end, or has lost the lease: what is under way is given up here."""
        if self.halted.is_set():
            raise Retry("the process ends", hint="another one, or the next start, goes on")
        if name and self.lost(name):
            raise Retry("another process has taken this over", hint="it goes on there")

    def halt(self) -> None:
        """Long work ends at its next step, and nothing new is begun."""
        self.halted.set()

    def close(self) -> None:
        """Everything is free for others at once."""
        self.halt()
        with self._lock:
            beating, self._beating = self._beating, None
            self._names.clear()
        self._ended.set()
        if beating is None or self._store.single:
            return
        if beating.is_alive():
            beating.join(BEAT)
        try:
            with self._store.write() as tx:
                leases.release_all(tx, self.id)
        except SyncbrokerError as error:
            _log.warning("put off", work="release", error=error.message)

    def _drop(self, names: Collection[str]) -> None:
        with self._lock:
            self._names.difference_update(names)
            self._lost.difference_update(names)
