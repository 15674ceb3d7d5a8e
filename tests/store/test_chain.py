"""The chains of decisions: whatever is changed in the log is found, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncbroker.core.resolve import Question
from syncbroker.core.state import Record
from syncbroker.errors import BadSetting, Reject
from syncbroker.store import chain, credentials, decisions, heads, records, tables
from syncbroker.store.database import Store, Tx
from syncbroker.store.decisions import Cause, Decision, Outcome
from tests.support.chains import broken
from tests.support.rig import open_ready

RECORDS = ["r", "s", "t"]
COLUMNS = [column.name for column in tables.decisions.columns]


def decision(number: int, record_id: str, run: int = 1) -> Decision:
    asked = Question(system="crm", value=f"value {number}", linked=("crm", "mkt"), since=number)
    outcomes = [
        Outcome(kind="created"),
        Outcome(
            kind="adopted", field="name", system="crm", link=number, why="x", place="f:1", question=asked
        ),
        Outcome(kind="agreed", field="name", system="mkt", link=9, after="v", cause=Cause("poll", at=number)),
    ]
    return Decision(
        id=number,
        record_id=record_id,
        entity="person",
        run=run,
        at=number * 10,
        actor="rules",
        mapping="m",
        outcomes=outcomes,
    )


def write(tx: Tx, log: list[Decision]) -> None:
    """As the engine does: the records know their heads."""
    ids = sorted({one.record_id for one in log} - {""})
    known = records.load(tx, ids)
    made = decisions.append(tx, log, {}, {id_: record.seal or "" for id_, record in known.items()})
    new = [Record(id_, "person", {}, {}, made[id_]) for id_ in ids if id_ not in known]
    for id_, record in known.items():
        record.seal = made[id_]
    records.save(tx, new, list(known.values()))


def fill(store: Store) -> None:
    log = [decision(n, RECORDS[n % 3]) for n in range(1, 13)]
    runs = [decision(13, "", 5), decision(14, "", 6), decision(15, "", 5)]
    with store.write() as tx:
        write(tx, log[:6])
    with store.write() as tx:
        write(tx, log[6:])
        write(tx, runs)


@pytest.fixture
def log(store: Store) -> Store:
    fill(store)
    return store


def test_an_untouched_log_is_whole(log: Store) -> None:
    assert broken(log) == []
    assert [(one.name, one.count) for one in chain.walk(log)] == [
        ("run 5", 2),
        ("run 6", 1),
        ("r", 4),
        ("s", 4),
        ("t", 4),
    ]


def test_equal_values_have_no_equal_digests() -> None:
    body = decision(1, "r")
    from syncbroker.core.chain import digest

    assert (
        digest(b"k", 1, "r", str(body)) != digest(b"k", 2, "r", str(body)) != digest(b"k", 1, "s", str(body))
    )


INSERT = f"INSERT INTO decisions ({', '.join(COLUMNS)}) SELECT {{}} FROM decisions WHERE id = 10"
CHANGES: dict[str, tuple[str, str, int]] = {
    "an altered value": (
        "UPDATE decisions SET body = replace(body, 'value 5', 'value 6') WHERE id = 5",
        "t",
        5,
    ),
    "another actor": ("UPDATE decisions SET actor = 'pat' WHERE id = 4", "s", 4),
    "a removed one": ("DELETE FROM decisions WHERE id = 4", "s", 7),
    "a removed first": ("DELETE FROM decisions WHERE id = 1", "s", 4),
    "a removed last": ("DELETE FROM decisions WHERE id = 12", "r", 9),
    "all of a record removed": ("DELETE FROM decisions WHERE record_id = 'r'", "r", 0),
    "one of a run removed": ("DELETE FROM decisions WHERE id = 13", "run 5", 15),
    "a seal removed": ("UPDATE decisions SET seal = NULL WHERE id = 1", "s", 1),
    "all seals of a record removed": ("UPDATE decisions SET seal = NULL WHERE record_id = 's'", "s", 1),
    "a head removed": ("UPDATE records SET seal = NULL WHERE id = 's'", "s", 10),
    "one moved to another record": ("UPDATE decisions SET record_id = 's' WHERE id = 12", "r", 9),
    "two in another order": (
        "UPDATE decisions SET id = CASE id WHEN 4 THEN 1007 ELSE 1004 END WHERE id IN (4, 7)",
        "s",
        10,
    ),
    "one inserted": (
        INSERT.format(f"5000, {', '.join(COLUMNS[1:])}"),
        "s",
        5000,
    ),
    "one inserted unsealed, before all": (
        INSERT.format(f"0, {', '.join(COLUMNS[1:-1])}, NULL"),
        "s",
        0,
    ),
    "erased with another outline": (
        """UPDATE decisions SET body = '{"erased":"00","looks":[]}' WHERE id = 5""",
        "t",
        5,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_found_with_its_place(log: Store, name: str) -> None:
    sql, where, number = CHANGES[name]
    with log.write() as tx:
        tx.connection.exec_driver_sql(sql)
    assert (where, number) in [(one.chain, one.decision) for one in broken(log)]


@pytest.fixture(scope="module")
def one_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with ExitStack() as stack:
        store = open_ready(f"sqlite:///{tmp_path_factory.mktemp('chain') / 'store.db'}")
        stack.callback(store.close)
        fill(store)
        yield store


_texts = st.text(st.characters(codec="ascii"), max_size=8)


@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_any_column_of_any_row_is_found(one_log: Store, data: st.DataObject) -> None:
    with one_log.read() as tx:
        row = data.draw(st.sampled_from(tx.run(tables.decisions.select()).all()))
    column = data.draw(st.sampled_from(COLUMNS))
    old = getattr(row, column)
    if isinstance(old, int):
        new: Any = data.draw(
            st.integers(-5, 10**12).filter(lambda n: n != old and not (column == "id" and n <= 15))
        )
    else:
        at = data.draw(st.integers(0, len(old)))
        changed = old[:at] + data.draw(_texts) + old[data.draw(st.integers(at, len(old))) :]
        new = changed if changed != old else old + " "

    class Back(Exception): ...

    with pytest.raises(Back), one_log.write() as tx:
        tx.run(tables.decisions.update().where(tables.decisions.c.id == row.id).values({column: new}))
        found = [one.broken for one in _walk_within(one_log, tx) if one.broken]
        assert found, (column, old, new)
        raise Back


def _walk_within(store: Store, tx: Tx) -> list[chain.Chain]:
    """The chains as a transaction sees them that is then rolled back."""

    class Seen(Store):
        def __init__(self) -> None:
            super().__init__(store.engine, store.where)

        def read(self) -> Any:
            return _Same(tx)

    return list(chain.walk(Seen()))


class _Same:
    def __init__(self, tx: Tx) -> None:
        self.tx = tx

    def __enter__(self) -> Tx:
        return self.tx

    def __exit__(self, *_: object) -> None: ...


def test_erased_decisions_still_verify_and_have_no_values(log: Store) -> None:
    with log.write() as tx:
        rows = [(r.id, r.record_id, r.body) for r in tx.run(tables.decisions.select()) if r.record_id == "t"]
        chain.erase(tx, rows)
    assert broken(log) == []
    with log.read() as tx:
        bodies = [row.body for row in tx.run(tables.decisions.select()) if row.record_id == "t"]
        assert not [one for one in bodies if "value" in one]
        left = decisions.history(tx, "t")
    assert all(one.erased for one in left)
    assert [(o.kind, o.field, o.system, o.question) for o in left[0].outcomes] == [
        ("created", "", "", None),
        ("adopted", "name", "crm", None),
        ("agreed", "name", "mkt", None),
    ]


def test_a_chain_goes_on_after_an_erasure(log: Store) -> None:
    with log.write() as tx:
        chain.erase(tx, [(r.id, r.record_id, r.body) for r in tx.run(tables.decisions.select())])
        write(tx, [decision(20, "r"), decision(21, "", 5)])
    assert broken(log) == []


def test_decisions_from_before_the_seals_are_told_apart(log: Store) -> None:
    with log.write() as tx:
        tx.connection.exec_driver_sql("UPDATE decisions SET seal = NULL")
        tx.connection.exec_driver_sql("UPDATE records SET seal = NULL")
        tx.connection.exec_driver_sql("DELETE FROM meta WHERE key IN ('chain_key', 'chain_since')")
    with log.write() as tx:
        write(tx, [decision(20, "r")])
    assert broken(log) == []
    assert sum(one.unsealed for one in chain.walk(log)) == 15


# ------------------------------------------------------------------------------------------- exported heads

KEY, OTHER = credentials.new_key().encode(), credentials.new_key().encode()


@pytest.fixture
def file(log: Store, tmp_path: Path) -> Path:
    found = tmp_path / "heads.jsonl"
    assert heads.export(log, found, 1, [KEY]) == (5, None)
    return found


def against(store: Store, file: Path, *keys: bytes) -> list[str]:
    kept = heads.Kept(store, file, keys or [KEY])
    wrong = [one.broken.what for one in chain.walk(store, kept.take) if one.broken]
    return wrong + (["gone"] if kept.left() else [])


def test_a_log_that_only_grew_is_the_one_that_was_exported(log: Store, file: Path) -> None:
    with log.write() as tx:
        write(tx, [decision(20, "r"), decision(21, "u")])
    assert against(log, file) == []
    assert heads.export(log, file, 2, [OTHER, KEY])[0] == 6
    assert against(log, file, OTHER, KEY) == []


def test_a_record_that_is_gone_with_all_its_decisions_is_missed(log: Store, file: Path) -> None:
    with log.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM decisions WHERE record_id = 'r'")
        tx.connection.exec_driver_sql("DELETE FROM records WHERE id = 'r'")
    assert broken(log) == []
    assert against(log, file) == ["gone"]


def test_a_log_that_was_cut_off_together_with_its_head_is_missed(log: Store, file: Path) -> None:
    with log.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM decisions WHERE id IN (10)")
        tx.connection.exec_driver_sql(
            "UPDATE records SET seal = (SELECT seal FROM decisions WHERE id = 7) WHERE id = 's'"
        )
    assert broken(log) == []
    assert against(log, file) == [
        "the exported heads know decision 10: the decisions after this one were removed"
    ]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda text: text.replace(b'"count":4', b'"count":3', 1), Reject),
        (lambda text: b"\n".join(text.splitlines()[:-2]) + b"\n", Reject),
        (lambda text: b"\n".join(text.splitlines()[1:]) + b"\n", Reject),
        (lambda _: b"nonsense\n", Reject),
        (lambda _: b"", Reject),
    ],
)
def test_a_file_of_heads_that_was_altered_is_refused(log: Store, file: Path, change: Any, kind: Any) -> None:
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(kind):
        against(log, file)


def test_heads_that_were_signed_with_keys_ask_for_them(log: Store, file: Path) -> None:
    with pytest.raises(BadSetting):
        heads.Kept(log, file, [])
    with pytest.raises(Reject):
        heads.Kept(log, file, [OTHER])
