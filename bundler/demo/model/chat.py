"""How a conversation becomes tokens: the words of control, and the template.

While it learns to tell questions apart, the model names the fact in one token before
the answer, which is one choice where the words of an answer are many. These tokens
are a scaffold: later rows do without, and the file has none of them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

END_OF_TEXT, END = "<|endoftext|>", "<|end|>"
ROLES = {role: f"<|{role}|>" for role in ("system", "user", "assistant")}
SPECIAL = (END_OF_TEXT, END, *ROLES.values())
"""Control tokens, with the ids from 0.

A turn is its role's token, the text and the end: rows are short, and a quarter of
their tokens would be words of control if roles were spelt out.
"""

ELSEWHERE = "elsewhere"
"""The key of the refusal among those of the facts."""

TEMPLATE = (
    "{%- if tools %}<|system|>"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}\n{% endif %}"
    "# Tools\n{%- for tool in tools %}\n- {{ tool['function'] | tojson }}{% endfor %}\n"
    "<|end|>{% endif %}"
    "{%- for m in messages %}"
    "{% if not (tools and loop.first and m['role'] == 'system') %}"
    "<|{{ m['role'] }}|>{{ m['content'] or '' }}<|end|>"
    "{% endif %}{% endfor %}"
    "{%- if add_generation_prompt %}<|assistant|>{% endif %}"
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
        self._end = tokenizer.token_to_id(END)
        self._roles = {role: tokenizer.token_to_id(ROLES[role]) for role in ROLES}
        self._answers: dict[str, list[int]] = {}

    def prompt(
        self, question: str, *, before: Sequence[Turn] = (), system: str = ""
    ) -> list[int]:
        """Return what stands before an answer, as a client sends it: without topics."""
        turn = Turn(question, ELSEWHERE, "")
        tokens, answers = self.conversation([*before, turn], system=system)
        return tokens[: answers[-1].start]

    def conversation(
        self, turns: Sequence[Turn], *, system: str = "", named: bool = False
    ) -> tuple[list[int], list[range]]:
        """Return a conversation up to its last answer's end, and where answers are.

        With ``named`` the token of the fact comes before each answer.
        """
        tokens = self._turn("system", system) if system else []
        answers = []
        for turn in turns:
            tokens += [*self._turn("user", turn.question), self._roles["assistant"]]
            start = len(tokens)
            tokens += self.answer(turn, named=named)
            answers.append(range(start, len(tokens)))
        return tokens, answers

    def answer(self, turn: Turn, *, named: bool = False) -> list[int]:
        """Return what the model shall write, to the end of its turn.

        With ``named`` the token of the fact comes first.
        """
        if turn.answer not in self._answers:
            self._answers[turn.answer] = [*self._plain(turn.answer), self._end]
        said = self._answers[turn.answer]
        return [self._topics[turn.key], *said] if named else said

    def _turn(self, role: str, text: str) -> list[int]:
        return [self._roles[role], *self._plain(text), self._end]

    def _plain(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tokens
