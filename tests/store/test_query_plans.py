"""Every question that a command asks the store is answered through an index: nothing reads a big table from end to end.

The statements are those that SQLite really was given while the command ran; without statistics its plan depends on the
tables and indexes alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from syncbroker.engine import (
    answer,
    cycle,
    drift_report,
    explain,
    find,
    health,
    merge,
    replay,
    retry,
    status,
    undo,
    unmerge,
)
from syncbroker.engine import scope as scopes
from syncbroker.engine.scope import Scope
from syncbroker.store import (
    audit,
    chain,
    decisions,
    deliveries,
    leases,
    queues,
    receipts,
    records,
    retention,
    runs,
    shards,
    stops,
    tables,
    turns,
)
from syncbroker.store.database import Store
from syncbroker.store.retention import Keep
from tests.support.deliveries import arrive
from tests.support.rig import Rig, open_ready
from tests.support.three import three

SMALL = {
    "meta",
    "sequences",
    "mappings",
    "cursors",
    "breakers",
    "counters",
    "shapes",
    "shape_outcomes",
    "pauses",
    "leases",
    "stops",
    "turns",
}
BIG = {table.name for table in tables.metadata.tables.values()} - SMALL

Command = Callable[[Rig], object]


@contextmanager
def statements(store: Store) -> Iterator[dict[str, Any]]:
    """SQL text -> parameters of every statement while the block runs."""
    found: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        found[sql] = parameters[0] if many else parameters

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


def scans(store: Store, found: dict[str, Any]) -> list[str]:
    """Lines of "table: statement", one for every statement that reads a big table from end to end."""
    bad = []
    with store.read() as tx:
        for sql, parameters in found.items():
            if not sql.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")):
                continue
            names = aliases(sql)
            for row in tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters):
                scanned = re.match(r"SCAN (\w+)", row[3])
                if " WHERE " not in sql and "LIMIT" in sql and " BY " not in sql.replace("ORDER BY", "", 1):
                    continue  # the first or last few by their primary key
                if row[3].endswith("INDEX inbox_set_aside"):
                    continue  # it holds nothing but what is asked for
                if scanned and names.get(scanned[1], scanned[1]) in BIG:
                    bad.append(f"{row[3]}: {' '.join(sql.split())}")
    return bad


def aliases(sql: str) -> dict[str, str]:
    return {
        alias: name
        for name, alias in re.findall(r"(?:FROM|JOIN)\s+(\w+)\s+(?:AS\s+)?(\w)\b", sql, re.IGNORECASE)
    }


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[Rig]:
    with three(tmp_path, sqlite_url) as made:
        yield made


def edited_sync(world: Rig) -> None:
    world.edit("marketing", "p000001", email="new@x.example", name="Ann New")
    world.edit("crm", "p000002", name="Bob New")
    world.systems["crm"].insert("people", {"email": "eve@x.example"})
    world.sync()


def deleted_sweep(world: Rig) -> None:
    world.systems["marketing"].remove("people", "p000001")
    world.sweep()


def renamed(world: Rig) -> None:
    now = world.clock()
    sighting = queues.Sighting(
        id="p000099",
        renamed_from="p000001",
        stamp=now,
        begun=now,
        ended=now,
        fields={"email": "ann@x.example"},
    )
    with world.engine.store.write() as tx:
        queues.stage(tx, queues.LIVE, "crm", "people", [sighting])
    cycle.settle(world.engine, cycle.Summary())


def delivered(world: Rig) -> None:
    body = (
        b'[{"event": "e1", "object": "people", "id": "p000001", "kind": "changed", '
        b'"at": 1, "record": null, "into": null}]'
    )
    with world.engine.store.write() as tx:
        arrive(tx, "crm", "d1", world.clock(), deliveries.Request(method="POST", url="x"), body)
    cycle.receive_all(world.engine)
    cycle.settle(world.engine, cycle.Summary())
    cycle.due(world.engine)


def answered(world: Rig) -> None:
    review = next(one for one in world.reviews() if one.kind == "conflict")
    answer.answer(world.engine, review.id, "crm", "pat")


def explained(world: Rig) -> None:
    for name in ("ann@x.example", "crm:p000001"):
        found = find.find(world.engine, "person", name)
        explain.explain(world.engine, found[0])
        explain.explain(world.engine, found[0], at=world.clock())
    find.find(world.engine, "person", "01a2072c")


def replayed(world: Rig) -> None:
    replay.replay(world.engine)
    replay.replay(world.engine, world.clock())
    with world.engine.store.read() as tx:
        receipts.following(tx, after=1)
        receipts.of_run(tx, 1)
        decisions.following(tx, run=1, after=1)
        decisions.by_numbers(tx, [1, 2])


def undone(world: Rig) -> None:
    world.edit("marketing", "p000001", email="new@x.example", name="Ann New")
    world.sync()
    for scope in (
        Scope(since=1, system="marketing"),
        scopes.of_mapping(world.engine, world.engine.mapping.version),
        scopes.of_run(world.engine, 2),
    ):
        undo.plan(world.engine, scope, creates=True)
        undo.carry_out(world.engine, scope, "pat", creates=True)


def searched(world: Rig) -> None:
    with world.engine.store.read() as tx:
        decisions.search(tx)
        decisions.search(tx, kind="adopted")
        decisions.search(tx, field="email")
        decisions.search(tx, kind="adopted", field="email")
        decisions.search(tx, run=1)
        decisions.search(tx, before=5)
        decisions.by_number(tx, 1)
        decisions.last_id(tx)
        decisions.history(tx, "some-id")


def drifted(world: Rig) -> None:
    drift_report.report(world.engine)
    drift_report.report(world.engine, since=5, cause="missed_event", open_only=True)


def listed(world: Rig) -> None:
    with world.engine.store.read() as tx:
        decisions.waiting(tx)
        decisions.waiting(tx, kind="conflict")
        decisions.waiting(tx, record_id="some-id")
        decisions.review(tx, 1)


def recovered(world: Rig) -> None:
    cycle.recover(world.engine)
    cycle.activate(world.engine)


def remapped(world: Rig) -> None:
    world.remap((world.folder / "person.yaml").read_text().replace("policy: prefer", "policy: latest"))


def guarded(world: Rig) -> None:
    """A run that is held, one that joins it, one that is approved in part, webhooks, and writes that are held."""
    text = (world.folder / "person.yaml").read_text()
    limits = "guard: {changed: 0%, emptied: 0%, deleted: 0, collapse: 0, created: 0}\nmatch:\n"
    world.remap(text.replace("match:\n", limits))
    world.edit("crm", "p000001", name="Ann New")
    world.edit("crm", "p000002", name="Bob New")
    world.sync()
    world.edit("crm", "p000002", name="Bob Newer")
    world.sweep()
    (review,) = [one for one in world.reviews() if one.kind == "guard"]
    answer.answer(world.engine, review.id, "approve", "pat", only=["crm:people:p000001"])
    world.systems["billing"].insert("people", {"email": "eve@x.example"})
    world.sync()
    delivered(world)
    for one in world.reviews():
        if one.kind == "guard":
            answer.answer(world.engine, one.id, "approve", "pat")
    world.sync()


def lifted(world: Rig) -> None:
    answer.lift(world.engine, "crm", "people", "p000001", "pat")


def merged(world: Rig) -> None:
    one, other = (find.find(world.engine, "person", f"crm:p00000{n}")[0] for n in (1, 2))
    plan = merge.merge(world.engine, one, other, "pat", only_plan=True)
    number = merge.merge(world.engine, plan.survivor, plan.absorbed, "pat").merge
    find.find(world.engine, "person", other)
    explain.explain(world.engine, one)
    unmerge.find_merge(world.engine, other)
    unmerge.unmerge(world.engine, number, "pat")


def collided(world: Rig) -> None:
    world.edit("crm", "p000002", email="ann@x.example")
    world.sync()
    review = next(one for one in world.reviews() if one.kind == "merge")
    answer.answer(world.engine, review.id, "keep", "pat")


def likened(world: Rig) -> None:
    rule = "match:\n  - {similar: {name: 0.8}, then: review}\n"
    world.remap((world.folder / "person.yaml").read_text().replace("match:\n", rule, 1))
    world.systems["crm"].insert("people", {"email": "like@x.example", "name": "Ann Lea"})
    world.sync()


def looked_after(world: Rig) -> None:
    """A scrape, a retry, the audit, and what is kept no longer."""
    health.health(world.engine)
    retry.retry(world.engine, list(world.engine.mapping.systems), list(retry.KINDS), "pat", only_look=True)
    with world.engine.store.read() as tx:
        audit.entries(tx, since=5)
    keep = Keep(deliveries=1, runs=1, drift=1, reviews=1, receipts=1, audit=1)
    list(retention.clean(world.engine.store, keep, world.clock() + 10 * retention.DAY))


COMMANDS: dict[str, Command] = {
    "metrics, retry and retention": looked_after,
    "sync, nothing new": lambda world: world.sync(),
    "sync, edits": edited_sync,
    "sweep, nothing new": lambda world: world.sweep(),
    "sweep, a deletion": deleted_sweep,
    "a rename": renamed,
    "a webhook": delivered,
    "review resolve": answered,
    "review list and show": listed,
    "drift": drifted,
    "explain": explained,
    "decisions": searched,
    "replay": replayed,
    "undo": undone,
    "recover": recovered,
    "a mapping change": remapped,
    "guards": guarded,
    "lift": lifted,
    "merge and unmerge": merged,
    "a shared key": collided,
    "likeness": likened,
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_command_reads_a_big_table_from_end_to_end(world: Rig, command: Command) -> None:
    with statements(world.engine.store) as found:
        command(world)
    assert found
    assert scans(world.engine.store, found) == []


def test_status_counts_over_indexes_alone(world: Rig) -> None:
    with statements(world.engine.store) as found:
        status.status(world.engine)
    keyed = re.compile(
        "USING COVERING INDEX|^SCAN (pending_references|alarms):"
    )  # a table that is its primary key
    assert [line for line in scans(world.engine.store, found) if not keyed.search(line)] == []


def test_the_plans_are_looked_at(world: Rig) -> None:
    """The proof that a scan would be seen."""
    with statements(world.engine.store) as found, world.engine.store.read() as tx:
        tx.connection.exec_driver_sql("SELECT body FROM decisions d WHERE actor = 'x'").fetchall()
        tx.run(tables.links.select().where(tables.links.c.state == "x")).all()
    assert len(scans(world.engine.store, found)) == 2


def test_what_was_set_aside_is_found_without_a_look_at_what_was_not(world: Rig) -> None:
    with statements(world.engine.store) as found, world.engine.store.write() as tx:
        queues.set_aside(tx)
        queues.set_aside_counts(tx)
        queues.revive(tx)
        queues.revive(tx, "crm")
        queues.take_these(tx, queues.LIVE, [1, 2], 0)
        queues.strike(tx, 1, "a fault", 3, 0)
        shards.behind(tx, queues.LIVE, "crm", "people", ["p000001"], 0)
        shards.put_apart(tx, [1, 2])
    assert scans(world.engine.store, found) == []


def plans(store: Store, found: dict[str, Any]) -> list[str]:
    """How SQLite goes about each of the statements, one line per step."""
    with store.read() as tx:
        return [
            row[3]
            for sql, parameters in found.items()
            if sql.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE"))
            for row in tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)
        ]


def test_a_lease_a_turn_and_a_stop_are_found_by_their_names(world: Rig) -> None:
    turn = turns.Turn(system="crm", object="people", kind="pull", due=5, plan="")
    with statements(world.engine.store) as found, world.engine.store.write() as tx:
        leases.take(tx, "write:crm:0", "me")
        leases.held(tx, ["write:crm:0", "read:crm:people"])
        leases.release(tx, ["write:crm:0"], "me")
        turns.put(tx, [turn])
        turns.announce(tx, turn, 6)
        turns.begin(tx, turn, 6, 7)
        turns.end(tx, turn, 7)
        turns.bring_forward(tx, turn, 8)
        turns.count_anew(tx, turn, turn)
        turns.hasten(tx, "crm", 9)
        turns.drop(tx, [turn])
        stops.stop(tx, stops.Stop(system="crm", since=1, person="pat", why=""))
        stops.is_stopped(tx, "crm")
        stops.resume(tx, "crm", 10)
    steps = plans(world.engine.store, found)
    assert {word for step in steps for word in step.split() if word in SMALL} == {"leases", "turns", "stops"}
    assert [step for step in steps if step.startswith("SCAN") and "VIRTUAL TABLE" not in step] == []


def test_verifying_walks_the_log_along_an_index_and_goes_on_where_a_page_ended(
    world: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "PAGE", 1)
    with statements(world.engine.store) as found:
        assert [one for one in chain.walk(world.engine.store) if one.broken] == []
    assert scans(world.engine.store, found) == []
    of_records = {sql: given for sql, given in found.items() if "decisions.record_id > ?" in sql}
    assert len(of_records) == 2  # the first page and a later one; what is decided about runs is little
    assert [step for step in plans(world.engine.store, of_records) if "TEMP B-TREE" in step] == []


def test_a_shard_is_taken_in_order_of_its_index(postgres_url: str) -> None:
    store = open_ready(postgres_url)
    with closing(store):
        plans = taken_plans(store)
    for sql, plan in plans.items():
        assert "inbox_by_shard" in plan
        assert "Seq Scan" not in plan
        assert plan.count("Sort") <= ("generate_series" in sql) * 2, plan  # the shards, not what is in them


def taken_plans(store: Store) -> dict[str, str]:
    """How PostgreSQL would look for what is due in the shards of a full inbox."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, _many: bool) -> None:
        asked.append((sql, parameters))

    with store.write() as tx:
        sightings = [queues.Sighting(id=f"x{n}") for n in range(3000)]
        queues.stage(tx, queues.LIVE, "crm", "people", sightings)
        tx.connection.exec_driver_sql("UPDATE inbox SET shard = mod(id, 17)")
        tx.connection.exec_driver_sql("ANALYZE inbox")
        event.listen(store.engine, "before_cursor_execute", note)
        shards.due(tx, queues.LIVE, 5)
        queues.take(tx, queues.LIVE, 5, 10, shard=3)
        event.remove(store.engine, "before_cursor_execute", note)
        return {
            sql: "\n".join(row[0] for row in tx.connection.exec_driver_sql(f"EXPLAIN {sql}", parameters))
            for sql, parameters in asked
        }


def test_a_lookup_of_many_values_probes_once_for_each(world: Rig) -> None:
    with statements(world.engine.store) as found, world.engine.store.read() as tx:
        records.by_external_id(tx, "crm", "people", ["p000001", "p000002"])
        records.load(tx, ["a", "b"])
        records.by_keys(tx, "person", ["email|a", "email|b"])
        records.resolve_aliases(tx, "crm", "people", ["x"])
        records.buried(tx, "crm", "people", ["x"])
        runs.first_reads(tx)
    assert scans(world.engine.store, found) == []
