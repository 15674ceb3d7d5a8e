"""Which records a record refers to, and how it comes to refer to another one instead when two records become one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec.structs import replace

from syncbroker.core.plan import Plan
from syncbroker.core.state import FieldState, Golden, LinkState, Record
from syncbroker.core.types import Value


def targets(plan: Plan, record: Record) -> set[str]:
    """Ids of all records that its golden values, their candidates and its links' values lead to."""
    found: set[str] = set()
    for name in plan.referring:
        golden = record.golden.get(name)
        if golden is not None:
            for value in (golden.value, *(golden.frozen or {}).values()):
                found.update(_ids(plan, name, value))
        for link in record.links:
            state = link.fields.get(name)
            if state is not None and not state.invalid:
                for value in (state.value, state.base):
                    found.update(_ids(plan, name, value))
    return found


def repoint(plan: Plan, record: Record, leads: Mapping[str, str]) -> list[str]:
    """Let it refer to `leads[id]` wherever it referred to `id`, in place. Returns the fields whose value changed."""
    changed = []
    for name in plan.referring:

        def lead(value: Value, name: str = name) -> Value:
            return _moved(plan, name, value, leads)

        golden = record.golden.get(name)
        if golden is not None and (moved := _golden(golden, lead)) != golden:
            record.golden[name] = moved
            if moved.value != golden.value:
                changed.append(name)
        for link in record.links:
            state = link.fields.get(name)
            if state is not None and (held := _state(state, lead)) != state:
                record.by_number[link.n] = _with(record.by_number[link.n], name, held)
    return changed


def _with(link: LinkState, name: str, state: FieldState) -> LinkState:
    return replace(link, fields={**link.fields, name: state})


def _golden(golden: Golden, lead: Callable[[Value], Value]) -> Golden:
    frozen = golden.frozen
    if frozen is not None:
        frozen = {system: lead(value) for system, value in frozen.items()}
    return replace(golden, value=lead(golden.value), frozen=frozen)


def _state(state: FieldState, lead: Callable[[Value], Value]) -> FieldState:
    return replace(
        state,
        value=lead(state.value),
        base=lead(state.base),
        sent=tuple((lead(value), until) for value, until in state.sent),
        known=tuple(dict.fromkeys(lead(value) for value in state.known)),
        equivalent=state.equivalent and (lead(state.equivalent[0]), lead(state.equivalent[1])),
        ignored=state.ignored and tuple(lead(one) for one in state.ignored),
    )


def _places(plan: Plan, name: str) -> Iterator[int]:
    for n, member in enumerate(plan.fields[name].members):
        if member.spec.entity:
            yield n


def _ids(plan: Plan, name: str, value: Value) -> list[str]:
    if value is None:
        return []
    if plan.fields[name].single:
        return [str(value)]
    members = value if isinstance(value, tuple) else ()
    return [str(members[n]) for n in _places(plan, name) if n < len(members) and members[n]]


def _moved(plan: Plan, name: str, value: Value, leads: Mapping[str, str]) -> Value:
    if value is None or plan.fields[name].single:
        return leads.get(str(value), value)
    if not isinstance(value, tuple):
        return value
    members = list(value)
    for n in _places(plan, name):
        if n < len(members):
            members[n] = leads.get(str(members[n]), members[n])
    return tuple(members)
