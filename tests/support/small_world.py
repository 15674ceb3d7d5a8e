"""One record with one field `f` in a few systems, in memory: the core's functions with nothing around them.

It does by hand what the engine does with a store and a network. Each step is one method, so that a test (or Hypothesis)
may put them in any order: edits by users, events that arrive late, twice or never, reads that overlap, and writes that
are claimed, re-checked, made, answered, lost and settled one step at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from syncbroker.core import observe as looking
from syncbroker.core.fanout import in_step, owed, step
from syncbroker.core.mapping import FieldRule
from syncbroker.core.observe import Edit, Look, Timing
from syncbroker.core.resolve import Question, resolve
from syncbroker.core.state import NOTHING, UNSEEN, FieldState, Golden, LinkState, Record
from syncbroker.core.types import Value
from tests.support import rules

LIFE = 1000
"""How long a request may still take effect."""


@dataclass
class System:
    """`history`: (value, when, whose) of every state, oldest first; `whose` is "user" or "ours"."""

    history: list[tuple[Value, int, str]]
    rewrites: dict[Value, Value] = field(default_factory=dict)

    @property
    def value(self) -> Value:
        return self.history[-1][0]


@dataclass
class Write:
    """A write under way: what it writes, on what state it is based, and how far it is."""

    value: Value
    phase: str = "claimed"
    based_on: int = 0
    version: int = 0
    shown: Value = None
    order: int = 0


class World:
    """`golden` starts as the value that every system holds, and all links are in step with it."""

    def __init__(
        self, rule: FieldRule, start: Value, timing: Timing, *, systems: tuple[str, ...] = rules.SYSTEMS
    ) -> None:
        self.rule, self.timing, self.names = rule, timing, systems
        self.plan = rules.plan(rule)
        self.clock = 1000
        self.systems = {name: System([(start, 1000, "user")]) for name in systems}
        known = FieldState(raw=start, value=start, met=True, base=start, known=(start,))
        links = {
            n: LinkState(n, name, "people", name, order=1000, seen=1000, since=1000, fields={"f": known})
            for n, name in enumerate(systems, 1)
        }
        self.record = Record("r", "person", {"f": Golden(start, systems[0], 1000, 1000)}, links)
        self.number = {name: n for n, name in enumerate(systems, 1)}
        self.open: dict[str, Write] = {}
        self.landing: list[tuple[str, Write]] = []
        self.kinds: list[str] = []
        self.writes = 0
        self.pending_consent: dict[str, str] = {}

    def now(self) -> int:
        self.clock += 10
        return self.clock

    @property
    def golden(self) -> Golden:
        return self.record.golden["f"]

    def link(self, name: str) -> LinkState:
        return self.record.by_number[self.number[name]]

    def state(self, name: str) -> FieldState:
        return self.link(name).fields.get("f", UNSEEN)

    def _put(self, link: LinkState) -> None:
        self.record.by_number[link.n] = link

    def _derive(self) -> None:
        for link in step(self.record):
            self._put(link)

    # ---- users and their systems ----

    def edit(self, name: str, value: Value, *, consent: str = "") -> None:
        if value != self.systems[name].value:
            self.systems[name].history.append((value, self.now(), "user"))
            self.pending_consent[name] = consent

    # ---- observations ----

    def arrive(self, name: str, back: int = 0) -> None:
        """What the system was some states ago is seen now: as an event with a version, or as a read that began then."""
        if name in self.open:
            return  # it waits until the write has settled
        history = self.systems[name].history
        at = max(0, len(history) - 1 - back)
        value, when, _ = history[at]
        now = self.now()
        if self.timing.stamped:
            self._look(name, Look(seen={"f": rules.seen(value)}, stamp=when, begun=0, ended=now, read=False))
        else:
            self._look(
                name, Look(seen={"f": rules.seen(value)}, stamp=None, begun=when, ended=now, read=True)
            )

    def read(self, name: str, *, unsure: bool = False) -> Look:
        begun = self.now()
        value, when, _ = self.systems[name].history[-1]
        stamp = when if self.timing.stamped else None
        return Look(
            seen={"f": rules.seen(value)},
            stamp=stamp,
            begun=begun,
            ended=self.now(),
            read=True,
            unsure=unsure,
        )

    def sweep(self, name: str) -> None:
        if name not in self.open:
            self._look(name, self.read(name))

    def _look(self, name: str, look: Look) -> None:
        result = looking.observe(self.link(name), look, self.timing)
        if result.again:
            assert not look.second, "a second look is judged, never put off again"
            self._look(name, replace(self.read(name), unsure=look.unsure))
            self._look(name, replace(look, second=True))
            return
        self._put(result.link)
        for edit in result.edits:
            self._judge(name, edit, look)
        self._derive()

    def _judge(self, name: str, edit: Edit, look: Look) -> None:
        question = Question(
            system=name,
            pull=self.rule.links[name].pull,
            can_push=self.rule.links[name].push,
            value=edit.seen.value,
            empty="cleared" if edit.seen.value is None else "",
            golden=self.golden,
            held=edit.before.value,
            seen_before=not edit.first,
            base=edit.before.base,
            met=edit.before.met,
            since=edit.since,
            until=edit.until,
            late=edit.late,
            unsure=look.unsure and bool(edit.before.sent),
            linked=tuple(one for one in self.rule.rank if self.rule.links[one].pull),
            consent=self.pending_consent.pop(name, ""),
            seen=look.ended,
        )
        verdict = resolve(self.rule, question)
        self.kinds.append(verdict.kind)
        self.record.golden["f"] = verdict.golden
        state = self.state(name)
        if verdict.base_moves:
            state = replace(state, met=True, base=verdict.golden.value)
        if verdict.let_stand:
            state = replace(state, ignored=(state.value,))
        self._put(replace(self.link(name), fields={"f": state}))

    # ---- our writes, step by step ----

    def owed(self, name: str) -> bool:
        return self.number[name] in owed(self.plan, self.record).updates

    def claim(self, name: str) -> None:
        if name in self.open or not self.owed(name):
            return
        value = owed(self.plan, self.record).updates[self.number[name]]["f"]
        self._put(looking.sending(self.link(name), {"f": value}))
        self.open[name] = Write(value)

    def recheck(self, name: str) -> None:
        write = self.open.get(name)
        if write is None or write.phase != "claimed":
            return
        look = self.read(name)
        link = self.link(name)
        if self.timing.conditional:
            write.based_on = write.version = link.order
        elif looking.as_expected(link, ["f"], look.seen):
            write.based_on = look.stamp if look.stamp is not None else look.ended
        else:
            self._release(name)
            self._look(name, look)
            return
        write.phase = "checked"

    def _release(self, name: str) -> None:
        del self.open[name]
        self._put(replace(self.link(name), open=False))

    def write(self, name: str) -> None:
        write = self.open.get(name)
        if write is None or write.phase != "checked":
            return
        if not self._lands(name, write):
            self._release(name)
            self._look(name, self.read(name))
            return
        write.phase = "written"

    def _lands(self, name: str, write: Write) -> bool:
        system = self.systems[name]
        if self.timing.conditional and write.version != system.history[-1][1]:
            return False
        write.shown, write.order = system.rewrites.get(write.value, write.value), self.now()
        system.history.append((write.shown, write.order, "ours"))
        self.writes += 1
        return True

    def answer(self, name: str) -> None:
        write = self.open.get(name)
        if write is None or write.phase != "written":
            return
        del self.open[name]
        ended = self.now()
        order = write.order if self.timing.stamped else ended
        self._put(
            looking.confirm(
                self.link(name),
                {"f": write.value},
                {"f": rules.seen(write.shown)},
                order=order,
                ended=ended,
                based_on=write.based_on,
                timing=self.timing,
                taught=True,
            )
        )
        self._derive()

    def lose(self, name: str, *, travelling: bool = False) -> None:
        """The answer (or, when it was not made yet, the request) is lost; `travelling`: it may land much later."""
        write = self.open.get(name)
        if write is None or write.phase not in ("checked", "written"):
            return
        if write.phase == "checked" and travelling:
            self.landing.append((name, Write(write.value, "checked", write.based_on, write.version)))
        write.phase = "unknown"

    def land(self) -> None:
        """The oldest request that was still travelling takes effect."""
        if self.landing:
            self._lands(*self.landing.pop(0))

    def settle(self, name: str) -> None:
        write = self.open.get(name)
        if write is None or write.phase != "unknown":
            return
        del self.open[name]
        look, link = self.read(name), self.link(name)
        there = looking.arrived(link, {"f": write.value}, look.seen)
        if there:
            order = look.stamp if look.stamp is not None else look.ended
            link = looking.confirm(
                link,
                there,
                look.seen,
                order=order,
                ended=look.ended,
                based_on=write.based_on,
                timing=self.timing,
                taught=False,
            )
        rest = {} if there else {"f": write.value}
        self._put(looking.doubt(link, rest, look.ended + LIFE))
        self._look(name, replace(look, begun=look.ended, unsure=bool(rest)))

    def push(self, name: str) -> None:
        """Everything that one write needs, without a hitch."""
        for act in (self.claim, self.recheck, self.write, self.answer, self.settle):
            act(name)

    # ---- the end ----

    def quiesce(self) -> None:
        """No more edits and faults: what travels lands, open writes settle, everything is read and pushed."""
        while self.landing:
            self.land()
        for _ in range(20):
            before = (self.writes, len(self.kinds))
            for name in self.names:
                for act in (self.recheck, self.write, self.answer, self.settle):
                    act(name)
                self.sweep(name)
                self.push(name)
            if (self.writes, len(self.kinds)) == before and not self.open:
                return
        raise AssertionError("the world never comes to rest")

    def wrong(self) -> list[str]:
        """What must not be in a world at rest, by name."""
        found = []
        golden = self.golden
        for name in self.names:
            state = self.state(name)
            if state.value != self.systems[name].value:
                found.append(f"{name} is believed to hold another value")
            if golden.frozen is None and not in_step(state, golden.value) and state.ignored is None:
                found.append(f"{name} differs for ever")
            elif (
                golden.frozen is None
                and state.ignored is None
                and (not state.met or state.base != golden.value)
            ):
                found.append(f"the base of {name} is stale")
            if golden.frozen is None and self.owed(name):
                found.append(f"{name} is still owed a write")
        return found

    def values(self) -> dict[str, Any]:
        return {name: system.value for name, system in self.systems.items()}


__all__ = ["NOTHING", "System", "World", "Write"]
