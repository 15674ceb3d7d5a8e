"""The vendors of the soak: one process that nobody kills. `python -m tests.soak.vendors FOLDER`.

It serves the simulators of `FOLDER/simulators.json` and says {name: url}; every write that it is sent becomes a line of
`FOLDER/NAME.writes.jsonl` at the moment at which the vendor handles it, whatever becomes of the answer.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import msgspec

from syncbroker.decoding import decode
from syncbroker.sdk.simulator import Request, Response, Simulator, serve
from syncbroker.sdk.simulator_server import Config, build
from tests.soak.world import TOKEN, Wrote, now

SENDERS = 8
"""Webhooks that each vendor delivers at once."""


def overhear(name: str, simulator: Simulator, kept: IO[bytes]) -> None:
    """Note each write; handlers run under the simulator's lock."""
    handle = simulator.handle

    def heard(request: Request) -> Response:
        operation, write, _ = simulator.operation(request)
        response = handle(request)
        if write:
            values = [value.decode() for value in re.findall(TOKEN, request.body)]
            key = request.headers.get("idempotency-key", "")
            wrote = Wrote(now(), name, operation, response.status, values, key)
            kept.write(msgspec.json.encode(wrote) + b"\n")
            kept.flush()
        return response

    simulator.handle = heard  # type: ignore[method-assign]  # the ear is on this one simulator


def main(folder: Path) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    config = decode((folder / "simulators.json").read_bytes(), Config)
    with ExitStack() as stack:
        urls = {}
        for setup in config.simulators:
            simulator = build(setup)
            simulator.senders = SENDERS
            kept = stack.enter_context((folder / f"{setup.name}.writes.jsonl").open("ab"))
            overhear(setup.name, simulator, kept)
            urls[setup.name] = stack.enter_context(serve(simulator, setup.port)).url
        sys.stdout.write(f"{msgspec.json.encode(urls).decode()}\n")
        sys.stdout.flush()
        while not stop.wait(1.0):
            continue


if __name__ == "__main__":
    main(Path(sys.argv[1]))
