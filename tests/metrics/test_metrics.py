"""What a scrape of a running broker shows, and that the alerts name nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from syncbroker.engine import silent
from syncbroker.metrics.counts import Counts, telling
from syncbroker.metrics.page import Page
from syncbroker.metrics.store import StoreCollector
from syncbroker.settings import Settings
from syncbroker.store import deliveries, queues, runs, stops
from syncbroker.store.runs import Breaker
from syncbroker.store.turns import Turn, put
from syncbroker.web.app import make_app
from syncbroker.web.counts import Requests
from syncbroker.web.server import listen, serving, url_of
from syncbroker.web.writer import writing
from tests.support.asking import Answered, ask
from tests.support.deliveries import arrive
from tests.support.rig import Rig, entity_text, rig

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "examples" / "alerts.yaml"
RUNBOOK = ROOT / "docs" / "operations.md"
FIELDS = """\
  email: {type: email, systems: {crm: email, mkt: email}}
  name: {type: text, authority: crm, systems: {crm: name, mkt: name}}
"""
ANN = {"email": "ann@x.example", "name": "Ann"}
SECOND = 1_000_000

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def here(tmp_path: Path, sqlite_url: str) -> Iterator[Rig]:
    data = {"crm": [ANN], "mkt": [ANN]}
    with rig(tmp_path / "mappings", sqlite_url, entity_text(FIELDS, data), data) as made:
        made.sync()
        yield made


def page(here: Rig, counts: Counts | None = None, token: str = "") -> Page:
    return Page(here.engine, counts or Counts(), token=token)


def samples(text: bytes) -> Samples:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text.decode())
        for one in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"syncbroker_{name}", tuple(sorted(labels.items()))]


def scraped(here: Rig) -> Samples:
    return samples(page(here).text())


# ---- the store ----


def test_the_age_of_what_waits_longest_is_the_lag_of_its_step(here: Rig) -> None:
    now, request = here.clock(), deliveries.Request(method="POST", url="x")
    row = queues.Row(
        link=7, system="mkt", object="people", op="update", state="due", due=0, attempts=0, run=0,
        push=queues.Push(since=now - 30 * SECOND),
    )  # fmt: skip
    with here.engine.store.write() as tx:
        arrive(tx, "crm", "a", now - 90 * SECOND, request, b"[]")
        arrive(tx, "crm", "b", now - 60 * SECOND, request, b"[]")
        queues.stage(tx, queues.LIVE, "crm", "people", [queues.Sighting(id="x", ended=now - 45 * SECOND)])
        queues.save_outbox(tx, [row])
    found = scraped(here)
    lags = [
        round(value(found, "lag_seconds", system="crm", step=step))
        for step in ("delivery", "observation", "push")
    ]
    assert lags == [90, 45, 0]
    assert round(value(found, "lag_seconds", system="mkt", step="push")) == 30
    assert value(found, "deliveries", system="crm", state="new") == 2
    assert value(found, "inbox", system="crm") == 1
    assert value(found, "outbox", system="mkt", state="due") == 1
    assert value(found, "outbox", system="mkt", state="refused") == 0


def test_what_waits_for_a_person_is_no_lag(here: Rig) -> None:
    row = queues.Row(
        link=7, system="mkt", object="people", op="update", state="refused", due=2**62, attempts=0, run=0,
        push=queues.Push(since=5),
    )  # fmt: skip
    with here.engine.store.write() as tx:
        queues.save_outbox(tx, [row])
    assert value(scraped(here), "lag_seconds", system="mkt", step="push") == 0


def test_breakers_pauses_and_late_turns_are_shown(here: Rig) -> None:
    now = here.clock()
    with here.engine.store.write() as tx:
        runs.set_breaker(tx, "crm", Breaker(failures=6, open_until=now + 60 * SECOND, message="down"))
        stops.stop(tx, stops.Stop(system="mkt", since=now - 100 * SECOND, person="Kim", why=""))
        for system in ("crm", "mkt"):
            put(tx, [Turn(system=system, object="people", kind="pull", due=now - 50 * SECOND, plan="1m")])
    found = scraped(here)
    assert [value(found, "breaker_open", system=name) for name in ("crm", "mkt")] == [1, 0]
    assert value(found, "failures", system="crm") == 6
    assert [round(value(found, "paused_seconds", system=name)) for name in ("crm", "mkt")] == [0, 100]
    late = [
        value(found, "schedule_late_seconds", system=name, object="people", kind="pull")
        for name in ("crm", "mkt")
    ]
    assert [round(one) for one in late] == [50, 0]


def test_one_look_at_the_store_answers_for_a_while(here: Rig) -> None:
    times = iter([0.0, 4.0, 5.0])
    collector = StoreCollector(here.engine, lambda: next(times))
    looks: list[int] = []
    read = here.engine.store.read

    def noted() -> Any:
        looks.append(1)
        return read()

    here.engine.store.read = noted  # type: ignore[method-assign]
    for many in (1, 1, 2):
        list(collector.collect())
        assert len(looks) == many


def test_a_store_that_cannot_be_read_is_down_and_nothing_else_is_said_of_it(here: Rig) -> None:
    with here.engine.store.write() as tx:
        tx.connection.exec_driver_sql("DROP TABLE outbox")
    found = scraped(here)
    assert value(found, "store_up") == 0
    assert not [name for name, _ in found if name == "syncbroker_lag_seconds"]


def test_webhooks_that_went_silent_are_shown(here: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = {"crm": silent.Silence(system="crm", since=1, edits=4)}
    monkeypatch.setattr(silent, "silent", lambda _tx, _now: quiet)
    found = scraped(here)
    assert [value(found, "webhook_silent", system=name) for name in ("crm", "mkt")] == [1, 0]


# ---- what this process did ----


def test_the_engines_news_is_counted_and_logged(here: Rig) -> None:
    counts, logged = Counts(), list[str]()
    object.__setattr__(here.engine, "tell", telling(counts, lambda event, **_: logged.append(event)))
    here.edit("crm", "p000001", name="Ann Lee")
    here.sync()
    found = samples(page(here, counts).text())
    assert value(found, "decisions_total", kind="adopted") == 1
    assert value(found, "writes_total", system="mkt", op="update", answer="done") == 1
    assert logged == ["decided", "written"]


def test_drift_is_counted_by_cause_as_it_is_found(here: Rig) -> None:
    counts = Counts()
    object.__setattr__(here.engine, "tell", telling(counts, lambda *_args, **_fields: None))
    here.systems["crm"].edit("people", "p000001", {"name": "Ann Lee"})
    here.sweep()
    assert (
        value(samples(page(here, counts).text()), "drift_found_total", system="crm", cause="missed_event")
        == 1
    )


def test_calls_are_counted_by_status_and_429_apart() -> None:
    counts = Counts()
    for status in (200, 200, 429, 0):
        counts.note("crm", "GET", "/people", status)
    counts.waited("crm", 1.5)
    found = {
        (one.name, *one.labels.values()): one.value for family in counts.collect() for one in family.samples
    }
    assert found["syncbroker_api_calls_total", "crm", "GET", "200"] == 2
    assert found["syncbroker_api_rate_limited_total", "crm"] == 1
    assert found["syncbroker_budget_wait_seconds_total", "crm"] == 1.5


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("events_total", {"event": "fault", "system": ""}),
        ("events_total", {"event": "fault", "system": "crm"}),
        ("drift_found_total", {"system": "crm", "cause": "lost_write"}),
        ("api_rate_limited_total", {"system": "mkt"}),
        ("webhook_requests_total", {"system": "crm", "outcome": "refused"}),
    ],
)
def test_what_alerts_watch_is_there_before_it_happens(here: Rig, name: str, labels: dict[str, str]) -> None:
    """A series that begins at 1 has not risen: the first fault of all would alert nobody."""
    assert value(scraped(here), name, **labels) == 0


# ---- over HTTP ----


@pytest.fixture
def running(here: Rig) -> Iterator[Any]:
    """Serves the application; gives a way to ask it."""
    with ExitStack() as stack:

        def start(token: str = "", *, metrics: bool = True) -> Any:
            counts, requests = Counts(), Requests()
            shown = (
                Page(here.engine, counts, token=token, requests=requests.all, bound=100) if metrics else None
            )
            writer = stack.enter_context(writing(here.engine.store, lambda _n, _s: None, 100))
            settings = Settings()  # type: ignore[call-arg]  # all as usual
            app = make_app(here.engine, settings, writer, lambda: True, requests, page=shown)
            listening = stack.enter_context(closing(listen("127.0.0.1", 0)))
            stack.enter_context(serving(app, listening, requests))
            url = url_of(listening)

            def get(path: str = "/metrics", **headers: str) -> Answered:
                return ask("GET", url, path, headers=headers)

            return get

        yield start


def test_metrics_are_served_as_text_that_prometheus_reads(running: Any) -> None:
    answer = running()()
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert value(samples(answer.text.encode()), "store_up") == 1


@pytest.mark.parametrize(
    ("shown", "status"),
    [("Bearer sesame", 200), ("bearer sesame", 200), ("Bearer other", 401), ("Basic sesame", 401), ("", 401)],
)
def test_with_a_token_only_who_shows_it_sees_them(running: Any, shown: str, status: int) -> None:
    assert running("sesame")(Authorization=shown).status == status


def test_without_metrics_there_is_nothing(running: Any) -> None:
    assert running(metrics=False)().status == 404


def test_no_label_or_help_text_holds_anything_of_a_person(here: Rig) -> None:
    here.edit("crm", "p000001", name="Zebedee")
    here.sync()
    text = page(here).text().decode()
    assert "Zebedee" not in text
    assert "@" not in text
    assert not [one for one in here.ids("crm") if one in text]


def test_ready_says_why_it_is_not(here: Rig, running: Any) -> None:
    get = running()
    assert get("/readyz").status == 200
    with here.engine.store.write() as tx:
        tx.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    answer = get("/readyz")
    assert answer.status == 503
    assert "is at version 0001" in answer.text


def test_a_store_that_is_being_written_is_ready(here: Rig, running: Any) -> None:
    get = running()
    with here.engine.store.write() as tx:
        runs.count(tx, {("x", "crm", "people"): 1})
        assert get("/readyz").status == 200


def test_a_vendor_that_is_down_makes_nobody_less_ready(here: Rig, running: Any) -> None:
    get = running()
    for server in here.servers.values():
        server.close()
    assert get("/readyz").status == 200


# ---- the alerts ----


def rules() -> list[dict[str, Any]]:
    return [rule for group in YAML(typ="safe").load(ALERTS)["groups"] for rule in group["rules"]]


WORDS = set(
    "alert up min max sum by bool and or scalar increase rate system object kind event route cause".split()
)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_metric_that_an_alert_names_is_in_a_real_scrape(rule: dict[str, Any], running: Any) -> None:
    text = running()().text
    declared = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    expression = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", rule["expr"])
    named = {
        word
        for word in re.findall(r"[a-zA-Z_]\w*", expression)
        if word not in WORDS and not word.startswith("e9")
    }
    assert named <= declared
    assert named or rule["alert"] == "SyncbrokerDown"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_label_that_an_alert_uses_is_one_of_its_metric(rule: dict[str, Any]) -> None:
    from syncbroker.metrics.counts import FAMILIES
    from syncbroker.metrics.store import GAUGES

    labels = {f"syncbroker_{name}_total": set(names) for name, (_, names) in FAMILIES.items()}
    labels |= {f"syncbroker_{one.name}": set(one.labels) for one in GAUGES}
    labels["syncbroker_webhook_requests_total"] = {"system", "outcome"}
    known = {
        label for metric in re.findall(r"syncbroker_\w+", rule["expr"]) for label in labels.get(metric, set())
    }
    used = {one.strip() for part in re.findall(r"by \(([^)]*)\)", rule["expr"]) for one in part.split(",")}
    used |= set(re.findall(r"[{,](\w+)=", re.sub(r'\{job="\w+"\}', "", rule["expr"])))
    assert used <= known


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_has_a_section_of_its_name_in_the_runbook(rule: dict[str, Any]) -> None:
    section = RUNBOOK.read_text().partition(f"\n### {rule['alert']}\n")[2].partition("\n### ")[0]
    assert (
        "`syncbroker " in section or "```shell" in section or rule["alert"] in ("SyncbrokerDown", "DiskFull")
    )
    assert len(section) > 150


def test_every_section_of_the_runbook_on_alerts_has_its_alert() -> None:
    part = RUNBOOK.read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", part, re.MULTILINE) == [rule["alert"] for rule in rules()]


def test_every_metric_is_in_the_documents(here: Rig) -> None:
    declared = re.findall(r"^# TYPE (syncbroker_\w+) ", page(here).text().decode(), re.MULTILINE)
    text = RUNBOOK.read_text()
    assert [name for name in declared if f"`{name}`" not in text] == []
