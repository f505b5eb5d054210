"""What is said of an error, and that it cannot drive the terminal it is said on."""

import json

import pytest

from bundleformat.errors import (
    DigestMismatchError,
    Error,
    FaultError,
    RefusalError,
    UsageError,
    VolumesMissingError,
)
from bundleformat.report import error_lines, json_line, printable

HOSTILE = "a\x1b[2J\r\u202eb\x9b1A\x7f\n\udc80"


@pytest.mark.parametrize(
    ("error", "begin"),
    [
        (UsageError("no"), "p: usage: no"),
        (RefusalError("no"), "p: refused: no"),
        (DigestMismatchError("no"), "p: refused: digest-mismatch: no"),
        (FaultError("no"), "p: fault: host-fault: no"),
        (VolumesMissingError("no"), "p: incomplete: volumes-missing: no"),
        (Error("no"), "p: error: no"),
    ],
)
def test_the_kind_is_said_once(error: Error, begin: str) -> None:
    assert error_lines(error, program="p", as_json=False) == (begin,)


@pytest.mark.parametrize("digits", [64, 96])
def test_a_digest_is_short_for_people_and_whole_in_paths_and_for_machines(
    digits: int,
) -> None:
    digest = "0123456789abcdef" * (digits // 16)
    path = f"c/01/{digest}"
    error = DigestMismatchError("no", where=path, expected=f"sha256 {digest}")
    (line,) = error_lines(error, program="p", as_json=False)
    assert line.endswith(f"{path}: no; expected sha256 01234567…89abcdef")
    (line,) = error_lines(error, program="p", as_json=True)
    assert json.loads(line)["error"]["expected"] == f"sha256 {digest}"


def test_other_digits_are_not_taken_for_a_digest() -> None:
    for text in ("0" * 63, "0" * 65, "g" + "0" * 64 + "0", "0123 4567"):
        (line,) = error_lines(RefusalError(text), program="p", as_json=False)
        assert line == f"p: refused: {text}"


def test_a_hint_that_is_there_is_kept() -> None:
    assert RefusalError("no", hint="Do it.").advised("Do that.").hint == "Do it."
    advised = RefusalError("no", where="x", expected="y").advised("Do that.")
    assert (advised.where, advised.expected, advised.hint) == ("x", "y", "Do that.")


def test_a_hint_is_a_line_of_its_own() -> None:
    error = UsageError("no", where="x", expected="y", actual="z", hint="Do it.")
    assert error_lines(error, program="p", as_json=False) == (
        "p: usage: x: no; expected y, found z",
        "hint: Do it.",
    )


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("field", ["problem", "where", "expected", "actual", "hint"])
def test_what_an_error_quotes_cannot_drive_the_terminal(
    field: str, *, as_json: bool
) -> None:
    error = RefusalError(**{"problem": "no", field: HOSTILE})
    lines = error_lines(error, program="p", as_json=as_json)
    assert all(line.isprintable() for line in lines)


def test_what_is_escaped_can_be_recognised() -> None:
    assert printable(HOSTILE) == r"a\x1b[2J\r\u202eb\x9b1A\x7f\n\udc80"
    assert printable("c/ab/\u2026: für \u092d\u093e\u0930\u0924") == (
        "c/ab/\u2026: für \u092d\u093e\u0930\u0924"
    )


def test_machines_get_every_character_back() -> None:
    (line,) = error_lines(RefusalError(HOSTILE), program="p", as_json=True)
    assert json.loads(line)["error"]["message"] == HOSTILE


def test_an_error_can_be_placed_inside_a_file() -> None:
    inner = DigestMismatchError("no", where="magic", expected="x", hint="Do it.")
    placed = inner.inside("m.gguf")
    assert type(placed) is DigestMismatchError
    assert (placed.where, placed.expected, placed.hint) == (
        "m.gguf: magic",
        "x",
        "Do it.",
    )
    assert RefusalError("no").inside("m.gguf").where == "m.gguf"


def test_a_value_for_machines_cannot_drive_the_terminal_and_loses_nothing() -> None:
    value = {"label": f'{HOSTILE}"\\', "licence": "für \U0001f600 \U000e0041"}
    line = json_line(value)
    assert line.isprintable()
    assert json.loads(line) == value
    assert "für" in line
