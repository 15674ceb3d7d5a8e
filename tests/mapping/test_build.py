"""From good files to the frozen rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncbroker.core.mapping import FieldRule, Guard, MatchRule, Schedule
from syncbroker.core.types import Type
from syncbroker.core.values import canonical, render
from syncbroker.mapping.units import rate, seconds, share
from tests.mapping.support import EMAIL, SYSTEMS, check, contact, load, write

BOTH = "systems: {crm: a, marketing: tags}"


def field(tmp_path: Path, text: str) -> FieldRule:
    return next(iter(check(tmp_path, contact(text, rest="")).good.entities["contact"].fields.values()))


@pytest.mark.parametrize(
    ("text", "policy", "authority", "rank"),
    [
        (f"a: {{type: text, {BOTH}}}", "prefer", (), ("crm", "marketing")),
        ("a: {type: text, systems: {marketing: tags, crm: a}}", "prefer", (), ("marketing", "crm")),
        (f"a: {{type: text, authority: marketing, {BOTH}}}", "enforce", ("marketing",), ("marketing", "crm")),
        (
            f"a: {{type: text, authority: [marketing], {BOTH}}}",
            "enforce",
            ("marketing",),
            ("marketing", "crm"),
        ),
        (
            f"a: {{type: text, authority: [marketing, crm], {BOTH}}}",
            "prefer",
            ("marketing", "crm"),
            ("marketing", "crm"),
        ),
        (
            f"a: {{type: text, authority: [{{system: marketing}}], {BOTH}}}",
            "enforce",
            ("marketing",),
            ("marketing", "crm"),
        ),
        (
            f"a: {{type: text, authority: crm, policy: latest, {BOTH}}}",
            "latest",
            ("crm",),
            ("crm", "marketing"),
        ),
    ],
)
def test_policy_authority_and_rank_follow_from_what_is_written(
    tmp_path: Path, text: str, policy: str, authority: tuple[str, ...], rank: tuple[str, ...]
) -> None:
    made = field(tmp_path, text)
    assert (made.policy, made.authority, made.rank) == (policy, authority, rank)


@pytest.mark.parametrize(
    ("link", "path", "pull", "push"),
    [
        ("a", "a", True, True),
        ("merge.NAME", "merge.NAME", True, True),
        ("{field: a}", "a", True, True),
        ("{field: a, direction: both}", "a", True, True),
        ("{field: a, direction: pull}", "a", True, False),
    ],
)
def test_directions_are_seen_from_the_broker(
    tmp_path: Path, link: str, path: str, pull: bool, push: bool
) -> None:
    made = field(tmp_path, f"a: {{type: text, systems: {{crm: {link}}}}}").links["crm"]
    assert (made.path, made.pull, made.push) == (path, pull, push)


def test_a_push_only_system_does_not_pull(tmp_path: Path) -> None:
    made = field(tmp_path, "a: {type: text, systems: {marketing: tags, crm: {field: a, direction: push}}}")
    assert (made.links["crm"].pull, made.links["crm"].push) == (False, True)


def test_every_setting_of_a_field_arrives(tmp_path: Path) -> None:
    made = field(
        tmp_path,
        """
        a:
          type: choice
          required: true
          choices: {New: [n, neu], Old: o}
          policy: most_restrictive
          order: [New, Old]
          loosen_by: crm
          on_foreign_edit: propose
          empty: clear
          systems: {crm: consent}
        """,
    )
    assert (made.type, made.required, made.policy) == (Type.CHOICE, True, "most_restrictive")
    assert made.spec.choices == (("New", "n", "neu"), ("Old", "o"))
    assert (made.order, made.loosen_by) == (("New", "Old"), ("crm",))
    assert (made.on_foreign_edit, made.empty) == ("propose", "clear")
    assert (made.file, made.line) == ("mappings/contact.yaml", 5)


def test_the_settings_of_latest_arrive(tmp_path: Path) -> None:
    made = field(
        tmp_path,
        f"a: {{type: text, policy: latest, tie: review, tolerance: 1.5s, first_meeting: review, {BOTH}}}",
    )
    assert (made.tie, made.tolerance, made.first_meeting) == ("review", 1_500_000, "review")


def test_what_is_not_written_has_the_documented_default(tmp_path: Path) -> None:
    made = field(tmp_path, f"a: {{type: text, {BOTH}}}")
    assert (made.required, made.on_foreign_edit, made.tie, made.tolerance) == (
        False,
        "revert",
        "rank",
        2_000_000,
    )
    assert (made.empty, made.first_meeting, made.monotone, made.group) == ("keep", "rank", False, "")


def test_what_a_system_writes_replaces_what_the_field_writes(tmp_path: Path) -> None:
    made = field(
        tmp_path,
        """
        a:
          type: phone
          region: DE
          transform: [trim]
          placeholders: [none]
          systems:
            crm: a
            marketing: {field: tags, region: FR, transform: [], placeholders: [x, y]}
        """,
    )
    crm, marketing = made.links["crm"].spec, made.links["marketing"].spec
    assert (crm.region, crm.transforms, crm.placeholders) == ("DE", ("trim",), ("none",))
    assert (marketing.region, marketing.transforms, marketing.placeholders) == ("FR", (), ("x", "y"))
    assert made.spec == crm


def test_a_system_may_have_its_own_words_for_the_choices(tmp_path: Path) -> None:
    made = field(
        tmp_path,
        "a: {type: choice, choices: {New: [n], Old: []}, "
        "systems: {crm: a, marketing: {field: tags, choices: {New: ['1'], Old: ['2']}}}}",
    )
    assert made.links["marketing"].spec.choices == (("New", "1"), ("Old", "2"))
    assert made.links["crm"].spec.choices == (("New", "n"), ("Old",))


def test_what_is_sent_for_a_choice_is_understood_when_it_comes_back(tmp_path: Path) -> None:
    made = field(
        tmp_path,
        "a: {type: choice, choices: {New: [], Old: []}, systems: {crm: {field: a, out: {New: N_1}}}}",
    )
    spec = made.links["crm"].spec
    assert render(spec, "New") == "N_1"
    assert canonical(spec, "N_1") == "New"


def test_labels_and_words_stay_texts_whatever_they_look_like(tmp_path: Path) -> None:
    made = field(
        tmp_path, "a: {type: choice, choices: {NO: [007, 2024-01-31], YES: true}, systems: {crm: a}}"
    )
    assert made.spec.choices == (("NO", "007", "2024-01-31"), ("YES", "true"))


def test_company_aliases_name_the_company(tmp_path: Path) -> None:
    made = field(tmp_path, "a: {type: company_name, aliases: {Alphabet: [Google, goog]}, systems: {crm: a}}")
    assert canonical(made.spec, "GOOGLE Inc.") == "Alphabet"


def test_links_and_match_rules_arrive(tmp_path: Path) -> None:
    text = contact(
        EMAIL,
        links="{crm: {object: contacts, create: {when: record.email != null}, delete: detach}, "
        "marketing: {object: members}}",
        rest="match:\n  - {on: email}\n  - {on: [email, email], then: review}",
    )
    entity = check(tmp_path, text).good.entities["contact"]
    crm, marketing = entity.links["crm"], entity.links["marketing"]
    assert (crm.object, crm.create, crm.create_when, crm.delete) == (
        "contacts",
        "always",
        "record.email != null",
        "detach",
    )
    assert (marketing.create, marketing.create_when, marketing.delete) == ("never", "", "review")
    assert entity.match == (
        MatchRule(on=("email",), then="link", line=4),
        MatchRule(on=("email",), then="review", line=5),
    )


def test_a_guard_arrives_with_the_lines_of_its_limits(tmp_path: Path) -> None:
    guard = "guard:\n  changed: 10%\n  created: 500\n  emptied: 0.5%\n  deleted: 25\n  collapse: 20\n  window: 30m"
    found = (
        check(tmp_path, contact(EMAIL, rest=f"{guard}\nmatch: [{{on: email}}]"))
        .good.entities["contact"]
        .guard
    )
    first = found.lines["changed"]
    assert found == Guard(
        changed=0.1,
        created=500,
        emptied=0.005,
        deleted=25,
        collapse=20,
        window=1_800_000_000,
        lines={
            name: first + n
            for n, name in enumerate(["changed", "created", "emptied", "deleted", "collapse", "window"])
        },
    )


def test_schedules_and_limits_of_a_system_arrive(tmp_path: Path) -> None:
    systems = SYSTEMS.replace(
        "connector: fakecrm,",
        'connector: fakecrm, pull: {every: 5m}, sweep: {at: "0 3 * * *"}, limits: {rate: 100/10s, reserve: 20%},',
    )
    crm = check(tmp_path, contact(EMAIL), systems=systems).good.systems["crm"]
    assert (crm.pull, crm.sweep) == (Schedule(every=300.0), Schedule(at="0 3 * * *"))
    assert (crm.rate, crm.reserve, crm.line) == ((100, 10.0), 0.2, 3)


def test_schedules_of_single_objects_arrive_beside_those_of_the_system(tmp_path: Path) -> None:
    systems = SYSTEMS.replace(
        "connector: fakecrm,",
        'connector: fakecrm, timezone: Europe/Berlin, pull: {every: 5m, jitter: 0s}, sweep: {at: "0 3 * * *"}, '
        'objects: {contacts: {sweep: {at: "0 4 * * *", jitter: 10m}}}, max_lag: 5m, limits: {concurrency: 3},',
    )
    crm = check(tmp_path, contact(EMAIL), systems=systems).good.systems["crm"]
    assert crm.schedule("contacts", "pull") == Schedule(every=300.0, jitter=0.0)
    assert crm.schedule("contacts", "sweep") == Schedule(
        at="0 4 * * *", timezone="Europe/Berlin", jitter=600.0
    )
    assert crm.schedule("deals", "sweep") == Schedule(at="0 3 * * *", timezone="Europe/Berlin")
    assert (crm.max_lag, crm.concurrency) == (300.0, 3)


@pytest.mark.parametrize(
    ("text", "span"), [("500ms", 0.5), ("2s", 2.0), ("5m", 300.0), ("1.5h", 5400.0), ("90d", 7776000.0)]
)
def test_a_duration_has_a_unit(text: str, span: float) -> None:
    assert seconds(text) == span


def test_rates_and_shares_are_read() -> None:
    assert (rate("100/10s"), rate("4/s"), rate("190/m"), share("20%"), share("0.5%")) == (
        (100, 10.0),
        (4, 1.0),
        (190, 60.0),
        0.2,
        0.005,
    )


# ------------------------------------------------------------------------------------------------ the version


def version(tmp_path: Path, entity: str = contact(EMAIL), systems: str = SYSTEMS) -> str:
    return check(tmp_path, entity, systems=systems).good.version


def test_the_version_is_sixteen_hex_digits(tmp_path: Path) -> None:
    assert len(bytes.fromhex(version(tmp_path))) == 8


@pytest.mark.parametrize(
    "same",
    [
        contact(EMAIL) + "# a comment\n",
        contact(EMAIL).replace("type: email", "type:   'email'"),
        contact(EMAIL).replace("entity: contact\n", "entity: contact\n\n\n"),
    ],
)
def test_comments_spacing_and_quotes_do_not_change_the_version(tmp_path: Path, same: str) -> None:
    assert version(tmp_path, same) == version(tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        contact(EMAIL).replace("required: true", "required: false"),
        contact(EMAIL).replace(
            "{crm: email, marketing: email_address}", "{marketing: email_address, crm: email}"
        ),
        contact(EMAIL).replace("email: {", "mail: {").replace("on: email", "on: mail"),
    ],
)
def test_what_the_files_say_changes_the_version(tmp_path: Path, other: str) -> None:
    assert version(tmp_path, other) != version(tmp_path)


def test_secrets_are_no_part_of_the_version(tmp_path: Path) -> None:
    one = SYSTEMS.replace('"${CRM_TOKEN}"', "hunter2")
    two = SYSTEMS.replace('"${CRM_TOKEN}"', "hunter3")
    assert version(tmp_path, systems=one) == version(tmp_path, systems=two)


def test_the_environment_is_no_part_of_the_version(tmp_path: Path) -> None:
    home = write(tmp_path, {"systems.yaml": SYSTEMS, "contact.yaml": contact(EMAIL)})
    versions = {
        load(home, environment={"CRM_TOKEN": each, "MAIL_TOKEN": each}).good.version
        for each in ("aaa", "bbb")
    }
    assert len(versions) == 1
