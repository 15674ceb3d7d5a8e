"""Letter case of names that came in capitals only or in small letters only.

Such a text says nothing about case, so both give the same result here. A text of mixed case was written by somebody who
cared (`eBay`, `McDonald's`, `van Gogh`) and never comes here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_SHELL = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL).fullmatch
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]?").fullmatch
_LETTER_AND_FIGURE = re.compile(r"[a-z]?[0-9]+[a-z]").fullmatch
_ORDINAL = re.compile(r"[0-9]*(?:1st|2nd|3rd|[0-9]th)").fullmatch
_JOINTS = re.compile(r"([-/&+.@_])")
_ELIDED = re.compile(r"([^\W\d_])(['\u2019])(.{2,})").fullmatch
_MC = re.compile(r"mc([^\W\d_]{3,}.*)").fullmatch


def one_case(text: str) -> bool:
    """Whether all cased letters are capitals, or all are small."""
    return text.isupper() or text.islower()


def capitalised(text: str, *, known: Mapping[str, str], small: frozenset[str], consonants: range) -> str:
    """Title case, word by word.

    `known`: words with a spelling of their own, by their small letters. `small`: words that stay small between others.
    `consonants`: how long a word without any vowel may be to count as an acronym ("hsbc" -> "HSBC").
    """
    words = _lower(text).split(" ")
    inner = range(1, len(words) - 1)
    titled = (
        word if at in inner and word in small else _word(word, known, consonants)
        for at, word in enumerate(words)
    )
    return unicodedata.normalize("NFC", " ".join(titled))


def _word(word: str, known: Mapping[str, str], consonants: range) -> str:
    shell = _SHELL(word)
    before, core, after = shell.groups() if shell else ("", word, "")
    if core in known:
        core = known[core]
    elif _INITIALS(core + after[:1]) or (_LETTER_AND_FIGURE(core) and not _ORDINAL(core)):
        core = _upper(core)
    elif len(core) in consonants and core.isascii() and core.isalpha() and not set(core) & set("aeiouy"):
        core = core.upper()
    else:
        core = "".join(_part(part) for part in _JOINTS.split(core))
    return before + core + after


def _part(part: str) -> str:
    if elided := _ELIDED(part):  # o'brien, d'artagnan; not macy's
        return _upper(elided[1]) + elided[2] + _part(elided[3])
    if mc := _MC(part):
        return "Mc" + _first_upper(mc[1])
    return _first_upper(part)


def _first_upper(text: str) -> str:
    return _upper(text[:1]) + text[1:]


def _upper(text: str) -> str:
    """Capitals, of the letters whose capital is one letter that leads back to them."""
    if text.isascii():
        return text.upper()
    return "".join(c.upper() if len(c.upper()) == 1 and c.upper().lower() == c else c for c in text)


def _lower(text: str) -> str:
    """Small letters, of the letters whose small form is one letter that leads back to them."""
    if text.isascii():
        return text.lower()
    return "".join(c.lower() if len(c.lower()) == 1 and c.lower().upper() == c else c for c in text)
