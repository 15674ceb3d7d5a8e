"""What one field may say: one row per mistake, with its place (the mark), its message and its hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mapping.support import CHOICE, check, contact, marked

BOTH = "systems: {crm: a, marketing: b}"

WRONG = [
    # authority and policies
    (
        contact("email: {type: email, ¦policy: enforce, systems: {crm: email}}"),
        "enforce needs an authority",
        "prefer",
    ),
    (
        contact("email: {type: email, authority: ¦marketing, systems: {crm: email}}"),
        "`authority` names 'marketing', which 'email' is not linked to",
        "known: crm",
    ),
    (
        contact("email: {type: email, authority: ¦crn, systems: {crm: email}}"),
        "`authority` names 'crn'",
        "did you mean crm?",
    ),
    (
        contact("email: {type: email, authority: [crm, ¦crm], systems: {crm: email}}"),
        "'crm' stands twice in `authority`",
        "one",
    ),
    (
        contact(
            "email: {type: email, authority: ¦marketing, systems: {crm: email, "
            "marketing: {field: email_address, direction: push}}}"
        ),
        "`authority` names 'marketing', which 'email' is only pushed to",
        "direction: both",
    ),
    (
        contact(
            "a: {type: text, policy: prefer, authority: [{system: crm, ¦stale_after: 90d}], systems: {crm: a}}"
        ),
        "`stale_after` says when a system has authority, which only `policy: enforce` asks",
        "it is prefer",
    ),
    (
        contact(
            "a: {type: text, policy: enforce, authority: [{system: crm, when: ¦record.a == 'x'}], systems: {crm: a}}"
        ),
        "who decides 'a' would hang on 'a' itself",
        "another field",
    ),
    (
        contact(
            "a: {type: text, policy: enforce, authority: [{system: crm, when: ¦record.b == 'x'}], systems: {crm: a}}\n"
            "b: {type: text, policy: enforce, authority: [{system: crm, when: record.a == 'x'}], systems: {crm: b}}"
        ),
        "who decides 'a' would hang on 'a' itself",
        "another field",
    ),
    (
        contact("a: {type: text, authority: [{system: crm, when: ¦record.b == 'x'}], systems: {crm: a}}"),
        "unknown field 'b' in a condition",
        "known fields: a",
    ),
    (
        contact("a: {type: text, ¦policy: union, systems: {crm: a}}"),
        "union cannot judge the type text",
        "tags",
    ),
    (
        contact("a: {type: text, ¦policy: max, systems: {crm: a}}"),
        "max cannot judge the type text",
        "integer",
    ),
    (
        contact("a: {type: date, ¦policy: longest, systems: {crm: a}}"),
        "longest cannot judge the type date",
        "person_name",
    ),
    (
        contact("a: {type: boolean, ¦policy: most_restrictive, systems: {crm: a}}"),
        "most_restrictive cannot judge the type boolean",
        "choice",
    ),
    (
        contact(f"a: {{type: choice, {CHOICE}, ¦policy: most_restrictive, systems: {{crm: consent}}}}"),
        "most_restrictive needs `order`",
        "least restrictive first",
    ),
    (
        contact(
            f"a: {{type: choice, {CHOICE}, policy: most_restrictive, ¦order: [New, New], systems: {{crm: consent}}}}"
        ),
        "`order` lacks Old",
        "every choice",
    ),
    (
        contact(
            f"a: {{type: choice, {CHOICE}, policy: most_restrictive, order: [New, Old, ¦Older], "
            "systems: {crm: consent}}"
        ),
        "'Older' is none of the choices of 'a'",
        "did you mean Old?",
    ),
    (
        contact(
            f"a: {{type: choice, {CHOICE}, policy: most_restrictive, order: [New, Old], loosen_by: ¦sales, "
            "systems: {crm: consent}}"
        ),
        "`loosen_by` names 'sales', which 'a' is not linked to",
        "known: crm",
    ),
    # types and words
    (contact("¦a: {type: choice, systems: {crm: a}}"), "the choice 'a' has no choices", "Label"),
    (
        contact("a: {type: text, ¦choices: {A: []}, systems: {crm: a}}"),
        "`choices` is only for choice, and 'a' is text",
        "type",
    ),
    (
        contact("a: {type: text, systems: {crm: {field: a, ¦out: {A: B}}}}"),
        "`out` is only for choice and boolean",
        "type",
    ),
    (contact("a: {type: text, ¦region: DE, systems: {crm: a}}"), "`region` is only for phone", "type"),
    (contact("a: {type: text, ¦currency: EUR, systems: {crm: a}}"), "`currency` is only for money", "type"),
    (
        contact("a: {type: text, ¦aliases: {A: B}, systems: {crm: a}}"),
        "`aliases` is only for company_name",
        "type",
    ),
    (
        contact("a: {type: text, ¦entity: contact, systems: {crm: a}}"),
        "`entity` is only for reference",
        "type",
    ),
    (contact("phone: {type: phone, region: ¦XX, systems: {crm: phone}}"), "unknown region 'XX'", "ISO 3166"),
    (contact("a: {type: money, currency: ¦XQX, systems: {crm: a}}"), "unknown currency 'XQX'", "ISO 4217"),
    (
        contact("a: {type: choice, choices: {New: [x], Old: [¦X]}, systems: {crm: a}}"),
        "'X' means both 'New' and 'Old'",
        "case",
    ),
    (
        contact("a: {type: choice, choices: {New: [], ¦new: []}, systems: {crm: a}}"),
        "'new' means both 'New' and 'new'",
        "case",
    ),
    (
        contact("a: {type: choice, choices: {New: [], Old: [¦NEW]}, systems: {crm: a}}"),
        "'NEW' means both",
        "case",
    ),
    (
        contact(
            "a: {type: choice, choices: {New: [], Old: []}, systems: {crm: {field: a, choices: {¦Odd: [x]}}}}"
        ),
        "'Odd' is none of the choices of 'a'",
        "did you mean Old?",
    ),
    (
        contact("a: {type: choice, choices: {New: [], Old: []}, systems: {crm: {field: a, out: {¦Nwe: N}}}}"),
        "'Nwe' is none of the choices of 'a'",
        "did you mean New?",
    ),
    (
        contact(
            "a: {type: choice, choices: {New: [N], Old: []}, systems: {crm: {field: a, out: {Old: ¦n}}}}"
        ),
        "'n' is sent for 'Old', but means 'New' when it is read back",
        "another word",
    ),
    (
        contact("a: {type: boolean, systems: {crm: {field: a, out: {¦maybe: M}}}}"),
        "'maybe' is none of the choices",
        "true",
    ),
    (
        contact(
            "a: {type: company_name, aliases: {Acme Holding: [Acme], Acme Trading: [¦ACME Inc.]}, systems: {crm: a}}"
        ),
        "'ACME Inc.' means both 'Acme Holding' and 'Acme Trading'",
        "legal form",
    ),
    # transforms
    (
        contact("a: {type: date, transform: ¦dateus, systems: {crm: a}}"),
        "unknown transform 'dateus'",
        "did you mean date_us?",
    ),
    (
        contact("a: {type: text, systems: {crm: {field: a, transform: [trim, ¦date_us]}}}"),
        "the transform 'date_us' does not fit the type text",
        "it is for date",
    ),
    # groups
    (
        contact(f"a: {{type: text, group: g, {BOTH}}}\nb: {{type: text, group: g, ¦systems: {{crm: b}}}}"),
        "'b' and 'a' of the group 'g' differ in their systems or directions",
        "line 5",
    ),
    (
        contact(
            f"a: {{type: text, group: g, {BOTH}}}\nb: {{type: text, group: g, ¦policy: review, {BOTH}}}"
        ).replace("marketing: b}}", "marketing: c}}"),
        "'b' and 'a' of the group 'g' differ in their policy (review and prefer)",
        "line 5",
    ),
    (
        contact(
            "a: {type: text, group: g, systems: {crm: a}}\nb: {type: text, group: g, ¦authority: crm, policy: prefer, "
            "systems: {crm: b}}"
        ),
        "'b' and 'a' of the group 'g' differ in their authority",
        "line 5",
    ),
    (
        contact(
            "a: {type: text, group: g, systems: {crm: a}}\nb: {type: text, group: g, ¦empty: clear, systems: {crm: b}}"
        ),
        "'b' and 'a' of the group 'g' differ in `empty`",
        "line 5",
    ),
    (
        contact("a: {type: tags, ¦policy: union, group: g, systems: {crm: a}}"),
        "union cannot decide a group",
        "enforce",
    ),
    (
        contact("a: {type: text, ¦group: b, systems: {crm: a}}\nb: {type: text, systems: {crm: b}}"),
        "the group 'b' has the name of a field",
        "another name",
    ),
]


@pytest.mark.parametrize(("text", "message", "hint"), WRONG, ids=[message for _, message, _ in WRONG])
def test_a_mistake_has_place_message_and_hint(tmp_path: Path, text: str, message: str, hint: str) -> None:
    here = [one for one in check(tmp_path, text).errors if (one.line, one.column) == marked(text)]
    assert [one.message for one in here if one.message.startswith(message)] == [one.message for one in here]
    assert here, check(tmp_path, text).errors
    assert hint in here[0].hint


def test_what_does_not_read_back_is_refused(tmp_path: Path) -> None:
    text = contact(
        "a: {type: choice, choices: {A: [], B: []}, systems: {¦crm: {field: a, transform: yes_no}}}", rest=""
    )
    assert len(check(tmp_path, text).errors) == 1


def test_members_of_a_group_may_write_a_default_or_leave_it_out(tmp_path: Path) -> None:
    text = contact(
        "a: {type: text, group: g, empty: keep, systems: {crm: a}}\nb: {type: country, group: g, systems: {crm: b}}",
        rest="",
    )
    assert check(tmp_path, text).errors == []
