from __future__ import annotations

import pycountry
import pytest
from babel import Locale

from syncbroker.core import values
from syncbroker.core.countries import LANGUAGES, UNKNOWN_COUNTRY, country_codes3, country_names
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.types import Type

COUNTRY = ValueSpec(type=Type.COUNTRY)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("us", "US"),
        ("U. S. A.", "US"),
        ("The United States of America", "US"),
        ("840", "US"),
        (840, "US"),
        (36, "AU"),
        ("UK", "GB"),
        ("England", "GB"),
        ("great britain", "GB"),
        ("Deutschland", "DE"),
        ("ALLEMAGNE", "DE"),
        ("España", "ES"),
        ("Espana", "ES"),
        ("the Netherlands", "NL"),
        ("Nederland", "NL"),
        ("Holland", "NL"),
        ("Cote d'Ivoire", "CI"),
        ("Côte d\u2019Ivoire", "CI"),
        ("Türkei", "TR"),
        ("Czech Republic", "CZ"),
        ("Korea, Republic of", "KR"),
        ("Viet Nam", "VN"),
        ("Vietnam", "VN"),
        ("Brasil", "BR"),
        ("Kosovo", "XK"),
        ("NA", "NA"),
        ("n/a", None),
        ("Unknown", None),
        ("", None),
    ],
)
def test_a_country_is_known_by_its_codes_and_names(raw: object, code: str | None) -> None:
    assert values.canonical(COUNTRY, raw) == code


@pytest.mark.parametrize(
    "raw", ["Atlantis", "Unted States", "Korea", "Europe", "ZZ", 999, -1, 10**30, True, "1"]
)
def test_a_name_that_is_not_in_the_table_is_not_guessed(raw: object) -> None:
    assert values.canonical(COUNTRY, raw) == UNKNOWN_COUNTRY


def test_every_country_is_known_by_every_name_the_libraries_have_for_it() -> None:
    for country in pycountry.countries:
        written = [country.alpha_2, country.alpha_3, country.numeric, country.name, country.alpha_2.lower()]
        written += [
            getattr(country, "official_name", country.name),
            getattr(country, "common_name", country.name),
        ]
        written += [Locale(language).territories[country.alpha_2] for language in LANGUAGES]
        assert {values.canonical(COUNTRY, raw) for raw in written} == {country.alpha_2}


@pytest.mark.parametrize(
    ("transform", "sent"), [("country_name", "Germany"), ("country_alpha2", "DE"), ("country_alpha3", "DEU")]
)
def test_a_country_is_sent_as_the_system_wants_it(transform: str, sent: str) -> None:
    assert values.render(ValueSpec(type=Type.COUNTRY, transforms=(transform,)), "DE") == sent


@pytest.mark.parametrize("table", [country_names, country_codes3])
def test_names_and_codes_read_back_for_every_country(table: object) -> None:
    assert callable(table)
    assert {code: values.canonical(COUNTRY, word) for code, word in table().items()} == {
        code: code for code in table()
    }
