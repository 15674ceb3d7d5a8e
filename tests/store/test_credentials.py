"""Stored credentials: several keys at once, and none of them in an error."""

from __future__ import annotations

import pytest

from syncbroker.errors import BadSetting
from syncbroker.store import credentials
from syncbroker.store.database import Store

OLD, NEW = (credentials.new_key().encode() for _ in range(2))


def test_what_was_put_comes_back(store: Store) -> None:
    with store.write() as tx:
        credentials.put(tx, [OLD], "TOKEN", "värde", 7)
        assert credentials.get(tx, [NEW, OLD], "TOKEN") == "värde"
        assert credentials.listed(tx) == [("TOKEN", 7)]


def test_after_rotating_the_newest_key_is_enough(store: Store) -> None:
    with store.write() as tx:
        for n in range(3):
            credentials.put(tx, [OLD], f"T{n}", str(n), n)
        assert credentials.rotate(tx, [NEW, OLD]) == 3
        assert [credentials.get(tx, [NEW], f"T{n}") for n in range(3)] == ["0", "1", "2"]


def test_rotating_without_the_key_of_one_changes_none(store: Store) -> None:
    with store.write() as tx:
        credentials.put(tx, [OLD], "A", "a", 1)
        credentials.put(tx, [NEW], "B", "b", 1)
    with pytest.raises(BadSetting, match="credential B opens with none"), store.write() as tx:
        credentials.rotate(tx, [OLD])
    with store.read() as tx:
        assert credentials.get(tx, [OLD], "A") == "a"


@pytest.mark.parametrize(
    "text", ["short", "x" * 44, f"{OLD.decode()},nonsense"], ids=["short", "long", "second"]
)
def test_what_is_no_key_is_named_by_its_place_and_not_shown(text: str) -> None:
    with pytest.raises(BadSetting) as told:
        credentials.parse_keys(text)
    assert text not in str(told.value)
    assert "nonsense" not in str(told.value)
    assert "of SYNCBROKER_KEYS is none" in str(told.value)


@pytest.mark.parametrize("name", ["", "a b", "${TOKEN}", "1TOKEN", "x" * 101, "A-B"])
def test_a_name_that_no_mapping_file_can_say_is_refused(name: str) -> None:
    with pytest.raises(BadSetting):
        credentials.check_name(name)
