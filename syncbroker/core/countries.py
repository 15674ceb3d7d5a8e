"""Countries: stored as ISO 3166-1 alpha-2, recognised by code and by the names people and systems write.

Names come from ISO (pycountry) and from CLDR (Babel) in the languages of `LANGUAGES`, compared without case, accents
and punctuation. There is no fuzzy search: a name that is not in the table is no country. Kosovo's user-assigned `XK` is
included, since vendors and CLDR use it.
"""

from __future__ import annotations

from functools import cache

import pycountry
from babel import Locale

from syncbroker.core.text import Reader, skeleton, tidy_line
from syncbroker.core.types import Invalid, Value

UNKNOWN_COUNTRY = Invalid("unknown country")

LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pt")

# What neither source has. "Korea" alone names two countries and is left out ("Congo" is ISO's own name for one of two).
_ALSO: dict[str, str] = {
    "u s a": "US", "u s": "US", "us of a": "US", "america": "US", "the states": "US", "ee uu": "US", "eeuu": "US",
    "eua": "US", "uk": "GB", "great britain": "GB", "britain": "GB", "england": "GB", "scotland": "GB",
    "wales": "GB", "northern ireland": "GB", "holland": "NL", "holanda": "NL", "olanda": "NL", "hollande": "NL",
    "republic of ireland": "IE", "eire": "IE", "el": "GR", "uae": "AE", "emirates": "AE", "ksa": "SA",
    "prc": "CN", "peoples republic of china": "CN", "mainland china": "CN", "roc": "TW", "south korea": "KR",
    "north korea": "KP", "dprk": "KP", "russia": "RU", "czech republic": "CZ", "slovak republic": "SK",
    "ivory coast": "CI", "burma": "MM", "swaziland": "SZ", "macedonia": "MK", "turkey": "TR", "cape verde": "CV",
    "east timor": "TL", "vatican": "VA", "holy see": "VA", "vatican city": "VA", "bosnia": "BA", "macau": "MO",
    "macao": "MO", "hong kong": "HK", "palestine": "PS", "drc": "CD", "dr congo": "CD",
    "democratic republic of congo": "CD", "republic of congo": "CG", "brasil": "BR", "deutschland": "DE",
    "kosovo": "XK", "xkx": "XK", "xk": "XK",
}  # fmt: skip


@cache
def country_names() -> dict[str, str]:
    """alpha-2 -> the name shown to people: CLDR's English one."""
    shown = Locale("en").territories
    names = {country.alpha_2: shown.get(country.alpha_2, country.name) for country in pycountry.countries}
    return names | {"XK": shown["XK"]}


@cache
def country_codes3() -> dict[str, str]:
    """alpha-2 -> alpha-3."""
    return {country.alpha_2: country.alpha_3 for country in pycountry.countries} | {"XK": "XKX"}


@cache
def _codes_by_word() -> dict[str, str]:
    """Skeleton of a name or code -> alpha-2. ISO's words win over English ones, those over other languages'."""
    words: dict[str, str] = {}
    for country in pycountry.countries:
        for attribute in ("alpha_2", "alpha_3", "numeric", "name", "official_name", "common_name"):
            if word := getattr(country, attribute, None):
                words.setdefault(skeleton(word), country.alpha_2)
    for word, code in _ALSO.items():
        words.setdefault(word, code)
    for language in LANGUAGES:
        shown = Locale(language).territories
        for code in country_names():
            if word := shown.get(code):
                words.setdefault(skeleton(word), code)
    return words


@cache
def _codes_as_written() -> dict[str, str]:
    """Codes and English names exactly as they are mostly written -> alpha-2."""
    names, codes3 = country_names(), country_codes3()
    return {
        **{code: code for code in names},
        **{code3: code for code, code3 in codes3.items()},
        **{name: code for code, name in names.items()},
    }


def country_reader(fillers: frozenset[str]) -> Reader:
    """country: alpha-2, from a code (alpha-2, alpha-3, numeric) or a name."""
    as_written, by_word = _codes_as_written(), _codes_by_word()

    def read(raw: object) -> Value | Invalid:
        if type(raw) is str and raw in as_written:
            return as_written[raw]
        if type(raw) is int:
            return by_word.get(f"{raw:03d}", UNKNOWN_COUNTRY) if 0 <= raw <= 999 else UNKNOWN_COUNTRY
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        if not text or text.casefold() in fillers:
            return None
        word = skeleton(text)
        return by_word.get(word) or by_word.get(word.removeprefix("the "), UNKNOWN_COUNTRY)

    return read
