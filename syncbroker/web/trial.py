"""Trying the way in, end to end, step by step.

A forged delivery and a genuine one are sent to our own public endpoint over real HTTP, and what became of the genuine
one is looked up in the store.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import select

from syncbroker.core.types import Micros
from syncbroker.errors import BadSetting, Unavailable
from syncbroker.sdk.connector import Delivery, Identifies, Samples
from syncbroker.store import tables
from syncbroker.store.database import Store
from syncbroker.web.webhooks import identity

TIMEOUT = 10.0
"""How long an answer of our own may take."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was tried. `told`: what happened."""

    step: str
    ok: bool
    told: str


def url_of(public: str, system: str) -> str:
    """Where a system's webhooks go, without a secret part. BadSetting when no vendor could reach it."""
    if not public:
        raise BadSetting(
            "the address under which vendors reach the broker is not known",
            hint="set SYNCBROKER_PUBLIC_URL to scheme and host, such as https://broker.example.com",
        )
    return f"{public.rstrip('/')}/webhooks/{system}"


def attempt(
    store: Store, connector: Samples, url: str, now: Micros, patience: float, sleep: Callable[[float], None]
) -> list[Step]:
    """The steps up to the first that fails. `patience`: seconds that a worker may take to deal with it."""
    genuine = connector.sample(url, now)
    steps = [_forged(genuine)]
    if steps[-1].ok:
        steps.append(_genuine(genuine))
    if steps[-1].ok:
        key, _ = identity(connector if isinstance(connector, Identifies) else None, genuine)
        steps += _followed(store, url.rpartition("/")[2], key, patience, sleep)
    return steps


def _forged(genuine: Delivery) -> Step:
    """A body that was not signed, to an address that is nobody's secret."""
    name = "a forged delivery is refused"
    path, _, last = genuine.url.rpartition("/")
    url = f"{path}/wrong-{len(last)}" if genuine.secret else genuine.url
    try:
        status, _ = _post(url, genuine.headers, genuine.body + b" ")
    except Unavailable as error:
        return Step(step=name, ok=False, told=error.message)
    return Step(step=name, ok=status == 401, told=f"answered {status}")


def _genuine(genuine: Delivery) -> Step:
    try:
        status, trace = _post(genuine.url, genuine.headers, genuine.body)
    except Unavailable as error:
        return Step(step="a genuine one is taken", ok=False, told=error.message)
    told = f"answered {status}, trace {trace or 'none: is it the broker that answers?'}"
    return Step(step="a genuine one is taken", ok=status == 200, told=told)


def _followed(
    store: Store, system: str, key: str, patience: float, sleep: Callable[[float], None]
) -> list[Step]:
    found = _state(store, system, key)
    if found is None:
        told = "it is not in this store: does the endpoint belong to another broker?"
        return [Step(step="it is stored", ok=False, told=told)]
    steps = [Step(step="it is stored", ok=True, told=f"delivery {found[0]}")]
    until = time.monotonic() + patience
    while found is not None and found[1] == "new" and time.monotonic() < until:
        sleep(0.1)
        found = _state(store, system, key)
    state = found[1] if found else "gone"
    told = "still new: is a worker running, and the system not paused?" if state == "new" else state
    return [*steps, Step(step="a worker deals with it", ok=state == "done", told=told)]


def _state(store: Store, system: str, key: str) -> tuple[int, str] | None:
    d = tables.deliveries.c
    with store.read() as tx:
        row = tx.run(select(d.id, d.state).where(d.system == system, d.dedupe == key)).first()
    return (row[0], row[1]) if row else None


def _post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
    """Status and trace. Unavailable without an answer; the URL, which may hold a secret, is not told."""
    at = urlsplit(url)
    make = http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection
    connection = make(at.hostname or "", at.port, timeout=TIMEOUT)
    try:
        connection.request("POST", at.path, body=body, headers=dict(headers))
        answer = connection.getresponse()
        answer.read(65_536)
        return answer.status, answer.getheader("x-syncbroker-trace", "")
    except (OSError, http.client.HTTPException) as error:
        where = f"{at.scheme}://{at.netloc}"
        raise Unavailable(
            f"{where} gave no answer: {type(error).__name__}: is `serve` running there?"
        ) from None
    finally:
        connection.close()
