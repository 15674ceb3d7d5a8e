"""HubSpot's search: filters, one sort, offsets, and its limits.

Source: developers.hubspot.com/docs/api-reference/latest/crm/search-the-crm. The wording of the refusals is unverified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from connectors.hubspot.simulator_records import Property, Refusal, from_iso

R = TypeVar("R")

Filter = Mapping[str, Any]


def search(
    body: Mapping[str, Any],
    held: Sequence[tuple[R, Mapping[str, str]]],
    known: Mapping[str, Property],
    *,
    ceiling: int,
) -> tuple[int, list[tuple[R, Mapping[str, str]]], str | None]:
    """(how many match, one page of them, the `after` of the next page). `held` ascends by id."""
    limit, after = int(body.get("limit") or 10), int(body.get("after") or 0)
    if not 1 <= limit <= 200:
        raise _bad("limit must be between 1 and 200")
    if after + limit > ceiling:
        raise _bad(f"paging through more than {ceiling} results of one query is not possible")
    groups: list[list[Filter]] = [group.get("filters") or [] for group in body.get("filterGroups") or []]
    if len(groups) > 5 or any(len(group) > 6 for group in groups) or sum(map(len, groups)) > 18:
        raise _bad("at most 5 filterGroups with 6 filters each, 18 in all")
    for condition in (each for group in groups for each in group):
        if condition.get("propertyName") not in known:
            raise _bad(f"there is no property {condition.get('propertyName')} to filter by")
    found = [
        (record, values)
        for record, values in held
        if not groups or any(all(_fits(each, values, known) for each in group) for group in groups)
    ]
    _sort(found, body.get("sorts") or [], known)
    page = found[after : after + limit]
    return len(found), page, str(after + limit) if after + limit < len(found) else None


def _sort(
    found: list[tuple[R, Mapping[str, str]]], sorts: Sequence[Any], known: Mapping[str, Property]
) -> None:
    if len(sorts) > 1:
        raise _bad("only one sort is possible")
    for sort in sorts:
        # `-createdate` is the short form that HubSpot's own client documents beside the object
        short = isinstance(sort, str)
        name = sort.lstrip("-") if short else sort.get("propertyName")
        descending = sort.startswith("-") if short else sort.get("direction") == "DESCENDING"
        if name not in known:
            raise _bad(f"there is no property {name} to sort by")
        present = [each for each in found if name in each[1]]
        absent = [each for each in found if name not in each[1]]
        present.sort(key=lambda each: _key(known[name], each[1][name]), reverse=descending)
        found[:] = [*present, *absent]


def _fits(condition: Filter, values: Mapping[str, str], known: Mapping[str, Property]) -> bool:
    name, operator = str(condition["propertyName"]), str(condition.get("operator", ""))
    value = values.get(name)
    if operator in {"HAS_PROPERTY", "NOT_HAS_PROPERTY"}:
        return (value is not None) == (operator == "HAS_PROPERTY")
    test = _OPERATORS.get(operator)
    if test is None:
        raise _bad(f"there is no operator {operator}")
    if value is None:
        return operator in {"NEQ", "NOT_IN", "NOT_CONTAINS_TOKEN"}
    property_ = known[name]
    try:
        given = [
            _key(property_, str(each))
            for each in condition.get("values") or [condition.get("value"), condition.get("highValue")]
            if each is not None
        ]
        fits = test(_key(property_, value), given)
    except (ValueError, IndexError) as error:
        raise _bad(f"{operator} on {name} got no value that it can use") from error
    return fits


def _key(known: Property, value: str) -> Any:
    """Text compares without regard to case, times as milliseconds, numbers as numbers, options as they are."""
    if known.type == "datetime":
        return from_iso(value)
    if known.type == "number":
        return float(value)
    return value if known.type == "enumeration" else value.lower()


_OPERATORS: Mapping[str, Callable[[Any, list[Any]], bool]] = {
    "EQ": lambda value, given: bool(value == given[0]),
    "NEQ": lambda value, given: bool(value != given[0]),
    "LT": lambda value, given: bool(value < given[0]),
    "LTE": lambda value, given: bool(value <= given[0]),
    "GT": lambda value, given: bool(value > given[0]),
    "GTE": lambda value, given: bool(value >= given[0]),
    "BETWEEN": lambda value, given: bool(given[0] <= value <= given[1]),
    "IN": lambda value, given: value in given,
    "NOT_IN": lambda value, given: value not in given,
    "CONTAINS_TOKEN": lambda value, given: _has_token(str(value), str(given[0])),
    "NOT_CONTAINS_TOKEN": lambda value, given: not _has_token(str(value), str(given[0])),
}


def _has_token(value: str, token: str) -> bool:
    return any(fnmatchcase(each, token) for each in [value, *value.split()])


def _bad(message: str) -> Refusal:
    return Refusal(400, "VALIDATION_ERROR", message)
