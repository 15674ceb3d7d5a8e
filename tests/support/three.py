"""Three toy systems with two people, one value per policy that explanations and counts tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.rig import Rig, entity_text, rig

FIELDS = """  email:
    type: email
    required: true
    authority: [marketing, crm]
    policy: enforce
    systems: {crm: email, marketing: email, billing: {field: email, direction: push}}
  name: {type: person_name, policy: prefer, systems: {crm: name, marketing: name}}
  phone: {type: phone, policy: review, first_meeting: review, systems: {crm: phone, marketing: phone}}
  city: {type: text, group: address, policy: prefer, systems: {crm: address.city, marketing: address.city}}
  country: {type: country, group: address, policy: prefer, systems: {crm: address.country, marketing: address.country}}
  source: {type: text, authority: crm, on_foreign_edit: ignore, systems: {crm: source, marketing: source}}"""

DATA = {
    "crm": [
        {"email": "ann@x.example", "name": "Ann Lee", "phone": "+15551234567", "source": "Web"},
        {"email": "bob@x.example", "name": "Bob Ray"},
    ],
    "marketing": [{"email": "Ann@x.example", "name": "Annie Lee", "phone": "+15559999999", "source": "Fair"}],
    "billing": [{"email": "bob@x.example"}],
}


@contextmanager
def three(folder: Path, store_url: str) -> Iterator[Rig]:
    """After a first sync: Ann's phones wait for a person, marketing's source was let stand."""
    with rig(folder / "mappings", store_url, entity_text(FIELDS, DATA, create="always"), DATA) as made:
        made.sync()
        yield made
