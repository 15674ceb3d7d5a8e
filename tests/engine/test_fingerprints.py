from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core.types import Item
from syncbroker.engine import Source
from syncbroker.engine.fingerprints import fingerprints, mapped
from syncbroker.sdk.connector import ObjectSpec

PATHS = ("city", "email", "merge.last", "merge.first")
IN_LIST = (*PATHS, "phones.0")


def source(salt: int = 1, paths: tuple[str, ...] = PATHS) -> Source:
    return Source("crm", "people", ObjectSpec(name="people", fields={}), (), paths, salt)


def mark(fields: dict[str, Any] | bytes, paths: tuple[str, ...] = PATHS, **more: Any) -> bytes:
    return fingerprints(source(paths=paths), [Item(id="1", fields=fields, **more)])[0]


ANN = {
    "email": "ann@x.example",
    "city": "Bath",
    "merge": {"first": "Ann", "last": "Lee"},
    "phones": ["1", "2"],
}


@pytest.mark.parametrize(
    "change",
    [
        {"unmapped": 1},
        {"merge": {"first": "Ann", "last": "Lee", "unmapped": 1}},
        {"phones": ["1", "3"]},
    ],
)
@pytest.mark.parametrize("paths", [PATHS, IN_LIST])
def test_what_no_mapping_reads_does_not_count(change: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert mark(ANN | change, paths) == mark(ANN, paths)


@pytest.mark.parametrize(
    "change",
    [
        {"city": "York"},
        {"city": None},
        {"city": 1},
        {"email": "Bath", "city": "ann@x.example"},
        {"merge": {"first": "Ann", "last": "Li"}},
        {"merge": {"first": "Ann"}},
        {"merge": None},
    ],
)
@pytest.mark.parametrize("paths", [PATHS, IN_LIST])
def test_every_mapped_member_counts(change: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert mark(ANN | change, paths) != mark(ANN, paths)


@pytest.mark.parametrize("change", [{"phones": ["3", "2"]}, {"phones": []}, {"phones": "1"}])
def test_a_member_in_a_list_counts(change: dict[str, Any]) -> None:
    assert mark(ANN | change, IN_LIST) != mark(ANN, IN_LIST)


def test_a_key_that_is_the_whole_path_counts_even_beside_the_container() -> None:
    assert mark(ANN | {"merge.first": "Ann"}) != mark(ANN | {"merge.first": "Bob"})


def test_the_order_of_members_does_not_count() -> None:
    assert mark(dict(reversed(ANN.items()))) == mark(ANN)


def test_other_reading_rules_make_another_fingerprint() -> None:
    items = [Item(id="1", fields=ANN), Item(id="2", fields=b"{}")]
    assert not set(fingerprints(source(1), items)) & set(fingerprints(source(2), items))


def test_an_undecoded_record_is_taken_as_a_whole() -> None:
    assert mark(b'{"email":"a"}') == mark(b'{"email":"a"}') != mark(b'{"email":"b"}')


@pytest.mark.parametrize("more", [{"complete": False}, {"deleted": True}, {"merged_into": "2"}])
def test_what_is_not_the_whole_record_has_no_fingerprint(more: dict[str, Any]) -> None:
    assert mark(ANN, **more) == mark(b"{}", **more) == b""


def test_a_single_path_is_enough() -> None:
    found = [fingerprints(source(paths=("city",)), [Item(id="1", fields={"city": city})])[0] for city in "ab"]
    assert found[0] != found[1]


_VALUES = st.sampled_from([None, "", "a", "b", 1, 2]) | st.lists(st.sampled_from(["a", "b"]), max_size=2)
_MERGE = st.dictionaries(st.sampled_from(["first", "last", "other"]), _VALUES)
_KEYS = ["city", "email", "merge.first", "phones", "other"]
_ITEMS = st.builds(
    lambda flat, merge: flat | merge,
    st.dictionaries(st.sampled_from(_KEYS), _VALUES),
    st.fixed_dictionaries({}, optional={"merge": _MERGE | _VALUES}),
)


@given(_ITEMS, _ITEMS, st.sampled_from([PATHS, IN_LIST]))
def test_equal_fingerprints_mean_equal_mapped_members(
    one: dict[str, Any], other: dict[str, Any], paths: tuple[str, ...]
) -> None:
    if mark(one, paths) == mark(other, paths):
        assert mapped(source(paths=paths), one) == mapped(source(paths=paths), other)
