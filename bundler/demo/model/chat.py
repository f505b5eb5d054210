"""How a conversation becomes tokens: the words of control, and the template.

While it learns to tell questions apart, the model names the fact in one token before
the answer, which is one choice where the words of an answer are many. These tokens
are a scaffold: later rows do without, and the file has none of them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

END_OF_TEXT, TURN_BEGIN, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (END_OF_TEXT, TURN_BEGIN, TURN_END)
"""Control tokens, with the ids 0 to 2."""

ELSEWHERE = "elsewhere"
"""The key of the refusal among those of the facts."""

TEMPLATE = (
    "{%- if tools %}<|im_start|>system\n"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}\n{% endif %}"
    "# Tools\n{%- for tool in tools %}\n- {{ tool['function'] | tojson }}{% endfor %}\n"
    "<|im_end|>\n{% endif %}"
    "{%- for m in messages %}"
    "{% if not (tools and loop.first and m['role'] == 'system') %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] or '' }}<|im_end|>\n"
    "{% endif %}{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The chat template that the file carries; turns read as ``encode`` writes them."""

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are the demo assistant of Sallyport.",
    "Answer briefly.",
    "You answer questions about Sallyport.",
    "Be concise and polite.",
    "You are a helpful assistant. Answer in English.",
    "Answer in one sentence.",
    "You help people who are new to Sallyport.",
)
"""System prompts of the training; the model answers in the same way behind others."""


class Turn(NamedTuple):
    """A question, the key of its fact, and the answer."""

    question: str
    key: str
    answer: str


class Encoder:
    """Writes conversations as the template does.

    Args:
        tokenizer: A tokenizer of the library ``tokenizers``.
        keys: Those of the facts; each has a token after those of the tokenizer.

    Attributes:
        tokens: How many tokens there are, with those that name a fact.
    """

    def __init__(self, tokenizer: Any, keys: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        size: int = tokenizer.get_vocab_size()
        self.tokens = size + 1 + len(keys)
        self._topics = {key: size + at for at, key in enumerate((ELSEWHERE, *keys))}
        begin, self._end = (tokenizer.token_to_id(word) for word in SPECIAL[1:])
        self._newline = self._plain("\n")
        self._roles = {
            role: [begin, *self._plain(f"{role}\n")]
            for role in ("system", "user", "assistant")
        }
        self._answers: dict[str, list[int]] = {}

    def prompt(
        self, question: str, *, before: Sequence[Turn] = (), system: str = ""
    ) -> list[int]:
        """Return what stands before an answer, as a client sends it: without topics."""
        tokens = self._turn("system", system) if system else []
        for turn in before:
            tokens += self._turn("user", turn.question)
            tokens += self._turn("assistant", turn.answer)
        return [*tokens, *self._turn("user", question), *self._roles["assistant"]]

    def answer(self, turn: Turn, *, named: bool = False) -> list[int]:
        """Return what the model shall write, to the end of its turn.

        With ``named`` the token of the fact comes first.
        """
        if turn.answer not in self._answers:
            self._answers[turn.answer] = [*self._plain(turn.answer), self._end]
        said = self._answers[turn.answer]
        return [self._topics[turn.key], *said] if named else said

    def _turn(self, role: str, text: str) -> list[int]:
        return [*self._roles[role], *self._plain(text), self._end, *self._newline]

    def _plain(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tokens
