"""`explain`: why a record has the value it has, who put it there, who lost, and what each system holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, local, plain, print_json, print_table, say, usage
from syncbroker.cli.words import FLOWS, cause, raw_text, value_text, when, who

if TYPE_CHECKING:
    from rich.console import Console

    from syncbroker.engine import Engine
    from syncbroker.engine.explain import Explanation, FieldView, Push, Side, Step


def explain(
    record: Annotated[
        str,
        typer.Argument(
            metavar="ENTITY:WHO",
            help="contact:RECORD-ID, contact:SYSTEM:ID-THERE, or contact:MATCH-KEY such as contact:ann@example.com",
        ),
    ],
    field: Annotated[str | None, typer.Argument(metavar="[FIELD]", help="Only this field, in full.")] = None,
    as_json: Json = False,
) -> None:
    """Explain why a record has its values.

    Who gave it each value, when, by which rule in which file and line, and what each system holds.

    With a field, everything about that field: the edit that gave it its value, who lost, and its history.
    """
    from syncbroker.engine.explain import explain as explained
    from syncbroker.engine.find import field_of, plan_of

    with opened() as engine, usage():
        record_id, entity = find_record(engine, record)
        only = [field_of(plan_of(engine, entity), field)] if field is not None else []
        found = explained(engine, record_id, only)
    if as_json:
        print_json(found)
        return
    to = console()
    _show_record(to, found)
    if field is None:
        _show_fields(to, found)
    for one in found.fields if field is not None else ():
        _show_field(to, found, one)


def find_record(engine: Engine, text: str) -> tuple[str, str]:
    """(record id, entity) of "entity:who"; Missing or a wrong command line when it means none or several."""
    from syncbroker.engine.find import find_one

    entity, colon, name = text.partition(":")
    if not colon or not name:
        raise typer.BadParameter(
            f"{text!r} names no record\n    hint: write ENTITY:WHO; entities: {', '.join(engine.plans)}"
        )
    return find_one(engine, entity, name), entity


def _show_record(to: Console, found: Explanation) -> None:
    say(to, f"{found.entity} {found.record}  {plain(found.label)}", style="bold")
    for one in found.merges:
        who = f" by {plain(one.person)}" if one.person else ""
        say(to, f"  {one.absorbed} is part of it: merge {one.merge}{who}, {local(one.at)}")
    print_table(
        to,
        ["  system", "object", "id there", "link", "write owed"],
        [
            (
                f"  {link.system}",
                link.object,
                link.external_id or "-",
                link.status + ("" if link.primary else ", duplicate") + _asks(link.review),
                _push(link.push),
            )
            for link in found.links
        ],
    )


def _show_fields(to: Console, found: Explanation) -> None:
    """One line per field, and how the record came to be."""
    print_table(
        to,
        ["  field", "value", "from", "when", "rule", "in", "not in step"],
        [
            (
                f"  {one.name}",
                value_text(one.value, one.members, found.labels),
                _source(one),
                local(one.edited_until) if one.edited_until else "",
                one.policy + _asks(one.review),
                one.place,
                ", ".join(f"{side.system} ({side.standing})" for side in one.sides if _differs(side)),
            )
            for one in found.fields
        ],
        title="fields",
    )
    print_table(
        to,
        ["  decision", "when", "what", "system", "why", "rule in"],
        [(f"  {one.decision}", one.at, one.kind, one.system, one.why, one.place) for one in found.identity],
        title="identity",
    )
    say(to, f"\nall about one field: syncbroker explain {found.entity}:{found.record} FIELD")


def _show_field(to: Console, found: Explanation, one: FieldView) -> None:
    say(to, f"\n{one.name} = {value_text(one.value, one.members, found.labels)}", style="bold")
    if one.decided is not None:
        _show_decided(to, found, one, one.decided)
    else:
        say(to, "  nobody has given it a value")
    if one.candidates is not None:
        say(to, f"  stands still until review {one.review} is answered; candidates:")
        for system, value in one.candidates.items():
            say(to, f"    {system or 'golden value'}: {value_text(value, one.members, found.labels)}")
    for lost in one.losers:
        at = f"decision {lost.decision}, {local(lost.at)}"
        value = value_text(lost.value, one.members, found.labels)
        say(to, f"  lost  {value} from {lost.system or 'a person'}: {lost.why} ({at})")
    print_table(
        to,
        [
            "  system",
            "field there",
            "flow",
            "holds",
            "meaning",
            "standing",
            "last in step with",
            "write owed",
        ],
        [_side(side, found, one) for side in one.sides],
        title="  what each system holds",
    )
    say(to, "\n  history", "bold")
    for step in one.history:
        for line in _step(step, found, one):
            say(to, line)


def _show_decided(to: Console, found: Explanation, one: FieldView, step: Step) -> None:
    before = value_text(step.before, one.members, found.labels)
    after = value_text(step.after, one.members, found.labels)
    authority = f", authority {' > '.join(one.authority)}" if one.authority else ""
    edited = f", {when(step.edited_since, step.edited_until)}" if step.edited_until else ""
    say(to, f"  who   {who(step)}{edited}")
    raw = raw_text(step.raw) if step.raw is not None else after
    say(to, f"  what  {before} -> {after}" + (f", written there as {raw}" if raw != after else ""))
    say(to, f"  seen  {cause(step)}")
    say(to, f"  rule  {step.policy}{authority}, {step.place} (mapping {step.mapping})")
    say(to, f"  why   {step.kind}: {step.why} (decision {step.decision} by {step.actor}, {local(step.at)})")


def _side(side: Side, found: Explanation, one: FieldView) -> tuple[str, ...]:
    linked = side.external_id is not None
    return (
        f"  {side.system} {side.external_id or ''}",
        ", ".join(side.paths),
        FLOWS[side.flow],
        raw_text(side.raw) if linked and side.raw is not None else "",
        (side.invalid or value_text(side.value, one.members, found.labels)) if linked else "",
        side.standing + (_asks(side.review) if side.standing != "in step" else ""),
        value_text(side.base, one.members, found.labels) if side.met else "",
        _push(side.push),
    )


def _step(step: Step, found: Explanation, one: FieldView) -> list[str]:
    """One decision in two lines: what became of the golden value, and the edit that caused it."""
    before, after = (value_text(value, one.members, found.labels) for value in (step.before, step.after))
    golden = f"{before} -> {after}" if step.before != step.after else f"{after} stayed"
    lines = [f"  {step.decision:>6}  {local(step.at)}  {step.kind}: {golden}; {step.why}"]
    if step.kind == "resolved_by_person":
        return [*lines, f"          by {who(step)}"]
    edit = step.invalid or value_text(step.value, one.members, found.labels)
    late = ", seen after a write of ours had removed it" if step.late else ""
    return [*lines, f"          {edit} by {who(step)}, {cause(step)}{late}; {step.place}"]


def _source(one: FieldView) -> str:
    if one.source:
        return one.source
    return (
        f"{plain(one.decided.actor)} (person)"
        if one.decided and one.decided.kind == "resolved_by_person"
        else ""
    )


def _differs(side: Side) -> bool:
    return side.standing not in ("in step", "not linked")


def _push(push: Push | None) -> str:
    if push is None:
        return ""
    due = f", due {local(push.due)}" if push.due and push.state == "due" else ""
    return f"{push.op} {push.state}{due}" + (f": {plain(push.error)}" if push.error else "")


def _asks(review: int) -> str:
    return f" (review {review})" if review else ""
