"""What an installation and its confined child say to one another."""

from dataclasses import dataclass

import msgspec

from bundleformat.errors import (
    DigestMismatchError,
    InternalFaultError,
    LimitExceededError,
    MalformedError,
    RefusalError,
)

_CLASSES: dict[str, type[RefusalError]] = {
    kind.code: kind
    for kind in (DigestMismatchError, LimitExceededError, MalformedError)
}
"""The refusals a check can end in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """An environment to compare with the wheels it was made of."""

    folder: str
    python: str
    wheels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrong:
    """A refusal as data: the fields of its error."""

    code: str
    problem: str
    where: str
    expected: str
    actual: str

    @classmethod
    def of(cls, error: RefusalError) -> "Wrong":
        """Return ``error`` as data."""
        return cls(
            code=error.code,
            problem=error.problem,
            where=error.where,
            expected=error.expected,
            actual=error.actual,
        )


def encode_check(wanted: Check) -> bytes:
    """Return ``wanted`` as JSON."""
    return msgspec.json.encode(wanted)


def decode_check(data: bytes) -> Check:
    """Return the errand in ``data``, which this program wrote."""
    return msgspec.json.decode(data, type=Check)


def encode_wrong(wrong: Wrong) -> bytes:
    """Return ``wrong`` as JSON."""
    return msgspec.json.encode(wrong)


def read_error(data: bytes, *, where: str) -> RefusalError:
    """Return the refusal in ``data``, whose place lies in ``where``.

    Raises:
        InternalFaultError: ``data`` is no refusal.
    """
    try:
        wrong = msgspec.json.decode(data, type=Wrong)
        kind = _CLASSES[wrong.code]
    except (msgspec.DecodeError, KeyError) as error:
        raise InternalFaultError(
            "the check of an environment makes no sense", where=where
        ) from error
    return kind(
        wrong.problem,
        where=f"{where}: {wrong.where}" if wrong.where else where,
        expected=wrong.expected,
        actual=wrong.actual,
        hint="Report this bundle to its publisher; nothing of it was installed.",
    )
