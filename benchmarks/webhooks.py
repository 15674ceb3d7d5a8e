"""Webhooks accepted per second, beside a bare Starlette handler that stores a row with a commit per request.

    python -m benchmarks.webhooks                                  # SQLite, 32 connections, 5 rounds of 5 seconds
    python -m benchmarks.webhooks --store both --json
    python -m benchmarks.webhooks --rounds 1 --seconds 1           # quick: does it run?

Both verify the same HMAC on the same uvicorn, and answer when the row is on the disk. Rounds are interleaved, in an
order that turns; a ratio is taken within a round, and its median counts. docs/benchmarks.md says more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from syncbroker.sdk.webhook import sign
from tests.support import postgres
from tests.support.toy_vendor import CREDENTIALS

ROOT = Path(__file__).parents[1]
REACH = {"sqlite": 2.5, "postgresql": 1.3}
REACH_P99_MS = 60.0
WARM_SECONDS = 0.5
MOST_PER_SECOND = 6000


class Taken(NamedTuple):
    """One contestant in one round: accepted per second, and how long an answer took (ms)."""

    rate: float
    p50: float
    p99: float


@contextmanager
def endpoint(who: str, url: str) -> Iterator[str]:
    """Where the contestant listens, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.endpoint", who, url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        where = process.stdout.readline().strip()
        if not where:
            raise SystemExit(f"the endpoint `{who}` did not start")
        yield where
    finally:
        if process.stdin:
            process.stdin.close()
        process.wait()


def requests(host: str, size: int, count: int) -> Iterator[bytes]:
    """Signed deliveries, each with another body, made before anything is measured."""
    made = time.time_ns()
    for n in range(count):
        body = b'[{"event": "%d-%d", "text": "%s"}]' % (made, n, b"x" * max(0, size - 50))
        sent = str(time.time_ns() // 1_000_000)
        signature = sign(CREDENTIALS["webhook_secret"], sent, ".", body)
        yield (
            f"POST /webhooks/crm HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"X-Toy-Time: {sent}\r\nX-Toy-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


class Vendor(asyncio.Protocol):
    """One connection: the next delivery as soon as the last one is answered. `spent`: (begun, seconds) of each."""

    def __init__(self, source: Iterator[bytes], until: float, over: Callable[[], None]) -> None:
        self.spent: list[tuple[float, float]] = []
        self._source, self._until, self._over = source, until, over
        self._answer, self._begun = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._begun = time.monotonic()
        following = next(self._source, None) if self._begun < self._until else None
        if following is None:
            self._transport.close()
        else:
            self._transport.write(following)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length):
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"an endpoint answered {head[:40]!r}")
            self.spent.append((self._begun, time.monotonic() - self._begun))
            self._answer = b""
            self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        self._over()


async def load(where: str, connections: int, seconds: float, size: int) -> Taken:
    """Send as fast as answers come, over so many connections, for so long."""
    at = urlsplit(where)
    source = iter(list(requests(at.netloc, size, int(seconds * MOST_PER_SECOND))))
    loop, begins = asyncio.get_running_loop(), time.monotonic() + WARM_SECONDS
    vendors, ended = list[Vendor](), asyncio.Semaphore(0)
    for _ in range(connections):
        vendors.append(Vendor(source, begins - WARM_SECONDS + seconds, ended.release))
        await loop.create_connection(lambda: vendors[-1], at.hostname or "", at.port or 0)
    for _ in vendors:
        await ended.acquire()
    found = [one for vendor in vendors for one in vendor.spent if one[0] >= begins]
    spent = sorted(one for _, one in found)
    return Taken(
        rate=len(spent) / (max(begun + one for begun, one in found) - begins),
        p50=spent[len(spent) // 2] * 1000,
        p99=spent[min(len(spent) - 1, int(len(spent) * 0.99))] * 1000,
    )


def compare(store: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds on one kind of store."""
    taken: dict[str, list[Taken]] = {"broker": [], "bare": []}
    with ExitStack() as stack:
        if store == "sqlite":
            urls = {who: f"sqlite:///{folder / who}.db" for who in taken}
        else:
            server = stack.enter_context(postgres.serve(durable=True))
            urls = {
                who: stack.enter_context(server.database()).render_as_string(hide_password=False)
                for who in taken
            }
        places = {who: stack.enter_context(endpoint(who, url)) for who, url in urls.items()}
        for number in range(options.rounds):
            for who in ("broker", "bare") if number % 2 else ("bare", "broker"):
                found = asyncio.run(load(places[who], options.connections, options.seconds, options.size))
                taken[who].append(found)
                print(
                    f"  {store} {who:6} {found.rate:7.0f}/s  p50 {found.p50:5.1f} ms  p99 {found.p99:5.1f} ms",
                    file=sys.stderr,
                )
    ratios = [ours.rate / theirs.rate for ours, theirs in zip(*taken.values(), strict=True)]
    return {
        "ratio": round(median(ratios), 2),
        "ratios": [round(one, 2) for one in ratios],
        "reach": REACH[store],
        **{
            who: {
                "per_second": round(median(one.rate for one in found)),
                "p50_ms": round(median(one.p50 for one in found), 1),
                "p99_ms": round(median(one.p99 for one in found), 1),
            }
            for who, found in taken.items()
        },
    }


def text(results: dict[str, dict[str, Any]]) -> str:
    lines = []
    for store, found in results.items():
        for who in ("broker", "bare"):
            one = found[who]
            told = f"{one['per_second']:,} accepted/s, p50 {one['p50_ms']} ms, p99 {one['p99_ms']} ms"
            lines.append(f"{store:10} {who:6} {told}")
        p99 = found["broker"]["p99_ms"]
        lines.append(
            f"{store:10} {found['ratio']}x (reach >= {found['reach']}x), p99 {p99} ms (<= {REACH_P99_MS:g})"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhooks", description=__doc__.split("\n")[0])
    parser.add_argument("--store", choices=["sqlite", "postgresql", "both"], default="sqlite")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one contestant in one round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--size", type=int, default=600, help="bytes of a body")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--folder", type=Path, default=None, help="where the SQLite files go")
    options = parser.parse_args()
    results = {}
    for store in ("sqlite", "postgresql") if options.store == "both" else (options.store,):
        with tempfile.TemporaryDirectory(prefix="sb-bench-", dir=options.folder) as name:
            results[store] = compare(store, options, Path(name))
    whole = {"python": platform.python_version(), "cpus": os.cpu_count(), "stores": results}
    print(json.dumps(whole, indent=2) if options.json else text(results))


if __name__ == "__main__":
    main()
