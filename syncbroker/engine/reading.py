"""A stored record under today's rules: its values read anew where the mapping changed, and the keys it is found by."""

from __future__ import annotations

from msgspec.structs import replace

from syncbroker.core import values
from syncbroker.core.match import Key, index, key_values
from syncbroker.core.plan import Field, Plan
from syncbroker.core.state import Golden, Record
from syncbroker.core.types import Value


def record_keys(plan: Plan, record: Record) -> set[Key]:
    """The match keys (and blocks) under which a record is found: of its golden values, and of what each link holds."""
    return {key for part in variants(plan, record) for key in index(plan, part)}


def variants(plan: Plan, record: Record) -> list[dict[str, Value]]:
    """The values that match rules look at, by member field: the golden ones, and each link's where they differ."""
    golden = record.golden
    tried = [key_values(plan, lambda name: golden[name].value if name in golden else None)]
    for link in record.by_number.values():
        fields = link.fields
        part = key_values(plan, lambda name, fields=fields: fields[name].value if name in fields else None)  # type: ignore[misc]  # a bound default
        if part not in tried:
            tried.append(part)
    return tried


def refresh(plan: Plan, record: Record) -> Record:
    """Canonical values under today's rules: a mapping change or a new release may read the same raw differently.

    References keep the record they lead to; they do not depend on the text of the rules. What can be read only under
    one of the two sets of rules stays as it is, for the next read to judge; a golden value of another form goes, and
    the field meets for the first time again.
    """
    if all(link.rules in (plan.version, "") for link in record.links):
        return record
    for name in list(record.golden):
        if name not in plan.fields or not fits(plan.fields[name], record.golden[name]):
            del record.golden[name]
    for link in record.links:
        reader = plan.readers.get(link.system)
        if reader is None or link.rules in (plan.version, ""):
            continue
        states = {}
        for name, state in link.fields.items():
            if name not in reader.fields or (state.met and name not in record.golden):
                continue
            if any(one.spec.entity for one in reader.fields[name]):
                states[name] = state
                continue
            raws = [state.raw] if len(reader.fields[name]) == 1 else state.raw
            if not isinstance(raws, list) or len(raws) != len(reader.fields[name]):
                continue  # the group has other members now; the next read sees it for the first time
            seen = reader.see(name, raws, {})
            if not (state.invalid or seen.invalid) and seen.value != state.value:
                stands = state.ignored is not None and state.ignored[0] == state.value
                ignored = (seen.value, *(state.ignored or ())[1:]) if stands else state.ignored
                state = replace(state, value=seen.value, equivalent=None, ignored=ignored)  # noqa: PLW2901
            states[name] = state
        record.by_number[link.n] = replace(link, fields=states, rules=plan.version)
    return record


def fits(field: Field, golden: Golden) -> bool:
    """Whether a golden value of former rules, or of a former time, still is one."""
    for value in (golden.value, *(golden.frozen or {}).values()):
        members = (value,) if field.single else value or (None,) * len(field.members)
        if not isinstance(members, tuple) or len(members) != len(field.members):
            return False
        for rule, member in zip(field.members, members, strict=True):
            if member is None or rule.spec.entity:
                continue
            try:
                if values.canonical(rule.spec, values.render(rule.spec, member)) != member:
                    return False
            except (ValueError, ArithmeticError):  # a value of another type
                return False
    return True
