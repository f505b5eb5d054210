"""What the examiner says to the process that started it: facts, or a refusal."""

from dataclasses import dataclass

import msgspec

from bundleformat.errors import (
    InternalFaultError,
    LimitExceededError,
    MalformedError,
    RefusalError,
)
from bundleformat.gguf import ModelFacts

_CLASSES: dict[str, type[RefusalError]] = {
    kind.code: kind for kind in (MalformedError, LimitExceededError)
}
"""The refusals an examination can end in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A refusal as data: the fields of its error."""

    code: str
    problem: str
    where: str
    expected: str
    actual: str
    hint: str

    @classmethod
    def of(cls, error: RefusalError) -> "Refusal":
        """Return ``error`` as data."""
        return cls(
            code=error.code,
            problem=error.problem,
            where=error.where,
            expected=error.expected,
            actual=error.actual,
            hint=error.hint,
        )

    def error(self, *, model: str) -> RefusalError:
        """Return the error this was made of, with ``model`` before its place."""
        return _CLASSES[self.code](
            self.problem,
            where=f"{model}: {self.where}" if self.where else model,
            expected=self.expected,
            actual=self.actual,
            hint=self.hint,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer; exactly one of the two is there."""

    facts: ModelFacts | None = None
    refused: Refusal | None = None


def encode_answer(answer: Answer) -> bytes:
    """Return ``answer`` as JSON."""
    return msgspec.json.encode(answer)


def read_answer(data: bytes, *, model: str) -> ModelFacts:
    """Return the facts in ``data``.

    Raises:
        MalformedError, LimitExceededError: The examiner refused the model.
        InternalFaultError: ``data`` is no answer.
    """
    try:
        answer = msgspec.json.decode(data, type=Answer)
    except msgspec.DecodeError as error:
        raise _senseless(model) from error
    if answer.refused is not None and answer.refused.code in _CLASSES:
        raise answer.refused.error(model=model)
    if answer.facts is None or answer.refused is not None:
        raise _senseless(model)
    return answer.facts


def _senseless(model: str) -> InternalFaultError:
    return InternalFaultError("the examiner's answer makes no sense", where=model)
