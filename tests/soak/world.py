"""The soak's world: people in three systems, what anybody did to them, and what must be true in the end.

The world keeps its own log of edits; the vendors' process keeps one of writes. These two are all that judges: the
broker's store is never asked. Every field has one authority and every edit its own value, so that the last edit of the
authority must stand everywhere, and whatever anybody else typed must be gone.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from syncbroker.demo.vendors import VENDORS
from syncbroker.sdk.paths import get_path, set_path

OBJECTS = {"crm": "contacts", "billing": "customers", "support": "users"}
"""Where each system keeps people."""

AUTHORITY = {"title": "crm", "plan": "billing", "notes": "support"}
"""Who decides each field; everybody else's edits are put back."""

PATHS: Mapping[str, Mapping[str, str]] = {
    "email": {"crm": "properties.email", "billing": "email", "support": "email"},
    "name": {"crm": "properties.lastname", "billing": "name", "support": "name"},
    "title": {"crm": "properties.jobtitle", "billing": "metadata.title", "support": "user_fields.title"},
    "plan": {"crm": "properties.company", "billing": "metadata.plan", "support": "user_fields.plan"},
    "notes": {"crm": "properties.address", "billing": "description", "support": "notes"},
}
"""Where each field is, in the vendors' payloads."""

TOKEN = rb"(?:title|plan|notes|other)-\d{6}"
"""What every value that is edited looks like, so that it is found in whatever a vendor is sent."""


class Edit(msgspec.Struct, frozen=True):
    """Somebody set a field of a person in a system. `began`, `at`: µs, when it was asked and when it was taken."""

    began: int
    at: int
    system: str
    person: str
    field: str
    value: str

    @property
    def decides(self) -> bool:
        return AUTHORITY[self.field] == self.system


class Wrote(msgspec.Struct, frozen=True):
    """One write of the broker as the vendor got it. `values`: the tokens in it. `status`: the answer, whether it
    arrived or not. `key`: the idempotency key, where there is one; a request that repeats it changes nothing."""

    at: int
    system: str
    operation: str
    status: int
    values: list[str]
    key: str = ""


@dataclass
class World:
    """People and their past. `people` by address -> system -> external id, as far as it is known."""

    seed: int
    people: dict[str, dict[str, str]] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=list)
    born: dict[str, dict[str, str]] = field(default_factory=dict)
    """Address -> field -> the value with which somebody was there first."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.lock = threading.Lock()
        self._values = 0

    # ---- before anything ----

    def populate(self, people: int, everywhere: float = 0.6) -> dict[str, dict[str, list[Any]]]:
        """What each simulator loads: everybody in the CRM, and a share of them `everywhere` with the same values."""
        data: dict[str, dict[str, list[Any]]] = {name: {object_: []} for name, object_ in OBJECTS.items()}
        for number in range(people):
            address = f"p{number:05d}@soak.example"
            values = {name: self.value(name) for name in AUTHORITY}
            self.people[address], self.born[address] = {}, values
            here = OBJECTS if self.random.random() < everywhere else ["crm"]
            for system in here:
                shown = values if len(here) > 1 else {"title": values["title"]}
                data[system][OBJECTS[system]].append(_payload(system, number, address, shown))
            if len(here) == 1:
                self.born[address] = {"title": values["title"]}
        return data

    def value(self, kind: str) -> str:
        with self.lock:
            self._values += 1
            return f"{kind}-{self._values:06d}"

    def newcomer(self) -> tuple[str, dict[str, Any]]:
        """Somebody new: a system, and what a person types there."""
        with self.lock:
            number = len(self.people) + 1_000
            address = f"p{number:05d}@soak.example"
            self.people[address] = {}
        system = self.random.choice(list(OBJECTS))
        values = {name: self.value(name) for name, owner in AUTHORITY.items() if owner == system}
        self.born[address] = values
        fields: dict[str, Any] = {}
        whole = {"email": address, "name": f"Person {number}", **values}
        for name, value in whole.items():
            set_path(fields, PATHS[name][system], value)
        return system, fields

    # ---- the verdict ----

    def expected(self) -> dict[str, dict[str, str]]:
        """Address -> field -> the value that must stand everywhere."""
        found = {address: dict(values) for address, values in self.born.items()}
        for edit in self.edits:
            if edit.decides:
                found[edit.person][edit.field] = edit.value
        return found

    def wrong(self, records: Mapping[str, list[Any]]) -> list[str]:
        """Every place that does not hold what it must, and everybody who is missing or there twice."""
        said = []
        expected = self.expected()
        for system, found in records.items():
            by_address = defaultdict(list)
            for one in found:
                by_address[str(get_path(one, PATHS["email"][system]))].append(one)
            for address, values in expected.items():
                here = by_address.pop(address, [])
                if len(here) != 1:
                    said.append(f"{address} is {len(here)} times in {system}")
                    continue
                for name, value in values.items():
                    held = get_path(here[0], PATHS[name][system])
                    if held != value:
                        said.append(f"{address} {name} is {held} in {system}, not {value}")
            said += [f"{address} is a stranger in {system}" for address in by_address]
        return said

    def doubled(self, wrote: Iterable[Wrote]) -> list[str]:
        """Values that a system was sent more often than anything that happened there asks for.

        Once for the value itself, and once more for each time that somebody typed over that field of that person in
        that system. A lost answer, a killed process and a cut connection allow nothing beyond that: the broker reads
        before it repeats, or repeats with the vendor's idempotency key, which makes it the same write.
        """
        taken = {(one.system, one.key or str(n)): one for n, one in enumerate(wrote) if one.status < 300}
        sent = Counter((one.system, value) for one in taken.values() for value in set(one.values))
        whose = {edit.value: (edit.person, edit.field) for edit in self.edits}
        whose |= {value: (who, name) for who, values in self.born.items() for name, value in values.items()}
        typed = Counter((edit.system, edit.person, edit.field) for edit in self.edits if not edit.decides)
        return [
            f"{system} was sent {value} {many} times"
            for (system, value), many in sent.items()
            if value in whose and many > 1 + typed[system, *whose[value]]
        ]

    def spread(self, wrote: Iterable[Wrote]) -> list[int]:
        """µs from each edit that decides to its first writing in each other system, where it was not overtaken."""
        first: dict[tuple[str, str], int] = {}
        for one in wrote:
            for value in one.values:
                first.setdefault((one.system, value), one.at)
        return [
            first[system, edit.value] - edit.at
            for edit in self.edits
            if edit.decides
            for system in OBJECTS
            if (system, edit.value) in first
        ]


def _payload(system: str, number: int, address: str, values: Mapping[str, str]) -> dict[str, Any]:
    ids: dict[str, Any] = {
        "crm": str(10_000 + number),
        "billing": f"cus_soak{number:06d}",
        "support": 10_000 + number,
    }
    made: dict[str, Any] = {"id": ids[system]}
    whole = {"email": address, "name": f"Person {number}", **values}
    for name in PATHS:
        set_path(made, PATHS[name][system], whole.get(name))
    if system == "billing":  # metadata has no empty members
        made["metadata"] = {name: value for name, value in made["metadata"].items() if value}
    return made


# ------------------------------------------------------------------------------------------- the mapping files


SYSTEMS = """systems:
  crm:
    connector: hubspot
    credentials: {access_token: "${HUBSPOT_TOKEN}", webhook_secret: "${HUBSPOT_WEBHOOK_SECRET}"}
    url: ${HUBSPOT_URL}
    %(reading)s
    limits: {rate: %(crm)s}
  billing:
    connector: stripe
    credentials: {api_key: "${STRIPE_KEY}", webhook_secret: "${STRIPE_WEBHOOK_SECRET}"}
    url: ${STRIPE_URL}
    %(reading)s
    limits: {rate: %(billing)s, concurrency: 8}
  support:
    connector: zendesk
    credentials:
      email: ${ZENDESK_EMAIL}
      api_token: ${ZENDESK_TOKEN}
      webhook_secret: ${ZENDESK_WEBHOOK_SECRET}
    url: ${ZENDESK_URL}
    %(reading)s
    limits: {rate: %(support)s}
"""

CONTACT = """entity: contact
links:
  crm: {object: contacts, create: always, delete: review}
  billing: {object: customers, create: always, delete: review}
  support: {object: users, create: always, delete: review}
match:
  - {on: [email]}
fields:
  email:
    type: email
    required: true
    authority: [crm, billing, support]
    policy: prefer
    systems: {crm: email, billing: email, support: email}
  name:
    type: text
    required: true
    authority: [crm, billing, support]
    policy: prefer
    systems: {crm: lastname, billing: name, support: name}
"""

FREE = {"crm": "5000/1s", "billing": "5000/1s", "support": "5000/1s"}
"""Limits that do not bind."""

REAL = {"crm": "190/10s", "billing": "80/s", "support": "400/1m"}
"""Those of the example mappings: what usual plans of these vendors allow."""


def write_mappings(folder: Path, rates: Mapping[str, str] = FREE, reading: str = "") -> None:
    """`reading`: when systems are asked by themselves, as one line per system has it."""
    folder.mkdir(parents=True)
    usual = "pull: {every: 5s}\n    sweep: {every: 45s}"
    (folder / "systems.yaml").write_text(SYSTEMS % {**rates, "reading": reading or usual})
    fields = CONTACT
    for name, owner in AUTHORITY.items():
        places = {system: path.removeprefix("properties.") for system, path in PATHS[name].items()}
        listed = ", ".join(f"{system}: {path}" for system, path in places.items())
        fields += f"  {name}:\n    type: text\n    authority: {owner}\n    systems: {{{listed}}}\n"
    (folder / "contact.yaml").write_text(fields)


def environment(urls: Mapping[str, str]) -> dict[str, str]:
    """What the mapping files ask for."""
    found: dict[str, str] = {}
    for name in OBJECTS:
        found |= {VENDORS[name].url: urls[name], **VENDORS[name].environment}
    return found


def now() -> int:
    return time.time_ns() // 1000
