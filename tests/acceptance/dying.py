"""The command line of syncbroker, but for one thing: it dies by SIGKILL at the point that the file `die-at` names.

    stored     right after the commit that stored a delivery, before it is answered
    staged     right after the commit that put observations into the inbox
    decided    right after the commit of a decision
    answered   right after a vendor has answered a write, before anything of that is committed

Without the file nothing happens. The points are found from outside: every transaction's statements are overheard, and
what follows a vendor's answer is replaced.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import Engine as Database
from sqlalchemy import event

from syncbroker.cli.main import main
from syncbroker.engine import doubt, settle
from syncbroker.store.database import Store, Tx

COMMITS = {
    "stored": "INSERT INTO deliveries",
    "staged": "INSERT INTO inbox",
    "decided": "INSERT INTO decisions",
}

LIFE = 5_000_000
"""How long (µs) a create without an answer may still arrive at these vendors, which are on this machine."""

heard = threading.local()
write = Store.write
receipts = settle.receipts


def point() -> str:
    try:
        return Path("die-at").read_text().strip()
    except FileNotFoundError:
        return ""


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@contextmanager
def dying_write(self: Store) -> Iterator[Tx]:
    heard.statements = []
    with write(self) as tx:
        yield tx
    sought = COMMITS.get(point())
    if sought and any(statement.startswith(sought) for statement in heard.statements):
        die()


def dying_receipts(*given: Any, **more: Any) -> Any:
    if point() == "answered":
        die()
    return receipts(*given, **more)


def overhear(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
    if hasattr(heard, "statements"):
        heard.statements.append(statement)


if __name__ == "__main__":
    Store.write = dying_write  # type: ignore[method-assign]  # the point of this program
    settle.receipts = dying_receipts
    doubt.REQUEST_LIFE = LIFE
    event.listen(Database, "before_cursor_execute", overhear)
    main()
