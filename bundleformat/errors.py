"""The error tree: every reason Sallyport gives for saying no.

::

    Error
    ├── UsageError              the command was called wrongly; nothing was tried
    ├── RefusalError            input unacceptable; nothing changed
    │   ├── MalformedError          bytes that do not follow their format
    │   ├── LimitExceededError      a size, count or depth above its limit
    │   ├── SignatureError          signed by nobody we trust, or by too few
    │   ├── DigestMismatchError     bytes differ from the signed digest
    │   ├── RollbackError           older than what this host has accepted
    │   ├── EquivocationError       the same version with other content
    │   ├── ExpiredError            past its expiry date
    │   ├── MissingError            a file, row or name that should be there is not
    │   ├── ConflictError           something of that name is already there
    │   └── VolumesMissingError     whole so far; another volume is wanted
    └── FaultError              the host failed
        ├── StorageFaultError       disk full, unreadable or unwritable
        └── InternalFaultError      a check could not be completed

Each package adds leaves in its own ``errors.py``. A class carries a stable
``code`` (kebab-case on the command line, snake_case in the OpenAI error body),
an ``exit_status`` and an ``http_status``; text is built from the fields, and
tests assert fields, never text. Exceptions do not print, log or exit.
"""

from typing import ClassVar, Self


class Error(Exception):
    """Root of every error that Sallyport raises on purpose.

    Attributes:
        problem: One clause saying what is wrong, without the place.
        where: The file, field or argument concerned, or an empty string.
        expected: What would have been accepted, or an empty string.
        actual: What was found instead, or an empty string.
        hint: What the reader can do next, as a sentence, or an empty string.
    """

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(
        self,
        problem: str,
        *,
        where: str = "",
        expected: str = "",
        actual: str = "",
        hint: str = "",
    ) -> None:
        self.problem = problem
        self.where = where
        self.expected = expected
        self.actual = actual
        self.hint = hint
        super().__init__(self.text())

    def text(self) -> str:
        """Return the sentence built from the fields, without code and hint."""
        parts = [f"{self.where}: " if self.where else "", self.problem]
        if self.expected:
            parts.append(f"; expected {self.expected}")
        if self.actual:
            parts.append(f"{', found' if self.expected else '; found'} {self.actual}")
        return "".join(parts)

    def inside(self, place: str) -> Self:
        """Return the same error, saying that its ``where`` lies in ``place``."""
        return type(self)(
            self.problem,
            where=": ".join(filter(None, (place, self.where))),
            expected=self.expected,
            actual=self.actual,
            hint=self.hint,
        )

    def advised(self, hint: str) -> Self:
        """Return the same error with ``hint``; one that has a hint keeps it."""
        return self if self.hint else self.with_hint(hint)

    def with_hint(self, hint: str) -> Self:
        """Return the same error with ``hint`` in the place of its own."""
        error = self.inside("")
        error.hint = hint
        return error


class UsageError(Error):
    """The command was called wrongly; nothing was tried."""

    code = "usage"
    exit_status = 2
    http_status = 400


class RefusalError(Error):
    """The input is unacceptable; nothing changed."""

    code = "refused"
    exit_status = 3
    http_status = 400


class MalformedError(RefusalError):
    """Bytes do not follow the format they claim."""

    code = "malformed"


class LimitExceededError(RefusalError):
    """A size, count or depth is above its limit; nothing was allocated for it."""

    code = "limit-exceeded"
    http_status = 413


class SignatureError(RefusalError):
    """Signed by nobody this host trusts, or by fewer keys than required."""

    code = "signature-invalid"


class DigestMismatchError(RefusalError):
    """The bytes differ from the digest or length that was signed."""

    code = "digest-mismatch"


class RollbackError(RefusalError):
    """The input is older than what this host has already accepted."""

    code = "rollback"


class EquivocationError(RefusalError):
    """The same version was seen before with other content."""

    code = "equivocation"


class ExpiredError(RefusalError):
    """The input is past its signed expiry date."""

    code = "expired"


class MissingError(RefusalError):
    """A file, row or name that should be there is not."""

    code = "missing"
    http_status = 404


class ConflictError(RefusalError):
    """Something of that name is already there and will not be overwritten."""

    code = "conflict"
    http_status = 409


class VolumesMissingError(RefusalError):
    """What was given is fine so far, but other volumes of the bundle are wanted.

    Its exit status is its own, so that a script can tell "put in the next disc"
    from "this bundle is refused".

    Attributes:
        volumes: Numbers of the volumes wanted, ascending; empty if no volume at
            hand says how they are numbered.
    """

    code = "volumes-missing"
    exit_status = 5

    def __init__(
        self,
        problem: str,
        *,
        where: str = "",
        expected: str = "",
        actual: str = "",
        hint: str = "",
        volumes: tuple[int, ...] = (),
    ) -> None:
        self.volumes = volumes
        super().__init__(
            problem, where=where, expected=expected, actual=actual, hint=hint
        )

    def inside(self, place: str) -> Self:
        """Return the same error, saying that its ``where`` lies in ``place``."""
        error = super().inside(place)
        error.volumes = self.volumes
        return error


class FaultError(Error):
    """The host failed; the input may be fine."""

    code = "host-fault"
    exit_status = 4
    http_status = 500


class StorageFaultError(FaultError):
    """A disk is full, unreadable or unwritable."""

    code = "storage-fault"


class InternalFaultError(FaultError):
    """A check could not be completed, so its answer is no."""

    code = "check-failed"
