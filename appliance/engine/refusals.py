"""What can be refused without asking the process, whose time belongs to others.

Pure: values in, an error or nothing out.
"""

from appliance.engine import protocol as wire
from appliance.engine.scheduling.admission import check_prompt, least_tokens
from appliance.errors import ContextLengthError, UnsuitableModelError


def check_kind(order: wire.Prepare | wire.PrepareInputs, *, ready: wire.Ready) -> None:
    """Refuse to ask a model for what it does not do.

    Raises:
        UnsuitableModelError: It writes text and is asked for vectors, or the reverse.
    """
    if isinstance(order, wire.PrepareInputs) and ready.vector_size is None:
        raise UnsuitableModelError(
            "this model writes text; it does not make embeddings", param="model"
        )
    if isinstance(order, wire.Prepare) and ready.vector_size is not None:
        raise UnsuitableModelError(
            "this model makes embeddings; it does not write text", param="model"
        )


def check_size(order: wire.Prepare | wire.PrepareInputs, *, ready: wire.Ready) -> None:
    """Refuse what no way of counting could make fit.

    Raises:
        ContextLengthError: The size of the messages or of an input alone tells.
    """
    longest = ready.longest_token_bytes
    if isinstance(order, wire.Prepare):
        size_bytes = sum(_bytes(message.content) for message in order.messages)
        check_prompt(
            least_tokens(size_bytes, longest_token_bytes=longest),
            context_tokens=ready.context_tokens,
            requested=order.sampling.max_tokens,
        )
        return
    for index, text in enumerate(order.texts):
        least = least_tokens(_bytes(text), longest_token_bytes=longest)
        if least > ready.context_tokens:
            raise ContextLengthError(
                limit_tokens=ready.context_tokens,
                prompt_tokens=least,
                new_tokens=0,
                index=index,
            )


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
