"""Turns a conversation into tokens that nobody but the template has marked up.

Control tokens (``<|im_end|>`` and its like) end turns and begin roles. A text
that spells one must not become one, or any caller could write in the system's
name. So spellings inside messages are taken out before the template runs, and
put back after it as plain text.
"""

import datetime as dt
import re
import secrets
from typing import Protocol

from appliance.engine.port import Message
from appliance.engine.template import ChatTemplate
from appliance.errors import RequestRefusedError


class Vocabulary(Protocol):
    """What this module needs of a model; see ``llama.Model``."""

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Return the tokens of ``text``; control tokens are seen if ``special``."""

    def begin(self, tokens: list[int]) -> list[int]:
        """Return ``tokens`` with a BOS in front if the vocabulary asks for one."""

    def control_texts(self) -> tuple[str, ...]:
        """Return the spelling of every control token."""


class Prompter:
    """One model's way from messages to tokens; ``template`` None refuses all."""

    def __init__(
        self, vocabulary: Vocabulary, *, template: ChatTemplate | None
    ) -> None:
        self._vocabulary = vocabulary
        self._template = template
        spellings = sorted(vocabulary.control_texts(), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, spellings)) or r"(?!)")

    def tokens(
        self, messages: tuple[Message, ...], *, now: dt.datetime
    ) -> tuple[int, ...]:
        """Return the prompt of a conversation; never empty.

        Raises:
            RequestRefusedError: The model has no template, or its template
                refuses the messages, or makes nothing of them.
        """
        if self._template is None:
            raise RequestRefusedError("this model has no chat template")
        taken: list[str] = []
        nonce = secrets.token_hex(8)
        safe = tuple(self._take_out(m, taken=taken, nonce=nonce) for m in messages)
        text = self._template.render(safe, now=now)
        tokens: list[int] = []
        for number, part in enumerate(re.split(f"\ue000{nonce}(\\d+)\ue001", text)):
            plain = number % 2 == 1
            spelled = taken[int(part)] if plain else part
            tokens += self._vocabulary.tokenize(spelled, special=not plain)
        if not tokens:
            raise RequestRefusedError(
                "the model's chat template makes nothing of these messages",
                param="messages",
            )
        return tuple(self._vocabulary.begin(tokens))

    def _take_out(self, message: Message, *, taken: list[str], nonce: str) -> Message:
        def mark(found: "re.Match[str]") -> str:
            taken.append(found[0])
            return f"\ue000{nonce}{len(taken) - 1}\ue001"

        content = self._control.sub(mark, message.content)
        return Message(role=message.role, content=content)
