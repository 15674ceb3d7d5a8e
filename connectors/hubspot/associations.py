"""The company of a contact. HubSpot lets a contact have several, of which one is primary: that one is `company_id`.

Setting another one leaves the former company associated without the label, as HubSpot itself does; clearing removes the
association with the primary company. Neither moves the contact's time of modification (unverified), so a poll does not
see them: webhooks and sweeps do.

Source: developers.hubspot.com/docs/api-reference/crm-associations-v4/guide, and recorded answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from connectors.hubspot.api import PRIMARY, Api, Failure, Record

PATH = "/crm/v4/associations/contacts/companies/batch"


class Type(msgspec.Struct, frozen=True, rename="camel"):
    type_id: int
    category: str = ""


class Target(msgspec.Struct, frozen=True, rename="camel"):
    to_object_id: int | str
    association_types: list[Type] = []


class From(msgspec.Struct, frozen=True):
    id: str


class Found(msgspec.Struct, frozen=True):
    origin: From = msgspec.field(name="from")
    to: list[Target] = []


class FoundAll(msgspec.Struct, frozen=True):
    results: list[Found]


class Made(msgspec.Struct, frozen=True, rename="camel"):
    from_object_id: int | str


class MadeAll(msgspec.Struct, frozen=True):
    results: list[Made]
    errors: list[Failure] = []


class Associations:
    """Reads and writes primary companies, by v4 in batches (at most 1000 reads, 2000 writes a call)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def primaries(self, contacts: Sequence[str]) -> dict[str, str | None]:
        """Contact -> its primary company. A contact without a company is an error of the answer's 207, not a result.

        A contact with more companies than HubSpot shows at once counts with those it shows.
        """
        if not contacts:
            return {}
        inputs = [{"id": contact} for contact in contacts]
        answer = self._api.call("POST", f"{PATH}/read", FoundAll, json={"inputs": inputs}, repeatable=True)
        found = {
            each.origin.id: _primary((str(target.to_object_id), _is_primary(target)) for target in each.to)
            for each in answer.results
        }
        return {contact: found.get(contact) for contact in contacts}

    def set(self, companies: Mapping[str, str]) -> dict[str, str]:
        """Make each company the primary one of its contact; contact -> why not, for those that were refused."""
        types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": PRIMARY}]
        inputs = [
            {"from": {"id": contact}, "to": {"id": company}, "types": types}
            for contact, company in companies.items()
        ]
        answer = self._api.call("POST", f"{PATH}/create", MadeAll, json={"inputs": inputs})
        made = {str(each.from_object_id) for each in answer.results}
        why = "; ".join(dict.fromkeys(each.reason() for each in answer.errors)) or "not associated"
        return {contact: why for contact in companies if contact not in made}

    def clear(self, contacts: Sequence[str]) -> None:
        """Remove the association with the primary company, where there is one."""
        inputs = [
            {"from": {"id": contact}, "to": [{"id": company}]}
            for contact, company in self.primaries(contacts).items()
            if company
        ]
        if inputs:
            self._api.call("POST", f"{PATH}/archive", Any, json={"inputs": inputs})


def listed(record: Record) -> str | None:
    """The primary company of a contact that was read with its associations (v3 names each type of a pair)."""
    links = record.associations.get("companies")
    return _primary((link.id, link.type == "contact_to_company") for link in links.results) if links else None


def _is_primary(target: Target) -> bool:
    return any(
        each.type_id == PRIMARY and each.category == "HUBSPOT_DEFINED" for each in target.association_types
    )


def _primary(companies: Iterable[tuple[str, bool]]) -> str | None:
    """The company labelled primary, or the only one; among several without the label none is."""
    known: dict[str, bool] = {}
    for company, primary in companies:
        known[company] = known.get(company, False) or primary
    labelled = [company for company, primary in known.items() if primary]
    if labelled:
        return labelled[0]
    return next(iter(known)) if len(known) == 1 else None
