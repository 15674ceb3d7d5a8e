"""Each check of the conformance suite fails for a connector that breaks what it checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import pytest

from syncbroker.core.types import Event, Item, Micros, Receipt, Write
from syncbroker.errors import OutcomeUnknown, Refused, SyncbrokerError, Unauthorised, Unavailable
from syncbroker.sdk.conformance import Bench, checks, name
from syncbroker.sdk.connector import Account, Change, Connector, Delivery, Hook, ObjectSpec, Page
from tests.sdk.test_conformance import PEOPLE
from tests.support.toy_vendor import CREDENTIALS, ToyConnector, ToySimulator

Paths = Sequence[str]


class ProvesNothing(ToyConnector):
    def scan(self, object: str, paths: Paths, *, resume: str | None = None) -> Iterator[Page]:
        for page in super().scan(object, paths, resume=resume):
            yield msgspec.structs.replace(page, proven=False)


class SeesTwice(ToyConnector):
    def scan(self, object: str, paths: Paths, *, resume: str | None = None) -> Iterator[Page]:
        for page in super().scan(object, paths, resume=resume):
            yield msgspec.structs.replace(page, items=[*page.items, *page.items[:1]])


class StopsEarly(ToyConnector):
    def scan(self, object: str, paths: Paths, *, resume: str | None = None) -> Iterator[Page]:
        page = next(super().scan(object, paths, resume=resume))
        yield msgspec.structs.replace(page, resume=None, proven=True)


class ForgetsWhereItWas(ToyConnector):
    def scan(self, object: str, paths: Paths, *, resume: str | None = None) -> Iterator[Page]:
        yield from super().scan(object, paths)


class EmptyIsNothing(ToyConnector):
    def scan(self, object: str, paths: Paths, *, resume: str | None = None) -> Iterator[Page]:
        return (page for page in super().scan(object, paths, resume=resume) if page.items)


class ScansBriefly(ToyConnector):
    def scan(self, object: str, paths: Paths, *, resume: str | None = None) -> Iterator[Page]:
        for page in super().scan(object, paths, resume=resume):
            brief = [msgspec.structs.replace(item, fields={"name": "?"}) for item in page.items]
            yield msgspec.structs.replace(page, items=brief)


class NonsenseIsEmpty(ToyConnector):
    def scan(self, object: str, paths: Paths, *, resume: str | None = None) -> Iterator[Page]:
        try:
            yield from super().scan(object, paths, resume=resume)
        except Unavailable:
            yield Page(items=[], proven=True)


class StartsTooLate(ToyConnector):
    def start_cursor(self, object: str, began: Micros) -> str | None:
        return str(began // 1000 + 3_600_000)


class OmitsTheGone(ToyConnector):
    def read(self, object: str, ids: Sequence[str], paths: Paths) -> list[Item]:
        return [item for item in super().read(object, ids, paths) if not item.deleted]


class ReadsTen(ToyConnector):
    def read(self, object: str, ids: Sequence[str], paths: Paths) -> list[Item]:
        return super().read(object, ids[:10], paths)


class ReadsTheLastOneAsked(ToyConnector):
    """A state that threads share."""

    _ids: Sequence[str] = ()

    def read(self, object: str, ids: Sequence[str], paths: Paths) -> list[Item]:
        mine = self._ids or ids
        self._ids = ids
        return super().read(object, mine, paths)


class OldStamps(ToyConnector):
    def read(self, object: str, ids: Sequence[str], paths: Paths) -> list[Item]:
        return [msgspec.structs.replace(item, stamp=1) for item in super().read(object, ids, paths)]


class FindsAnything(ToyConnector):
    def find(self, object: str, keys: Mapping[str, Any], paths: Paths) -> list[Item]:
        return [item for page in self.scan(object, paths) for item in page.items]


class AllHistoryIsOurs(ToyConnector):
    def history(self, object: str, id: str, path: str) -> list[Change]:
        return [msgspec.structs.replace(one, ours=True) for one in super().history(object, id, path)]


class ClearsNothing(ToyConnector):
    def write(self, object: str, writes: Sequence[Write], paths: Paths) -> list[Receipt]:
        kept = [
            msgspec.structs.replace(one, values={p: v for p, v in one.values.items() if v is not None})
            for one in writes
        ]
        return super().write(object, kept, paths)


class WritesMore(ToyConnector):
    def write(self, object: str, writes: Sequence[Write], paths: Paths) -> list[Receipt]:
        more = [
            msgspec.structs.replace(one, values={"phone": None, **one.values}) if one.op == "update" else one
            for one in writes
        ]
        return super().write(object, more, paths)


class WritesLess(ToyConnector):
    def write(self, object: str, writes: Sequence[Write], paths: Paths) -> list[Receipt]:
        less = [
            msgspec.structs.replace(one, values={p: v for p, v in one.values.items() if "." not in p})
            for one in writes
        ]
        return super().write(object, less, paths)


class WritesOneByOne(ToyConnector):
    def write(self, object: str, writes: Sequence[Write], paths: Paths) -> list[Receipt]:
        return [
            receipt for one in writes for receipt in super(WritesOneByOne, self).write(object, [one], paths)
        ]


class Unconditional(ToyConnector):
    def write(self, object: str, writes: Sequence[Write], paths: Paths) -> list[Receipt]:
        return super().write(object, [msgspec.structs.replace(one, version=None) for one in writes], paths)


class AllIsDone(ToyConnector):
    def write(self, object: str, writes: Sequence[Write], paths: Paths) -> list[Receipt]:
        done = super().write(object, writes, paths)
        return [msgspec.structs.replace(one, status="done") for one in done]


class SilenceIsRefusal(ToyConnector):
    def write(self, object: str, writes: Sequence[Write], paths: Paths) -> list[Receipt]:
        try:
            return super().write(object, writes, paths)
        except OutcomeUnknown as error:
            return [Receipt(key=one.key, status="refused", message=error.message) for one in writes]


class WritesTwice(ToyConnector):
    def write(self, object: str, writes: Sequence[Write], paths: Paths) -> list[Receipt]:
        try:
            return super().write(object, writes, paths)
        except OutcomeUnknown:
            again = [
                msgspec.structs.replace(one, values={**one.values, "email": "second@toy.example"})
                for one in writes
            ]
            return super().write(object, again, paths)


class RaisesRefusals(ToyConnector):
    def write(self, object: str, writes: Sequence[Write], paths: Paths) -> list[Receipt]:
        receipts = super().write(object, writes, paths)
        if any(receipt.status == "refused" for receipt in receipts):
            raise Refused("no")
        return receipts


class ShowsNothing(ToyConnector):
    def write(self, object: str, writes: Sequence[Write], paths: Paths) -> list[Receipt]:
        bare = super().write(object, writes, paths)
        return [msgspec.structs.replace(one, item=None) for one in bare]


class LimitIsOutage(ToyConnector):
    def read(self, object: str, ids: Sequence[str], paths: Paths) -> list[Item]:
        try:
            return super().read(object, ids, paths)
        except SyncbrokerError as error:
            raise Unavailable(error.message) from None


class TellsItsToken(ToyConnector):
    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._token = account.credentials["token"]

    def read(self, object: str, ids: Sequence[str], paths: Paths) -> list[Item]:
        try:
            return super().read(object, ids, paths)
        except Unauthorised as error:
            raise Unauthorised(f"{error.message} (token {self._token})") from None


class AcceptsAnyToken(ToyConnector):
    def __init__(self, account: Account) -> None:
        right = account.credentials["token"].removeprefix("wrong")
        super().__init__(
            msgspec.structs.replace(account, credentials={**account.credentials, "token": right})
        )


class TrustsEverybody(ToyConnector):
    def authenticate(self, delivery: Delivery) -> None:
        """Nothing is checked."""


class SwallowsNonsense(ToyConnector):
    def events(self, delivery: Delivery) -> list[Event]:
        try:
            return super().events(delivery)
        except SyncbrokerError:
            return []


class HearsNothing(ToyConnector):
    def events(self, delivery: Delivery) -> list[Event]:
        super().events(delivery)
        return []


class GivesNoId(ToyConnector):
    def delivery_id(self, delivery: Delivery) -> str:
        return ""


class RegistersNothing(ToyConnector):
    def register(self, url: str, objects: Sequence[str]) -> Hook:
        return Hook(id="h1", url=url, ours=True)


class SamplesTheKnown(ToyConnector):
    def events(self, delivery: Delivery) -> list[Event]:
        return [msgspec.structs.replace(one, object="people") for one in super().events(delivery)]


class Misdeclared(ToyConnector):
    objects: ClassVar[Mapping[str, ObjectSpec]] = {
        "people": ObjectSpec(name="persons", fields={}, batch={"update": 1})
    }


BROKEN: list[tuple[type[Connector], str]] = [
    (Misdeclared, "the_declarations_make_sense"),
    (ProvesNothing, "a_scan_sees_every_record_exactly_once"),
    (SeesTwice, "a_scan_sees_every_record_exactly_once"),
    (StopsEarly, "a_scan_sees_every_record_exactly_once"),
    (StopsEarly, "a_scan_resumes_after_any_page"),
    (ForgetsWhereItWas, "a_scan_resumes_after_any_page"),
    (EmptyIsNothing, "a_scan_of_an_empty_object_is_one_page"),
    (ScansBriefly, "a_complete_item_holds_what_was_loaded"),
    (NonsenseIsEmpty, "nonsense_is_never_taken_for_an_empty_object"),
    (StartsTooLate, "a_poll_sees_later_edits_and_records"),
    (OmitsTheGone, "a_read_gives_what_was_asked_and_marks_the_gone"),
    (ReadsTen, "a_read_takes_a_whole_batch"),
    (ReadsTheLastOneAsked, "threads_read_without_harm"),
    (OldStamps, "stamps_never_go_back"),
    (FindsAnything, "a_find_finds_by_key_and_only_that"),
    (AllHistoryIsOurs, "history_tells_who_wrote"),
    (WritesLess, "a_create_then_a_read_shows_the_values"),
    (ShowsNothing, "a_create_then_a_read_shows_the_values"),
    (AllIsDone, "a_create_of_an_existing_record_answers_exists"),
    (WritesTwice, "a_lost_answer_is_never_a_second_create"),
    (SilenceIsRefusal, "a_lost_request_is_never_a_second_create"),
    (WritesMore, "an_update_changes_only_the_given_paths"),
    (WritesLess, "an_update_changes_only_the_given_paths"),
    (ClearsNothing, "a_cleared_path_reads_as_empty"),
    (OmitsTheGone, "a_deleted_record_reads_as_deleted"),
    (AllIsDone, "a_write_to_a_gone_record_is_missing_and_harms_no_neighbour"),
    (WritesOneByOne, "a_batch_is_one_call"),
    (Unconditional, "a_conditional_write_meets_a_newer_state"),
    (SilenceIsRefusal, "a_broken_answer_to_a_write_is_unknown"),
    (RaisesRefusals, "a_refused_write_is_a_receipt_in_the_vendors_words"),
    (LimitIsOutage, "a_full_limit_is_rate_limited_with_its_delay"),
    (LimitIsOutage, "refused_credentials_are_unauthorised"),
    (AcceptsAnyToken, "wrong_credentials_are_unauthorised"),
    (TellsItsToken, "credentials_are_never_in_error_texts"),
    (TrustsEverybody, "a_forged_delivery_is_rejected"),
    (TrustsEverybody, "a_tampered_body_is_rejected"),
    (TrustsEverybody, "a_delivery_of_another_hour_is_rejected"),
    (TrustsEverybody, "a_header_of_proof_that_comes_twice_is_rejected"),
    (GivesNoId, "an_event_has_the_same_id_when_it_comes_again"),
    (RegistersNothing, "a_webhook_is_registered_once_and_then_delivers"),
    (SamplesTheKnown, "a_sample_is_proven_and_tells_of_nothing_that_is_known"),
    (SwallowsNonsense, "a_body_that_is_no_payload_is_bad"),
    (HearsNothing, "a_genuine_delivery_tells_of_the_edit"),
    (HearsNothing, "a_deletion_and_a_new_record_are_told"),
]


@pytest.mark.parametrize(("connector", "check"), BROKEN, ids=lambda given: getattr(given, "__name__", given))
def test_a_broken_connector_fails_the_check(connector: type[Connector], check: str) -> None:
    found = {name(one): one for one in checks(ToyConnector, PEOPLE)}[check]
    with (
        Bench(connector, ToySimulator, PEOPLE, credentials=CREDENTIALS) as bench,
        pytest.raises((AssertionError, SyncbrokerError)),
    ):
        found(bench)


def test_a_vendor_that_forgets_keys_fails_the_check_of_repeated_creates() -> None:
    class Forgets(ToyConnector):
        objects: ClassVar[Mapping[str, ObjectSpec]] = {
            **ToyConnector.objects,
            "people": msgspec.structs.replace(ToyConnector.objects["people"], remembers=60.0),
        }

    (found,) = [one for one in checks(Forgets, PEOPLE) if "under_its_key" in name(one)]
    with (
        Bench(Forgets, ToySimulator, PEOPLE, credentials=CREDENTIALS) as bench,
        pytest.raises(AssertionError, match="remembered"),
    ):
        found(bench)


def test_every_check_is_known_to_catch_something() -> None:
    listed = {name(one) for one in checks(ToyConnector, PEOPLE)}
    assert listed == {check for _, check in BROKEN}
