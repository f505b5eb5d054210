"""What the appliance does that a framework may ask for, each with its proof.

A claim is backed by records of the host's own ledger, by tests of this release that
anybody can run, or by both. What it does not cover is said beside it.
"""

from collections.abc import Mapping
from typing import Final

from appliance.evidence.claim import Claim
from appliance.evidence.export_claims import EXPORT_CLAIMS
from appliance.evidence.ledger_claims import LEDGER_CLAIMS

_LEDGER = "tests/appliance/ledger"
_HOLDS = "tests/appliance/test_hold_flow.py"
_CHAT = "tests/appliance/api/test_chat.py"
_GUARD = f"{_LEDGER}/watch/test_guard.py"
_IMPORT = "tests/appliance/test_import_flow.py"

CLAIMS: Final[Mapping[str, Claim]] = {
    **LEDGER_CLAIMS,
    **EXPORT_CLAIMS,
    "identity": Claim(
        says="Every call is traced to one API key of one team; keys are made, expire "
        "and are revoked on record, with the account that did it.",
        events=("apikey.created", "apikey.revoked", "llm.request"),
        tests=(
            (
                "tests/appliance/test_admin_flow.py::"
                "test_a_key_is_recorded_when_it_is_made_and_once_when_it_is_revoked"
            ),
            (
                "tests/appliance/test_admin_flow.py::"
                "test_what_is_made_and_revoked_names_who_did_it"
            ),
            "tests/system/test_follow.py::test_a_revoked_key_is_refused_at_once",
            f"{_CHAT}::test_a_whole_answer_has_openais_shape_and_two_records",
        ),
        not_covered="Which person holds a key is the site's to keep; failed keys "
        "beyond a rate are counted and not listed.",
    ),
    "authorisation": Claim(
        says="Every call is decided by policies whose ids and set are in its record, "
        "and whose text comes with an export; what a team may do changes on record, "
        "with what it was before and the account that changed it.",
        events=("llm.request", "llm.refused", "team.created", "team.changed"),
        tests=(
            f"{_CHAT}::test_a_whole_answer_has_openais_shape_and_two_records",
            f"{_CHAT}::test_a_forbidden_label_is_403_with_the_policys_id_and_reason",
            "tests/system/test_api.py::test_a_forbidden_label_is_403_and_recorded",
            (
                "tests/appliance/test_admin_flow.py::"
                "test_a_key_is_recorded_when_it_is_made_and_once_when_it_is_revoked"
            ),
            (
                "tests/appliance/test_admin_flow.py::"
                "test_a_team_is_recorded_when_its_classes_change"
            ),
            (
                "tests/appliance/test_admin_flow.py::"
                "test_a_change_of_a_team_names_who_did_it_and_what_was_before"
            ),
            (
                "tests/appliance/policy/test_decide.py::"
                "test_erroring_forbid_denies_instead_of_being_skipped"
            ),
            (
                "tests/appliance/test_policy_text_flow.py::"
                "test_every_set_and_text_is_the_one_that_a_record_names"
            ),
        ),
        not_covered="No second person approves what the operator of a host changes. "
        "The text of a set whose generation or release of Sallyport is gone is not "
        "there.",
    ),
    "residency": Claim(
        says="A host serves only where a signed certificate says it stands, and only "
        "models that are allowed there.",
        events=("site.cert_installed", "llm.refused"),
        tests=(
            f"{_CHAT}::test_a_host_without_a_site_certificate_serves_nothing",
            f"{_CHAT}::test_a_model_without_this_region_is_denied",
            (
                "tests/appliance/test_admin_flow.py::"
                "test_a_site_certificate_is_recorded_when_it_is_new_and_not_again"
            ),
        ),
        not_covered="The certificate is bound to no machine; where exports are carried "
        "is not decided here.",
    ),
    "models": Claim(
        says="Which model answered, by digest and generation, is in the record of the "
        "call; who signed it, in that of its import.",
        events=(
            "bundle.imported",
            "bundle.refused",
            "generation.activated",
            "model.removed",
            "model.restored",
            "llm.request",
        ),
        tests=(
            f"{_CHAT}::test_a_whole_answer_has_openais_shape_and_two_records",
            f"{_IMPORT}::test_import_activates_the_bundle_and_records_one_receipt",
            (
                "tests/system/test_follow.py::"
                "test_a_store_that_was_tampered_with_is_not_loaded"
            ),
            "tests/system/test_follow.py::test_an_older_bundle_is_refused",
            (
                "tests/appliance/test_generation_flow.py::"
                "test_rolling_back_moves_the_generation_and_never_the_trust"
            ),
            (
                "tests/appliance/test_model_flow.py::"
                "test_a_removed_model_is_served_no_more_and_restored_again"
            ),
        ),
        not_covered="Nothing says whether an answer is right.",
    ),
    "changes": Claim(
        says="What changes what is served comes in a signed bundle, and is on record "
        "with its signers.",
        events=("bundle.imported", "generation.activated", "trust.updated"),
        tests=(
            f"{_IMPORT}::test_import_activates_the_bundle_and_records_one_receipt",
            (
                "tests/appliance/test_generation_flow.py::"
                "test_rolling_back_moves_the_generation_and_never_the_trust"
            ),
            (
                "tests/appliance/test_import_trust.py::"
                "test_a_newer_root_that_comes_with_the_active_bundle_is_kept_on_record"
            ),
        ),
        not_covered="Changes of sallyport.toml are not recorded.",
    ),
    "minimal": Claim(
        says="No prompt, completion or free text of a caller is in any record.",
        tests=(
            f"{_CHAT}::test_no_prompt_and_no_completion_is_in_any_record",
            f"{_LEDGER}/records/test_events.py::test_prose_becomes_a_digest",
        ),
        not_covered="Names of teams and ids of keys are the site's choice; reasons "
        "that an operator gives are that person's words.",
    ),
    "sealed": Claim(
        says="Prompts and answers are kept for no team but one that is set to full "
        "capture, and only encrypted, under keys beside them.",
        events=("team.changed",),
        tests=(
            (
                "tests/appliance/bodies/test_vault.py::"
                "test_no_text_and_no_salt_is_in_any_file_which_only_its_owner_reads"
            ),
            (
                "tests/appliance/bodies/test_vault.py::"
                "test_a_row_that_was_changed_or_moved_is_not_read"
            ),
            (
                "tests/appliance/test_admin_flow.py::"
                "test_a_change_of_capture_is_recorded"
            ),
        ),
        not_covered="Whoever holds the host's account has these keys, too.",
    ),
    "containment": Claim(
        says="The server and its engines can open no network connection outward.",
        tests=(
            (
                "tests/appliance/containment/test_seccomp.py::"
                "test_contained_process_cannot_open_a_socket_of_another_family"
            ),
        ),
        not_covered="Sockets that are open already; see W3 in SECURITY.md.",
    ),
    "running": Claim(
        says="Start and stop of the service, crashes of engines, and models that were "
        "taken out for them, are on record.",
        events=(
            "server.started",
            "server.stopped",
            "engine.crashed",
            "model.taken_out",
            "model.put_back",
        ),
        tests=(
            (
                "tests/system/test_api.py::"
                "test_a_killed_engine_is_a_clean_error_and_comes_back"
            ),
            (
                "tests/appliance/live/test_host.py::"
                "test_every_model_that_was_taken_out_is_tried_again_at_a_start"
            ),
            (
                "tests/system/test_siem.py::"
                "test_a_collector_gets_every_record_once_it_is_durable"
            ),
        ),
    ),
    "time": Claim(
        says="Times are UTC with microseconds. A clock that jumps ahead is on record; "
        "one that goes back halts the ledger.",
        events=("clock.step", "log.halted"),
        tests=(
            f"{_LEDGER}/records/test_events.py::test_times_are_written_in_utc",
            (f"{_GUARD}::test_a_clock_that_jumps_ahead_is_on_record_and_halts_nothing"),
            f"{_GUARD}::test_a_clock_that_goes_back_halts",
        ),
        not_covered="The clock is the host's: what sets it is not recorded, nor that "
        "it is a few seconds off.",
    ),
    "kept": Claim(
        says="Records stay searchable for the longest time that the laws ask which "
        "the site certificate names, and where it names none, for ever. What goes "
        "later is on record before, and its hash stays, so that every proof holds.",
        events=("site.cert_installed", "log.pruned"),
        tests=(
            (
                "tests/appliance/test_retention_flow.py::"
                "test_nothing_goes_that_no_certificate_orders"
            ),
            (
                "tests/appliance/test_retention_flow.py::"
                "test_a_kept_order_of_a_certificate_is_on_record_and_shown"
            ),
            (
                "tests/appliance/test_retention_flow.py::"
                "test_what_is_due_goes_and_is_said_everywhere"
            ),
            (
                "tests/appliance/db/test_retention_triggers.py::"
                "test_nothing_else_can_be_changed"
            ),
            (
                f"{_LEDGER}/exports/test_pruned_export.py::"
                "test_a_record_hidden_as_if_it_was_pruned_is_caught"
            ),
        ),
        not_covered="Backups and exports are the site's. What is old is told by the "
        "host's clock.",
    ),
    "held": Claim(
        says="What a legal hold names is neither pruned nor erased; an operator places "
        "one at once, and it takes two people to lift it.",
        events=("hold.placed", "hold.lifted"),
        tests=(
            f"{_HOLDS}::test_a_hold_is_on_record_and_ends_by_two_people",
            f"{_HOLDS}::test_nothing_is_erased_that_a_hold_keeps",
            f"{_HOLDS}::test_one_person_lifts_nothing",
        ),
        not_covered="That somebody places it in time is the site's.",
    ),
}
"""Every claim by its name."""
