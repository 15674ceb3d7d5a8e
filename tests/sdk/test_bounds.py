"""Nesting is measured as a decoder would find it, without decoding."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncbroker.sdk.bounds import too_deep

values = st.recursive(
    st.none() | st.integers() | st.text('[]{}"\\ab', max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('[]{}"', max_size=3), inner, max_size=3)
    ),
    max_leaves=20,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@example({"": []}, 1)
@given(values, st.integers(0, 6))
def test_depth_is_that_of_the_decoded_value(value: Any, most: int) -> None:
    assert too_deep(json.dumps(value).encode(), most) == (depth(value) > most)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"[" * 65 + b"]" * 65, b'{"a":' * 100, b'["[", ' + b"[" * 70]
)
def test_what_is_too_deep_is_found_even_where_it_never_ends(body: bytes) -> None:
    assert too_deep(body)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[" * 64 + b"]" * 64, b'"' + b"[" * 5000 + b'"', b"]]]]", b"\xff{"]
)
def test_what_is_not_is_left_to_the_decoder(body: bytes) -> None:
    assert not too_deep(body)
