"""Turns a conversation into tokens that nobody but the template has marked up.

Control tokens (``<|im_end|>`` and its like) end turns and begin roles. A text
that spells one must not become one, or any caller could write in the system's
name. So spellings inside messages are taken out before the template runs, and
put back after it as plain text.

Tokenizing is what a long text costs, and nobody else is served meanwhile. So the
caller hears how many tokens there will be at least before the first text is
tokenized, and again after each, and may stop it.
"""

import datetime as dt
import re
import secrets
from collections.abc import Callable
from typing import Protocol

from appliance.engine.port import Message
from appliance.engine.scheduling.admission import least_tokens
from appliance.engine.worker.runs import cut_long_runs
from appliance.engine.worker.template import ChatTemplate
from appliance.errors import RequestRefusedError


class Vocabulary(Protocol):
    """What this module needs of a model; see ``llama.Model``."""

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Return the tokens of ``text``; control tokens are seen if ``special``."""

    def begin(self, tokens: list[int]) -> list[int]:
        """Return ``tokens`` with a BOS in front if the vocabulary asks for one."""

    def control_texts(self) -> tuple[str, ...]:
        """Return the spelling of every control token."""

    def longest_token_bytes(self) -> int | None:
        """Return how many bytes of UTF-8 one token stands for at most; None: any."""


class Prompter:
    """One model's way from messages to tokens; ``template`` None refuses all.

    Attributes:
        longest_token_bytes: What the vocabulary says of itself.
    """

    def __init__(
        self, vocabulary: Vocabulary, *, template: ChatTemplate | None
    ) -> None:
        self._vocabulary = vocabulary
        self._template = template
        self.longest_token_bytes = vocabulary.longest_token_bytes()
        spellings = sorted(vocabulary.control_texts(), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, spellings)) or r"(?!)")

    def tokens(
        self,
        messages: tuple[Message, ...],
        *,
        now: dt.datetime,
        check: Callable[[int], object],
    ) -> tuple[int, ...]:
        """Return the prompt of a conversation; never empty.

        ``check`` is told how many tokens the prompt has at least; what it raises
        ends the work.

        Raises:
            RequestRefusedError: The model has no template, or its template
                refuses the messages, or makes nothing of them.
        """
        parts = self._parts(messages, now=now)
        least = sum(self._least(text) for text, _ in parts)
        check(least)
        tokens: list[int] = []
        before = 0
        for text, special in parts:
            for piece in cut_long_runs(text, whole=self._control):
                tokens += self._vocabulary.tokenize(piece, special=special)
            least += len(tokens) - before - self._least(text)
            before = len(tokens)
            check(least)
        if not tokens:
            raise RequestRefusedError(
                "the model's chat template makes nothing of these messages",
                param="messages",
            )
        return tuple(self._vocabulary.begin(tokens))

    def _parts(
        self, messages: tuple[Message, ...], *, now: dt.datetime
    ) -> list[tuple[str, bool]]:
        """Return the rendered text in parts, each with who wrote it.

        True is the template's: control tokens are seen in it.
        """
        if self._template is None:
            raise RequestRefusedError("this model has no chat template")
        taken: list[str] = []
        nonce = secrets.token_hex(8)
        safe = tuple(self._take_out(m, taken=taken, nonce=nonce) for m in messages)
        text = self._template.render(safe, now=now)
        parts: list[tuple[str, bool]] = []
        for number, part in enumerate(re.split(f"\ue000{nonce}(\\d+)\ue001", text)):
            if number % 2:
                # In two pieces, because a vocabulary may recognise a spelling even
                # where control tokens are not to be seen.
                spelling = taken[int(part)]
                parts += [(spelling[:1], False), (spelling[1:], False)]
            else:
                parts.append((part, True))
        return parts

    def _least(self, text: str) -> int:
        return least_tokens(
            len(text.encode("utf-8", "replace")),
            longest_token_bytes=self.longest_token_bytes,
        )

    def _take_out(self, message: Message, *, taken: list[str], nonce: str) -> Message:
        def mark(found: "re.Match[str]") -> str:
            taken.append(found[0])
            return f"\ue000{nonce}{len(taken) - 1}\ue001"

        content = self._control.sub(mark, message.content)
        return Message(role=message.role, content=content)
