"""What a compliance key says: a DSSE envelope around a payload, both canonical JSON.

The signature is verified over the received bytes before the payload is parsed. Each
kind of statement has a payload type of its own, which the signature covers, so that
none can be taken for another.

Source: DSSE v1.0.0, "Protocol" and "Envelope"; RFC 8785.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key, Signature, Signer

from bundleformat import strictjson
from bundleformat.errors import MalformedError, SignatureError
from bundleformat.limits import Limits
from bundleformat.profile import FAMILIES, family_of
from bundleformat.trust import ComplianceKeys

MAX_SIGNATURES = 8
"""Most signatures of an envelope; one by a trusted key is enough."""

_KEYID_DIGITS = frozenset("0123456789abcdef")
_KEYID_LENGTH = 128

MAX_REASON_CHARACTERS = 200
"""Longest reason. Unit: characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A kind of statement.

    Attributes:
        name: What people call it; begins the place that an error names.
        payload_type: What the signature says the payload is.
        hint: What to do about one that nobody trusted has signed.
    """

    name: str
    payload_type: str
    hint: str

    def sign(self, payload: Mapping[str, Any], signers: Sequence[Signer]) -> bytes:
        """Return the payload in an envelope, signed by all keys of one holder.

        Raises:
            KeyFileError, UsageError: A token does not sign.
        """
        envelope = Envelope(
            payload=strictjson.encode(dict(payload)),
            payload_type=self.payload_type,
            signatures={},
        )
        for signer in signers:
            envelope.sign(signer)
        return strictjson.encode(envelope.to_dict())

    def open(
        self, data: bytes, *, keys: Sequence[ComplianceKeys], limits: Limits
    ) -> tuple[Any, tuple[str, ...]]:
        """Return the payload of an envelope and the ids of those who signed it.

        It is signed as one channel of ``keys`` asks: by one key, or in a hybrid
        channel by one of each kind.

        Raises:
            LimitExceededError: Larger than a statement can be.
            MalformedError: It is no envelope of this kind, or not in canonical form.
            SignatureError: No channel's keys signed these bytes as this type.
        """
        signed = self._read_envelope(data, limits)
        signed_by = self._check_signature(signed, keys)
        payload = strictjson.decode_canonical(
            signed.payload,
            max_bytes=limits.site_certificate_bytes,
            max_depth=limits.json_depth,
            where=f"{self.name}: payload",
        )
        return payload, signed_by

    def fields(self, value: Any, names: set[str], place: str = "") -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Return an object that has exactly these fields.

        Raises:
            MalformedError: It has others, or is none.
        """
        if not isinstance(value, dict) or set(value) != names:
            raise MalformedError(
                "not the fields of this format",
                where=f"{self.name}: {place}" if place else self.name,
                expected=", ".join(sorted(names)),
            )
        return value

    def text(self, value: object, place: str) -> str:
        """Return a value that is text.

        Raises:
            MalformedError: It is not.
        """
        if not isinstance(value, str):
            raise self.malformed(place, "text")
        return value

    def check_format(self, value: object, place: str, *, expected: int) -> None:
        """Check that a payload's format is the one that is known.

        Raises:
            MalformedError: It is another.
        """
        if value != expected or isinstance(value, bool):
            raise self.malformed(place, str(expected))

    def check_reason(self, reason: str, place: str) -> None:
        """Check that a reason is one line that people can be shown as it is.

        Raises:
            MalformedError: It is not.
        """
        if (
            not reason.isprintable()
            or reason != reason.strip()
            or not 1 <= len(reason) <= MAX_REASON_CHARACTERS
        ):
            raise self.malformed(
                place, f"one line of 1 to {MAX_REASON_CHARACTERS} characters"
            )

    def malformed(self, place: str, expected: str) -> MalformedError:
        """Return the error about what is wrong at ``place``."""
        article = "an" if self.name[0] in "aeiou" else "a"
        return MalformedError(
            f"not {article} {self.name}",
            where=f"{self.name}: {place}",
            expected=expected,
        )

    def _read_envelope(self, data: bytes, limits: Limits) -> Envelope:
        value = strictjson.decode_canonical(
            data,
            max_bytes=limits.site_certificate_bytes,
            max_depth=limits.json_depth,
            where=self.name,
        )
        found = self.fields(value, {"payload", "payloadType", "signatures"})
        if found["payloadType"] != self.payload_type:
            raise self.malformed("payloadType", self.payload_type)
        return Envelope(
            payload=self._read_base64(found["payload"], "payload"),
            payload_type=self.payload_type,
            signatures=self._read_signatures(found["signatures"]),
        )

    def _read_signatures(self, value: object) -> dict[str, Signature]:
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_SIGNATURES:
            raise self.malformed("signatures", f"a list of 1 to {MAX_SIGNATURES}")
        signatures: dict[str, Signature] = {}
        for number, entry in enumerate(value):
            place = f"signatures[{number}]"
            one = self.fields(entry, {"keyid", "sig"}, place)
            keyid = self.text(one["keyid"], f"{place}.keyid")
            if not 1 <= len(keyid) <= _KEYID_LENGTH or set(keyid) - _KEYID_DIGITS:
                raise self.malformed(f"{place}.keyid", "hexadecimal digits")
            if keyid in signatures:
                raise self.malformed(
                    f"{place}.keyid", "a key that has not signed above"
                )
            sig = self._read_base64(one["sig"], f"{place}.sig")
            signatures[keyid] = Signature(keyid, sig.hex())
        return signatures

    def _read_base64(self, value: object, place: str) -> bytes:
        """Decode base64 that is written the one way it can be."""
        try:
            text = self.text(value, place).encode("ascii")
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise self.malformed(place, "base64") from error
        if base64.b64encode(data) != text:
            raise self.malformed(place, "base64 in its canonical form")
        return data

    def _check_signature(
        self, envelope: Envelope, keys: Sequence[ComplianceKeys]
    ) -> tuple[str, ...]:
        problem = "not signed by a compliance key this host trusts"
        if not any(channel.keys for channel in keys):
            raise SignatureError(
                problem,
                where=self.name,
                actual="no compliance key",
                hint=self.hint,
            )
        for channel in keys:
            signed_by = self._signed_by(envelope, channel)
            if signed_by:
                return signed_by
        both = all(channel.profile == "hybrid" for channel in keys)
        raise SignatureError(
            problem,
            where=self.name,
            expected="one classical and one ML-DSA-87 signature" if both else "",
            hint=self.hint,
        )

    def _signed_by(
        self, envelope: Envelope, channel: ComplianceKeys
    ) -> tuple[str, ...]:
        """Return the keys by which a channel stands behind it; else none."""
        if channel.profile != "hybrid":
            return _one_signed(envelope, channel.keys)
        # Each kind by itself: together, two signatures of one kind would do.
        by_kind = [
            _one_signed(
                envelope,
                [key for key in channel.keys if self._family(key) == family],
            )
            for family in FAMILIES
        ]
        return tuple(k for kind in by_kind for k in kind) if all(by_kind) else ()

    def _family(self, key: Key) -> str:
        return family_of(key, where=self.name)


def _one_signed(envelope: Envelope, keys: Sequence[Key]) -> tuple[str, ...]:
    if not keys:
        return ()
    try:
        return tuple(sorted(envelope.verify(list(keys), 1)))
    except VerificationError:
        return ()
