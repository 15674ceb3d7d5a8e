"""Processes that die between two transactions, on a stage that can be set up again and again.

The systems are put back to how they began, and each run gets a store of its own, so that one world serves many runs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from syncbroker.engine import Engine
from syncbroker.store.database import Store, Tx
from tests.support.rig import Rig, open_ready
from tests.support.toy_vendor import ToySimulator

THIRDS = [pytest.param(0, id="a third"), *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))]
"""For a test that tries every place to die: the first third is for every day, the others for the slow tests."""


class Killed(BaseException):
    """kill -9, as near as one process can come to it: nothing may catch it."""


@dataclass
class Death:
    """At which commit (of those that change anything) the process dies, and whether it is still made. 0: it lives."""

    at: int
    after: bool
    commits: int = 0
    writes: list[int] = field(default_factory=list)
    """How many requests to write the systems had got at each commit."""


@contextmanager
def dying(death: Death, world: Rig) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        real: Callable[[Store], Any] = Store.write

        @contextmanager
        def write(self: Store) -> Iterator[Tx]:
            with real(self) as tx:
                driver = tx.connection.connection.dbapi_connection
                before = driver.total_changes
                yield tx
                changes = driver.total_changes > before
                death.commits += changes
                if changes:
                    death.writes.append(world.writes())
                if changes and death.commits == death.at and not death.after:
                    raise Killed
            if changes and death.commits == death.at and death.after:
                raise Killed

        patch.setattr(Store, "write", write)
        yield


class Stage:
    """One world whose systems can be put back to how they began; each run gets a store of its own."""

    def __init__(self, world: Rig, folder: Path) -> None:
        self.world, self.folder, self.runs = world, folder, 0
        self._begin = {name: state_of(one) for name, one in world.systems.items()}

    def again(self) -> Engine:
        for name, one in self.world.systems.items():
            one.__dict__.update(copy.deepcopy(self._begin[name]))
            one.log.clear()
        self.runs += 1
        store = open_ready(f"sqlite:///{self.folder / f'{self.runs}.db'}")
        return replace(self.world.engine, store=store, shapes={})

    def end(self) -> Any:
        """What the systems hold: values without ids or versions, and how many records were made."""
        found = {}
        for name, one in self.world.systems.items():
            held = [
                {k: sorted(v) if isinstance(v, list) else v for k, v in record["fields"].items()}
                for record in one.records("people")
            ]
            found[name] = (sorted(held, key=lambda fields: str(fields["email"])), one._counts["people"])
        return found


def state_of(simulator: ToySimulator) -> dict[str, Any]:
    names = ("_live", "_shown", "_gone", "_history", "_jobs", "_counts")
    return copy.deepcopy({name: getattr(simulator, name) for name in names})
