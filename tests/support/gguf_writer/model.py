"""What a model to be written is made of."""

from dataclasses import dataclass
from pathlib import Path

import gguf

from tests.support.tokenizer import CHAT_TEMPLATE


@dataclass(frozen=True, kw_only=True, slots=True)
class TinyModel:
    """What to write. Embedding must divide by heads, and by 32 for ``q8_0``.

    Attributes:
        sliding_window: Tokens that the windowed layers look back; None is the
            whole context where the architecture wants a number, else no key.
        window_pattern: Every layer of this number sees all, those before it the
            window; None leaves it to llama.cpp (6).
        experts: Experts of one layer; ``experts_used`` of them see a token. Only
            mixtures have them.
        pooling: What makes one vector of an input; None is a model that writes.
        chat_template: Its source; None is the one that ``tokenizer`` has, or none.
        tokenizer: A GGUF whose vocabulary the model gets; None trains one.
    """

    architecture: str = "llama"
    name: str = "Tiny"
    layers: int = 2
    embedding: int = 64
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 128
    context: int = 512
    weights: str = "f32"
    seed: int = 1
    chat_template: str | None = CHAT_TEMPLATE
    pre_tokenizer: str | None = None
    sliding_window: int | None = None
    window_pattern: int | None = None
    experts: int = 4
    experts_used: int = 2
    pooling: gguf.PoolingType | None = None
    tokenizer: Path | None = None

    @property
    def head_size(self) -> int:
        """Elements of one attention head."""
        return self.embedding // self.heads
