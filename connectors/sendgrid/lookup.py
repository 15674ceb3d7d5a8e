"""Asking SendGrid for contacts by id and by address, and for the names of custom fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

import msgspec

from connectors.sendgrid.contacts import Contact, Definition
from syncbroker import errors
from syncbroker.sdk.http import Http

BATCH = 100
"""Ids of one POST .../batch; addresses of one POST .../search/identifiers/email (both documented)."""

CONTACTS = "/v3/marketing/contacts"


class _Found(msgspec.Struct, frozen=True):
    result: list[Contact]


class _Match(msgspec.Struct, frozen=True):
    contact: Contact | None = None


class _Matches(msgspec.Struct, frozen=True):
    result: dict[str, _Match]


class _Definitions(msgspec.Struct, frozen=True):
    custom_fields: list[Definition]


class Lookup:
    """Used from several threads."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._definitions: Mapping[str, Definition] = {}

    def by_id(self, ids: Sequence[str], *, prove: bool = True) -> dict[str, Contact]:
        """Those that are there. `prove`: what a batch leaves out is asked for alone: a 404 says that it is gone."""
        found: dict[str, Contact] = {}
        for part in _parts(ids):
            asked = {"ids": part}
            answer = self._http.request(
                "POST", f"{CONTACTS}/batch", json=asked, repeatable=True, shape=_Found
            )
            found |= {contact.key: contact for contact in answer.json.result if contact.key in part}
            for id in part:
                if prove and id not in found and (contact := self._single(id)):
                    found[id] = contact
        return found

    def _single(self, id: str) -> Contact | None:
        try:
            contact: Contact = self._http.request(
                "GET", f"{CONTACTS}/{quote(id, safe='')}", shape=Contact
            ).json
        except errors.Missing:
            return None
        return contact

    def by_email(self, addresses: Sequence[str]) -> dict[str, Contact]:
        """By lower-case address, those that have it as their own (not as an alternate one).

        The vendor advises this endpoint over `search/emails`, which takes no address above 100 characters. It answers
        404 when no contact matches at all.
        """
        found: dict[str, Contact] = {}
        for part in _parts([address.lower() for address in addresses]):
            path, asked = f"{CONTACTS}/search/identifiers/email", {"identifiers": part}
            try:
                answer = self._http.request("POST", path, json=asked, repeatable=True, shape=_Matches)
            except errors.Missing:
                continue
            contacts = [match.contact for match in answer.json.result.values() if match.contact]
            found |= {address: one for one in contacts if (address := (one.email or "").lower()) in part}
        return found

    def definitions(self, paths: set[str]) -> Mapping[str, Definition]:
        """Custom fields by name; asked for again when one that `paths` name is not among those known."""
        names = {path.partition(".")[2] for path in paths if path.startswith("custom_fields.")}
        if not names <= self._definitions.keys():
            answer = self._http.request("GET", "/v3/marketing/field_definitions", shape=_Definitions)
            self._definitions = {one.name: one for one in answer.json.custom_fields}
        return self._definitions


def _parts(many: Sequence[str]) -> Iterator[list[str]]:
    unique = list(dict.fromkeys(many))
    for start in range(0, len(unique), BATCH):
        yield unique[start : start + BATCH]
