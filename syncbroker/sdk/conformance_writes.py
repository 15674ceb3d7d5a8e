"""Checks on writing: create, update, clear, delete, batches, conditions, and writes that go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syncbroker.core.types import Item, Receipt, Write
from syncbroker.errors import OutcomeUnknown, RateLimited, Unauthorised
from syncbroker.sdk.conformance_bench import Bench, expect, expect_error, fields_of
from syncbroker.sdk.paths import get_path

_EMPTY: tuple[Any, ...] = (None, "", [], {})


def _create(bench: Bench, key: str = "k-create") -> Write:
    return Write(key=key, op="create", values=dict(bench.sample.create))


def _update(bench: Bench, id: str, key: str = "k-update", item: Item | None = None) -> Write:
    return Write(
        key=key, op="update", id=id, values=dict(bench.sample.update), version=item.stamp if item else None
    )


def a_create_then_a_read_shows_the_values(bench: Bench) -> None:
    bench.load(1)
    receipt = bench.write(_create(bench))["k-create"]
    expect(receipt.status == "done", f"a create is done, it was {receipt.status}: {receipt.message}")
    expect(bool(receipt.id), "the receipt of a create names the id")
    bench.settle()
    bench.shows(bench.present(receipt.id or ""), bench.sample.create)
    if bench.spec.shows:
        expect(receipt.item is not None, "an object that shows writes gives the item in the receipt")
        bench.shows(receipt.item or Item(id="", fields={}), bench.sample.create)


def a_create_of_an_existing_record_answers_exists(bench: Bench) -> None:
    bench.load(1)
    first = bench.write(_create(bench))["k-create"]
    bench.settle()
    again = bench.write(_create(bench, "k-again"))["k-again"]
    expect(again.status == "exists", f"a second create answers exists, it was {again.status}")
    named = again.id or (again.item.id if again.item else None)
    expect(named == first.id, "and names the record that is there")


def an_update_changes_only_the_given_paths(bench: Bench) -> None:
    id, other = bench.load(2)[:2]
    before, neighbour = bench.present(id), bench.present(other)
    receipt = bench.write(_update(bench, id, item=before))["k-update"]
    expect(receipt.status == "done", f"an update is done, it was {receipt.status}: {receipt.message}")
    bench.settle()
    after = bench.present(receipt.id or id)
    bench.shows(after, bench.sample.update)
    for path in set(bench.sample.read_paths()) - {*bench.sample.update, *bench.sample.derived}:
        kept, now = get_path(fields_of(before), path), get_path(fields_of(after), path)
        expect(kept == now, f"an update leaves {path} alone: {kept!r} became {now!r}")
    expect(fields_of(bench.present(other)) == fields_of(neighbour), "another record is left alone")


def a_cleared_path_reads_as_empty(bench: Bench) -> None:
    id = bench.load(1)[0]
    path = bench.sample.clear
    before = bench.present(id)
    expect(
        get_path(fields_of(before), path) not in _EMPTY, f"initial records hold {path} (see `Sample.clear`)"
    )
    write = Write(key="k-clear", op="update", id=id, values={path: None}, version=before.stamp)
    receipt = bench.write(write)["k-clear"]
    expect(receipt.status == "done", f"a clear is done, it was {receipt.status}: {receipt.message}")
    bench.settle()
    held = get_path(fields_of(bench.present(id)), path)
    expect(held in _EMPTY, f"a cleared {path} reads as empty, it held {held!r}")


def a_deleted_record_reads_as_deleted(bench: Bench) -> None:
    id, other = bench.load(2)[:2]
    receipt = bench.write(Write(key="k", op="delete", id=id))["k"]
    expect(receipt.status == "done", f"a delete is done, it was {receipt.status}: {receipt.message}")
    bench.settle()
    found = bench.read(id, other)
    expect(set(found) == {id, other}, "a read answers for each id it was asked for")
    expect(found[id].deleted, "a deleted record is read as deleted")
    expect(not found[other].deleted, "its neighbour is not")
    again = bench.write(Write(key="k2", op="delete", id=id))["k2"]
    expect(again.status in {"missing", "done"}, f"a second delete harms nothing, it was {again.status}")


def a_write_to_a_gone_record_is_missing_and_harms_no_neighbour(bench: Bench) -> None:
    gone, other = bench.load(2)[:2]
    item = bench.present(gone)
    bench.control.remove(bench.sample.object, gone)
    bench.settle()
    writes = [_update(bench, gone, "gone", item)]
    if bench.spec.batch["update"] > 1:
        writes.append(_update(bench, other, "other", bench.present(other)))
    receipts = bench.write(*writes)
    expect(
        receipts["gone"].status == "missing", f"a gone record is missing, it was {receipts['gone'].status}"
    )
    if len(writes) > 1:
        expect(receipts["other"].status == "done", f"its neighbour is done: {receipts['other'].status}")
        bench.settle()
        bench.shows(bench.present(other), bench.sample.update)


def a_batch_is_one_call(bench: Bench) -> None:
    size = min(bench.spec.batch["update"], 3)
    ids = bench.load(3)[:size]
    path = next(path for path in bench.sample.update if path != bench.sample.key)
    value = bench.sample.update[path]
    writes = [
        Write(key=f"k{n}", op="update", id=id, values={path: value}, version=bench.present(id).stamp)
        for n, id in enumerate(ids)
    ]
    before = len(bench.control.log())
    receipts = bench.write(*writes)
    expect({r.status for r in receipts.values()} == {"done"}, f"all {size} writes are done")
    calls = bench.control.writes(before)
    expect(len(calls) == 1, f"{size} updates are one write call, there were {[c.operation for c in calls]}")
    expect(calls[0].count == size, f"the call carries {size} records, it carried {calls[0].count}")
    bench.settle()
    for id in ids:
        bench.shows(bench.present(id), {path: value})


def a_conditional_write_meets_a_newer_state(bench: Bench) -> None:
    id = bench.load(1)[0]
    old = bench.present(id)
    bench.settle(2.1 * (bench.spec.stamp or 0) / 1_000_000)
    bench.control.edit(bench.sample.object, id, dict(bench.sample.edit))
    bench.settle()
    edited = fields_of(bench.present(id))
    receipt = bench.write(_update(bench, id, item=old))["k-update"]
    expect(receipt.status == "stale", f"a write to an older version is stale, it was {receipt.status}")
    bench.settle()
    expect(fields_of(bench.present(id)) == edited, "and changes nothing")


def a_lost_answer_is_never_a_second_create(bench: Bench) -> None:
    _lose(bench, "drop_answer")


def a_lost_request_is_never_a_second_create(bench: Bench) -> None:
    _lose(bench, "drop_request")


def _lose(bench: Bench, kind: str) -> None:
    before = set(bench.load(2))
    bench.control.fault(kind, write=True)
    statuses = _statuses(bench, _create(bench))
    expect(statuses <= {"unknown", "pending", "done"}, f"a create without an answer is unknown: {statuses}")
    bench.settle()
    made = {item.id for item in bench.scan()} - before
    expect(len(made) <= 1, f"one create makes one record, it made {len(made)}")


def a_create_that_is_repeated_under_its_key_is_answered_as_before(bench: Bench) -> None:
    before = set(bench.load(1))
    first, again = (bench.write(_create(bench))["k-create"] for _ in range(2))
    expect(again.status == "done", f"a create under a key that is remembered is done, it was {again.status}")
    expect(again.id == first.id, f"and names the record that the first one made: {first.id!r}, {again.id!r}")
    bench.settle()
    made = {item.id for item in bench.scan()} - before
    expect(len(made) == 1, f"a create and its repetition make one record, they made {len(made)}")


def a_broken_answer_to_a_write_is_unknown(bench: Bench) -> None:
    id = bench.load(1)[0]
    item = bench.present(id)
    for status, text in ((200, "<html>"), (200, "7"), (500, "{}"), (503, ""), (504, "<html>")):
        bench.control.fault("status", write=True, status=status, text=text, times=0)
        statuses = _statuses(bench, _update(bench, id, item=item))
        bench.control.clear_faults()
        expect(statuses == {"unknown"}, f"a write answered {status} {text!r} is unknown, it was {statuses}")


def a_refused_write_is_a_receipt_in_the_vendors_words(bench: Bench) -> None:
    id = bench.load(1)[0]
    item = bench.present(id)
    for status in (400, 422):
        bench.control.fault("status", write=True, status=status, json={"message": "no such city"}, times=0)
        receipt = bench.write(_update(bench, id, item=item))["k-update"]
        bench.control.clear_faults()
        expect(receipt.status == "refused", f"a {status} is a refusal, it was {receipt.status}")
        expect(bool(receipt.message), "and says why")


def a_full_limit_is_rate_limited_with_its_delay(bench: Bench) -> None:
    id = bench.load(1)[0]
    for name, call in _calls(bench, id).items():
        bench.control.fault("status", status=429, headers={"Retry-After": "37"}, json={}, times=0)
        error = expect_error(RateLimited, f"a {name} answered 429", call)
        bench.control.clear_faults()
        expect(36 <= error.delay <= 38, f"a {name} waits as long as the vendor says: {error.delay}")


def refused_credentials_are_unauthorised(bench: Bench) -> None:
    id = bench.load(1)[0]
    for name, call in _calls(bench, id).items():
        bench.control.fault("status", status=401, json={}, times=0)
        expect_error(Unauthorised, f"a {name} answered 401", call)
        bench.control.clear_faults()


def wrong_credentials_are_unauthorised(bench: Bench) -> None:
    bench.load(1)
    connector = bench.connect(bench.wrong())
    paths = bench.sample.read_paths()
    expect_error(Unauthorised, "a scan", lambda: list(connector.scan(bench.sample.object, paths)))


def credentials_are_never_in_error_texts(bench: Bench) -> None:
    id = bench.load(1)[0]
    secrets = [value for value in bench.credentials.values() if len(value) >= 4]
    said = "your request held " + " and ".join(secrets)
    body = dict.fromkeys(("message", "detail", "title", "error", "description"), said)
    for status in (400, 401, 404, 409, 422, 429, 500):
        for call in _calls(bench, id).values():
            bench.control.fault("status", status=status, json=body, times=0)
            told = _told(call)
            bench.control.clear_faults()
            expect(not any(secret in told for secret in secrets), f"no secret is told after a {status}")


def _calls(bench: Bench, id: str) -> dict[str, Callable[[], object]]:
    calls: dict[str, Callable[[], object]] = {"scan": bench.pages, "read": lambda: bench.read(id)}
    if "update" in bench.spec.batch:
        calls["write"] = lambda: bench.write(_update(bench, id))
    return calls


def _told(call: Callable[[], object]) -> str:
    """All that a call says, whether it fails or not."""
    try:
        return repr(call())
    except Exception as error:  # noqa: BLE001 - whatever it is, its text is what is looked at
        chain: list[BaseException] = [error]
        while following := chain[-1].__cause__:
            chain.append(following)
        return " ".join(f"{one} {one!r} {vars(one)}" for one in chain)


def _statuses(bench: Bench, write: Write) -> set[str]:
    """The statuses of one write's receipts; OutcomeUnknown counts as "unknown"."""
    try:
        receipts: Any = bench.connector.write(bench.sample.object, [write], bench.sample.read_paths())
    except OutcomeUnknown:
        return {"unknown"}
    found: list[Receipt] = list(receipts)
    return {receipt.status for receipt in found}


FAILURES = (
    a_full_limit_is_rate_limited_with_its_delay,
    refused_credentials_are_unauthorised,
    wrong_credentials_are_unauthorised,
    credentials_are_never_in_error_texts,
)
