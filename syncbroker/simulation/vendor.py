"""How the engine speaks to a simulated system: the connector contract over memory, with every fault that a call
can meet.

What an object can do (versions, lag, batches, conditional writes, history) is what its real connector declares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import orjson

from syncbroker.core.types import Actor, Event, Item, Micros, Receipt, Write
from syncbroker.errors import BadDelivery, OutcomeUnknown, RateLimited, Refused, Unavailable
from syncbroker.sdk.connector import Account, Change, Delivery, ObjectSpec, Page
from syncbroker.sdk.paths import nested
from syncbroker.simulation.systems import Collection, Row, State, plain
from syncbroker.simulation.world import CALL, Heard, World, Wrote

Seam = Callable[[str], None]
"""Called before every request and after every answer: where a process may die."""


class Simulated:
    """One system of a world, as a connector."""

    kind: ClassVar[str] = "simulated"
    credentials_schema: ClassVar[Mapping[str, Any]] = {}
    options_schema: ClassVar[Mapping[str, Any]] = {}
    objects: Mapping[str, ObjectSpec]
    """What the real connector of this system has."""

    def __init__(self, account: Account, world: World | None = None, seam: Seam | None = None) -> None:
        assert world is not None  # noqa: S101  # made by a play only
        self.system, self.world, self.seam = account.system, world, seam or (lambda _: None)
        here = {name: made for (system, name), made in world.collections.items() if system == self.system}
        self.here: dict[str, Collection] = here
        self.objects = {name: made.spec for name, made in here.items()}
        self.traits = world.traits[self.system]
        self._jobs: dict[str, list[Receipt] | None] = {}

    # ---- every call ----

    def _request(self, moment: str) -> None:
        """The way there: it may never arrive."""
        self.seam(f"{self.system} {moment}: before")
        self.world.pass_(CALL)
        for fault, act in self.world.meanwhile.pop((self.system, moment), ()):
            self.world.count(fault)
            act()
            self.world.pass_(CALL // 2)
        if self.world.down.get(self.system, 0) > self.world.clock.at:
            raise Unavailable("the system is down", system=self.system)
        if self.world.strikes("rate_limited", self.system):
            raise RateLimited("429", delay=7.0, system=self.system)
        if self.world.strikes("rate_limited_blindly", self.system):
            raise RateLimited("429", system=self.system)
        if moment != "write" and self.world.strikes("server_error", self.system):
            raise Unavailable("500", system=self.system)

    def _answer(self, moment: str) -> None:
        self.world.pass_(CALL // 4)
        self.seam(f"{self.system} {moment}: after")

    def _when(self, here: Collection) -> Micros:
        """What time a read shows: within the declared lag it may be an earlier one."""
        now = self.world.clock.at
        if here.spec.lag and self.world.strikes("stale_read", self.system):
            return now - int(here.spec.lag * 900_000)
        return now

    def _item(self, here: Collection, row: Row, state: State) -> Item:
        fields: Any = nested(state.fields)
        times = None
        if self.traits.field_times and here.spec.history and here.spec.stamp is not None:
            times = {
                path: max((s.stamp for s in states if s.at <= state.at), default=state.stamp)
                for path, states in row.changes.items()
            }
        return Item(
            id=row.id,
            fields=orjson.dumps(fields) if self.traits.raw else fields,
            stamp=state.stamp if here.spec.stamp is not None else None,
            aliases=(f"u{row.uid}",) if here.spec.id_path else (),
            consent=state.consent,
            actor=_actor(state),
            field_times=times,
        )

    # ---- reading ----

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        here = self.here[object]
        at, seen, first = int(resume or 0), set[int](), resume is None
        while True:
            self._request("page")
            when = self._when(here)
            there = sorted(
                here.rows.values(), key=lambda row: row.id if here.spec.sorted_scan else str(row.uid)
            )
            part = there[at : at + self.traits.page]
            shown = [(row, state) for row in part if (state := row.at(when)) is not None]
            if shown and self.world.strikes("page_short", self.system):
                shown.pop()
            items = [self._item(here, row, state) for row, state in shown]
            seen.update(row.uid for row, _ in shown)
            if not here.spec.sorted_scan and items and self.world.strikes("page_repeated", self.system):
                yield Page(items=items, resume=f"again {at}")
            at += self.traits.page
            last = at >= len(there)
            proven = last and first and all(row.uid in seen for row in here.rows.values())
            self._answer("page")
            yield Page(items=items, resume=None if last else str(at), proven=proven)
            if last:
                return

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        here = self.here[object]
        if not self.traits.polls:
            raise Refused("this object cannot be asked for changes", system=self.system)
        self._request("page")
        when = self._when(here)
        known = sum(at <= when for at, _ in here.log)
        uids = list(dict.fromkeys(uid for _, uid in here.log[int(cursor) : known]))
        rows = [row for uid in uids if (row := here.by_uid[uid]).id in here.rows]
        shown = [(row, state) for row in rows if (state := row.at(when)) is not None]
        size = self.traits.page
        parts = [shown[start : start + size] for start in range(0, len(shown), size)] or [[]]
        for n, part in enumerate(parts, 1):
            if n > 1:
                self._request("page")
            short = bool(part) and self.world.strikes("page_short", self.system)
            items = [self._item(here, row, state) for row, state in (part[:-1] if short else part)]
            again = bool(items) and self.world.strikes("page_repeated", self.system)
            self._answer("page")
            if again:
                yield Page(items=items, resume=f"again {n}")
            last = n == len(parts)
            yield Page(items=items, resume=None if last else str(n), cursor=str(known) if last else None)

    def start_cursor(self, object: str, began: Micros) -> str | None:
        here = self.here[object]
        reach = began - int(here.spec.lag * 1_000_000)
        return str(sum(at < reach for at, _ in here.log)) if self.traits.polls else None

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        self._request("read")
        here = self.here[object]
        when, found = self._when(here), []
        for id_ in ids:
            row = here.rows.get(id_)
            if row is None:
                found.append(Item(id=id_, fields={}, deleted=True))
                continue
            state = row.at(when)
            if state is not None:
                row.read_at = max(row.read_at, when)
                found.append(self._item(here, row, state))
        self._answer("read")
        return found

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        self._request("find")
        here = self.here[object]
        when = self._when(here)
        if set(keys) == {here.spec.stamp_path}:
            wanted = next(iter(keys.values()))
            found = [(row, s) for row in here.rows.values() if row.stamp_id == wanted and (s := row.at(when))]
        else:
            found = list(here.finding(keys, when))
        pairs = frozenset((path, str(plain(raw))) for path, raw in keys.items())
        self.world.looked[self.system, object, pairs] = when
        items = [self._item(here, row, state) for row, state in found]
        self._answer("find")
        return items

    def history(self, object: str, id: str, path: str) -> list[Change]:
        self._request("history")
        row = self.here[object].rows.get(id)
        states = row.changes.get(path, []) if row else []
        found = [
            Change(value=s.fields.get(path), at=s.stamp, ours=s.by == "ours", actor=_actor(s))
            for s in reversed(states)
        ]
        self._answer("history")
        return found

    # ---- writing ----

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        here, world = self.here[object], self.world
        self._request("write")
        op = writes[0].op
        if len(writes) > here.spec.batch.get(op, 0):
            world.broken.append(f"{self.system} {object}: {len(writes)} {op}s in one call")
        if world.strikes("server_error", self.system):
            for one in writes:
                self._note(object, one, one.values, here.rows.get(one.id or ""), made=False, how="lost")
            raise OutcomeUnknown("500", system=self.system)
        if world.strikes("landed_late", self.system):
            for one in writes:
                world.after(90_000_000, partial(self._late, object, one))
            raise OutcomeUnknown("no answer", system=self.system)
        if self.traits.jobs and op != "delete" and here.spec.batch.get(op, 1) > 1:
            return self._start(object, writes)
        half = len(writes) > 1 and world.strikes("batch_half", self.system)
        made = writes[: len(writes) // 2] if half else writes
        receipts = [self._take(object, one) for one in made]
        if half or world.strikes("answer_lost", self.system):
            raise OutcomeUnknown("no answer", system=self.system)
        self._answer("write")
        return receipts

    def _start(self, object: str, writes: Sequence[Write]) -> list[Receipt]:
        """A job, whose writes are made after a while."""
        job, kept = f"j{len(self._jobs)}", list(writes)
        self._jobs[job] = None

        def work() -> None:
            self._jobs[job] = [self._take(object, one) for one in kept]

        self.world.after(3_000_000, work)
        self._answer("write")
        return [Receipt(key=one.key, status="pending", job=job) for one in writes]

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        self._request("job")
        receipts = self._jobs[job]
        self._answer("job")
        return receipts

    def _late(self, object: str, one: Write) -> None:
        self._take(object, one, how="late")

    def _take(self, object: str, one: Write, how: str = "") -> Receipt:
        """One write takes effect, or cannot."""
        here, world = self.here[object], self.world
        values = {path: raw for path, raw in one.values.items() if path != here.spec.stamp_path}
        row = here.rows.get(one.id or "")
        if one.op == "create":
            return self._create(object, one, values, how)
        if row is None:
            self._note(object, one, values, None, made=False, how=how or "missing")
            return Receipt(key=one.key, status="missing")
        if here.spec.conditional and one.version is not None and one.version != row.now.stamp:
            self._note(object, one, values, row, made=False, how=how or "stale")
            return Receipt(key=one.key, status="stale", id=row.id)
        if one.op == "delete":
            self._note(object, one, values, row, made=True, how=how)
            world.remove(self.system, object, row)
            return Receipt(key=one.key, status="done", id=row.id)
        clash = [path for path in here.unique if path in values and here.holding(path, values[path], row)]
        if clash:
            self._note(object, one, values, row, made=False, how=how)
            return Receipt(key=one.key, status="refused", message="another record has this value")
        dropped = not how and world.strikes("write_dropped", self.system)
        self._note(object, one, values, row, made=not dropped, how="dropped" if dropped else how)
        if dropped:
            shown = State(row.now.at, row.now.stamp, {**row.now.fields, **values}, "ours", row.now.consent)
            item = self._item(here, row, shown) if here.spec.shows else None
            return Receipt(key=one.key, status="done", id=row.id, item=item)
        old = here.change(row, values, world.clock(), "ours")
        world.tell(self.system, object, "changed" if old is None else "rekeyed", row, old)
        world.automate(self.system, object, row, values)
        item = self._item(here, row, row.now) if here.spec.shows else None
        return Receipt(key=one.key, status="done", id=row.id, item=item)

    def _create(self, object: str, one: Write, values: Mapping[str, Any], how: str) -> Receipt:
        here, world = self.here[object], self.world
        there = next(
            (r for path in here.unique if values.get(path) and (r := here.holding(path, values[path]))), None
        )
        if there is None and here.spec.stamp_path in here.unique:
            there = next((r for r in here.rows.values() if r.stamp_id == one.stamp_id), None)
        if there is not None:
            self._note(object, one, values, there, made=False, how=how or "exists")
            item = self._item(here, there, there.now) if here.spec.shows else None
            return Receipt(key=one.key, status="exists", id=there.id, item=item)
        row = world.make(self.system, object, world.who(self.system, object, values), values, "ours")
        if row is None:
            return Receipt(key=one.key, status="refused", message="cannot be made")
        row.stamp_id = one.stamp_id
        self._note(object, one, values, row, made=True, how=how)
        item = self._item(here, row, row.now) if here.spec.shows else None
        return Receipt(key=one.key, status="done", id=row.id, item=item)

    def _note(
        self, object: str, one: Write, values: Mapping[str, Any], row: Row | None, *, made: bool, how: str
    ) -> None:
        fields = row.now.fields if row and one.op == "update" else {}
        marks = row.marks if row and one.op == "update" else {}
        self.world.wrote.append(
            Wrote(
                at=self.world.clock.at,
                system=self.system,
                object=object,
                uid=row.uid if row else 0,
                op=one.op,
                key=one.key,
                stamp_id=one.stamp_id,
                before=dict(fields),
                marks=dict(marks),
                values=dict(values),
                based=row.read_at if row else 0,
                made=made,
                how=how,  # type: ignore[arg-type]  # one of its words
            )
        )

    # ---- webhooks ----

    def answer_check(self, delivery: Delivery) -> str | None:
        return None

    def authenticate(self, delivery: Delivery) -> None:
        """Nobody forges anything here."""

    def events(self, delivery: Delivery) -> list[Event]:
        try:
            told = orjson.loads(delivery.body)
        except ValueError as error:
            raise BadDelivery("no JSON", status=400, system=self.system) from error
        item = None
        if "fields" in told:
            heard = Heard(
                self.world.clock.at, self.system, told["object"], told["uid"], told["stamp"], told["fields"]
            )
            self.world.heard.append(heard)
            item = Item(
                id=told["id"],
                fields=nested(told["fields"]),
                stamp=told["stamp"] if self.objects[told["object"]].stamp is not None else None,
                consent=told["consent"],
                actor=Actor(origin=_ORIGINS[told["by"]]),
            )
        return [
            Event(
                object=told["object"],
                id=told["id"],
                kind=told["kind"],
                event_id=told["event"],
                item=item,
                new_id=told["new_id"],
            )
        ]


_ORIGINS: dict[str, Any] = {"person": "person", "automation": "automation", "ours": "integration"}


def _actor(state: State) -> Actor:
    return Actor(origin=_ORIGINS[state.by], name=state.by)
