"""What the examiner of wheels says: what a wheel takes, or a refusal."""

from dataclasses import dataclass

import msgspec

from appliance.intake.answer import Refusal
from bundleformat.artifact import WheelSizes
from bundleformat.errors import InternalFaultError, LimitExceededError, MalformedError

_CODES = frozenset({MalformedError.code, LimitExceededError.code})
"""The refusals an examination can end in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelAnswer:
    """One answer; exactly one of the two is there."""

    sizes: WheelSizes | None = None
    refused: Refusal | None = None


def encode_wheel_answer(answer: WheelAnswer) -> bytes:
    """Return ``answer`` as JSON."""
    return msgspec.json.encode(answer)


def read_wheel_answer(data: bytes, *, where: str) -> WheelSizes:
    """Return what the wheel takes once installed.

    Raises:
        MalformedError, LimitExceededError: The examiner refused the wheel.
        InternalFaultError: ``data`` is no answer.
    """
    senseless = InternalFaultError("the examiner's answer makes no sense", where=where)
    try:
        answer = msgspec.json.decode(data, type=WheelAnswer)
    except msgspec.DecodeError as error:
        raise senseless from error
    if answer.refused is not None and answer.refused.code in _CODES:
        raise answer.refused.error(model=where)
    if answer.sizes is None or answer.refused is not None:
        raise senseless
    return answer.sizes
