import base64
import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
from securesystemslib.dsse import Envelope

from bundleformat.errors import (
    LimitExceededError,
    MalformedError,
    RefusalError,
    SignatureError,
)
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.retention import Retention
from bundleformat.site_certificate import PAYLOAD_TYPE, SiteCertificate, issue, parse
from bundleformat.strictjson import encode
from tests.support.compliance import (
    START,
    certificate,
    compliance_key,
    compliance_signer,
)

SIGNED = issue(certificate(), compliance_signer())
KEYS = [compliance_key()]


def refusal(envelope: bytes) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        parse(envelope, keys=KEYS, limits=DEFAULT_LIMITS)
    return caught.value


def sign(payload: bytes, *, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """Sign anything at all, as a faulty or hostile issuer would."""
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(compliance_signer())
    return encode(envelope.to_dict())


def payload_with(**changes: Any) -> bytes:
    fields = json.loads(base64.b64decode(json.loads(SIGNED)["payload"]))
    return sign(encode(fields | changes))


def envelope_with(**changes: Any) -> bytes:
    return encode(json.loads(SIGNED) | changes)


def test_certificate_survives_the_round_trip() -> None:
    assert parse(SIGNED, keys=KEYS, limits=DEFAULT_LIMITS) == certificate()
    assert issue(certificate(), compliance_signer()) == SIGNED


def test_jurisdictions_are_put_in_order_when_issued() -> None:
    mixed = replace(certificate(), jurisdictions=("US-CA", "EU", "IN", "EU"))
    read = parse(issue(mixed, compliance_signer()), keys=KEYS, limits=DEFAULT_LIMITS)
    assert read.jurisdictions == ("EU", "IN", "US-CA")


def test_one_of_several_keys_is_enough() -> None:
    keys = [compliance_key(1), compliance_key()]
    assert parse(SIGNED, keys=keys, limits=DEFAULT_LIMITS) == certificate()


@pytest.mark.parametrize("keys", [[], [compliance_key(1)]])
def test_certificate_of_a_key_that_is_not_trusted_is_refused(keys: list[Any]) -> None:
    with pytest.raises(SignatureError) as caught:
        parse(SIGNED, keys=keys, limits=DEFAULT_LIMITS)
    assert caught.value.code == "signature-invalid"


def test_foreign_signature_under_a_trusted_key_id_is_refused() -> None:
    foreign = json.loads(issue(certificate(), compliance_signer(1)))["signatures"][0]
    forged = [{"keyid": KEYS[0].keys[0].keyid, "sig": foreign["sig"]}]
    assert type(refusal(envelope_with(signatures=forged))) is SignatureError


def test_altered_payload_is_refused_before_it_is_parsed() -> None:
    payload = base64.b64decode(json.loads(SIGNED)["payload"])
    for altered in (payload.replace(b"in-blr", b"eu-fra"), payload[:-1], b"{"):
        text = base64.b64encode(altered).decode()
        assert type(refusal(envelope_with(payload=text))) is SignatureError


def test_every_altered_byte_of_the_envelope_is_refused() -> None:
    for position in range(len(SIGNED)):
        altered = bytearray(SIGNED)
        altered[position] ^= 1
        error = refusal(bytes(altered))
        assert isinstance(error, MalformedError | SignatureError), position


def test_signature_for_another_payload_type_is_refused() -> None:
    payload = base64.b64decode(json.loads(SIGNED)["payload"])
    other = sign(payload, payload_type="application/vnd.in-toto+json")
    error = refusal(other)
    assert type(error) is MalformedError
    assert error.where == "site certificate: payloadType"
    relabelled = encode(json.loads(other) | {"payloadType": PAYLOAD_TYPE})
    assert type(refusal(relabelled)) is SignatureError


def test_envelope_in_another_spelling_is_refused() -> None:
    value = json.loads(SIGNED)
    payload = value["payload"]
    for envelope in (
        json.dumps(value).encode(),
        SIGNED + b"\n",
        b"\xef\xbb\xbf" + SIGNED,
        SIGNED.replace(b'{"payload":', b'{"payload":"","payload":', 1),
        encode(value | {"note": ""}),
        encode({"payload": payload, "payloadType": PAYLOAD_TYPE}),
        encode(value | {"payload": payload + "=="}),
        encode(value | {"payload": payload[:-1]}),
        encode(value | {"payload": 1}),
        encode(value | {"signatures": []}),
        encode(value | {"signatures": {}}),
        encode(value | {"signatures": value["signatures"] * 2}),
        encode(value | {"signatures": value["signatures"] * 9}),
        encode(value | {"signatures": [{"keyid": "KEY", "sig": ""}]}),
        encode(value | {"signatures": [{"keyid": 1, "sig": ""}]}),
        b"[]",
        b"",
    ):
        assert type(refusal(envelope)) is MalformedError, envelope


def test_url_safe_base64_is_refused() -> None:
    value = json.loads(SIGNED)
    sig = value["signatures"][0]["sig"]
    assert set("+/") & set(sig)
    other = sig.replace("+", "-").replace("/", "_")
    signatures = [{"keyid": KEYS[0].keys[0].keyid, "sig": other}]
    error = refusal(encode(value | {"signatures": signatures}))
    assert error.where == "site certificate: signatures[0].sig"


def test_too_large_envelope_is_refused_before_it_is_parsed() -> None:
    error = refusal(b"{" * (DEFAULT_LIMITS.site_certificate_bytes + 1))
    assert type(error) is LimitExceededError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("format", True),
        ("format", "1"),
        ("site", "Blr"),
        ("site", ""),
        ("site", 1),
        ("site", "x" * 33),
        ("region", "*"),
        ("region", "(none)"),
        ("region", None),
        ("jurisdictions", []),
        ("jurisdictions", "IN"),
        ("jurisdictions", ["in"]),
        ("jurisdictions", [1]),
        ("jurisdictions", ["IN", "IN"]),
        ("jurisdictions", ["US", "IN"]),
        ("jurisdictions", [f"US-{n:03}" for n in range(33)]),
        ("not_before", "2026-01-01"),
        ("not_before", "2026-01-01T00:00:00+00:00"),
        ("not_before", "2026-02-30T00:00:00Z"),
        ("not_before", 1_767_225_600),
        ("not_after", "2026-01-01T00:00:00Z"),
        ("not_after", "2025-01-01T00:00:00Z"),
    ],
)
def test_signed_payload_with_a_bad_field_is_refused(field: str, value: Any) -> None:
    error = refusal(payload_with(**{field: value}))
    assert type(error) is MalformedError
    assert error.where == f"site certificate: payload.{field}"


def test_signed_payload_in_another_spelling_is_refused() -> None:
    payload = base64.b64decode(json.loads(SIGNED)["payload"])
    for other in (
        payload + b" ",
        payload.replace(b'"site":', b'"site":"x","site":'),
        encode(json.loads(payload) | {"extra": 1}),
        b"null",
    ):
        error = refusal(sign(other))
        assert type(error) is MalformedError
        assert error.where == "site certificate: payload"


@pytest.mark.parametrize(
    "bad",
    [
        replace(certificate(), site=""),
        replace(certificate(), region="IN"),
        replace(certificate(), jurisdictions=()),
        replace(certificate(), not_after=START),
        replace(certificate(), not_before=START.replace(tzinfo=None)),
        replace(certificate(), not_before=START.replace(microsecond=1)),
    ],
)
def test_what_parse_would_refuse_is_not_issued(bad: SiteCertificate) -> None:
    with pytest.raises(MalformedError):
        issue(bad, compliance_signer())


def test_dates_are_written_in_utc() -> None:
    india = dt.timezone(dt.timedelta(hours=5, minutes=30))
    local = replace(certificate(), not_before=START.astimezone(india))
    assert issue(local, compliance_signer()) == SIGNED


def test_expired_certificate_is_still_read() -> None:
    long_ago = certificate(
        not_before=dt.datetime(1999, 1, 1, tzinfo=dt.UTC),
        not_after=dt.datetime(2000, 1, 1, tzinfo=dt.UTC),
    )
    signed = issue(long_ago, compliance_signer())
    assert parse(signed, keys=KEYS, limits=DEFAULT_LIMITS) == long_ago


RETENTION = {"presets": ["hipaa", "pci"], "records_days": 0, "bodies_days": 180}


@pytest.mark.parametrize(
    "retention",
    [
        None,
        [],
        {},
        RETENTION | {"more": 1},
        {name: RETENTION[name] for name in ("presets", "records_days")},
        RETENTION | {"presets": "pci"},
        RETENTION | {"presets": []},
        RETENTION | {"presets": ["pci", "hipaa"]},
        RETENTION | {"presets": ["pci", "pci"]},
        RETENTION | {"presets": ["PCI"]},
        RETENTION | {"presets": [1]},
        RETENTION | {"presets": [f"p{n:02}" for n in range(17)]},
        RETENTION | {"records_days": -1},
        RETENTION | {"records_days": True},
        RETENTION | {"records_days": "9"},
        RETENTION | {"bodies_days": 36_601},
    ],
)
def test_what_is_kept_is_said_in_one_form_alone(retention: Any) -> None:
    assert type(refusal(payload_with(retention=retention))) is MalformedError


def test_what_is_kept_survives_the_round_trip() -> None:
    kept = Retention(presets=("hipaa", "pci"), records_days=0, bodies_days=180)
    said = replace(certificate(), retention=kept)
    signed = issue(said, compliance_signer())
    assert parse(signed, keys=KEYS, limits=DEFAULT_LIMITS) == said
    assert payload_with(retention=RETENTION) == signed
