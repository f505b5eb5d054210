"""One request inside the engine: its tokens, its place, its text so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.engine.port import Sampling
from appliance.engine.scheduling.paths import Path
from appliance.engine.scheduling.speculation import Lookup
from appliance.engine.scheduling.textstream import TextStream


@dataclass(kw_only=True, slots=True)
class Request:
    """A request from its place in the queue to its last token.

    Attributes:
        request_id: Its name.
        tenant: Whose it is.
        weight: The tenant's share beside others'.
        priority: The lower number goes first.
        prompt: Tokens of the conversation.
        sampling: How tokens are chosen.
        max_new: Tokens that the answer may have.
        since_s: When it came.
        expires_s: When it has waited too long.
        text: What of the answer may be shown.
        generated: Tokens of the answer.
        sequence: Its number in the cache, or -1.
        position: Tokens of prompt and answer that are in the cache.
        path: What of it was known when it was admitted; computed as a prompt.
        reused: Tokens of its prompt that others had computed.
        passed: How often another was admitted while this one did not fit.
        spared: Whether it runs on what is kept for tenants of whom nothing ran.
        queued_s: How long it waited for its cells.
        lookup: What guesses its next tokens, or None.
        in_common: Tokens that it begins with in common with others that run.
    """

    request_id: str
    tenant: str
    weight: int
    priority: int
    prompt: tuple[int, ...]
    sampling: Sampling
    max_new: int
    since_s: float
    expires_s: float
    text: TextStream
    generated: list[int] = field(default_factory=list)
    sequence: int = -1
    position: int = 0
    path: Path | None = None
    reused: int = 0
    passed: int = 0
    spared: bool = False
    queued_s: float = 0.0
    lookup: Lookup | None = None
    in_common: dict[str, int] = field(default_factory=dict)

    @property
    def need_cells(self) -> int:
        """Cells that it will need at most."""
        return len(self.prompt) + self.max_new

    @property
    def pending(self) -> int:
        """Tokens not yet in the cache; 1 while an answer grows."""
        return len(self.prompt) + len(self.generated) - self.position

    @property
    def answering(self) -> bool:
        """Whether only its newest token is not in the cache."""
        return self.pending == 1 and bool(self.generated)

    @property
    def behind_path(self) -> int:
        """Cells of the answer, which no other sequence can share yet."""
        return 0 if self.path is None else max(0, self.position - self.path.size)

    @property
    def left(self) -> int:
        """Tokens that the answer may still have."""
        return self.max_new - len(self.generated)

    def add(self, token: int) -> None:
        """Note the next token of the answer."""
        self.generated.append(token)
        if self.lookup is not None:
            self.lookup.add(token)

    def tokens(self, count: int) -> Sequence[int]:
        """Return the next ``count`` tokens that are not in the cache."""
        if self.answering:
            return (self.generated[-1],)
        begin, size = self.position, len(self.prompt)
        if begin + count <= size:
            return self.prompt[begin : begin + count]
        whole = (*self.prompt, *self.generated)
        return whole[begin : begin + count]
