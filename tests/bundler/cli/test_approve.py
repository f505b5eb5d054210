"""``site approve``: what the officer sees is what is signed, and nothing else is."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from bundleformat.approval import encode_ask, parse
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.trust import compliance_of, fingerprint, initial_state
from tests.bundleformat.test_approval import ASK
from tests.bundler.conftest import Desk
from tests.support.publisher import NOW

HERE = replace(
    ASK, asked=NOW - dt.timedelta(hours=1), expires=NOW + dt.timedelta(days=1)
)


def approve(**changed: str) -> tuple[str, ...]:
    options = {"key": "compliance.key", "out": "ok.json", "passphrase-file": "pw"}
    pairs = ((f"--{name}", text) for name, text in (options | changed).items())
    return ("site", "approve", "ask.json", *(word for pair in pairs for word in pair))


@pytest.fixture
def asked(with_root: Desk) -> Desk:
    (with_root.folder / "ask.json").write_bytes(encode_ask(HERE))
    return with_root


def test_what_cannot_be_approved_is_refused(asked: Desk) -> None:
    asked.refuses(*approve(out="pw"), "--yes", code="conflict")
    asked.refuses(*approve(key="compliance.pub"), "--yes", code="key-unusable")
    file = asked.folder / "ask.json"
    for ask, code in (
        (replace(HERE, expires=NOW), "expired"),
        (None, "malformed"),
    ):
        file.write_bytes(b"{}" if ask is None else encode_ask(ask))
        asked.refuses(*approve(), "--yes", code=code)
    file.unlink()
    asked.refuses(*approve(), "--yes", code="missing")


@pytest.mark.parametrize("answer", ["", "y", "no"])
def test_nothing_is_signed_that_nobody_said_yes_to(asked: Desk, answer: str) -> None:
    asked.refuses(*approve(), code="usage", status=2)
    asked.runtime = replace(asked.runtime, answer=lambda _: answer)
    before = asked.files()
    status, out, err = asked.run(*approve())
    assert (status, out) == (2, "")
    assert asked.files() == before
    # All of it was to be read before.
    for text in (*HERE.values.values(), HERE.reason, HERE.asked_by, HERE.log):
        assert text in err


def test_the_approval_is_of_the_whole_ask_and_the_root_vouches_for_it(
    asked: Desk,
) -> None:
    value = asked.does(*approve(), "--yes")
    root = Path(asked.folder / "root" / "1.root.json").read_bytes()
    state = initial_state(root, fingerprint=fingerprint(root), now=NOW)
    approval, signed_by = parse(
        (asked.folder / "ok.json").read_bytes(),
        keys=[compliance_of(state)],
        limits=DEFAULT_LIMITS,
    )
    assert approval.ask == HERE
    assert approval.issued == NOW
    assert list(signed_by) == value["key_ids"]
