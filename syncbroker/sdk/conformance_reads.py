"""Checks on reading: scan, poll, read, find, stamps, history, and reads that go wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from syncbroker.errors import Refused, Unavailable
from syncbroker.sdk.conformance_bench import Bench, expect, expect_error, fields_of, once
from syncbroker.sdk.paths import get_path


def a_scan_sees_every_record_exactly_once(bench: Bench) -> None:
    wanted = bench.sample.many
    bench.load(wanted)
    pages = bench.pages()
    ids = [item.id for page in pages for item in page.items if not item.deleted]
    expect(len(once(ids)) == wanted, f"a scan yields all {wanted} records, it gave {len(ids)}")
    if bench.spec.sorted_scan:
        expect(ids == sorted(ids), "a sorted scan yields ascending ids")
    expect(all(page.resume is not None for page in pages[:-1]), "every page but the last says how to resume")
    expect(pages[-1].resume is None, "the last page does not resume")
    expect(not any(page.proven for page in pages[:-1]), "only the last page proves anything")
    expect(
        pages[-1].proven == bench.sample.proves, f"the last page of a scan has proven={bench.sample.proves}"
    )


def a_scan_resumes_after_any_page(bench: Bench) -> None:
    bench.load(bench.sample.many)
    pages = bench.pages()
    expect(len(pages) > 1, "the sample fills more than one page (raise `Sample.many`)")
    seen = [item.id for item in pages[0].items]
    rest = [item.id for page in bench.pages(pages[0].resume) for item in page.items]
    expect(len(once(seen + rest)) == bench.sample.many, "the first page and the resumed rest are all records")


def a_scan_of_an_empty_object_is_one_page(bench: Bench) -> None:
    pages = bench.pages()
    expect(bool(pages), "even an empty scan has a last page")
    expect(not any(page.items for page in pages), "an empty object has no items")
    expect(pages[-1].resume is None, "the last page does not resume")


def a_complete_item_holds_what_was_loaded(bench: Bench) -> None:
    first = bench.load(1)[0]
    scanned, read = bench.scan()[0], bench.present(first)
    for path in bench.sample.read_paths():
        values = [get_path(fields_of(item), path) for item in (scanned, read)]
        expect(values[0] == values[1], f"scan and read show the same {path}: {values}")


def a_poll_sees_later_edits_and_records(bench: Bench) -> None:
    ids = bench.load(3)
    cursor = bench.connector.start_cursor(bench.sample.object, bench.now())
    if cursor is None:
        polling = bench.connector.poll
        object, paths = bench.sample.object, bench.sample.read_paths()
        expect_error(Refused, "a poll without a filter", lambda: list(polling(object, paths, cursor="")))
        return
    bench.settle(1.0)
    bench.control.edit(bench.sample.object, ids[1], dict(bench.sample.edit))
    bench.settle(bench.sample.wait)
    items, cursor = bench.poll(cursor)
    expect(ids[1] in {item.id for item in items}, "a poll from the start cursor sees the edit")
    bench.control.edit(bench.sample.object, ids[2], dict(bench.sample.edit_again))
    made = bench.control.insert(bench.sample.object, bench.sample.make(99))
    bench.settle(bench.sample.wait)
    items, cursor = bench.poll(cursor)
    seen = {item.id for item in items}
    expect(ids[2] in seen, "a poll from the last poll's cursor sees the next edit")
    expect(made in seen, "a poll sees a record that was made meanwhile")
    bench.poll(cursor)


def a_read_gives_what_was_asked_and_marks_the_gone(bench: Bench) -> None:
    ids = bench.load(5)
    bench.control.remove(bench.sample.object, ids[2])
    bench.settle()
    found = bench.read(*ids[:4])
    expect(set(found) == set(ids[:4]), "a read answers for each id it was asked for, and for no other")
    expect(found[ids[2]].deleted, "a gone record is read as deleted")
    expect(not any(found[id].deleted for id in (ids[0], ids[1], ids[3])), "a present one is not")


def a_read_takes_a_whole_batch(bench: Bench) -> None:
    ids = bench.load(min(bench.spec.read_batch, bench.sample.many))
    expect(set(bench.read(*ids)) == set(ids), f"{len(ids)} records are read in one go")


def a_find_finds_by_key_and_only_that(bench: Bench) -> None:
    ids = bench.load(3)
    path = bench.sample.key
    value = get_path(fields_of(bench.present(ids[1])), path)
    finding = bench.connector.find
    found = finding(bench.sample.object, {path: value}, bench.sample.read_paths())
    expect([item.id for item in found if not item.deleted] == [ids[1]], "a find by key finds the one record")
    nothing = finding(bench.sample.object, {path: bench.sample.create[path]}, bench.sample.read_paths())
    expect(not nothing, "a find by a key that nobody has finds nothing")


def stamps_never_go_back(bench: Bench) -> None:
    id = bench.load(2)[0]
    stamps = [bench.present(id).stamp]
    for changes in (bench.sample.edit, bench.sample.edit_again):
        bench.settle(2.1 * (bench.spec.stamp or 0) / 1_000_000)
        bench.control.edit(bench.sample.object, id, dict(changes))
        bench.settle()
        stamps.append(bench.present(id).stamp)
    if bench.spec.stamp is None:
        expect(stamps == [None] * 3, "an object without a declared stamp gives none")
        return
    known = [stamp for stamp in stamps if stamp is not None]
    expect(len(known) == 3, "an object with a declared stamp gives one on every item")
    expect(known == sorted(set(known)), f"stamps grow with every edit: {known}")


def history_tells_who_wrote(bench: Bench) -> None:
    id = bench.load(2)[0]
    path = next(iter(bench.sample.edit))
    bench.control.edit(bench.sample.object, id, dict(bench.sample.edit))
    bench.settle()
    changes = bench.connector.history(bench.sample.object, id, path)
    expect(bool(changes), "a field that was edited has a history")
    expect(not changes[0].ours, "an edit by a person is not ours")
    expect([c.at for c in changes] == sorted((c.at for c in changes), reverse=True), "newest first")


def threads_read_without_harm(bench: Bench) -> None:
    ids = bench.load(4)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(bench.read, ids * 4))
    expect([set(one) for one in found] == [{id} for id in ids * 4], "each thread gets its own answer")


def nonsense_is_never_taken_for_an_empty_object(bench: Bench) -> None:
    id = bench.load(3)[0]
    for text in bench.sample.nonsense:
        for what, call, args in (("scan", bench.pages, ()), ("read", bench.read, (id,))):
            bench.control.fault(
                "status", status=200, text=text, headers={"Content-Type": "application/json"}, times=0
            )
            expect_error(Unavailable, f"a {what} answered with {text[:40]!r}", call, *args)
            bench.control.clear_faults()


READS = (
    a_scan_sees_every_record_exactly_once,
    a_scan_resumes_after_any_page,
    a_scan_of_an_empty_object_is_one_page,
    a_complete_item_holds_what_was_loaded,
    a_read_gives_what_was_asked_and_marks_the_gone,
    a_read_takes_a_whole_batch,
    stamps_never_go_back,
    threads_read_without_harm,
    nonsense_is_never_taken_for_an_empty_object,
)
