"""First meetings decided many at a time come to what the same ones come to one by one, row for row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import msgspec
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from syncbroker.bootstrap import build
from syncbroker.core.types import Event, Item, Micros, Receipt, Write
from syncbroker.engine import Engine, cycle, meeting
from syncbroker.errors import Missing, Refused
from syncbroker.sdk.connector import Account, Change, Delivery, FieldSpec, ObjectSpec, Page
from syncbroker.sdk.registry import GROUP, Registry
from syncbroker.settings import Settings
from syncbroker.store import decisions, records, tables
from syncbroker.store.database import Store
from tests.support.rig import START, open_ready

SYSTEMS = ("crm", "mkt", "sup")
NAMES = ("email", "city", "name", "tags")
REGISTRY = Registry([EntryPoint("shelf", "tests.engine.test_meeting:Shelf", GROUP)])

People = dict[str, list[dict[str, Any]]]


class Shelf:
    """A system that only shows the people that a test has put on it."""

    kind: ClassVar[str] = "shelf"
    credentials_schema: ClassVar[Mapping[str, Any]] = {"type": "object"}
    options_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"],
    }  # fmt: skip
    objects: ClassVar[Mapping[str, ObjectSpec]] = {
        "people": ObjectSpec(
            name="people",
            fields={name: FieldSpec() for name in NAMES},
            stamp=1,
            batch={"create": 100, "update": 100, "delete": 100},
            keys=("email",),
        )
    }
    people: ClassVar[People] = {}

    def __init__(self, account: Account) -> None:
        self._name = str(account.options["name"])

    def scan(self, object: str, paths: Sequence[str], *, resume: str | None = None) -> Iterator[Page]:
        shown = [
            Item(id=one["id"], fields={k: v for k, v in one.items() if k in NAMES}, stamp=one.get("at"))
            for one in self.people.get(self._name, [])
        ]
        yield Page(items=shown, proven=True)

    def poll(
        self, object: str, paths: Sequence[str], *, cursor: str, resume: str | None = None
    ) -> Iterator[Page]:
        raise Refused("it has no changes, only a state")

    def start_cursor(self, object: str, began: Micros) -> str | None:
        return None

    def read(self, object: str, ids: Sequence[str], paths: Sequence[str]) -> list[Item]:
        return []

    def find(self, object: str, keys: Mapping[str, Any], paths: Sequence[str]) -> list[Item]:
        return []

    def write(self, object: str, writes: Sequence[Write], paths: Sequence[str]) -> list[Receipt]:
        return [Receipt(key=one.key, status="refused", message="it is read-only") for one in writes]

    def job(
        self, object: str, job: str, writes: Sequence[Write], paths: Sequence[str]
    ) -> list[Receipt] | None:
        raise Missing("it has no jobs")

    def history(self, object: str, id: str, path: str) -> list[Change]:
        return []

    def answer_check(self, delivery: Delivery) -> str | None:
        return None

    def authenticate(self, delivery: Delivery) -> None:
        raise Missing("it sends no webhooks")

    def events(self, delivery: Delivery) -> list[Event]:
        return []


# ------------------------------------------------------------------------------------------------ worlds

EMAILS = st.sampled_from(
    [
        "a@x.example",
        "b@x.example",
        "c@x.example",
        "d@x.example",
        "e@x.example",
        "f@x.example",
        "C@x.example",
        None,
        "n/a",
        "broken",
    ]
)
PERSON = st.fixed_dictionaries(
    {
        "email": EMAILS,
        "city": st.sampled_from(["Riga", "Riga", "riga", "Bonn", " Bonn", None, "", "N/A", 7]),
        "name": st.sampled_from(["Ann", "Bo", None, "unknown"]),
        "tags": st.sampled_from([["t"], ["t", "u"], [], None, "t,u"]),
    }
)
STAMPED = st.tuples(PERSON, st.none() | st.sampled_from([START - 50, START - 9, START + 5_000_000]))
DIRECTION = st.sampled_from(["both", "both", "pull", "push"])
SINGLE = st.sampled_from(
    ["prefer", "latest", "review", "seed", "longest", "enforce", "review, first_meeting: review"]
)


@st.composite
def mappings(draw: st.DrawFn) -> str:
    lines = ["entity: person"]
    if draw(st.booleans()):
        lines.append("guard: {created: 1000, changed: 90%}")
    lines.append("links:")
    create = st.sampled_from(["never", "never", "always"])
    lines += [f"  {name}: {{object: people, create: {draw(create)}, delete: review}}" for name in SYSTEMS]
    lines += ["match:", "  - {on: [email]}"]
    if draw(st.booleans()):
        lines.append(f"  - {{on: [name, city], then: {draw(st.sampled_from(['link', 'review']))}}}")
    lines.append("fields:")
    for name in NAMES:
        policy = {"tags": "union", "email": "prefer"}.get(name) or draw(SINGLE)
        type_ = {"email": "email", "tags": "tags"}.get(name, "text")
        ways = {system: "both" if name == "email" else draw(DIRECTION) for system in SYSTEMS}
        pulling = [system for system in SYSTEMS if ways[system] != "push"] or ["crm"]
        ways[pulling[0]] = "both" if ways[pulling[0]] == "push" else ways[pulling[0]]
        order = draw(st.permutations(pulling))
        authority = f"authority: [{', '.join(order)}], " if policy in ("prefer", "enforce") else ""
        empty = draw(st.sampled_from(["keep", "clear"]))
        where = ", ".join(f"{system}: {{field: {name}, direction: {way}}}" for system, way in ways.items())
        lines.append(
            f"  {name}: {{type: {type_}, {authority}policy: {policy}, empty: {empty}, systems: {{{where}}}}}"
        )
    return "\n".join(lines) + "\n"


@st.composite
def peoples(draw: st.DrawFn) -> People:
    found: People = {}
    for system in SYSTEMS:
        shown = draw(st.lists(STAMPED, max_size=5))
        found[system] = [{"id": f"{system}{n}", **one, "at": at} for n, (one, at) in enumerate(shown)]
    return found


@contextmanager
def world(folder: Path, name: str, entity: str) -> Iterator[Engine]:
    mapped = folder / name / "mappings"
    mapped.mkdir(parents=True)
    lines = ["systems:"]
    lines += [f"  {one}: {{connector: shelf, options: {{name: {one}}}}}" for one in SYSTEMS]
    (mapped / "systems.yaml").write_text("\n".join(lines) + "\n")
    (mapped / "person.yaml").write_text(entity)
    url = f"sqlite:///{mapped}/store.db"
    store = open_ready(url)
    ticks = iter(range(START, START + 10**9, 1_000_000))
    now: Any = mock.Mock(side_effect=lambda: now.at)
    now.at, now.tick = START, lambda: setattr(now, "at", next(ticks))
    engine = build(
        Settings(mappings=mapped, database_url=url),  # type: ignore[call-arg]  # the rest is usual
        store=store, now=now, environment={}, registry=REGISTRY,
    )  # fmt: skip
    cycle.activate(engine)
    try:
        yield engine
    finally:
        engine.close()
        store.close()


def tell(engine: Engine, people: Sequence[People]) -> None:
    """Read all systems once for each of these states."""
    for state in people:
        Shelf.people = state
        for source in engine.sources.values():
            engine.now.tick()  # type: ignore[attr-defined]  # see `world`
            cycle.pull_source(engine, source)


def one_by_one(_ws: Any, rows: Sequence[Any]) -> meeting.Met:
    return meeting.Met(list(rows))


# --------------------------------------------------------------------------------------- what a store says


def said(store: Store) -> dict[str, Any]:
    """Everything in the store, with what is known by a number or a random id named after what it is about."""
    with store.read() as tx:
        ids = [row[0] for row in tx.run(select(tables.records.c.id))]
        found = records.load(tx, ids)
        names = {
            id_: "+".join(sorted(f"{one.system}:{one.external_id}" for one in record.links))
            for id_, record in found.items()
        }
        link = {
            n: f"{one.system}:{one.external_id}:{names[record.id]}"
            for record in found.values()
            for n, one in record.by_number.items()
        }
        rows = {one.name: tx.run(one.select()).all() for one in tables.metadata.sorted_tables}
        link |= {
            row.n: f"{row.system}:{row.external_id}:queued" for row in rows["links"] if row.n not in link
        }
        log = [
            msgspec.structs.replace(one, outcomes=[o for o in one.outcomes if not _is_proposal(o)])
            for one in sorted(decisions.following(tx, limit=10_000), key=lambda one: one.id)
            if not all(map(_is_proposal, one.outcomes))
        ]
    nth: dict[int, str] = {0: ""}
    for one in log:
        nth[one.id] = (
            f"{names[one.record_id]}#{sum(other.record_id == one.record_id for other in log[: log.index(one)])}"
        )

    def golden(one: Any) -> Any:
        return msgspec.structs.replace(one, decision=nth[one.decision], review=bool(one.review))

    def outcome(one: decisions.Outcome) -> Any:
        q = one.question and msgspec.structs.replace(one.question, golden=golden(one.question.golden))
        where = link.get(one.link, one.link)
        return msgspec.structs.replace(
            one, link=where, question=q, review=bool(one.review), why=named(one.why)
        )

    def owner(review: Any) -> str:
        return "" if review.kind in ("match", "merge") else names.get(review.record_id, "")

    def named(text: str) -> str:
        return re.sub("[0-9a-f-]{36}", lambda found: names.get(found[0], found[0]), text)

    def body(text: str) -> list[str]:
        return sorted(
            re.findall(r"[^\[\],]+", re.sub('"key":"[0-9a-f]+"', "", named(text)))
        )  # keyed by chance

    def about(row: Any) -> list[str]:
        """Of a proposal to merge, whom it is about: which of several reasons is noted first follows from chance ids."""
        if row.kind != "merge":
            return body(row.body)
        return sorted({names.get(id_, "") for id_ in re.findall("[0-9a-f-]{36}", row.body)})

    def state(row: Any) -> Any:
        one = msgspec.json.decode(row.state)
        fields = {
            name: [*held[:10], bool(held[10]), *held[11:]] for name, held in one.get("fields", {}).items()
        }
        return one | {"n": 0, "review": bool(one.get("review")), "fields": fields}

    # a proposal touches the record with the lesser id, and what that one is owed is owed by that run from then on
    proposals = any(row.kind == "merge" for row in rows["reviews"])
    return {
        "golden": {
            names[id_]: {name: golden(value) for name, value in record.golden.items()}
            for id_, record in found.items()
        },
        "links": sorted((link[row.n], row.entity, row.status, row.ord, state(row)) for row in rows["links"]),
        "decisions": sorted(
            (nth[one.id], one.run, one.at, one.actor, one.mapping, [outcome(o) for o in one.outcomes])
            for one in log
        ),
        "keys": sorted((row.key, names[row.record_id]) for row in rows["match_keys"]),
        "fingerprints": sorted(
            (row.system, row.external_id, row.fingerprint, link.get(row.n, ""))
            for row in rows["fingerprints"]
        ),
        "outbox": sorted(
            (link[row.link], row.op, row.state, row.due, 0 if proposals else row.run)
            for row in rows["outbox"]
        ),
        "reviews": sorted(
            (row.kind, row.field, row.system, owner(row), row.closed or 0, about(row))
            for row in rows["reviews"]
        ),
        "inbox": len(rows["inbox"]),
        "counters": sorted((row.what, row.system, row.count) for row in rows["counters"]),
        "runs": sorted(
            (row.id, row.kind, row.state, sorted(msgspec.json.decode(row.body).items()))
            for row in rows["runs"]
        ),
    }


def _is_proposal(outcome: decisions.Outcome) -> bool:
    """Of two records, to merge them or to link to one of them: it is noted on the one with the lesser id, by chance."""
    return outcome.kind == "match_queued" or (outcome.cause is not None and outcome.cause.via == "merge")


PLAIN = """\
entity: person
links:
  crm: {object: people, create: never}
  mkt: {object: people, create: never}
  sup: {object: people, create: never}
match:
  - {on: [email]}
fields:
  email: {type: email, authority: [crm, mkt, sup], policy: prefer, systems: {crm: email, mkt: email, sup: email}}
  city: {type: text, authority: [crm], policy: enforce, systems: {crm: city, mkt: city, sup: city}}
  name: {type: text, policy: latest, systems: {crm: name, mkt: name, sup: name}}
  tags: {type: tags, policy: union, systems: {crm: tags, mkt: tags, sup: tags}}
"""


def person(id_: str, email: str | None, city: Any = "Riga", **given_: Any) -> dict[str, Any]:
    return {"id": id_, "email": email, "city": city, "name": "Ann", "tags": ["t"], "at": None} | given_


SAME: People = {name: [person(f"{name}{n}", f"p{n}@x.example") for n in range(3)] for name in SYSTEMS}
DIFFERENT: People = {
    name: [person(f"{name}{n}", f"p{n}@x.example", f"City {place * (n % 2)}") for n in range(4)]
    for place, name in enumerate(SYSTEMS)
}


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # explaining takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(mappings(), st.lists(peoples(), min_size=1, max_size=2))
@example(PLAIN, [SAME, DIFFERENT])
@example(PLAIN, [DIFFERENT])
def test_they_come_to_the_same_as_one_by_one(
    tmp_path_factory: Any, entity: str, people: list[People]
) -> None:
    folder = tmp_path_factory.mktemp("worlds")
    with world(folder, "many", entity) as many, world(folder, "each", entity) as each:
        tell(many, people)
        with mock.patch.object(meeting, "meet", one_by_one):
            tell(each, people)
        assert said(many.store) == said(each.store)


def test_a_first_load_of_equal_people_is_met_as_a_whole(tmp_path: Path) -> None:
    real, met = meeting.meet, list[meeting.Met]()

    def watched(ws: Any, rows: Sequence[Any]) -> meeting.Met:
        met.append(real(ws, rows))
        return met[-1]

    with world(tmp_path, "one", PLAIN) as engine, mock.patch.object(meeting, "meet", watched):
        tell(engine, [SAME])
    assert [(len(one.done), len(one.rest)) for one in met] == [(3, 0)] * 3
