"""What the ledger and those who read it can rely on, each with its proof."""

from collections.abc import Mapping
from typing import Final

from appliance.evidence.claim import Claim

_LEDGER = "tests/appliance/ledger"
_CHAT = "tests/appliance/api/test_chat.py"
_GUARD = f"{_LEDGER}/watch/test_guard.py"

LEDGER_CLAIMS: Final[Mapping[str, Claim]] = {
    "catalogue": Claim(
        says="Every kind of record is listed with its fields, and no other is written.",
        tests=(
            f"{_LEDGER}/records/test_events.py::test_every_event_is_in_the_catalogue",
            f"{_LEDGER}/records/test_catalogue.py::test_every_event_is_emitted_somewhere",
            (
                f"{_LEDGER}/records/test_events.py::"
                "test_a_field_outside_the_catalogue_is_a_bug_that_repeats_no_value"
            ),
        ),
        not_covered="What is recorded cannot be chosen: everything listed always is.",
    ),
    "content": Claim(
        says="A record has its number, UTC time, kind, outcome, log, and where there "
        "is one, its team, API key and request.",
        events=("llm.request", "llm.refused"),
        tests=(
            (
                f"{_LEDGER}/records/test_events.py::"
                "test_a_record_is_canonical_and_holds_what_the_draft_said"
            ),
            f"{_CHAT}::test_a_whole_answer_has_openais_shape_and_two_records",
            f"{_CHAT}::test_a_wrong_key_is_refused_before_the_body_is_read",
        ),
        not_covered="Network addresses of callers are not recorded.",
    ),
    "calls": Claim(
        says="Every call leaves a record before its work and another before its last "
        "byte; one that was cut off is ended at the next start.",
        events=("llm.request", "llm.response", "llm.refused", "llm.aborted"),
        tests=(
            f"{_CHAT}::test_a_whole_answer_has_openais_shape_and_two_records",
            (
                "tests/system/test_overload.py::"
                "test_a_crowd_is_answered_or_refused_and_every_one_of_it_is_on_record"
            ),
            "tests/system/test_kill.py::test_kill_at_random_points_loses_nothing",
        ),
        not_covered="Of a flood of refusals those beyond a rate are counted in the "
        "records of others (left_out), not listed.",
    ),
    "fail-closed": Claim(
        says="Where the ledger cannot be written or relied upon, calls are refused "
        "until the security officer signs a release; halt, release and the number of "
        "refusals are on record.",
        events=("log.halted", "log.released", "log.resumed"),
        tests=(
            (
                "tests/system/test_ledger_faults.py::"
                "test_a_broken_disk_refuses_inference_until_the_officers_release"
            ),
            f"{_CHAT}::test_nothing_is_generated_when_the_request_cannot_be_recorded",
        ),
        not_covered="Nobody is called: watch /health/ready and /metrics.",
    ),
    "room": Claim(
        says="A disk that runs low is on record before it is full, and so is a full "
        "one, by room that was kept back.",
        events=("log.low", "log.recovered", "log.halted"),
        tests=(
            (
                f"{_GUARD}::"
                "test_room_below_the_limit_is_said_once_and_once_when_it_is_over"
            ),
            f"{_GUARD}::test_a_full_disk_is_on_record_by_the_room_that_was_kept_back",
        ),
        not_covered="How fast it fills is not forecast.",
    ),
    "tamper-evident": Claim(
        says="Records hash to a signed tree head; what an auditor already holds shows "
        "any later change, without trusting this host.",
        events=("log.created", "log.cosigned", "key.rotate"),
        tests=(
            (
                f"{_LEDGER}/log/test_commission.py::"
                "test_the_first_record_names_the_key_of_the_ledger"
            ),
            (
                f"{_LEDGER}/log/test_rotation.py::"
                "test_the_record_of_a_rotation_names_the_next_key_under_the_old_one"
            ),
            (
                "tests/appliance/test_witness_flow.py::"
                "test_a_cosignature_travels_in_every_later_export_and_is_verified"
            ),
            (
                f"{_LEDGER}/exports/test_verifier.py::"
                "test_no_byte_of_an_export_can_change_unnoticed"
            ),
            (
                f"{_LEDGER}/exports/test_verifier.py::"
                "test_a_rewrite_signed_with_the_real_key_is_caught_by_a_held_checkpoint"
            ),
            (
                "tests/appliance/db/test_migrations.py::"
                "test_the_ledger_tables_refuse_every_change"
            ),
        ),
        not_covered="What was recorded after the newest checkpoint that left the host.",
    ),
    "reading": Claim(
        says="Whoever reads or exports the ledger by its commands is on record before "
        "anything is shown; where that cannot be recorded, nothing is.",
        events=("log.read", "log.exported", "receipts.exported"),
        tests=(
            (
                "tests/appliance/cli/test_audit_read.py::"
                "test_nothing_is_shown_where_the_reading_cannot_be_recorded"
            ),
            (
                "tests/appliance/cli/test_audit_read.py::"
                "test_a_record_is_shown_as_it_is_and_the_reading_recorded"
            ),
            (
                f"{_LEDGER}/exports/test_export.py::"
                "test_an_export_holds_exactly_its_files_and_the_record_of_itself"
            ),
            (
                "tests/appliance/cli/test_kept.py::"
                "test_receipts_are_listed_exported_and_verified_as_printed"
            ),
        ),
        not_covered="Readers are accounts of the operating system; the database file "
        "can be read past every command by whoever holds the account. An export of a "
        "halted ledger is not withheld, and cannot be recorded.",
    ),
    "texts": Claim(
        says="A kept prompt or answer is shown once, to the account that asked, after "
        "a second person signed what is read and why; both are on record before.",
        events=("approval.asked", "body.read", "body.refused"),
        tests=(
            (
                "tests/appliance/test_body_read_flow.py::"
                "test_an_approval_of_something_else_is_refused"
            ),
            (
                "tests/appliance/test_body_read_flow.py::"
                "test_an_approval_is_good_for_one_reading"
            ),
            (
                "tests/appliance/test_body_read_flow.py::"
                "test_both_bodies_are_read_as_they_were_and_who_and_why_is_on_record"
            ),
            (
                "tests/appliance/test_body_read_flow.py::test_a_body_that_is_gone_or_"
                "changed_is_not_shown_and_that_is_on_record"
            ),
        ),
        not_covered="Whoever holds the account of the host can decrypt them past every "
        "command.",
    ),
    "erased": Claim(
        says="Kept prompts and answers are erased by call, API key or team, with their "
        "keys; records and proofs stay.",
        events=("body.erased",),
        tests=(
            (
                "tests/appliance/test_body_erase_flow.py::"
                "test_neither_text_nor_key_is_left_in_any_file_of_the_bodies"
            ),
            (
                "tests/appliance/test_body_erase_flow.py::"
                "test_an_erased_body_is_refused_by_every_command_and_stays_on_record"
            ),
            (
                "tests/appliance/test_body_erase_flow.py::"
                "test_ledger_and_exports_verify_after_an_erasure"
            ),
        ),
        not_covered="Copies of bodies.db elsewhere are not reached.",
    ),
    "search": Claim(
        says="Records are found by event, outcome, team, key, model, request and time, "
        "and counted, without being changed.",
        events=("log.read",),
        tests=(
            f"{_LEDGER}/log/test_search.py::test_what_matters_is_found_and_nothing_else",
            (
                "tests/appliance/cli/test_audit_read.py::"
                "test_a_record_is_shown_as_it_is_and_the_reading_recorded"
            ),
        ),
    ),
    "feed": Claim(
        says="A collector on the host gets every record as it becomes durable; what it "
        "missed for good is on record.",
        events=("siem.gap",),
        tests=(
            (
                "tests/system/test_siem.py::"
                "test_a_collector_gets_every_record_once_it_is_durable"
            ),
            (
                "tests/appliance/test_siem_flow.py::"
                "test_what_the_feed_leaves_out_is_in_the_ledger_and_in_the_feed"
            ),
        ),
        not_covered="Only where [siem] socket is set; review and alarms are its own.",
    ),
}
"""Claims of the ledger, by their names."""
