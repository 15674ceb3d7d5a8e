"""What one cycle did, for a person to read with pleasure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from syncbroker.cli.output import console, counts, many, print_table, say
from syncbroker.cli.words import KINDS

if TYPE_CHECKING:
    from syncbroker.bootstrap import Calls
    from syncbroker.engine import Engine
    from syncbroker.engine.cycle import Summary


class SystemReport(msgspec.Struct, frozen=True, kw_only=True):
    """`read` and `changed` records; writes by operation, made in `write_calls`; `calls` of any sort."""

    read: int
    changed: int
    created: int
    updated: int
    deleted: int
    write_calls: int
    calls: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`records` by entity and `links` by system are what there is now, `decisions` by kind what this cycle made.

    `owed`: writes by system that are still to be made; `waiting`: those that wait for a value, for the record they
    refer to, or for a review. `held` by a guard: what, and how much. `reviews` wait, by kind. `failed`: system -> why.
    `paused`: systems that a person has taken out, so that they were neither read nor written.
    """

    seconds: float
    records: dict[str, int]
    links: dict[str, int]
    decisions: dict[str, int]
    systems: dict[str, SystemReport]
    owed: dict[str, int]
    waiting: dict[str, int]
    held: dict[str, int]
    reviews: dict[str, int]
    failed: dict[str, str]
    paused: list[str]


def report(engine: Engine, done: Summary, calls: Calls, seconds: float) -> Report:
    from syncbroker.store import decisions, queues, runs

    with engine.store.read() as tx:
        records, links = runs.record_counts(tx), runs.link_counts(tx)
        outbox, reviews = queues.outbox_counts(tx), decisions.waiting_counts(tx)
    written, write_calls = done.delivered.written, done.delivered.calls
    systems, owed = {}, {}
    for name in engine.mapping.systems:
        systems[name] = SystemReport(
            read=done.seen[name],
            changed=done.changed[name],
            created=written[name, "create"],
            updated=written[name, "update"],
            deleted=written[name, "delete"],
            write_calls=sum(count for (system, _), count in write_calls.items() if system == name),
            calls=calls.of(name),
        )
        owed[name] = sum(
            count
            for (system, state), count in outbox.items()
            if system == name and state not in ("refused", "waiting", "staged")
        )
    return Report(
        seconds=round(seconds, 3),
        records=records,
        links={
            name: sum(
                count for (system, _, state), count in links.items() if system == name and state == "live"
            )
            for name in engine.mapping.systems
        },
        decisions={
            kind: done.kinds[kind]
            for kind in [*KINDS, *sorted(done.kinds.keys() - KINDS)]
            if done.kinds[kind]
        },
        systems=systems,
        owed={name: count for name, count in owed.items() if count},
        waiting={
            name: count for name in engine.mapping.systems if (count := outbox.get((name, "waiting"), 0))
        },
        held={
            **{f"observations of {name}": count for name, count in done.held.items()},
            **{
                f"writes to {name}": count
                for name in engine.mapping.systems
                if (count := outbox.get((name, "staged"), 0))
            },
        },
        reviews=reviews,
        failed={**done.delivered.failed, **done.failed},
        paused=sorted(done.stopped),
    )


def show(found: Report, word: str) -> None:
    to = console()
    say(to, f"\n{word} {many(len(found.systems), 'system')} in {found.seconds:.1f} s.", style="bold")
    say(to, f"\nrecords   {counts(found.records)}\nlinks     {counts(found.links)}")
    say(to)
    if found.decisions:
        print_table(
            to,
            ["decisions", "count", "what they stand for"],
            [(kind, count, KINDS.get(kind, "")) for kind, count in found.decisions.items()],
            right=["count"],
        )
    else:
        say(to, "decisions none: nothing had changed")
    print_table(
        to,
        ["system", "read", "changed", "created", "updated", "deleted", "write calls", "all calls"],
        [
            (name, s.read, s.changed, s.created, s.updated, s.deleted, s.write_calls, s.calls)
            for name, s in found.systems.items()
        ],
        title="systems",
        right=["read", "changed", "created", "updated", "deleted", "write calls", "all calls"],
    )
    if found.owed:
        say(to, f"\nstill to be written: {counts(found.owed)}; the next sync, or serve, goes on with it")
    if found.waiting:
        what = "for a required value, for what they refer to, or for a review"
        say(to, f"\nwrites that wait {what}: {counts(found.waiting)}\n    see: syncbroker status")
    if found.held:
        say(to, f"\nheld by a guard: {counts(found.held)}\n    see: syncbroker review list --kind guard")
    if found.reviews:
        say(to, f"\nreviews waiting: {counts(found.reviews)}\n    see: syncbroker review list")
    else:
        say(to, "\nno review is waiting")
    if found.paused:
        say(to, f"\nneither read nor written, since a person has paused them: {', '.join(found.paused)}")
        say(to, "    see: syncbroker status; syncbroker resume SYSTEM")
    for system, why in found.failed.items():
        say(to, f"\n{system} failed: {why}", style="red")
