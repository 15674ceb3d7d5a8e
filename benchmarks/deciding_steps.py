"""One step of `benchmarks.deciding` in a process of its own: it sets up, says so, waits for the word, is measured."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dramatiq
import msgspec
from dramatiq.brokers.redis import RedisBroker

from benchmarks import sink, world
from syncbroker.bootstrap import build
from syncbroker.core.types import Micros
from syncbroker.engine import cycle
from syncbroker.engine.decide import decide_chunk
from syncbroker.engine.deliver import deliver
from syncbroker.settings import Settings
from syncbroker.store import queues, schema
from syncbroker.store.database import open_store


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """`what`: load, stage, decide, drain, noop. `count`: people; `chunk`: how many at a time; `turn`: of which edit."""

    what: str
    url: str
    folder: str = ""
    count: int = 0
    chunk: int = 0
    turn: int = 0


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """When it began and ended, in seconds of the machine's monotonic clock; its CPU seconds; how many it did."""

    begun: float
    ended: float
    cpu: float
    done: int


Run = Callable[[], int]


def prepare(step: Step) -> Run:
    return _noop(step) if step.what == "noop" else _broker(step)


def _broker(step: Step) -> Run:
    store = open_store(step.url)
    if step.what == "load":
        schema.upgrade(store)
    settings = Settings(mappings=Path(step.folder), database_url=step.url)  # type: ignore[call-arg]  # the rest is usual
    engine = build(settings, store=store, environment={}, registry=sink.REGISTRY)

    def stage(system: str) -> None:
        at: Micros = engine.now()
        page = []
        for person in world.people(step.count):
            fields = {name: person[name] for name in world.FIELDS}
            if step.turn:
                fields["city"] = f"City {step.turn}"
            page.append(
                queues.Sighting(id=person["id"], fields=fields, stamp=at, begun=at, ended=at, via="webhook")
            )
        for start in range(0, len(page), 1000):
            with store.write() as tx:
                queues.stage(tx, queues.LIVE, system, "people", page[start : start + 1000])

    def load() -> int:
        cycle.activate(engine)
        for system in engine.mapping.systems:
            stage(system)
        return decide()

    def decide() -> int:
        done = 0
        while taken := decide_chunk(engine, queues.LIVE, step.chunk or 1000).taken:
            done += taken
        return done

    def drain() -> int:
        return sum(deliver(engine, "shop").written.values())

    def edit() -> int:
        stage("crm")
        return step.count

    return {"load": load, "stage": edit, "decide": decide, "drain": drain}[step.what]


def _noop(step: Step) -> Run:
    """One message per record, already waiting in Redis; the worker does nothing with it but count."""
    broker: dramatiq.Broker = RedisBroker(url=step.url)  # type: ignore[no-untyped-call]  # the library has no types there
    left, over = [step.count], threading.Event()
    lock = threading.Lock()

    @dramatiq.actor(broker=broker)
    def noop(number: int) -> None:
        del number
        with lock:
            left[0] -= 1
            if not left[0]:
                over.set()

    for number in range(step.count):
        noop.send(number)
    worker = dramatiq.Worker(broker, worker_threads=8)

    def run() -> int:
        worker.start()
        over.wait()
        return step.count

    return run


def main() -> None:
    run = prepare(msgspec.json.decode(sys.argv[1], type=Step))
    print("ready", flush=True)
    sys.stdin.readline()
    begun, cpu = time.monotonic(), time.process_time()
    done = run()
    took = Took(begun=begun, ended=time.monotonic(), cpu=time.process_time() - cpu, done=done)
    print(msgspec.json.encode(took).decode(), flush=True)


if __name__ == "__main__":
    main()
