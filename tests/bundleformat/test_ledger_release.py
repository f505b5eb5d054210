"""A release of a halted ledger: refused in every other form, read in its own."""

import base64
import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
from securesystemslib.dsse import Envelope

from bundleformat import site_certificate
from bundleformat.errors import MalformedError, RefusalError, SignatureError
from bundleformat.ledger_release import (
    PAYLOAD_TYPE,
    Cause,
    LedgerRelease,
    issue,
    parse,
)
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.strictjson import encode
from tests.support.compliance import certificate, compliance_key, compliance_signer

RELEASE = LedgerRelease(
    log="sallyport/audit/0123456789abcdef",
    halt=3,
    cause=Cause.DISK_FULL,
    halted="2026-11-22T08:04:29.123456Z",
    reason="a log had filled the disk; it is on another volume now",
    issued=dt.datetime(2026, 11, 22, 9, 0, tzinfo=dt.UTC),
)
SIGNED = issue(RELEASE, compliance_signer())
KEYS = [compliance_key()]


def refusal(envelope: bytes) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        parse(envelope, keys=KEYS, limits=DEFAULT_LIMITS)
    return caught.value


def payload_with(**changes: Any) -> bytes:
    """Sign anything at all, as a faulty or hostile issuer would."""
    fields = json.loads(base64.b64decode(json.loads(SIGNED)["payload"]))
    envelope = Envelope(encode(fields | changes), PAYLOAD_TYPE, {})
    envelope.sign(compliance_signer())
    return encode(envelope.to_dict())


def test_a_site_certificate_releases_nothing() -> None:
    error = refusal(site_certificate.issue(certificate(), compliance_signer()))
    assert type(error) is MalformedError
    assert error.where == "ledger release: payloadType"


@pytest.mark.parametrize("keys", [[], [compliance_key(1)]])
def test_a_release_by_a_key_that_is_not_trusted_is_refused(keys: list[Any]) -> None:
    with pytest.raises(SignatureError):
        parse(SIGNED, keys=keys, limits=DEFAULT_LIMITS)


def test_every_altered_byte_is_refused() -> None:
    for position in range(len(SIGNED)):
        altered = bytearray(SIGNED)
        altered[position] ^= 1
        error = refusal(bytes(altered))
        assert isinstance(error, MalformedError | SignatureError), position


@pytest.mark.parametrize(
    "changes",
    [
        {"cause": "bored"},
        {"format": 2},
        {"format": True},
        {"halt": 0},
        {"halt": 2**31},
        {"halt": "3"},
        {"halt": True},
        {"halted": "2026-11-22T08:04:29Z"},
        {"issued": "2026-11-22"},
        {"log": ""},
        {"log": "two words"},
        {"log": 1},
        {"reason": ""},
        {"reason": " "},
        {"reason": "two\nlines"},
        {"reason": "x" * 201},
        {"extra": ""},
    ],
)
def test_a_payload_of_another_form_is_refused(changes: dict[str, Any]) -> None:
    assert type(refusal(payload_with(**changes))) is MalformedError


@pytest.mark.parametrize(
    "changes", [{"halt": 0}, {"reason": "two\nlines"}, {"halted": "yesterday"}]
)
def test_nothing_is_issued_that_would_not_be_read(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        issue(replace(RELEASE, **changes), compliance_signer())


def test_a_release_survives_the_round_trip() -> None:
    read, signed_by = parse(SIGNED, keys=KEYS, limits=DEFAULT_LIMITS)
    assert read == RELEASE
    assert signed_by == (KEYS[0].keys[0].keyid,)
    assert issue(read, compliance_signer()) == SIGNED
