from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core import values
from syncbroker.core.choices import NOT_BOOLEAN, UNKNOWN_CHOICE
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.tags import NOT_TAGS, join_tags, split_tags
from syncbroker.core.types import Type

SOURCES = ValueSpec(
    type=Type.CHOICE,
    choices=(("Website", "web", "online form"), ("Referral",), ("Unknown", "n/a"), ("2", "two")),
    out=(("Referral", "REF"), ("Unknown", "none")),
)


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        ("Website", "Website"),
        ("WEB", "Website"),
        (" online \u00a0 form ", "Website"),
        ("ref", "Referral"),
        ("unknown", "Unknown"),
        ("N/A", "Unknown"),
        ("none", "Unknown"),
        (2, "2"),
        (2.0, "2"),
        ("not provided", None),
        ("", None),
        (None, None),
        ("websit", UNKNOWN_CHOICE),
        (True, UNKNOWN_CHOICE),
    ],
    ids=ascii,
)
def test_a_choice_is_found_by_any_of_its_words(raw: object, becomes: object) -> None:
    assert values.canonical(SOURCES, raw) == becomes


@pytest.mark.parametrize(
    ("label", "sent"), [("Website", "Website"), ("Referral", "REF"), ("Unknown", "none")]
)
def test_a_choice_is_sent_in_the_systems_word(label: str, sent: str) -> None:
    assert values.render(SOURCES, label) == sent


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        (True, True),
        ("Yes", True),
        ("TRUE", True),
        ("on", True),
        (1, True),
        (1.0, True),
        ("0", False),
        ("n", False),
        ("off", False),
        ("unknown", None),
        ("", None),
        (2, NOT_BOOLEAN),
        ("subscribed", NOT_BOOLEAN),
        ("ja", NOT_BOOLEAN),
    ],
)
def test_a_boolean_is_read_from_the_usual_words(raw: object, becomes: object) -> None:
    assert values.canonical(ValueSpec(type=Type.BOOLEAN), raw) == becomes


def test_a_boolean_can_have_words_of_its_own() -> None:
    spec = ValueSpec(type=Type.BOOLEAN, out=(("true", "subscribed"), ("false", "unsubscribed")))
    assert values.canonical(spec, "Unsubscribed") is False
    assert values.render(spec, value=True) == "subscribed"


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        (["VIP", " beta ", "vip"], ("beta", "vip")),
        ([{"id": 1, "name": "VIP"}], ("vip",)),
        ([1, "a"], ("1", "a")),
        (["STRASSE", "Straße"], ("strasse", "straße")),
        (["none", "", None, "a"], ("a",)),
        ([], None),
        (["-"], None),
        ("n/a", None),
        (None, None),
        ("vip", NOT_TAGS),
        ([["a"]], NOT_TAGS),
        ([{"label": "x"}], None),
    ],
    ids=ascii,
)
def test_tags_are_a_set_without_letter_case(raw: object, becomes: object) -> None:
    assert values.canonical(ValueSpec(type=Type.TAGS), raw) == becomes


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("a, b ,,A", ("a", "b")),
        ('x, "y, z"', ("x", "y, z")),
        ('5" pipe, b', ('5" pipe', "b")),
        ("a\nb, c", ("a b", "c")),
        ("", None),
    ],
)
def test_a_text_of_tags_is_split_at_commas(text: str, tags: object) -> None:
    assert values.canonical(ValueSpec(type=Type.TAGS, transforms=("comma_list",)), text) == tags


@given(st.lists(st.text(alphabet='ab,;" ', min_size=1, max_size=6).map(str.strip).filter(bool), min_size=1))
def test_joining_tags_undoes_splitting_them(tags: list[object]) -> None:
    for separator in (",", ";"):
        joined = split_tags(join_tags(tags, separator), separator)
        assert [" ".join(tag.split()) for tag in joined] == [" ".join(str(tag).split()) for tag in tags]
