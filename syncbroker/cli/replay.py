"""`replay`: resolve the stored decisions again, and say whether the rules still give what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from syncbroker.cli.decisions import moment
from syncbroker.cli.opening import opened
from syncbroker.cli.output import Json, console, local, many, plain, print_json, say
from syncbroker.cli.words import raw_text

if TYPE_CHECKING:
    from rich.console import Console

    from syncbroker.engine.replay import Difference, Replayed, Told


def replay(
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare every outcome with what the rules say now.")
    ] = False,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Only later decisions: 2h, 3d, or an ISO time.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Resolve every stored decision again from its stored inputs.

    Each under the rules of its own mapping version. Changes nothing and calls no system. Exit code 1 on the first
    outcome that differs.
    """
    from syncbroker.engine.replay import replay as replayed

    if not verify:
        raise typer.BadParameter("replay only verifies\n    hint: write syncbroker replay --verify")
    with opened() as engine:
        done = replayed(engine, moment(since) if since else 0)
    if as_json:
        print_json(done)
    else:
        _show(console(), done)
    if done.difference is not None:
        raise typer.Exit(1)


def _show(to: Console, done: Replayed) -> None:
    if not done.decisions:
        say(to, "there is no decision to resolve again")
        return
    speed = f"{done.decisions / done.seconds:,.0f} a second" if done.seconds else ""
    say(to, f"{many(done.decisions, 'decision')} ({done.first} to {done.last}), {speed}")
    say(to, f"  {many(done.verified, 'outcome')} resolved again, with the same result")
    for version in done.versions:
        which = "the active rules" if version.active else "under its stored rules"
        say(
            to,
            f"  mapping {version.version}: {version.verified:,} by {which}"
            if version.active
            else f"  mapping {version.version}, another version: {version.verified:,} {which}",
        )
        for why, count in version.not_verifiable.items():
            say(to, f"    {count:,} not verifiable: {why}")
    if done.erased:
        say(to, f"  {many(done.erased, 'outcome')} erased on request: their inputs are gone")
    for why, count in done.without_rule.items():
        say(to, f"  {count:,} decided by no rule: {why}")
    if done.difference is not None:
        _show_difference(to, done.difference)


def _show_difference(to: Console, one: Difference) -> None:
    say(to)
    say(to, f"decision {one.decision} is another one now", "bold")
    say(to, f"  record  {one.entity}:{one.record}, {one.field}, an edit in {one.system}, {local(one.at)}")
    say(to, f"  rule    {one.policy}, {one.place} (mapping {one.mapping})")
    say(to, f"  stored  {_told(one.stored)}")
    say(to, f"  now     {_told(one.got)}")


def _told(one: Told) -> str:
    after = "(empty)" if one.after is None else raw_text(one.after)
    return f"{one.kind} -> {after}, from {one.winner or 'nobody'}: {plain(one.why)}"
