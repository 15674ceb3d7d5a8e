"""The folder, its files, and what cannot be read in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.mapping.support import EMAIL, SYSTEMS, check, contact, load, write

GOOD = {"systems.yaml": SYSTEMS, "contact.yaml": contact(EMAIL)}


def test_a_good_folder_becomes_a_mapping(tmp_path: Path) -> None:
    mapping = load(write(tmp_path, GOOD)).good
    assert (list(mapping.systems), list(mapping.entities)) == (["crm", "marketing"], ["contact"])


def test_files_are_named_from_the_folder_on(tmp_path: Path) -> None:
    checked = check(tmp_path, "entity: 5\n")
    assert {problem.file for problem in checked.errors} == {"mappings/contact.yaml"}


def test_a_folder_given_as_relative_is_named_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {**GOOD, "contact.yaml": "entity: 5\n"})
    monkeypatch.chdir(tmp_path.parent)
    checked = load(Path(tmp_path.name) / "mappings")
    assert checked.errors[0].file == f"{tmp_path.name}/mappings/contact.yaml"


def test_problems_of_all_files_are_told_at_once_in_file_and_line_order(tmp_path: Path) -> None:
    checked = check(
        tmp_path,
        contact("email: {type: emial, systems: {crm: email}}\nphone: {typ: phone}"),
        systems="systems:\n  crm: {connector: fakecrm, credentails: {}}\n",
        more={"broken.yaml": "a: [1\n"},
    )
    places = [(problem.file.rpartition("/")[2], problem.line) for problem in checked.errors]
    assert places == sorted(places)
    assert {file for file, _ in places} == {"broken.yaml", "contact.yaml", "systems.yaml"}


def test_a_folder_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    checked = load(tmp_path / "nowhere")
    assert [problem.message for problem in checked.errors] == [
        "the folder of mapping files cannot be read: No such file or directory"
    ]


def test_a_file_in_place_of_the_folder_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "mappings").write_text("x")
    assert len(load(tmp_path / "mappings").errors) == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no mapping files here"),
        ({"README.md": "x"}, "no mapping files here"),
        ({"contact.yaml": GOOD["contact.yaml"]}, "this file is missing"),
        ({"systems.yaml": SYSTEMS}, "no entity file here"),
        ({**GOOD, "systems.yml": SYSTEMS}, "there is systems.yaml too"),
        ({**GOOD, "company.yaml": ""}, "the file is empty"),
        ({**GOOD, "company.yaml": "- a\n- b\n"}, "the file must be a mapping (key: value), not a list"),
        ({**GOOD, "company.yaml": "hello\n"}, "the file must be a mapping (key: value), not a text"),
        (
            {**GOOD, "company.yaml": contact(EMAIL)},
            "the entity 'contact' is already in mappings/company.yaml",
        ),
    ],
)
def test_an_incomplete_folder_says_what_is_missing(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    assert message in [problem.message for problem in load(write(tmp_path, files)).errors]


def test_a_file_that_is_not_utf8_names_the_place(tmp_path: Path) -> None:
    home = write(tmp_path, GOOD)
    (home / "contact.yaml").write_bytes("entity: contact\n# Größe\n".encode("latin-1"))
    problem = load(home).errors[0]
    assert (problem.line, problem.column, problem.message) == (2, 5, "the file is not UTF-8 from here on")


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    home = write(tmp_path, GOOD)
    (home / "contact.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD["contact.yaml"].encode())
    assert load(home).errors == []


def test_a_file_over_the_bound_is_refused_unread(tmp_path: Path) -> None:
    home = write(tmp_path, GOOD)
    (home / "contact.yaml").write_text("#" * (1024 * 1024 + 1))
    assert [problem.message for problem in load(home).errors] == ["the file is larger than 1 MB"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_a_problem(tmp_path: Path) -> None:
    home = write(tmp_path, GOOD)
    (home / "contact.yaml").chmod(0)
    assert "Permission denied" in load(home).errors[0].message


def test_a_broken_link_in_the_folder_is_a_problem(tmp_path: Path) -> None:
    home = write(tmp_path, GOOD)
    (home / "company.yaml").symlink_to(home / "nowhere.yaml")
    assert load(home).errors[0].message == "the file cannot be read: No such file or directory"


def test_a_folder_inside_that_is_not_read_is_a_warning(tmp_path: Path) -> None:
    home = write(tmp_path, GOOD)
    (home / "more").mkdir()
    (home / "more" / "company.yaml").write_text("x")
    assert [problem.message for problem in load(home).warnings] == ["this folder is not read"]


def test_hidden_files_are_left_alone(tmp_path: Path) -> None:
    assert load(write(tmp_path, {**GOOD, ".contact.yaml": "{{{"})).errors == []


def test_without_systems_the_entities_are_still_checked_but_not_for_systems(tmp_path: Path) -> None:
    checked = load(write(tmp_path, {"contact.yaml": contact("email: {type: emial, systems: {crm: email}}")}))
    assert [problem.message for problem in checked.errors] == [
        "'emial' is not allowed for `type`",
        "this file is missing",
    ]
