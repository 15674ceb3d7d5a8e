"""Names of companies: one spelling per legal form, one key for all spellings.

The name keeps its legal form (`acme corp` -> `Acme Corporation`), since that is part of the name. The key drops it, so
that `ACME`, `Acme Corp` and `Acme Corporation` meet; which of them names the company is for the alias table, else for
the longest variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

from syncbroker.core.letter_case import capitalised, one_case
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.text import Reader, skeleton, tidy_line
from syncbroker.core.types import Invalid, Value

# Legal forms at the end of a name, small letters, no commas -> the form that is kept. A key without dots also stands
# for its dotted spellings. Forms that are words of their own (spa, ev, pc, na) count only with their dots.
_FORMS: dict[str, str] = {
    "corp": "Corporation", "corporation": "Corporation", "inc": "Inc.", "incorporated": "Inc.", "co": "Co.",
    "ltd": "Ltd.", "limited": "Ltd.", "llc": "LLC", "llp": "LLP", "lllp": "LLLP", "pllc": "PLLC", "lp": "LP",
    "plc": "PLC", "p.c.": "P.C.", "n.a.": "N.A.", "pty ltd": "Pty Ltd", "pty limited": "Pty Ltd",
    "proprietary limited": "Pty Ltd", "pte ltd": "Pte Ltd", "pte limited": "Pte Ltd", "pvt ltd": "Pvt Ltd",
    "pvt limited": "Pvt Ltd", "private limited": "Pvt Ltd", "sdn bhd": "Sdn Bhd",
    "gmbh": "GmbH", "mbh": "mbH", "ggmbh": "gGmbH", "ag": "AG", "kg": "KG", "ohg": "OHG", "ug": "UG", "kgaa": "KGaA",
    "e.k.": "e.K.", "e.v.": "e.V.", "eg": "eG", "se": "SE", "& co kg": "& Co. KG", "& co. kg": "& Co. KG",
    "sa": "S.A.", "sas": "SAS", "sasu": "SASU", "sarl": "SARL", "s.à r.l.": "SARL", "s.à.r.l.": "SARL", "eurl": "EURL",
    "srl": "S.r.l.", "s.p.a.": "S.p.A.", "sa de cv": "S.A. de C.V.", "s.a. de c.v.": "S.A. de C.V.", "ltda": "Ltda.",
    "lda": "Lda.", "slu": "S.L.U.", "sl": "S.L.", "bv": "B.V.", "nv": "N.V.", "bvba": "BVBA",
    "ab": "AB", "as": "AS", "a/s": "A/S", "aps": "ApS", "asa": "ASA", "oy": "Oy", "oyj": "Oyj",
    "kft": "Kft.", "zrt": "Zrt.", "a.s.": "a.s.", "s.r.o.": "s.r.o.", "d.o.o.": "d.o.o.", "sp. z o.o.": "sp. z o.o.",
    "sp z oo": "sp. z o.o.", "kk": "K.K.", "k.k.": "K.K.",
}  # fmt: skip
_LONGEST_FORM = max(len(form.split()) for form in _FORMS)
_NO_NAME = frozenset(["", "the", "a", "an", "and", "&", "of"])

_KNOWN: dict[str, str] = {
    "ibm": "IBM", "sap": "SAP", "aol": "AOL", "amd": "AMD", "aig": "AIG", "adp": "ADP", "asml": "ASML", "at&t": "AT&T",
    "basf": "BASF", "bae": "BAE", "bp": "BP", "dhl": "DHL", "eon": "E.ON", "e.on": "E.ON",
    "ge": "GE", "ing": "ING", "ubs": "UBS", "ups": "UPS", "usa": "USA", "uk": "UK", "eu": "EU",
    "ai": "AI", "hr": "HR", "tv": "TV", "usps": "USPS", "ikea": "IKEA", "nasa": "NASA", "nec": "NEC", "aws": "AWS",
    "seo": "SEO", "b2b": "B2B", "ebay": "eBay", "paypal": "PayPal", "github": "GitHub",
    "youtube": "YouTube", "linkedin": "LinkedIn", "hubspot": "HubSpot", "jpmorgan": "JPMorgan", "fedex": "FedEx",
    # Without a vowel, and yet no acronyms.
    "st": "St", "mr": "Mr", "mrs": "Mrs", "dr": "Dr", "jr": "Jr", "sr": "Sr", "mt": "Mt", "ft": "Ft", "mfg": "Mfg",
    "mgmt": "Mgmt", "svcs": "Svcs", "intl": "Intl", "grp": "Grp", "ctr": "Ctr", "bldg": "Bldg",
}  # fmt: skip
_SMALL = frozenset(
    "a an and at by de del der des di du et for für im in la le mit of on or the to und van von with".split()
)


def standard_name(text: str) -> str:
    """A tidy name with its legal form in the kept spelling, and with letter case if it came without any."""
    words, forms = _split(text)
    base = " ".join(words)
    if one_case(base):
        base = capitalised(base, known=_KNOWN, small=_SMALL, consonants=range(2, 6))
    return " ".join([base, *forms])


def _split(text: str) -> tuple[list[str], list[str]]:
    """The words of the name proper, and its legal forms. There is always a name."""
    plain = text.replace("\u2019", "'")
    words, forms = (plain.strip(" ,;") or plain).split(" "), list[str]()
    while taken := _form_at_end(words):
        count, form = taken
        if all(word.strip(",;").casefold() in _NO_NAME for word in words[:-count]):
            break
        forms.insert(0, form)
        words = " ".join(words[:-count]).rstrip(" ,;").split(" ")
    return words, forms


def _form_at_end(words: list[str]) -> tuple[int, str] | None:
    for count in range(min(_LONGEST_FORM, len(words) - 1), 0, -1):
        tail = " ".join(words[-count:]).casefold().replace(",", "").replace(";", "")
        form = _FORMS.get(tail) or _FORMS.get(tail.replace(".", ""))
        if form:
            return count, form
    return None


# Entries of cleanco's list that are words, places or countries in other names: "Acme UK" is not "Acme". Their dotted
# spellings are taken off by `_FORMS`, where they are legal forms at all.
_NOT_FORMS = frozenset(
    "ad ae at ay ba bl bm ca cic cio coop cv da dat dd ec ee ei ent ep et etat eu fa hb ij ik koop mb na nl od oe og "
    "ok ong ou pc pp private ps pt qk rt sc scoop sd sem sep sf sia sp spa ss ud uk unlimited vat xk xt".split()
)


@cache
def _key_endings() -> tuple[frozenset[tuple[str, ...]], int]:
    """Legal forms of all countries as words of a key (cleanco's list and ours), and the longest one's length."""
    from cleanco.clean import get_unique_terms  # noqa: PLC0415 - sorts its tables when imported

    terms = {skeleton(term) for term in [*get_unique_terms(), *_FORMS, *_FORMS.values()]} - _NOT_FORMS - {""}
    return frozenset(tuple(term.split()) for term in terms), max(len(term.split()) for term in terms)


@lru_cache(maxsize=65536)
def company_key(name: str) -> str:
    """The name without legal forms, case, accents and punctuation. Never empty for a name that is not."""
    proper, _ = _split(name)
    base = " ".join(proper)
    words = skeleton(base).split()
    while count := _ending(words):
        words = words[:-count]
    if len(words) > 1 and words[-1] == "and":  # "Smith & Co"
        words = words[:-1]
    return " ".join(words) or base.casefold()


def _ending(words: list[str]) -> int:
    """How many words at the end are a legal form that leaves a name."""
    endings, longest = _key_endings()
    for count in range(min(longest, len(words) - 1), 0, -1):
        if tuple(words[-count:]) in endings and not all(word in _NO_NAME for word in words[:-count]):
            return count
    return 0


@cache
def chosen_names(spec: ValueSpec) -> Mapping[str, str]:
    """The alias table by company key. A chosen name that is itself a variant of another leads to that one."""
    direct = {
        company_key(str(tidy_line(variant))): str(tidy_line(name)) for variant, name in reversed(spec.aliases)
    }

    def end_of(name: str) -> str:
        seen = [name]
        while (following := direct.get(company_key(seen[-1]))) is not None and following != seen[-1]:
            if following in seen:  # a circle of names: any of them will do, but always the same one
                return min(seen[seen.index(following) :])
            seen.append(following)
        return seen[-1]

    chosen = {key: end_of(name) for key, name in direct.items()}
    for name in [*chosen.values()]:
        chosen.setdefault(company_key(name), name)
    return chosen


def company_reader(spec: ValueSpec, fillers: frozenset[str]) -> Reader:
    """company_name: the alias table's name for it, else its standard spelling."""
    chosen = chosen_names(spec) if spec.aliases else {}

    def read(raw: object) -> Value | Invalid:
        text = tidy_line(raw)
        if type(text) is not str:
            return text
        if not text or text.casefold() in fillers:
            return None
        if chosen and (name := chosen.get(company_key(text))) is not None:
            return name
        name = standard_name(text)
        return name if name.casefold() not in fillers else None

    return read
