"""Names of people: tidy, with plain apostrophes; given letter case only when they came without any.

A name is never taken apart, turned round or completed: only its owner knows its parts.
"""

from __future__ import annotations

from syncbroker.core.letter_case import capitalised, one_case
from syncbroker.core.text import Reader, skeleton, tidy_line
from syncbroker.core.types import Invalid, Value

_KNOWN: dict[str, str] = {
    "ii": "II", "iii": "III", "iv": "IV", "phd": "PhD",
    # Without a vowel, and yet no initials: a name, and forms of address.
    "ng": "Ng", "md": "Md", "mr": "Mr", "ms": "Ms", "dr": "Dr", "st": "St", "jr": "Jr", "sr": "Sr", "mc": "Mc",
}  # fmt: skip
_SMALL = frozenset(
    "van von vom zu zur der den dem de del della dei di da das do dos du des la le las los ter ten te el al af av "
    "bin bint ibn und".split()
)


def person_reader(fillers: frozenset[str]) -> Reader:
    """person_name: a whole name or a part of one. `O'BRIEN` -> `O'Brien`, `VAN DER BERG` -> `Van der Berg`."""

    def read(raw: object) -> Value | Invalid:
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        if not text or text.casefold() in fillers:
            return None
        text = text.replace("\u2019", "'")
        return (
            capitalised(text, known=_KNOWN, small=_SMALL, consonants=range(2, 3)) if one_case(text) else text
        )

    return read


def person_key(name: str) -> str:
    """Letters without case and accents, as one types them in a search box."""
    return skeleton(name) or name.casefold()
