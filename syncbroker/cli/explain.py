"""`explain`: why a record has the value it has, who put it there, who lost, and what each system holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.decisions import moment
from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, local, plain, print_json, print_table, say, usage
from syncbroker.cli.words import FLOWS, cause, raw_text, value_text, when, who

if TYPE_CHECKING:
    from rich.console import Console

    from syncbroker.engine import Engine
    from syncbroker.engine.explain import Explanation, FieldView, Push, Side
    from syncbroker.engine.history import Sent, Step


def explain(
    record: Annotated[
        str,
        typer.Argument(
            metavar="ENTITY:WHO",
            help="contact:RECORD-ID, contact:SYSTEM:ID-THERE, or contact:MATCH-KEY such as contact:ann@example.com",
        ),
    ],
    field: Annotated[str | None, typer.Argument(metavar="[FIELD]", help="Only this field, in full.")] = None,
    as_of: Annotated[
        str, typer.Option(metavar="TIME", help="As it was then: 2h, 3d (so long ago), or an ISO time.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Explain why a record has its values.

    Who gave it each value, when, by which rule in which file and line, and what each system holds.

    With a field, everything about that field: the edit that gave it its value, who lost, what was written where, and
    its whole history.
    """
    from syncbroker.engine.explain import explain as explained
    from syncbroker.engine.find import field_of, plan_of

    with opened() as engine, usage():
        record_id, entity = find_record(engine, record)
        only = [field_of(plan_of(engine, entity), field)] if field is not None else []
        found = explained(engine, record_id, only, moment(as_of) if as_of else None)
    if as_json:
        print_json(found)
        return
    to = console()
    _show_record(to, found)
    if field is None:
        _show_fields(to, found)
    for one in found.fields if field is not None else ():
        _show_field(to, found, one)
    if found.cut:
        say(
            to,
            f"\nolder decisions: syncbroker decisions --record {found.entity}:{found.record} --limit 10000",
        )
    for line in found.unknown:
        say(to, f"note: {line}", "dim")


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
    then = f"  as of {local(found.as_of)}" if found.as_of is not None else ""
    say(to, f"{found.entity} {found.record}  {plain(found.label)}{then}", style="bold")
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
            "last written" if found.as_of is None else "known from",
        ],
        [_side(side, found, one) for side in one.sides],
        title="  what each system holds" if found.as_of is None else "  what each system held",
    )
    say(to, "\n  history", "bold")
    for line in _history(found, one):
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
    say(
        to,
        f"  rule  {step.policy}{authority}, {step.place} (mapping {step.mapping}{_not_active(found, step)})",
    )
    number = f"decision {step.decision}" + (f" of run {step.run}" if step.run else "")
    say(to, f"  why   {step.kind}: {step.why} ({number} by {plain(step.actor)}, {local(step.at)})")


def _not_active(found: Explanation, step: Step) -> str:
    return "" if step.mapping == found.mapping else f", {found.mapping} is active now"


def _history(found: Explanation, one: FieldView) -> list[str]:
    """Decisions and receipts in one order, newest first."""
    told = [(step.at, _step(step, found, one)) for step in one.history]
    told += [(sent.at, _sent(sent, found, one)) for sent in one.writes]
    return [line for _, lines in sorted(told, key=lambda pair: pair[0], reverse=True) for line in lines]


def _sent(sent: Sent, found: Explanation, one: FieldView) -> list[str]:
    """A receipt in two lines: what was written where and how it ended, and which decision owed it."""
    from syncbroker.engine.history import STATUSES

    value = value_text(sent.value, one.members, found.labels)
    raw = f" as {raw_text(sent.raw)}" if sent.raw != sent.value else ""
    shown = f"; it shows {raw_text(sent.shown)}" if sent.rewritten else ""
    told = f" ({plain(sent.message)})" if sent.message else ""
    owed = f"owed by decision {sent.decision}" if sent.decision else "owed"
    run = f" of run {sent.run}" if sent.run else ""
    tries = f", attempt {sent.attempts}" if sent.attempts > 1 else ""
    where = f"{sent.system} {sent.external_id or ''}".rstrip()
    return [
        f"          {local(sent.at)}  written to {where}: {value}{raw}, {STATUSES[sent.status]}{shown}{told}",
        f"          receipt {sent.receipt}, {sent.op}, {owed}{run}{tries}, key {sent.key}",
    ]


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
        _known(side)
        if found.as_of is not None
        else f"{local(side.written.at)}, {side.written.status}"
        if side.written
        else "",
    )


def _known(side: Side) -> str:
    """The evidence of what a system held."""
    if side.evidence is None:
        return ""
    what = (
        f"decision {side.evidence.decision}" if side.evidence.decision else f"receipt {side.evidence.receipt}"
    )
    return f"{what}, {local(side.evidence.at)}"


def _step(step: Step, found: Explanation, one: FieldView) -> list[str]:
    """One decision in two lines: what became of the golden value, and the edit that caused it."""
    before, after = (value_text(value, one.members, found.labels) for value in (step.before, step.after))
    golden = f"{before} -> {after}" if step.before != step.after else f"{after} stayed"
    lines = [f"  {step.decision:>6}  {local(step.at)}  {step.kind}: {golden}; {step.why}"]
    if step.kind in ("resolved_by_person", "undone"):
        return [
            *lines,
            f"          by {who(step)}, {step.place}" if step.place else f"          by {who(step)}",
        ]
    edit = step.invalid or value_text(step.value, one.members, found.labels)
    late = ", seen after a write of ours had removed it" if step.late else ""
    return [*lines, f"          {edit} by {who(step)}, {cause(step)}{late}; {step.place}"]


def _source(one: FieldView) -> str:
    if one.source:
        return one.source
    return (
        f"{plain(one.decided.actor)} (person)"
        if one.decided and one.decided.kind in ("resolved_by_person", "undone")
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
