"""Heads of the decisions' chains, written to a file that is kept elsewhere: what a store must still be able to show.

Whoever can change the database can also remove the whole log of a record, with its record; only a copy of the heads
that is out of reach tells. The file is appended to: each export is a block of JSON lines, a first one that says of
which store and when, one per chain, and one with the HMAC of the block. It holds no values and no ids, only keyed
hashes.
"""

from __future__ import annotations

import hmac
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from syncbroker.core.types import Micros
from syncbroker.decoding import decode
from syncbroker.errors import BadSetting, Reject
from syncbroker.store import chain
from syncbroker.store.chain import Head
from syncbroker.store.database import Store

LINE = 1000
"""The longest line that is read."""


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a block. `store`: a keyed hash that is the same for every export of one store. `by`: what
    signed it, "keys" (those of the environment) or "store" (its own key)."""

    store: str
    at: Micros
    by: str


class _Sum(msgspec.Struct, frozen=True, kw_only=True):
    chains: int
    hmac: str


_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode


def export(store: Store, file: Path, at: Micros, keys: Sequence[bytes]) -> tuple[int, chain.Broken | None]:
    """Append a block for all chains as they are now. (how many, the first broken one: then nothing is written).

    `keys`: the newest signs; none: the store's own key does.
    """
    with store.read() as tx:
        mac, _ = chain.stored_key(tx)
    if not mac:
        return 0, None
    first = Export(store=chain.hide(mac, "store"), at=at, by="keys" if keys else "store")
    signing = _signing(keys[0] if keys else mac)
    count = 0
    with file.open("ab") as to:
        begun = to.tell()

        def put(line: object) -> None:
            text = _encode(line) + b"\n"
            signing.update(text)
            to.write(text)

        put(first)
        for one in chain.walk(store):
            if one.broken is not None:
                to.truncate(begun)
                return 0, one.broken
            put(Head(name=chain.hide(mac, one.name), seal=one.seal, count=one.count, last=one.last))
            count += 1
        to.write(_encode(_Sum(chains=count, hmac=signing.hexdigest())) + b"\n")
    return count, None


def _signing(key: bytes) -> hmac.HMAC:
    return hmac.new(key, b"syncbroker heads\n", "sha256")


class Kept:
    """The newest block of a heads file, in a temporary database on disk: there may be very many."""

    def __init__(self, store: Store, file: Path, keys: Sequence[bytes]) -> None:
        """Reject for a file that is none, or was altered; BadSetting where its keys are not there."""
        with store.read() as tx:
            self._mac, _ = chain.stored_key(tx)
        self._keys = keys
        self._heads = sqlite3.connect("")
        self._heads.execute("CREATE TABLE heads (name TEXT PRIMARY KEY, seal TEXT, count INT, last INT)")
        self.export: Export | None = None
        with file.open("rb") as stream:
            for block in _blocks(stream, file.name):
                self._take(block, file.name)
        if self.export is None:
            raise Reject(
                f"{file.name} holds no heads", hint="make it with: syncbroker decisions --export-heads"
            )

    def _take(self, block: _Block, file: str) -> None:
        if self._mac and block.export.store != chain.hide(self._mac, "store"):
            raise Reject(f"{file} is of another store", hint="name the file that was exported from this one")
        if block.export.by == "keys" and not self._keys:
            hint = "set SYNCBROKER_KEYS to the keys that were there when it was exported"
            raise BadSetting(f"{file} is signed with keys that are not here", hint=hint)
        signers = self._keys if block.export.by == "keys" else [self._mac]
        sums = [_signing(key) for key in signers if key]
        self._heads.execute("DELETE FROM heads")
        rows = block.rows(sums)
        self._heads.executemany("INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?)", rows)
        if not any(hmac.compare_digest(one.hexdigest(), block.hmac) for one in sums):
            raise Reject(f"{file}: a block was altered, or signed with another key", hint="use another copy")
        self.export = block.export

    def take(self, name: str) -> Head | None:
        """The head of a chain by its hidden name, once."""
        row = self._heads.execute("DELETE FROM heads WHERE name = ? RETURNING *", (name,)).fetchone()
        return Head(name=row[0], seal=row[1], count=row[2], last=row[3]) if row else None

    def left(self) -> int:
        """How many chains are in the file and were not taken: their logs are gone from the store."""
        return int(self._heads.execute("SELECT COUNT(*) FROM heads").fetchone()[0])

    def close(self) -> None:
        self._heads.close()


class _Block:
    """One export while it is read: `hmac` is known when its rows were."""

    def __init__(self, first: bytes, lines: Iterator[bytes], file: str) -> None:
        self._first, self._lines, self._file = first, lines, file
        self.export = _decoded(first, Export, file)
        self.hmac = ""

    def rows(self, sums: Sequence[hmac.HMAC]) -> Iterable[tuple[str, str, int, int]]:
        _update(sums, self._first)
        for line in self._lines:
            if line.startswith(b'{"chains"'):
                self.hmac = _decoded(line, _Sum, self._file).hmac
                return
            _update(sums, line)
            head = _decoded(line, Head, self._file)
            yield head.name, head.seal, head.count, head.last
        raise Reject(f"{self._file} ends within an export", hint="export again, or use another copy")


def _update(sums: Sequence[hmac.HMAC], text: bytes) -> None:
    for one in sums:
        one.update(text)


def _blocks(stream: IO[bytes], file: str) -> Iterator[_Block]:
    lines = iter(lambda: stream.readline(LINE), b"")
    for first in lines:
        yield _Block(first, lines, file)


def _decoded(line: bytes, shape: type[_T], file: str) -> _T:
    try:
        return decode(line, shape)
    except msgspec.MsgspecError:
        raise Reject(f"{file} is no file of heads", hint="export again, or use another copy") from None
