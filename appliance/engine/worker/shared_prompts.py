"""Where the prompts begin that the operator declared to be everybody's.

What a template writes around a system prompt is known only by rendering it: two
conversations that differ in the question alone begin with the same tokens, and
those are what may be shared. A template that puts something else in front, such as
today's date, changes them; then nothing is found in common, and nothing shared.
"""

import datetime as dt
from collections.abc import Sequence
from itertools import takewhile

from appliance.engine.port import Message
from appliance.engine.worker.prompt import Prompter
from appliance.errors import RequestRefusedError

_QUESTIONS = ("a", "0")
"""Two questions whose first tokens differ in any vocabulary."""


def shared_beginnings(
    prompter: Prompter, system_prompts: Sequence[str], *, now: dt.datetime
) -> tuple[tuple[int, ...], ...]:
    """Return the tokens that conversations with each system prompt begin with.

    A system prompt that the model's template refuses has none.
    """
    return tuple(
        beginning
        for text in system_prompts
        if (beginning := _beginning(prompter, text, now=now))
    )


def _beginning(prompter: Prompter, text: str, *, now: dt.datetime) -> tuple[int, ...]:
    system = Message(role="system", content=text)
    try:
        first, second = (
            prompter.tokens(
                (system, Message(role="user", content=question)),
                now=now,
                check=lambda _tokens: None,
            )
            for question in _QUESTIONS
        )
    except RequestRefusedError:
        return ()
    pairs = zip(first, second, strict=False)
    return tuple(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
