"""Types that several threads decode for the first time at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest

from syncbroker.decoding import convert, decode, decoder

AT_ONCE = """
import sys, threading
import msgspec
from syncbroker.decoding import convert, decode

sys.setswitchinterval(1e-6)
PLAIN = {"inner": [{"id": "a", "fields": {}, "deeper": {"n": 1}}], "next": None}
BODY = msgspec.json.encode(PLAIN)


def shape():
    class Deeper(msgspec.Struct):
        n: int

    class Inner(msgspec.Struct):
        id: str
        fields: dict[str, object]
        deeper: Deeper | None = None

    class Outer(msgspec.Struct):
        inner: list[Inner]
        next: str | None

    return Outer, list[Inner]


for _ in range(50):
    outer, inner = shape()
    together = threading.Barrier(4)

    def first(turn):
        together.wait()
        if turn == 0:
            assert convert(PLAIN["inner"], inner)[0].deeper.n == 1
        else:
            assert decode(BODY, outer).inner[0].deeper.n == 1

    threads = [threading.Thread(target=first, args=(turn,)) for turn in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
print("all decoded")
"""


def test_threads_that_meet_a_type_at_the_same_moment_all_decode_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AT_ONCE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "all decoded\n", "")


class Place(msgspec.Struct):
    at: int


def test_a_type_has_one_decoder() -> None:
    assert decoder(Place) is decoder(Place)
    assert decoder(list[Place]) is decoder(list[Place])


def test_without_a_type_json_becomes_plain_values() -> None:
    assert decode(b'{"at": [1, null]}') == {"at": [1, None]}


@pytest.mark.parametrize("read", [lambda: decode('{"at": "x"}', Place), lambda: convert({"at": "x"}, Place)])
def test_another_shape_is_told(read: Callable[[], object]) -> None:
    with pytest.raises(msgspec.ValidationError, match="at"):
        read()
