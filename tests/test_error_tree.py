"""Every error class is usable at every edge: command line, HTTP, ledger."""

import re

import pytest

import appliance.errors  # noqa: F401 - defines leaves of the tree
from appliance.api.errors import error_body, error_response
from appliance.errors import (
    AuthenticationError,
    ContextLengthError,
    DeadlineError,
    InsufficientMemoryError,
    ModelUnavailableError,
    NoRoomError,
    OverloadedError,
    PolicyDeniedError,
    ProbeDiedError,
    RateLimitError,
    RequestRefusedError,
)
from appliance.ledger.records.events import Draft, Event, Outcome
from bundleformat.errors import (
    Error,
    FaultError,
    RefusalError,
    UsageError,
    VolumesMissingError,
)


def every_class(root: type[Error] = Error) -> list[type[Error]]:
    found = [root]
    for child in root.__subclasses__():
        found += every_class(child)
    return found


MADE: dict[type[Error], Error] = {
    PolicyDeniedError: PolicyDeniedError(policy_ids=("core-x",), reasons=("because",)),
    AuthenticationError: AuthenticationError(),
    ContextLengthError: ContextLengthError(
        limit_tokens=8, prompt_tokens=9, new_tokens=1
    ),
    InsufficientMemoryError: InsufficientMemoryError(
        device="host", needed_bytes=3, allowed_bytes=2, limit="available memory"
    ),
    ProbeDiedError: ProbeDiedError(process_status=-6),
    NoRoomError: NoRoomError(
        needed_bytes=9, free_bytes=1, engines=2, most_engines=2, retry_after_s=3
    ),
    RateLimitError: RateLimitError(
        "enough", kind="tokens", retry_after_s=0.2, headers={"x-a": "b"}
    ),
}
"""One of each class that needs more than a text."""


def build(kind: type[Error]) -> Error:
    if kind in MADE:
        return MADE[kind]
    if issubclass(kind, OverloadedError):
        return kind("full", retry_after_s=3)
    return kind("a problem")


CLASSES = every_class()


def test_every_code_is_stable_kebab_case_and_belongs_to_one_class() -> None:
    codes = [kind.code for kind in CLASSES]
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_has_an_exit_status_of_its_branch(kind: type[Error]) -> None:
    # "Put in the next volume" is a refusal that a script must tell from others.
    expected = {VolumesMissingError: 5, UsageError: 2, RefusalError: 3, FaultError: 4}
    for branch, status in expected.items():
        if issubclass(kind, branch):
            assert kind.exit_status == status
            return
    assert kind is Error


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_answers_http_in_openais_shape(kind: type[Error]) -> None:
    error = build(kind)
    response = error_response(error, request_id="req-1")
    assert 400 <= response.status_code < 600
    assert response.status_code == kind.http_status
    inner = error_body(error)["error"]
    assert set(inner) >= {"message", "type", "param", "code"}
    assert inner["code"] == kind.code.replace("-", "_")
    assert inner["type"].endswith("_error") or kind is RateLimitError


def test_a_refusal_is_never_the_servers_fault_over_http() -> None:
    for kind in CLASSES:
        if issubclass(kind, RefusalError):
            assert kind.http_status < 500
        if issubclass(kind, FaultError):
            assert kind.http_status >= 500


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_can_be_the_reason_of_a_record(kind: type[Error]) -> None:
    draft = Draft(
        event=Event.LLM_REFUSED,
        outcome=Outcome.REFUSED,
        fields={"code": kind.code, "status": kind.http_status},
    )
    assert draft.fields["code"] == kind.code


def test_text_is_built_from_fields() -> None:
    error = RefusalError("size differs", where="c/ab", expected="3", actual="4")
    assert (error.where, error.expected, error.actual) == ("c/ab", "3", "4")
    assert error.text() == "c/ab: size differs; expected 3, found 4"


def test_every_way_of_being_unauthenticated_reads_the_same() -> None:
    assert str(AuthenticationError()) == str(AuthenticationError())
    assert vars(AuthenticationError()) == vars(AuthenticationError())


def test_a_denial_names_its_policies_and_reasons() -> None:
    inner = error_body(build(PolicyDeniedError))["error"]
    assert inner["policy_ids"] == ["core-x"]
    assert inner["reasons"] == ["because"]


def test_an_overload_says_when_to_come_back() -> None:
    response = error_response(build(OverloadedError), request_id="r")
    assert response.headers["retry-after"] == "3"


def test_a_model_that_is_tried_again_says_when_and_one_that_is_not_says_so() -> None:
    again = error_response(ModelUnavailableError("x", retry_after_s=7), request_id="r")
    assert again.headers["retry-after"] == "7"
    assert "x-should-retry" not in again.headers
    never = error_response(ModelUnavailableError("x"), request_id="r")
    assert never.headers["x-should-retry"] == "false"
    assert "retry-after" not in never.headers


def test_no_room_is_told_with_the_numbers() -> None:
    message = error_body(build(NoRoomError))["error"]["message"]
    assert all(
        number in message for number in ("9 bytes", "1 are free", "2 of at most")
    )


@pytest.mark.parametrize(
    ("wait_s", "after", "retry"),
    [(0.2, "1", None), (59.1, "60", None), (120, "120", None), (121, "121", "false")],
)
def test_a_team_past_its_limits_is_told_of_what_and_when_to_come_back(
    wait_s: float, after: str, retry: str | None
) -> None:
    error = RateLimitError(
        "enough", kind="tokens", retry_after_s=wait_s, headers={"x-a": "b"}
    )
    response = error_response(error, request_id="r")
    assert response.status_code == 429
    assert response.headers["retry-after"] == after
    assert response.headers["x-a"] == "b"
    assert response.headers.get("x-should-retry") == retry
    inner = error_body(error)["error"]
    assert (inner["type"], inner["code"]) == ("tokens", "rate_limit_exceeded")


def test_who_ran_out_of_time_is_told_not_to_ask_again() -> None:
    response = error_response(build(DeadlineError), request_id="r")
    assert response.status_code == 504
    assert response.headers["x-should-retry"] == "false"


def test_a_refused_field_is_named() -> None:
    error = RequestRefusedError("too big", param="max_tokens")
    assert error_body(error)["error"]["param"] == "max_tokens"
