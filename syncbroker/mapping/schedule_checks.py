"""What the schedules and limits of systems.yaml mean: cron expressions, time zones, spans that fit together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from syncbroker.mapping.findings import Findings
from syncbroker.mapping.nodes import Node
from syncbroker.mapping.schema import closest
from syncbroker.mapping.units import seconds
from syncbroker.mapping.written import WrittenSystem


def check_schedules(
    system: WrittenSystem, linked: Mapping[str, frozenset[str]], file: str, findings: Findings
) -> None:
    """`linked`: system -> the objects of it that some entity reads."""
    zone = system.node.get("timezone")
    if zone is not None:
        _check_zone(zone, file, findings)
    for key, schedule in _schedules(system.node):
        _check_schedule(key, schedule, file, findings)
    objects = system.node.get("objects")
    known = linked.get(system.name.text, frozenset())
    for name, node in objects.items() if objects is not None else ():
        if name.text not in known:
            hint = closest(name.text, known, "link it in an entity, or remove it")
            findings.error(file, name, f"no entity reads {name.text!r} of {system.name.text!r}", hint)
        for key, schedule in _schedules(node):
            _check_schedule(key, schedule, file, findings)


def _schedules(node: Node) -> Iterator[tuple[str, Node]]:
    for key in ("pull", "sweep"):
        schedule = node.get(key)
        if schedule is not None:
            yield key, schedule


def _check_schedule(key: str, schedule: Node, file: str, findings: Findings) -> None:
    every, at, jitter = (schedule.get(name) for name in ("every", "at", "jitter"))
    if (every is None) == (at is None):
        message = f"`{key}` needs either `every` or `at`" + ("" if every is None else ", not both")
        findings.error(file, schedule, message, 'such as {every: 5m}, or {at: "0 3 * * *"}')
    if every is not None and seconds(every.text) < 1:
        findings.error(file, every, f"`{key}` cannot run that often", "write 1s or more, such as 5m")
    if every is not None and jitter is not None and seconds(jitter.text) > seconds(every.text):
        findings.error(
            file, jitter, "`jitter` is longer than the interval", "write a part of it, such as a tenth"
        )
    if at is not None:
        _check_cron(at, file, findings)


def _check_zone(zone: Node, file: str, findings: Findings) -> None:
    try:
        ZoneInfo(zone.text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = "an IANA name, such as Europe/Berlin; leave it out for UTC"
        findings.error(file, zone, f"there is no time zone {zone.text!r} on this machine", hint)


def _check_cron(at: Node, file: str, findings: Findings) -> None:
    """Five fields; the library would take seconds as a sixth."""
    wrong = "" if len(at.text.split()) == 5 else "it has not five fields"
    try:
        if not wrong:
            next(CronSim(at.text, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        wrong = str(error)
    except StopIteration:
        wrong = "no day is ever meant"
    if wrong:
        hint = 'minute, hour, day, month, weekday: "0 3 * * *" is every day at 03:00'
        findings.error(file, at, f"{at.text!r} is no cron expression: {wrong}", hint)
