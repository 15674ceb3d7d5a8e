"""One measured phase in a process of its own, so that its CPU time and its peak memory are its own.

Setting up (imports, opening the store, reading the mapping, creating tables) is not counted, on any side.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
from importlib import import_module
from pathlib import Path

import msgspec

from benchmarks.job import Job, Measured

MODULES = {"broker": "broker", "core": "peers", "orm": "peers", "floor": "peers"}
"""Who is found in which module; a process loads no other, so that nobody's memory holds somebody else's code."""


def measure(job: Job) -> Measured:
    run = import_module(f"benchmarks.{MODULES.get(job.who, 'errands')}").prepare(job)
    server = import_module("benchmarks.server").Server(job.url)
    gc.freeze()  # as the broker's commands do; here for everybody
    base, before = _resident(), server.seconds()
    wall, cpu = time.perf_counter(), time.process_time()
    done, changed, counts = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Measured(
        wall=wall,
        cpu=cpu,
        server=server.seconds() - before,
        base=base,
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        done=done,
        changed=changed,
        counts=counts,
    )


def _resident() -> int:
    """Now, in kB, on Linux; elsewhere the most so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize() // 1024


if __name__ == "__main__":
    print(msgspec.json.encode(measure(msgspec.json.decode(sys.argv[1], type=Job))).decode())
