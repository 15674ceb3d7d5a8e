"""The demo world as the tests look at it: rows per system, and what the same person is called in each."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import phonenumbers

from syncbroker.demo.payloads import OBJECTS
from syncbroker.demo.world import World, build_world

SEEDS = [0, 1, 7, 2026]
Row = dict[str, Any]

EMAIL_PATH = {
    "crm": lambda row: row["properties"]["email"],
    "marketing": lambda row: row["email_address"],
    "billing": lambda row: row["email"],
    "support": lambda row: row["email"],
    "mail": lambda row: row["email"],
}


@cache
def world(seed: int = 7, size: int = 300) -> World:
    return build_world(seed, size)


def rows(system: str, seed: int = 7) -> list[Row]:
    return world(seed).systems[system][OBJECTS[system]]


def emails(system: str, seed: int = 7) -> list[str]:
    return [EMAIL_PATH[system](row) or "" for row in rows(system, seed)]


def contacts(seed: int) -> list[Row]:
    return [row["properties"] for row in rows("crm", seed)]


def by_email(system: str, seed: int) -> dict[str, Row]:
    return {
        EMAIL_PATH[system](row).strip().lower(): row for row in rows(system, seed) if EMAIL_PATH[system](row)
    }


def phones(seed: int) -> Iterable[str]:
    yield from (row["phone"] for row in contacts(seed) if row["phone"])
    yield from (row["phone"] for row in rows("support", seed) if row["phone"])
    yield from (row["phone"] for row in rows("billing", seed) if row["phone"])
    yield from (
        row["merge_fields"]["PHONE"] for row in rows("marketing", seed) if row["merge_fields"]["PHONE"]
    )
    yield from (row["phone_number"] for row in rows("mail", seed) if row["phone_number"])


def is_possible(phone: str) -> bool:
    try:
        found = phonenumbers.is_possible_number_with_reason(phonenumbers.parse(phone, "US"))
    except phonenumbers.NumberParseException:
        return False
    return found == phonenumbers.ValidationResult.IS_POSSIBLE


def digits(phone: str) -> str:
    """The last nine: enough to see that two numbers are not the same one in two formats."""
    return "".join(filter(str.isdigit, phone))[-9:]
