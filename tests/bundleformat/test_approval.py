"""An approval and what it approves: refused in every other form, read in its own."""

import base64
import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
from securesystemslib.dsse import Envelope

from bundleformat import site_certificate
from bundleformat.approval import (
    PAYLOAD_TYPE,
    Act,
    Approval,
    Ask,
    encode_ask,
    issue,
    parse,
    parse_ask,
)
from bundleformat.errors import MalformedError, RefusalError, SignatureError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.strictjson import encode
from tests.support.compliance import certificate, compliance_key, compliance_signer

ASK = Ask(
    nonce="0123456789abcdef" * 2,
    log="sallyport/audit/0123456789abcdef",
    size="18446744073709551",
    root="ab" * 32,
    act=Act.BODY_READ,
    values={"request_id": "chatcmpl-1", "parts": "request response"},
    facts={"team": "claims"},
    reason="ticket 4711: a complaint",
    asked_by="uid 990, login 1000",
    asked=dt.datetime(2026, 11, 22, 8, 0, tzinfo=dt.UTC),
    expires=dt.datetime(2026, 11, 25, 8, 0, tzinfo=dt.UTC),
)
APPROVAL = Approval(ask=ASK, issued=dt.datetime(2026, 11, 22, 9, 0, tzinfo=dt.UTC))
SIGNED = issue(APPROVAL, compliance_signer())
KEYS = [compliance_key()]

ODD: list[dict[str, Any]] = [
    {"act": "body.sold"},
    {"act": 1},
    {"asked": "2026-11-22"},
    {"asked_by": "root"},
    {"asked_by": "uid 1\n"},
    {"expires": "2026-11-22T08:00:00Z"},
    {"facts": []},
    {"facts": {"Team": "x"}},
    {"format": 2},
    {"format": True},
    {"log": "two words"},
    {"nonce": "0123"},
    {"nonce": "X" * 32},
    {"reason": " "},
    {"reason": "two\nlines"},
    {"reason": "x" * 201},
    {"root": "ab"},
    {"size": "0"},
    {"size": 1},
    {"values": {"a": ""}},
    {"values": {"a": "\x1b[2J"}},
    {"values": {"a": 1}},
    {"values": {f"v{'x' * n}": "1" for n in range(17)}},
    {"extra": ""},
]


def refusal(envelope: bytes) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        parse(envelope, keys=KEYS, limits=DEFAULT_LIMITS)
    return caught.value


def payload_with(**changes: Any) -> bytes:
    """Sign anything at all, as a faulty or hostile officer would."""
    fields = json.loads(base64.b64decode(json.loads(SIGNED)["payload"]))
    envelope = Envelope(encode(fields | changes), PAYLOAD_TYPE, {})
    envelope.sign(compliance_signer())
    return encode(envelope.to_dict())


def test_a_site_certificate_approves_nothing() -> None:
    error = refusal(site_certificate.issue(certificate(), compliance_signer()))
    assert type(error) is MalformedError
    assert error.where == "approval: payloadType"


def test_what_is_asked_approves_nothing() -> None:
    assert type(refusal(encode_ask(ASK))) is MalformedError


@pytest.mark.parametrize("keys", [[], [compliance_key(1)]])
def test_an_approval_by_a_key_that_is_not_trusted_is_refused(keys: list[Any]) -> None:
    with pytest.raises(SignatureError):
        parse(SIGNED, keys=keys, limits=DEFAULT_LIMITS)


def test_altered_bytes_are_refused() -> None:
    for position in range(0, len(SIGNED), 7):
        altered = bytearray(SIGNED)
        altered[position] ^= 1
        error = refusal(bytes(altered))
        assert isinstance(error, MalformedError | SignatureError), position


@pytest.mark.parametrize("changes", ODD)
def test_an_ask_of_another_form_is_refused_alone_and_approved(
    changes: dict[str, Any],
) -> None:
    said = json.loads(encode_ask(ASK)) | changes
    with pytest.raises(MalformedError) as caught:
        parse_ask(encode(said), limits=DEFAULT_LIMITS)
    assert caught.value.where.startswith("ask")
    error = refusal(payload_with(ask=said))
    assert type(error) is MalformedError
    assert error.where.startswith("approval: payload.ask")


@pytest.mark.parametrize(
    "changes", [{"format": 2}, {"issued": "today"}, {"ask": None}, {"extra": ""}]
)
def test_a_payload_of_another_form_is_refused(changes: dict[str, Any]) -> None:
    assert type(refusal(payload_with(**changes))) is MalformedError


def test_an_ask_in_another_spelling_is_refused() -> None:
    spaced = json.dumps(json.loads(encode_ask(ASK))).encode()
    with pytest.raises(MalformedError):
        parse_ask(spaced, limits=DEFAULT_LIMITS)


def test_nothing_is_written_that_would_not_be_read() -> None:
    odd = replace(ASK, reason="two\nlines")
    with pytest.raises(MalformedError):
        encode_ask(odd)
    with pytest.raises(MalformedError):
        issue(replace(APPROVAL, ask=odd), compliance_signer())


def test_both_survive_the_round_trip() -> None:
    assert parse_ask(encode_ask(ASK), limits=DEFAULT_LIMITS) == ASK
    read, signed_by = parse(SIGNED, keys=KEYS, limits=DEFAULT_LIMITS)
    assert read == APPROVAL
    assert signed_by == (KEYS[0].keys[0].keyid,)
    assert issue(read, compliance_signer()) == SIGNED
