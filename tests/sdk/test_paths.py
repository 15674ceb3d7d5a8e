from __future__ import annotations

from typing import Any

import pytest

from syncbroker.sdk.paths import get_path, nested, set_path

RECORD = {"name": "x", "address": {"city": "Ulm", "zip": None}, "items": [{"price": 5}], "a.b": 1}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "x"),
        ("address.city", "Ulm"),
        ("address.zip", None),
        ("items.0.price", 5),
        ("items.0", {"price": 5}),
        ("a.b", 1),
        ("address.street", "none"),
        ("name.first", "none"),
        ("items.1.price", "none"),
        ("items.-1", "none"),
        ("items.x", "none"),
        ("", "none"),
        ("..", "none"),
    ],
)
def test_a_path_names_a_member_or_nothing(path: str, value: Any) -> None:
    assert get_path(RECORD, path, "none") == value


def test_setting_a_path_makes_the_objects_on_the_way() -> None:
    fields: dict[str, Any] = {"address": "a scalar", "kept": 1}
    set_path(fields, "address.city", "Ulm")
    assert fields == {"address": {"city": "Ulm"}, "kept": 1}


def test_values_by_path_become_a_nested_body() -> None:
    assert nested({"address.city": "Ulm", "address.zip": None, "name": "x"}) == {
        "address": {"city": "Ulm", "zip": None},
        "name": "x",
    }
