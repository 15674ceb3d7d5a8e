"""What every connector must do, as checks that any test runner can run.

A connector's test file over it (pytest):

    SAMPLE = Sample(object="contacts", make=..., create={...}, update={...}, edit={...}, edit_again={...})

    @pytest.fixture
    def bench():
        with Bench(HubSpot, HubSpotSimulator, SAMPLE, credentials={...}) as bench:
            yield bench

    @pytest.mark.parametrize("check", checks(HubSpot, SAMPLE), ids=name)
    def test_conforms(check, bench):
        check(bench)

Each check needs a bench of its own. What the object's spec does not offer is not in the list.
"""

from __future__ import annotations

from collections.abc import Callable

from jsonschema import Draft7Validator

from syncbroker.sdk import conformance_reads as reads
from syncbroker.sdk import conformance_webhooks as webhooks
from syncbroker.sdk import conformance_writes as writes
from syncbroker.sdk.conformance_bench import Bench, Sample, expect
from syncbroker.sdk.connector import Connector

__all__ = ["Bench", "Check", "Sample", "checks", "name"]

Check = Callable[[Bench], None]


def checks(connector: type[Connector], sample: Sample) -> list[Check]:
    """The checks that apply to this object, by its spec and the sample."""
    spec = connector.objects[sample.object]
    can = spec.batch
    listed: list[tuple[bool, Check]] = [
        (True, the_declarations_make_sense),
        *((True, check) for check in reads.READS),
        *((True, check) for check in writes.FAILURES),
        (bool(sample.edit), reads.a_poll_sees_later_edits_and_records),
        (bool(sample.key), reads.a_find_finds_by_key_and_only_that),
        (spec.history, reads.history_tells_who_wrote),
        ("create" in can, writes.a_create_then_a_read_shows_the_values),
        ("create" in can and sample.unique, writes.a_create_of_an_existing_record_answers_exists),
        ("create" in can, writes.a_lost_answer_is_never_a_second_create),
        ("create" in can, writes.a_lost_request_is_never_a_second_create),
        (
            "create" in can and spec.remembers > 0,
            writes.a_create_that_is_repeated_under_its_key_is_answered_as_before,
        ),
        ("update" in can, writes.an_update_changes_only_the_given_paths),
        ("update" in can, writes.a_write_to_a_gone_record_is_missing_and_harms_no_neighbour),
        ("update" in can, writes.a_batch_is_one_call),
        ("update" in can, writes.a_broken_answer_to_a_write_is_unknown),
        ("update" in can, writes.a_refused_write_is_a_receipt_in_the_vendors_words),
        ("update" in can and bool(sample.clear), writes.a_cleared_path_reads_as_empty),
        ("update" in can and spec.conditional, writes.a_conditional_write_meets_a_newer_state),
        ("delete" in can, writes.a_deleted_record_reads_as_deleted),
        (spec.events, webhooks.a_genuine_delivery_tells_of_the_edit),
        (spec.events, webhooks.a_deletion_and_a_new_record_are_told),
        (spec.events, webhooks.a_forged_delivery_is_rejected),
        (spec.events and sample.signed, webhooks.a_tampered_body_is_rejected),
        (spec.events and sample.timed, webhooks.a_delivery_of_another_hour_is_rejected),
        (spec.events and sample.signed, webhooks.a_header_of_proof_that_comes_twice_is_rejected),
        (spec.events and _rotates(connector, sample), webhooks.two_secrets_are_valid_while_one_is_rotated),
        (spec.events, webhooks.an_event_has_the_same_id_when_it_comes_again),
        (spec.events, webhooks.a_webhook_is_registered_once_and_then_delivers),
        (spec.events, webhooks.a_sample_is_proven_and_tells_of_nothing_that_is_known),
        (spec.events, webhooks.a_body_that_is_no_payload_is_bad),
    ]
    return [check for applies, check in listed if applies]


def _rotates(connector: type[Connector], sample: Sample) -> bool:
    return f"{sample.webhook_secret}_previous" in connector.credentials_schema.get("properties", {})


def name(check: Check) -> str:
    """The check's name as a sentence."""
    return getattr(check, "__name__", repr(check))


def the_declarations_make_sense(bench: Bench) -> None:
    connector, spec = bench.connector, bench.spec
    expect(bool(connector.kind), "a connector has a kind")
    expect(spec.name == bench.sample.object, "an object's spec bears the name it is found under")
    for schema, given in (
        (connector.credentials_schema, bench.credentials),
        (connector.options_schema, bench.options),
    ):
        Draft7Validator.check_schema(schema)
        expect(Draft7Validator(schema).is_valid(given), "the bench's credentials and options fit the schemas")
    sizes = spec.batch
    expect(set(sizes) <= {"create", "update", "delete"}, f"batch names operations, it names {sorted(sizes)}")
    expect(all(size >= 1 for size in sizes.values()), "a batch takes at least one write")
    named = {*spec.keys, *filter(None, (spec.id_path, spec.consent_path))}
    for path in (*named, *bench.sample.read_paths()):
        expect(path in spec.fields or spec.open_fields, f"{path} is a declared field of {spec.name}")
    for path in (*bench.sample.create, *bench.sample.update):
        field = spec.fields.get(path)
        expect(field is None or field.writable, f"{path} is written by the sample, so it is writable")
    expect(not bench.sample.key or bench.sample.key in spec.keys, "`find` knows the sample's key")
    expect(not spec.conditional or spec.stamp is not None, "a conditional write needs a stamp")
