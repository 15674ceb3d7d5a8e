"""What mappings may say: one row per mistake, with its place (the mark) and its message; and what is only a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mapping.support import CHOICE, EMAIL, check, contact, marked

NAME = "name: {type: person_name, systems: {crm: name, marketing: name}}"

WRONG = [
    # links and systems
    (
        contact(
            EMAIL, links="{¦sales: {object: contacts}, crm: {object: contacts}, marketing: {object: members}}"
        ),
        "there is no system 'sales' in systems.yaml",
        "known: crm, marketing",
    ),
    (
        contact("email: {type: email, systems: {crm: email, ¦marketng: email}}"),
        "the system 'marketng' is not under `links`",
        "did you mean marketing?",
    ),
    (
        contact(
            "a: {type: text, systems: {crm: {field: ¦email, direction: push}, marketing: merge_fields.NAME}}\n"
            + EMAIL
        )
        .replace("¦", "")
        .replace("crm: email", "crm: ¦email"),
        "`email` of 'crm' is already pushed by 'a'",
        "direction: pull",
    ),
    (
        contact("email: {type: email, ¦systems: {crm: {field: email, direction: push}}}"),
        "no system pulls 'email'",
        "direction: both",
    ),
    # match
    (
        contact(EMAIL, rest="match: [{on: [email, ¦emial]}]"),
        "there is no field 'emial'",
        "did you mean email?",
    ),
    (
        contact("a: {type: tags, systems: {crm: a}}", rest="match: [{on: ¦a}]"),
        "'a' is tags, which identify nothing",
        "one value",
    ),
    (
        contact(EMAIL, rest="guard: {created: 5, window: ¦30s}\nmatch: [{on: email}]"),
        "`window` is counted by the minute",
        "1m or more",
    ),
    (contact(EMAIL, rest="match: [¦{then: review}]"), "a match rule needs `on`", "{on: [email]}"),
    (
        contact(EMAIL, rest="match: [{similar: {¦email: 0.9}, then: review}]"),
        "'email' is of type email, which is equal or different, and never alike",
        "match it with `on`",
    ),
    (
        contact(NAME, rest="match: [{¦similar: {name: 0.9}}]"),
        "likeness never links by itself",
        "then: review",
    ),
    (
        contact(NAME, rest="match: [{similar: {name: 0.9}, then: ¦link}]"),
        "likeness never links by itself",
        "then: review",
    ),
    (
        contact(NAME, rest="match: [{similar: {¦nme: 0.9}, then: review}]"),
        "there is no field 'nme'",
        "did you mean name?",
    ),
    (
        contact(NAME, rest="match: [{on: name, ¦similar: {name: 0.9}, then: review}]"),
        "a match rule takes `on` or `similar`, not both",
        "two rules",
    ),
    # references
    (
        contact("¦a: {type: reference, systems: {crm: a}}"),
        "the reference 'a' names no entity",
        "entity: company",
    ),
    (
        contact("a: {type: reference, entity: ¦contct, systems: {crm: a}}"),
        "there is no entity 'contct'",
        "did you mean contact?",
    ),
    (
        contact("a: {type: reference, entity: contact, ¦required: true, systems: {crm: a}}"),
        "required references go round in a ring: contact -> contact",
        "none of these",
    ),
    # conditions
    (
        contact(
            EMAIL,
            links="""{crm: {object: contacts, create: {when: "record.email != null &&¦"}}}""",
        ),
        "this is no CEL: it ends too early",
        "&&",
    ),
    (
        contact(
            EMAIL,
            links="""{crm: {object: contacts, create: {when: "¦record.emial != null"}}}""",
        ),
        "unknown field 'emial' in a condition",
        "did you mean email?",
    ),
    (
        contact(
            EMAIL,
            links="{crm: {object: contacts, create: {when: record.email ¦> 3}}, marketing: {object: members}}",
        ),
        "> does not fit a text and a number",
        "one kind",
    ),
    (
        contact(
            EMAIL,
            links="{crm: {object: contacts, create: {when: ¦record.email}}, marketing: {object: members}}",
        ),
        "a condition is true or false, this one gives a text",
        "compare",
    ),
    (
        contact(
            f"a: {{type: choice, {CHOICE}, systems: {{crm: a}}}}",
            links="""{crm: {object: contacts, create: {when: "record.a == '¦Newer'"}}}""",
        ),
        "'Newer' is none of the choices of 'a'",
        "did you mean New?",
    ),
]


@pytest.mark.parametrize(("text", "message", "hint"), WRONG, ids=[message for _, message, _ in WRONG])
def test_a_mistake_has_place_message_and_hint(tmp_path: Path, text: str, message: str, hint: str) -> None:
    here = [one for one in check(tmp_path, text).errors if (one.line, one.column) == marked(text)]
    assert [one.message for one in here if one.message.startswith(message)] == [one.message for one in here]
    assert here, check(tmp_path, text).errors
    assert hint in here[0].hint


WARNED = [
    (
        contact(EMAIL, rest="guard: {¦window: 2h}\nmatch: [{on: email}]"),
        "`window` has no effect without a limit",
    ),
    (
        contact("email: {type: email, ¦tie: review, systems: {crm: email}}"),
        "`tie` has no effect under the policy prefer",
    ),
    (
        contact("email: {type: email, ¦monotone: true, systems: {crm: email}}"),
        "`monotone` has no effect under",
    ),
    (contact("a: {type: text, ¦group: g, systems: {crm: a}}", rest=""), "'a' is alone in the group 'g'"),
    (contact(EMAIL, rest="").replace("entity: ", "entity: ¦"), "'contact' has no match rules"),
    (
        contact("a: {type: country, systems: {crm: a}}", rest="match: [{on: ¦a}]"),
        "this rule links records that may only look alike",
    ),
    (
        contact(f"a: {{type: choice, {CHOICE}, placeholders: [x, ¦old], systems: {{crm: a}}}}", rest=""),
        "the placeholder 'old' has no effect",
    ),
    (
        contact("a: {type: text, systems: {crm: ¦emial}}", rest=""),
        "the contacts of 'crm' have no field `emial` of their own",
    ),
    (
        contact("phone: {type: phone, empty: clear, systems: {crm: ¦phone}}", rest=""),
        "'crm' does not let `phone` be emptied",
    ),
    (
        contact(
            f"a: {{type: choice, {CHOICE}, policy: most_restrictive, order: [New, Old], loosen_by: crm, "
            "systems: {crm: ¦a}}",
            rest="",
        ),
        "'crm' shows no evidence of consent for `a`",
    ),
    (
        contact(
            "email: {type: email, systems: {marketing: email_address}}",
            rest="",
            links="{marketing: {object: members, ¦create: always}}",
        ),
        "'marketing' needs `email_address` to create its members, but 'email' may be empty",
    ),
]


@pytest.mark.parametrize(("text", "message"), WARNED, ids=[message for _, message in WARNED])
def test_what_may_surprise_is_a_warning_and_no_error(tmp_path: Path, text: str, message: str) -> None:
    checked = check(tmp_path, text)
    assert checked.errors == []
    here = [one.message for one in checked.warnings if (one.line, one.column) == marked(text)]
    assert [one for one in here if one.startswith(message)] == here
    assert here


def test_a_system_that_no_entity_uses_is_a_warning(tmp_path: Path) -> None:
    text = contact("email: {type: email, systems: {crm: email}}", links="{crm: {object: contacts}}")
    assert [one.message for one in check(tmp_path, text).warnings] == [
        "no entity uses the system 'marketing'"
    ]


def test_a_good_mapping_has_no_warning(tmp_path: Path) -> None:
    assert check(tmp_path, contact(EMAIL)).warnings == []


def test_a_reference_needs_a_link_of_its_entity_on_each_system(tmp_path: Path) -> None:
    text = contact(
        "company: {type: reference, entity: company, systems: {crm: company_id, ¦marketing: tags}}"
    )
    company = "entity: company\nlinks: {crm: {object: companies}}\nfields: {name: {type: text, systems: {crm: name}}}\n"
    [problem] = [one for one in check(tmp_path, text, more={"company.yaml": company}).errors if one.line == 5]
    assert (problem.line, problem.column) == marked(text)
    assert problem.message == "'company' has no link on 'marketing', so no id there can be understood"


def test_a_ring_of_required_references_is_told_once(tmp_path: Path) -> None:
    text = contact(
        "company: {type: reference, required: true, entity: company, systems: {crm: company_id}}", rest=""
    )
    company = (
        "entity: company\nlinks: {crm: {object: companies}}\n"
        "fields: {c: {type: reference, required: true, entity: contact, systems: {crm: main_contact}}}\n"
    )
    errors = check(tmp_path, text, more={"company.yaml": company}).errors
    assert [one.message for one in errors] == [
        "required references go round in a ring: company -> contact -> company"
    ]


def test_a_ring_with_an_optional_reference_is_no_problem(tmp_path: Path) -> None:
    text = contact("company: {type: reference, entity: company, systems: {crm: company_id}}", rest="")
    company = (
        "entity: company\nlinks: {crm: {object: companies}}\n"
        "fields: {c: {type: reference, required: true, entity: contact, systems: {crm: main_contact}}}\n"
    )
    assert check(tmp_path, text, more={"company.yaml": company}).errors == []


def test_two_entities_may_not_push_to_one_place(tmp_path: Path) -> None:
    text = contact("email: {type: email, systems: {crm: email}}", rest="")
    lead = text.replace("entity: contact", "entity: lead").replace("crm: email", "crm: ¦email")
    [problem] = check(tmp_path, text, more={"lead.yaml": lead}).errors
    assert (problem.file, problem.line, problem.column) == ("mappings/lead.yaml", *marked(lead))


def test_two_entities_may_read_one_place(tmp_path: Path) -> None:
    text = contact("email: {type: email, systems: {crm: email}}", rest="")
    lead = contact("email: {type: email, systems: {crm: {field: email, direction: pull}}}", rest="")
    assert (
        check(tmp_path, text, more={"lead.yaml": lead.replace("entity: contact", "entity: lead")}).errors
        == []
    )


def test_a_condition_in_a_block_of_lines_has_its_own_line_and_column(tmp_path: Path) -> None:
    links = """
      crm:
        object: contacts
        create:
          when: |
            record.email != null
              && ¦record.nmae == 'x'
      marketing: {object: members}"""
    text = contact(EMAIL, links=links)
    [problem] = check(tmp_path, text).errors
    assert (problem.line, problem.column) == marked(text)


def test_a_condition_may_name_a_field_whose_own_mistake_is_told(tmp_path: Path) -> None:
    text = contact(
        "email: {type: emial, systems: {crm: email}}",
        links="{crm: {object: contacts, create: {when: record.email != null}}}",
    )
    assert [one.message for one in check(tmp_path, text).errors] == ["'emial' is not allowed for `type`"]
