"""Several workers on one store, each with an engine and connections of its own, as processes have them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from syncbroker.bootstrap import build
from syncbroker.engine import Engine
from syncbroker.engine.decide import Decided, decide_chunk
from syncbroker.store import queues
from syncbroker.store.database import open_store
from syncbroker.store.queues import Sighting
from tests.support.rig import REGISTRY, Rig

SECONDS = 120
"""After so long a worker hangs; nothing is proven by it being quicker."""


@contextmanager
def crowd(rig: Rig, count: int) -> Iterator[list[Engine]]:
    url = rig.engine.store.engine.url.render_as_string(hide_password=False)
    with ExitStack() as stack:
        engines = []
        for _ in range(count):
            store = open_store(url)
            stack.callback(store.close)
            engine = build(rig.settings, store=store, now=rig.clock, environment={}, registry=REGISTRY)
            stack.callback(engine.close)
            engines.append(engine)
        yield engines


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """Their results. The first error of one of them is raised."""
    results: list[Any] = [None] * len(jobs)
    errors: list[BaseException] = []

    def work(n: int) -> None:
        try:
            results[n] = jobs[n]()
        except BaseException as error:  # noqa: BLE001  # raised below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(len(jobs))]
    for one in threads:
        one.start()
    for one in threads:
        one.join(SECONDS)
    if errors:
        raise errors[0]
    assert not any(one.is_alive() for one in threads), "a worker hangs"
    return results


def decide_all(engine: Engine, run: int = queues.LIVE, limit: int = 3) -> Decided:
    """In chunks so small that workers meet."""
    total = Decided()
    while (part := decide_chunk(engine, run, limit)).taken:
        total.add(part)
    return total


def told(rig: Rig, id_: str, fields: dict[str, Any], **given: Any) -> Sighting:
    """What a webhook with a version says of a person just now."""
    at = rig.clock()
    return Sighting(id=id_, fields=fields, stamp=at, begun=at, ended=at, via="webhook", **given)


def stage(rig: Rig, system: str, sightings: Sequence[Sighting], run: int = queues.LIVE) -> None:
    with rig.engine.store.write() as tx:
        queues.stage(tx, run, system, "people", sightings)
