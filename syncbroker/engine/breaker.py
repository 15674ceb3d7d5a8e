"""A system whose calls fail is left alone for a while, by every process: the state is in the store.

Reads and writes are counted apart, since a vendor may refuse one and allow the other. When the time is over, one
process tries once (half-open); the others go on waiting for what it finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from syncbroker.core.types import Micros
from syncbroker.engine import Engine
from syncbroker.errors import Retry, StoreUnusable, SyncbrokerError, Unauthorised
from syncbroker.store import runs
from syncbroker.store.runs import Breaker

AFTER = 5
"""From so many failures in a row on, a single call has to go well before others follow."""

PAUSE: Micros = 30_000_000
"""How long nobody calls then, and how long the one that tries has for it."""

REST: Micros = 5_000_000
"""How long reads rest after each failure before that, unless the vendor says longer. Writes rest one by one."""


def holds_back(at: Breaker, now: Micros) -> bool:
    """Whether calls are held back: nobody calls now, or one that tries has to go well before others follow."""
    return at.open_until > now or at.failures >= AFTER


def reads(system: str) -> str:
    """The name under which a system's reads are counted; that of its writes is the system's own."""
    return f"{system}/reads"


def closed(engine: Engine, name: str) -> str:
    """Why no calls may go now, "" when they may. After many failures, the caller is then the one that tries."""
    with engine.store.read() as tx:
        at = runs.breaker(tx, name)
    now = engine.now()
    if at.open_until > now:
        return at.message or "another process tries whether it answers again"
    if at.failures < AFTER:
        return ""
    with engine.store.write() as tx:
        mine = runs.try_breaker(tx, name, at, now + PAUSE)
    return "" if mine else at.message


def failed(engine: Engine, name: str, error: SyncbrokerError, *, rest: Micros = 0) -> None:
    """One more failure in a row. `rest`: the least time (µs) that nobody calls now."""
    delay = int(error.delay * 1_000_000) if isinstance(error, Retry) else rest or PAUSE
    with engine.store.write() as tx:
        many = runs.breaker(tx, name).failures + 1
        pause = max(PAUSE if many >= AFTER else rest, delay)
        after = Breaker(failures=many, open_until=engine.now() + pause, message=error.message)
        runs.set_breaker(tx, name, after)


def worked(engine: Engine, name: str) -> None:
    """A call went well: the count begins anew."""
    with engine.store.read() as tx:
        at = runs.breaker(tx, name)
    if at.failures:
        with engine.store.write() as tx:
            runs.set_breaker(tx, name, Breaker())


@contextmanager
def reading(engine: Engine, system: str, *, lasting: bool = True) -> Iterator[None]:
    """Reads from a system: what fails rests, what goes well ends the rest.

    `lasting`: any failure counts, not only one that time mends or that is about the credentials.
    """
    try:
        yield
    except StoreUnusable:
        raise
    except SyncbrokerError as error:
        if not engine.holder.halted.is_set() and (lasting or isinstance(error, (Retry, Unauthorised))):
            failed(engine, reads(system), error, rest=REST)
        raise
    worked(engine, reads(system))
