"""Variables, credentials, options and addresses in systems.yaml. No message may show a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mapping.support import EMAIL, ENVIRONMENT, SYSTEMS, Checked, contact, load, marked, write

CONTACT = contact(EMAIL)


def systems(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> Checked:
    home = write(tmp_path, {"systems.yaml": text, "contact.yaml": CONTACT})
    return load(home, environment=ENVIRONMENT if environment is None else environment)


def crm(entry: str) -> str:
    other = "marketing: {connector: fakemail, credentials: {token: t}, options: {list_id: l}}"
    return f"systems:\n  {other}\n  {entry}\n"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${CRM_TOKEN}", "crm-secret-1"),
        ("Bearer ${CRM_TOKEN}!", "Bearer crm-secret-1!"),
        ("${NOWHERE:-fallback}", "fallback"),
        ("${CRM_TOKEN:-fallback}", "crm-secret-1"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${CRM_TOKEN}${MAIL_TOKEN}", "crm-secret-1mail-secret-2"),
        ("$${CRM_TOKEN}", "${CRM_TOKEN}"),
        ("a$b", "a$b"),
        ("12345", "12345"),
    ],
)
def test_variables_are_filled_in(tmp_path: Path, written: str, value: str) -> None:
    text = crm(f"crm: {{connector: fakecrm, credentials: {{token: {written}}}}}")
    checked = systems(tmp_path, text, {**ENVIRONMENT, "EMPTY": ""})
    assert checked.good.systems["crm"].credentials == {"token": value}


def test_a_value_is_not_searched_for_variables_again(tmp_path: Path) -> None:
    text = crm("crm: {connector: fakecrm, credentials: {token: '${CRM_TOKEN}'}}")
    checked = systems(tmp_path, text, {"CRM_TOKEN": "${MAIL_TOKEN}"})
    assert checked.good.systems["crm"].credentials["token"] == "${MAIL_TOKEN}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            crm("crm: {connector: fakecrm, credentials: {token: ¦'${NOPE}'}}"),
            "the environment variable NOPE is not set",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: ¦'${EMPTY}'}}"),
            "the environment variable EMPTY is empty",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: ¦'${NO PE}'}}"),
            "a variable is written as ${NAME} or ${NAME:-default}",
        ),
        (crm("crm: {connector: fakecrm, ¦credentials: {}}"), "fakecrm needs the credential `token`"),
        (crm("¦crm: {connector: fakecrm}"), "fakecrm needs the credential `token`"),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc, ¦tokn: x}}"),
            "fakecrm knows no credential `tokn`",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {¦token: x}}"),
            "the credential `token` has not the form that fakecrm asks for (minLength)",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, options: {¦x: 1}}"),
            "fakecrm knows no option `x`",
        ),
        (
            crm("crm: {connector: fakemail, credentials: {token: abc}, options: {¦list_id: [a]}}"),
            "the option `list_id` has not the form that fakemail asks for (type)",
        ),
        (
            crm(
                "crm: {connector: fakemail, credentials: {token: abc}, options: {list_id: a, deep: {x: ¦'${NOPE}'}}}"
            ),
            "the environment variable NOPE is not set",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, url: ¦ftp://x}"),
            "`url` is no address of a server",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, url: ¦'https://x/path'}"),
            "`url` is no address of a server",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, sweep: {at: ¦never}}"),
            "'never' is no cron expression",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, sweep: {at: ¦'0 0 3 * * *'}}"),
            "'0 0 3 * * *' is no cron expression: it has not five fields",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, sweep: {at: ¦'0 25 * * *'}}"),
            "'0 25 * * *' is no cron expression",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, pull: {every: ¦0s}}"),
            "`pull` cannot run that often",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, sweep: ¦{every: 1d, at: '0 3 * * *'}}"),
            "`sweep` needs either `every` or `at`, not both",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, pull: ¦{jitter: 1m}}"),
            "`pull` needs either `every` or `at`",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, pull: {every: 1m, jitter: ¦2m}}"),
            "`jitter` is longer than the interval",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, timezone: ¦Europe/Atlantis}"),
            "there is no time zone 'Europe/Atlantis' on this machine",
        ),
        (
            crm("crm: {connector: fakecrm, credentials: {token: abc}, sweep: {at: ¦'0 3 31 2 *'}}"),
            "'0 3 31 2 *' is no cron expression",
        ),
        (
            crm(
                "crm: {connector: fakecrm, credentials: {token: abc}, objects: {¦contact: {pull: {every: 1m}}}}"
            ),
            "no entity reads 'contact' of 'crm'",
        ),
    ],
)
def test_a_wrong_setting_names_its_place_and_no_value(tmp_path: Path, text: str, message: str) -> None:
    checked = systems(tmp_path, text, {**ENVIRONMENT, "EMPTY": ""})
    [found] = [one for one in checked.errors if one.file.endswith("systems.yaml")]
    assert found.message.startswith(message)
    assert (found.line, found.column) == marked(text)


def test_what_a_missing_variable_leaves_open_is_not_told_twice(tmp_path: Path) -> None:
    assert len(systems(tmp_path, SYSTEMS, {"CRM_TOKEN": "abc"}).errors) == 1


def test_values_of_variables_are_in_no_message(tmp_path: Path) -> None:
    text = crm(
        "crm: {connector: fakecrm, credentials: {token: '${CRM_TOKEN}', x: '${CRM_TOKEN}'}, url: '${CRM_TOKEN}'}"
    )
    checked = systems(tmp_path, text, {"CRM_TOKEN": "s3"})
    assert checked.errors
    assert "s3" not in str(checked.errors)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8101", "https://api.example.com", "http://localhost:1/", "http://[::1]:9"]
)
def test_an_address_is_kept_without_its_last_slash(tmp_path: Path, url: str) -> None:
    text = crm(f"crm: {{connector: fakecrm, credentials: {{token: abc}}, url: '{url}'}}")
    checked = systems(tmp_path, text)
    assert checked.good.systems["crm"].url == url.rstrip("/")
    assert [one for one in checked.warnings if "encrypted" in one.message] == []


def test_an_unencrypted_address_elsewhere_is_a_warning(tmp_path: Path) -> None:
    text = crm("crm: {connector: fakecrm, credentials: {token: '${CRM_TOKEN}'}, url: 'http://example.com'}")
    assert [one.message for one in systems(tmp_path, text).warnings if "url" in one.message] == [
        "`url` is not encrypted: credentials travel in the clear"
    ]


def test_a_secret_in_the_file_is_a_warning_without_the_secret(tmp_path: Path) -> None:
    text = crm("crm: {connector: fakecrm, credentials: {token: ¦hunter2}}")
    [warning] = [one for one in systems(tmp_path, text).warnings if one.line == 3]
    assert (warning.line, warning.column) == marked(text)
    assert "hunter2" not in str(warning)
