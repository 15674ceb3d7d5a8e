from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncbroker.core import values
from syncbroker.core.companies import company_key, standard_name
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.types import Invalid, Type

COMPANY = ValueSpec(type=Type.COMPANY_NAME)
PERSON = ValueSpec(type=Type.PERSON_NAME)


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        ("acme corp", "Acme Corporation"),
        ("Acme Corp.", "Acme Corporation"),
        ("ACME CORPORATION", "Acme Corporation"),
        ("ACME", "Acme"),
        ("Acme, Inc", "Acme Inc."),
        ("Acme Incorporated", "Acme Inc."),
        ("acme limited", "Acme Ltd."),
        ("Acme L.L.C.", "Acme LLC"),
        ("acme gmbh", "Acme GmbH"),
        ("ACME GmbH", "Acme GmbH"),
        ("Muster gmbh & co kg", "Muster GmbH & Co. KG"),
        ("Foo Pty. Ltd.", "Foo Pty Ltd"),
        ("Foo Co., Ltd.", "Foo Co. Ltd."),
        ("Tiffany & co", "Tiffany & Co."),
        ("Foo s.a.", "Foo S.A."),
        ("Gómez SA de CV", "Gómez S.A. de C.V."),
        ("Philips NV", "Philips N.V."),
        ("eBay", "eBay"),
        ("eBay inc", "eBay Inc."),
        ("IBM", "IBM"),
        ("ibm corp", "IBM Corporation"),
        ("hsbc", "HSBC"),
        ("AT&T", "AT&T"),
        ("at&t inc", "AT&T Inc."),
        ("McDonald's", "McDonald's"),
        ("McDonald\u2019s", "McDonald's"),
        ("MACY'S", "Macy's"),
        ("BANK OF AMERICA", "Bank of America"),
        ("THE HOME DEPOT", "The Home Depot"),
        ("3M COMPANY", "3M Company"),
        ("1ST SOURCE BANK", "1st Source Bank"),
        ("J.P. MORGAN", "J.P. Morgan"),
        ("ROLLS-ROYCE PLC", "Rolls-Royce PLC"),
        ("The Limited", "The Limited"),
        ("Limited", "Limited"),
        ("Day Spa", "Day Spa"),
        ("DAY SPA", "Day Spa"),
        ("Pirelli S.P.A.", "Pirelli S.p.A."),
        ("Coop", "Coop"),
        ("株式会社トヨタ", "株式会社トヨタ"),
        ("!!!", "!!!"),
        ("n/a", None),
        ("None", None),
        ("", None),
    ],
)
def test_a_company_has_one_spelling(raw: str, becomes: str | None) -> None:
    assert values.canonical(COMPANY, raw) == becomes


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Acme Corporation", "acme"),
        ("ACME", "acme"),
        ("Acme Holdings Inc.", "acme holdings"),
        ("Müller GmbH & Co. KG", "muller"),
        ("Smith & Co.", "smith"),
        ("Smith and Sons Ltd.", "smith and sons"),
        ("Coop", "coop"),
        ("Coop AG", "coop"),
        ("The Limited", "the limited"),
        ("Inc.", "inc"),
        ("Acme UK", "acme uk"),
        ("Day Spa", "day spa"),
        ("Škoda Auto a.s.", "skoda auto"),
        ("Foo sp. z o.o.", "foo"),
        ("!!!", "!!!"),
        ("株式会社トヨタ", "株式会社トヨタ"),
    ],
)
def test_the_key_of_a_company_drops_its_legal_form(name: str, key: str) -> None:
    assert company_key(name) == key


LEGAL = st.sampled_from(
    "Inc. inc, LTD Limited corp GmbH & Co. KG ag Pty Ltd. S.p.A. SPA a.s. sp. z o.o. SA de CV AG; nv Coop of UK".split()
)
WORDS = (
    LEGAL
    | st.text(alphabet="abMc'-.&3éßİΣǆ,;", min_size=1, max_size=6)
    | st.sampled_from(["ACME", "ibm", "o'brien"])
)
NAMES = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)


@given(NAMES | st.text(max_size=12))
def test_a_company_name_is_its_own_spelling(raw: str) -> None:
    name = values.canonical(COMPANY, raw)
    assert name is None or isinstance(name, Invalid) or values.canonical(COMPANY, name) == name


@given(NAMES | st.text(min_size=1, max_size=12))
def test_spelling_never_empties_a_name_and_the_key_is_never_empty(raw: str) -> None:
    name = values.canonical(COMPANY, raw)
    if isinstance(name, str):
        assert name.strip()
        assert company_key(name)


@given(
    st.lists(
        st.sampled_from(["acme", "global", "data", "of", "ibm", "corp", "inc", "gmbh", "3m", "o'brien"]),
        min_size=1,
    )
)
def test_letter_case_alone_makes_no_second_company(words: list[str]) -> None:
    text = " ".join(words)
    assert standard_name(text) == standard_name(text.upper())


@given(NAMES)
def test_a_name_and_its_standard_spelling_share_a_key(raw: str) -> None:
    name = values.canonical(COMPANY, raw)
    if isinstance(name, str):
        assert company_key(name) == company_key(" ".join(raw.split()))


@pytest.mark.parametrize("raw", ["acme", "ACME Corp", "Acme, Inc.", "ACME HOLDINGS", "Acme Holdings Ltd"])
def test_the_alias_table_names_every_variant(raw: str) -> None:
    spec = ValueSpec(type=Type.COMPANY_NAME, aliases=(("Acme", "ACME Holdings"),))
    assert values.canonical(spec, raw) == "ACME Holdings"


def test_aliases_may_lead_from_one_name_to_the_next() -> None:
    spec = ValueSpec(type=Type.COMPANY_NAME, aliases=(("facebook", "Meta"), ("thefacebook", "Facebook")))
    assert values.canonical(spec, "TheFacebook Inc") == "Meta"


def test_aliases_in_a_circle_give_one_name() -> None:
    spec = ValueSpec(type=Type.COMPANY_NAME, aliases=(("a", "Beta"), ("beta", "A")))
    assert values.canonical(spec, "A") == values.canonical(spec, "Beta")


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        ("  ann ", "Ann"),
        ("ANN MARIE", "Ann Marie"),
        ("anne-marie", "Anne-Marie"),
        ("O'BRIEN", "O'Brien"),
        ("o\u2019brien", "O'Brien"),
        ("D'ARTAGNAN", "D'Artagnan"),
        ("MCDONALD", "McDonald"),
        ("MACDONALD", "Macdonald"),
        ("mc donald", "Mc Donald"),
        ("VAN DER BERG", "Van der Berg"),
        ("jan van der berg", "Jan van der Berg"),
        ("van der Berg", "van der Berg"),
        ("J.R.R. TOLKIEN", "J.R.R. Tolkien"),
        ("john e smith", "John E Smith"),
        ("HENRY FORD III", "Henry Ford III"),
        ("hung le", "Hung Le"),
        ("NG", "Ng"),
        ("jd", "JD"),
        ("JÖRG MÜLLER", "Jörg Müller"),
        ("DeShawn", "DeShawn"),
        ("Smith, Ann", "Smith, Ann"),
        ("李小龍", "李小龍"),
        ("Null", "Null"),
        ("None", "None"),
        ("Na", "Na"),
        ("n/a", None),
        ("Unknown", None),
        (".", None),
        ("", None),
    ],
)
def test_a_person_keeps_the_spelling_that_somebody_chose(raw: str, becomes: str | None) -> None:
    assert values.canonical(PERSON, raw) == becomes


@given(NAMES | st.text(max_size=12))
def test_a_person_name_is_its_own_spelling(raw: str) -> None:
    name = values.canonical(PERSON, raw)
    assert name is None or isinstance(name, Invalid) or values.canonical(PERSON, name) == name


@given(NAMES)
def test_a_person_with_a_name_has_a_key(raw: str) -> None:
    name = values.canonical(PERSON, raw)
    assert not isinstance(name, str) or values.key(PERSON, name)
