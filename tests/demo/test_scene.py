"""An act's eyes: values of different vendors side by side, and expectations that end an act."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.demo.scene import plain


@pytest.mark.parametrize(
    ("what", "value", "shown"),
    [
        ("tags", "b;a", "a, b"),
        ("tags", ["b", "a"], "a, b"),
        ("tags", [{"id": 1, "name": "b"}, {"id": 2, "name": "a"}], "a, b"),
        ("tags", None, ""),
        ("phone", "+1 (206) 555-0101", "+12065550101"),
        ("consent", "Opted out", "unsubscribed"),
        ("consent", "subscribed", "subscribed"),
        ("vip", True, "true"),
        ("vip", "true", "true"),
        ("email", "Ann@X.example", "ann@x.example"),
        ("city", None, ""),
    ],
)
def test_what_vendors_write_differently_is_compared_as_one(what: str, value: Any, shown: str) -> None:
    assert plain(what, value) == shown
