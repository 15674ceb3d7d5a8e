"""`review`: the questions that wait for a person, and their answers."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from syncbroker.cli.opening import opened
from syncbroker.cli.output import (
    Json,
    console,
    counts,
    known,
    local,
    many,
    plain,
    print_json,
    print_table,
    say,
    usage,
)
from syncbroker.cli.words import Members, members_of, raw_text, value_text

if TYPE_CHECKING:
    from rich.console import Console

    from syncbroker.engine import Engine
    from syncbroker.engine.answer import Alike
    from syncbroker.store.decisions import Review

app = typer.Typer(help="List, show and answer the questions that wait for a person.", no_args_is_help=True)

QUESTIONS = {
    "conflict": "which value is right?",
    "contested": "what shall stand where somebody puts an earlier value back again and again?",
    "proposal": "shall this edit be taken over?",
    "invalid": "what shall stand instead of a value that cannot be used?",
    "match": "which record is it?",
    "merge": "are these two records one?",
    "delete": "it was deleted there; what follows?",
    "refused": "the system refused a write; what now?",
    "guard": "a limit is passed; shall it go on?",
}


class ReviewView(msgspec.Struct, frozen=True, kw_only=True):
    """A review for people and programs. `seen` goes into `resolve --seen`: it changes when what is asked changes.

    `records` are those a match review chooses from, and `held` what the system holds: field -> value.
    """

    number: int
    kind: str
    question: str
    entity: str
    record: str | None
    label: str
    field: str
    system: str
    external_id: str | None
    opened: Any
    closed: Any
    answered_by: str | None
    body: dict[str, Any]
    offers: list[Any]
    takes_value: bool
    seen: str
    held: dict[str, Any]
    records: dict[str, dict[str, Any]]


@app.command("list")
def list_(
    kind: Annotated[str, typer.Option(help=f"Only one kind: {', '.join(QUESTIONS)}.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    as_json: Json = False,
) -> None:
    """Show the questions that wait, oldest first."""
    from syncbroker.store import decisions

    if kind:
        known("kind of review", QUESTIONS, [kind])
    with opened() as engine:
        with engine.store.read() as tx:
            found = decisions.waiting(tx, kind=kind, limit=limit)
            total = decisions.waiting_counts(tx)
        views = [_view(engine, one) for one in found]
        plans = engine.plans
    if as_json:
        print_json(views)
        return
    to = console()
    print_table(
        to,
        ["review", "since", "kind", "record", "field", "system", "question", "offers"],
        [
            (
                str(one.number),
                local(one.opened),
                one.kind,
                f"{one.entity} {plain(one.label) or one.record or ''}",
                one.field,
                one.system,
                one.question,
                _offers(one, members_of(plans.get(one.entity), one.field)),
            )
            for one in views
        ],
    )
    wanted = total.get(kind, 0) if kind else sum(total.values())
    if not wanted:
        say(to, "no review is waiting")
    elif wanted > len(views):
        say(to, f"{wanted - len(views):,} more; see --limit")


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(help="The review's number.")],
    as_json: Json = False,
) -> None:
    """Show all that a person needs to answer one question."""
    with opened() as engine:
        view = _view(engine, _review(engine, number))
        members = members_of(engine.plans.get(view.entity), view.field)
    if as_json:
        print_json(view)
    else:
        _show(console(), view, members)


@app.command("resolve")
def resolve(
    number: Annotated[int, typer.Argument(help="The review's number.")],
    *,
    choose: Annotated[str, typer.Option(metavar="OFFER", help="The name of one of its offers.")] = "",
    value: Annotated[
        str | None, typer.Option(help="Another value for the field, as a person writes it.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYSTEM:OBJECT:ID",
            help="Of what a guard holds, only this record; may be repeated. The rest waits on.",
        ),
    ] = None,
    person: Annotated[str, typer.Option(help="Who answers; by default the user of this machine.")] = "",
    alike: Annotated[
        bool,
        typer.Option("--alike", help="Answer every open review like it: same kind, entity, field, system."),
    ] = False,
    seen: Annotated[
        str, typer.Option(help="Refuse if it asks something else than when `show` gave this.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Answer a question. The answer is a decision under the person's name; what it owes is written by serve or sync."""
    from syncbroker.engine import cycle
    from syncbroker.engine.answer import answer, answer_alike

    if alike and seen:
        raise typer.BadParameter("--seen is for one review; leave it out with --alike")
    if bool(choose) == (value is not None):
        raise typer.BadParameter("give either --choose OFFER or --value VALUE")
    name = person or _user()
    with opened() as engine:
        asked = _review(engine, number)
        if asked.kind == "merge":
            cycle.settle_writes(engine, asked.body["records"])
        if alike:
            done = answer_alike(engine, number, choose or "value", name, value=value)
            _show_alike(done, name, as_json=as_json)
            return
        decision = answer(engine, number, choose or "value", name, value=value, seen=seen, only=only or [])
    if as_json:
        print_json({"review": number, "decision": decision, "person": name})
    else:
        typer.echo(
            f"review {number} is answered by {name} (decision {decision}); serve or the next sync writes it out"
        )


def _show_alike(done: Alike, person: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"answered": done.answered, "left": dict(done.left), "person": person})
        return
    typer.echo(
        f"{many(len(done.answered), 'review')} answered by {person}; serve or the next sync writes it out"
    )
    for number, why in done.left:
        typer.echo(f"  left {number}: {why}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        raise typer.BadParameter("nobody knows who you are\n    hint: give --person NAME") from None


def _review(engine: Engine, number: int) -> Review:
    from syncbroker.errors import Missing
    from syncbroker.store import decisions

    with engine.store.read() as tx:
        found = decisions.review(tx, number)
    if found is None:
        with usage():
            raise Missing(f"there is no review {number}", hint="see: syncbroker review list")
    return found


def _view(engine: Engine, review: Review) -> ReviewView:
    from syncbroker.engine.find import label
    from syncbroker.engine.history import moment
    from syncbroker.engine.offers import offers, takes_value
    from syncbroker.store import records
    from syncbroker.store.decisions import token

    asked = review.body.get("records", []) if review.kind in ("match", "merge") else []
    with engine.store.read() as tx:
        loaded = records.load(tx, [*asked, *([review.record_id] if review.record_id else [])])
        state = records.link_states(tx, [review.link]).get(review.link) if review.link else None
    own = loaded.get(review.record_id or "")
    link = state[0] if state else None
    return ReviewView(
        number=review.id,
        kind=review.kind,
        question=QUESTIONS[review.kind],
        entity=review.entity,
        record=review.record_id,
        label=label(engine, own) if own else "",
        field=review.field,
        system=review.system,
        external_id=link.external_id if link else None,
        opened=moment(review.opened),
        closed=moment(review.closed),
        answered_by=review.person,
        body=review.body,
        offers=offers(review),
        takes_value=takes_value(review),
        seen=token(review),
        held={name: one.raw for name, one in link.fields.items() if one.raw is not None} if link else {},
        records={
            id_: {
                name: golden.value for name, golden in loaded[id_].golden.items() if golden.value is not None
            }
            for id_ in asked
            if id_ in loaded
        },
    )


def _show(to: Console, one: ReviewView, members: Members) -> None:
    where = f", {one.system}" + (f" {one.external_id}" if one.external_id else "") if one.system else ""
    say(to, f"review {one.number}, {one.kind}: {one.question}", style="bold")
    say(to, f"  about   {one.entity} {one.record or ''} {plain(one.label)}")
    say(to, f"  what    {one.field or 'the whole record'}{where}")
    say(to, f"  since   {local(one.opened)}")
    for name in ("why", "message", "rule"):
        if one.body.get(name):
            say(
                to,
                f"  {name:7} {plain(one.body[name])}"
                + (f", {one.body['place']}" if "place" in one.body else ""),
            )
    _show_evidence(to, one, members)
    if one.closed:
        say(to, f"  closed  {local(one.closed)}: {plain(one.answered_by)}")
        return
    print_table(
        to,
        ["  answer", "what it does", "value"],
        [
            (
                f"  --choose {offer.name}",
                offer.what,
                "" if offer.value is None else value_text(offer.value, members),
            )
            for offer in one.offers
        ]
        + ([("  --value VALUE", "take another value", "")] if one.takes_value else []),
    )
    say(to, f"\nsyncbroker review resolve {one.number} --seen {one.seen} --choose ...")
    if one.kind == "guard":
        say(to, "with --only SYSTEM:OBJECT:ID for a part of it, named as the samples are")


def _show_evidence(to: Console, one: ReviewView, members: Members) -> None:
    """What the question is about, by its kind."""
    if one.kind in ("proposal", "invalid"):
        say(to, f"  holds   {raw_text(one.body.get('raw'))}")
        say(to, f"  golden  {value_text(one.body.get('golden'), members)}")
    if one.kind == "match":
        say(to, f"  {one.system} holds")
        for name, raw in one.held.items():
            say(to, f"    {name}: {raw_text(raw)}")
    for evidence in one.body.get("evidence", []):
        say(
            to,
            f"  same    {plain(evidence['rule'])}" + (f", {evidence['place']}" if evidence["place"] else ""),
        )
    for id_, golden in one.records.items():
        scores = one.body.get("scores", {}).get(id_, {})
        likeness = ", ".join(f"{field} {score:.3f}" for field, score in scores.items())
        say(to, f"  record {id_}" + (f", alike: {likeness}" if likeness else ""))
        for name, value in golden.items():
            say(to, f"    {name}: {raw_text(value)}")
    for name, value in one.body.get("values", {}).items():
        say(to, f"  write   {name}: {raw_text(value)}")
    if one.kind == "guard":
        _show_guard(to, one)


def _show_guard(to: Console, one: ReviewView) -> None:
    """What waits, the numbers against the limits, and the samples."""
    body = one.body
    what = "observation" if body["waits"] == "observations" else "write"
    say(to, f"  run     {body['run']} ({body['read']}), {many(body['count'], what)} held")
    for limit in body["limits"]:
        value = f" ({raw_text(limit['value'])})" if limit["what"] == "collapse" else ""
        say(to, f"  limit   {limit['text']}{value}, {limit['place']}")
    for counted in body["counts"]:
        words = {name: n for name, n in counted.items() if isinstance(n, int)}
        say(to, f"  {counted['entity']} in {counted['system']} {counted['object']}: {counts(words)}")
    print_table(
        to,
        ["  sample", "what", "field", "holds", "would hold"],
        [
            (f"  {shown['name']}", shown["what"], field, value_text(before), value_text(after))
            for shown in body["samples"]
            for field, (before, after) in (shown["fields"] or {"": ("", "")}).items()
        ],
    )


def _offers(one: ReviewView, members: Members) -> str:
    """What may be answered, on one line; a match review's offers are ids that only `show` explains."""
    if one.kind == "merge":
        return f"{many(len(one.records), 'record')}, keep"
    if one.kind == "match":
        return f"{many(len(one.records), 'record')}, new"
    return "  ".join(
        offer.name + ("" if offer.value is None else f"={value_text(offer.value, members)}")
        for offer in one.offers
    )
