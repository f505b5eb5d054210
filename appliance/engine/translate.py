"""What a caller says as frames, and what frames say as a caller understands it.

Pure: values in, values out.
"""

from collections.abc import Sequence

from appliance.engine import protocol as wire
from appliance.engine.embedding import Vectors
from appliance.engine.port import Piece, Ticket, Usage
from appliance.errors import (
    ContextLengthError,
    OverloadedError,
    RequestRefusedError,
)
from bundleformat.errors import Error, LimitExceededError, MalformedError


def prepare_frame(order: wire.Prepare | wire.PrepareInputs) -> bytes:
    """Return the frame that asks for a place.

    Raises:
        RequestRefusedError: It would be too long, or a text is not Unicode.
    """
    try:
        return wire.encode(order)
    except (LimitExceededError, MalformedError) as error:
        param = "messages" if isinstance(order, wire.Prepare) else "input"
        raise RequestRefusedError(error.problem, param=param) from error


def vectors(part: wire.Part, ticket: Ticket) -> Vectors:
    """Return what a batch made for a request; the last vectors carry the usage."""
    usage = Usage(prompt_tokens=ticket.prompt_tokens, completion_tokens=0)
    return Vectors(
        first=part.first, vectors=part.vectors, usage=usage if part.last else None
    )


def joined(deltas: Sequence[wire.Delta]) -> wire.Delta:
    """Return what consecutive steps, one at least, added to one answer together."""
    if len(deltas) == 1:
        return deltas[0]
    last = deltas[-1]
    return wire.Delta(
        request_id=last.request_id,
        text="".join(each.text for each in deltas),
        completion_tokens=last.completion_tokens,
        finish_reason=last.finish_reason,
        cached_tokens=last.cached_tokens,
        queued_s=deltas[0].queued_s,
    )


def piece(delta: wire.Delta, ticket: Ticket) -> Piece:
    """Return what a step added to an answer; the last piece carries the usage."""
    if delta.finish_reason is None:
        return Piece(text=delta.text, queued_s=delta.queued_s)
    usage = Usage(
        prompt_tokens=ticket.prompt_tokens,
        completion_tokens=delta.completion_tokens,
        cached_tokens=delta.cached_tokens,
    )
    return Piece(
        text=delta.text,
        finish_reason=delta.finish_reason,
        usage=usage,
        queued_s=delta.queued_s,
    )


def refusal(report: wire.TooLong | wire.Refused | wire.Overloaded) -> Error:
    """Return the error that says why no place is held."""
    match report:
        case wire.TooLong():
            return ContextLengthError(
                limit_tokens=report.limit_tokens,
                prompt_tokens=report.prompt_tokens,
                new_tokens=report.new_tokens,
                index=report.index,
            )
        case wire.Refused():
            return RequestRefusedError(report.problem, param=report.param)
        case wire.Overloaded():
            return OverloadedError(report.problem, retry_after_s=report.retry_after_s)
