"""What an export shows and what it withholds, each with its proof."""

from collections.abc import Mapping
from typing import Final

from appliance.evidence.claim import Claim

_EXPORTS = "tests/appliance/ledger/exports"
_PART = f"{_EXPORTS}/test_partial_export.py"
_LISTING = f"{_EXPORTS}/test_redaction.py"
_COMMAND = "tests/appliance/cli/test_audit.py"
_SEALED = "tests/appliance/audit_media/test_sealed.py"
_FORMATS = "tests/appliance/audit_formats"
_TEXTS = "tests/appliance/test_body_export_flow.py"
_BODIES = f"{_EXPORTS}/test_bodies_file.py"

EXPORT_CLAIMS: Final[Mapping[str, Claim]] = {
    "handed-out": Claim(
        says="The whole ledger is exported with a program that checks it anywhere, and "
        "finds every record that is missing, moved or changed.",
        events=("log.exported",),
        tests=(
            (
                f"{_EXPORTS}/test_export.py::"
                "test_an_export_holds_exactly_its_files_and_the_record_of_itself"
            ),
            (
                f"{_EXPORTS}/test_export.py::"
                "test_an_export_is_whole_while_the_server_goes_on_writing"
            ),
            (
                f"{_EXPORTS}/test_verifier.py::"
                "test_no_byte_of_an_export_can_change_unnoticed"
            ),
            f"{_PART}::test_a_whole_export_that_hides_a_record_is_a_gap_even_if_signed",
            (
                "tests/system/test_audit.py::"
                "test_a_clean_export_verifies_with_and_without_the_older_checkpoint"
            ),
            f"{_COMMAND}::test_who_asked_and_for_what_is_on_record",
        ),
        not_covered="What the host never recorded; what came after the export.",
    ),
    "in-part": Claim(
        says="A part is exported by numbers, days, event, team, model or call. What is "
        "left out is there as hashes, within the range one for each record, so that it "
        "is counted and can be asked for later.",
        events=("log.exported",),
        tests=(
            f"{_PART}::test_a_range_is_whole_and_everything_else_is_a_hash",
            (
                f"{_PART}::"
                "test_a_filter_lists_every_other_record_of_its_range_by_its_hash"
            ),
            f"{_PART}::test_a_model_brings_its_requests_and_how_they_ended",
            f"{_PART}::test_a_day_and_a_moment_name_records",
            f"{_PART}::test_a_call_is_proven_to_whoever_made_it",
            f"{_PART}::test_a_record_or_a_hash_that_is_taken_out_is_a_gap",
            f"{_PART}::test_no_byte_of_a_filtered_export_can_change_unnoticed",
            (
                "tests/system/test_audit.py::"
                "test_an_auditor_takes_a_part_and_compares_it_with_what_is_held"
            ),
            f"{_COMMAND}::test_who_asked_and_for_what_is_on_record",
        ),
        not_covered="That the filter was kept to is the host's word: take samples.",
    ),
    "withheld": Claim(
        says="An export can withhold records behind their hashes and tell of them in a "
        "listing that names no team, key, account, request or text; pseudonyms are new "
        "in each.",
        events=("log.exported",),
        tests=(
            (
                f"{_LISTING}::"
                "test_nothing_that_names_a_person_a_team_or_a_text_leaves_the_host"
            ),
            (
                f"{_LISTING}::"
                "test_a_name_has_one_pseudonym_in_a_listing_and_another_in_the_next"
            ),
            (
                f"{_LISTING}::test_number_order_and_hashes_of_withheld_records_are_"
                "proven_and_the_rest_said"
            ),
            (
                f"{_LISTING}::"
                "test_a_withheld_record_that_is_taken_out_or_changed_is_caught"
            ),
            (
                f"{_LISTING}::"
                "test_what_an_auditor_picks_from_a_listing_is_shown_to_be_what_it_says"
            ),
            f"{_COMMAND}::test_a_level_that_cannot_be_had_is_refused_before_the_record",
            f"{_COMMAND}::test_who_asked_and_for_what_is_on_record",
        ),
        not_covered="What a listing says is the host's word until lines of it are "
        "picked and asked for; times and numbers of tokens are told as they are.",
    ),
    "for-one": Claim(
        says="An export can be encrypted for one auditor, against the machines of "
        "tomorrow as well; what was changed, cut or moved opens nothing, and nothing "
        "lies on the medium in the clear before.",
        events=("log.exported",),
        tests=(
            (
                f"{_COMMAND}::"
                "test_an_encrypted_export_is_for_one_auditor_and_says_how_it_is_opened"
            ),
            (
                f"{_COMMAND}::"
                "test_an_encrypted_export_that_cannot_be_leaves_no_file_and_no_record"
            ),
            f"{_COMMAND}::test_what_is_encrypted_lies_in_the_home_alone_until_it_is",
            (
                f"{_SEALED}::test_what_was_changed_cut_or_moved_is_said_in_a_sentence_"
                "and_opens_nothing"
            ),
            f"{_SEALED}::test_another_key_opens_nothing_and_is_told_for_whom_it_is",
            (
                f"{_SEALED}::"
                "test_the_published_key_is_read_and_opens_the_published_stanza"
            ),
        ),
        not_covered="It names the key it is for, and says nothing of who encrypted; "
        "the private key is the auditor's to protect.",
    ),
    "texts-out": Claim(
        says="Kept prompts and answers leave the host for one auditor alone, "
        "encrypted, after a second person signed which and for whom; a program shows "
        "of each that it is the one its record commits to, and counts those that are "
        "not there.",
        events=("approval.asked", "log.exported"),
        tests=(
            (
                f"{_TEXTS}::"
                "test_prompts_and_answers_need_a_reason_an_auditor_and_two_people"
            ),
            f"{_TEXTS}::test_an_approval_of_something_else_is_refused",
            f"{_TEXTS}::test_another_auditors_key_than_the_approved_one_is_refused",
            (
                f"{_TEXTS}::test_the_approved_export_opens_for_the_auditor_and_every_"
                "text_is_proven"
            ),
            f"{_TEXTS}::test_an_erased_body_is_not_there_and_its_record_is",
            (
                f"{_BODIES}::"
                "test_every_kept_body_is_shown_to_be_what_its_record_commits_to"
            ),
            f"{_BODIES}::test_a_body_that_was_changed_moved_or_added_is_caught",
        ),
        not_covered="What the auditor does with them; whoever holds the account of the "
        "host can decrypt them past every command.",
    ),
    "tables": Claim(
        says="CSV, XLSX, OCSF, syslog and a page for people are made from the same "
        "records, each in the signed manifest and leading back to its record; no cell "
        "is a formula, and the page runs nothing.",
        tests=(
            (
                f"{_COMMAND}::"
                "test_every_format_travels_with_the_records_and_passes_verification"
            ),
            (
                f"{_FORMATS}/test_derive.py::"
                "test_every_format_has_every_record_and_names_the_evidence"
            ),
            f"{_EXPORTS}/test_derived_files.py::test_a_changed_derived_file_is_refused",
            (
                f"{_EXPORTS}/test_derived_files.py::"
                "test_evidence_cannot_be_passed_off_as_derived"
            ),
            f"{_FORMATS}/test_tables.py::test_every_cell_of_a_record_is_defused",
            f"{_FORMATS}/test_events.py::test_every_record_is_an_event_of_the_schema",
            (
                f"{_FORMATS}/test_events.py::"
                "test_a_line_is_an_rfc_5424_message_of_the_log_audit_facility"
            ),
            (
                f"{_FORMATS}/test_report.py::"
                "test_the_page_has_no_script_and_nothing_from_outside"
            ),
        ),
        not_covered="That they say what the records say is proved by nothing: the "
        "proof is of records.jsonl.",
    ),
}
"""Claims about exports, by their names."""
