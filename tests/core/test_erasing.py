"""Texts and bodies lose what belongs to one person, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from syncbroker.core.erasing import Needles

FOUND = Needles({"p000001", "12"}, {"ann@x.example", "Ängby", "abc"})


@pytest.mark.parametrize(
    "text",
    [
        "p000001",
        "crm:people:p000001",
        '{"id":"p000001"}',
        "ID=P000001&x",
        "12",
        "id 12,",
        "to ANN@X.EXAMPLE now",
        "email=ann%40x.example",
        '"\\u00c4ngby"',
    ],
)
def test_what_belongs_to_it_is_found(text: str) -> None:
    assert FOUND.within(text)


@pytest.mark.parametrize("text", ["", "p0000012", "xp000001", "123", "2012", "nn@x.example", "abc"])
def test_what_only_looks_like_it_is_not(text: str) -> None:
    assert not FOUND.within(text)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"a": "p000001", "b": "other"}, {"a": "(erased)", "b": "other"}),
        ({"p000001": 1, "q": 2}, {"q": 2}),
        (
            [{"name": "crm:people:p000001", "x": 1}, {"name": "crm:people:p000002"}],
            [{"name": "crm:people:p000002"}],
        ),
        ({"samples": [["ann@x.example"], ["bob"]]}, {"samples": [["bob"]]}),
        ({"n": 12, "none": None}, {"n": 12, "none": None}),
    ],
)
def test_a_body_loses_it_and_keeps_the_rest(body: Any, left: Any) -> None:
    assert FOUND.scrub(body) == left
