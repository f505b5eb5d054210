"""What all requests of a host hold, counted before any work; pure.

A request holds a place of its team and of this host, the bytes of its body until
it was counted, and tokens: first an estimate by its size, then its prompt and its
longest answer, in the end what it used. Nothing is taken before all is checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.errors import OverloadedError
from appliance.quota.account import RETRY_AFTER_S, Account
from appliance.quota.allowance import Allowance
from appliance.quota.moment import Moment
from appliance.quota.places import Places
from appliance.quota.standing import Standing
from appliance.settings import LimitSettings

BYTES_PER_TOKEN = 4
"""How many bytes of a body are expected to make a token, until they are counted."""


@dataclass(kw_only=True, slots=True)
class Hold:
    """What one request holds until ``Quota.leave``."""

    team: str
    allowed: Allowance
    tokens: int
    waiting_tokens: int
    body_bytes: int
    model: str | None = None
    left: bool = False


class Quota:
    """Everything that is held and used on one host.

    Args:
        limits: Those of the host.
        places: Requests that one engine holds, running and waiting.
        context_tokens: Tokens that one request may have at most.
        used_today: Tokens that each team has used today.
        at: When that was so.
    """

    def __init__(
        self,
        limits: LimitSettings,
        *,
        places: int,
        context_tokens: int,
        used_today: Mapping[str, int],
        at: Moment,
    ) -> None:
        self._limits = limits
        self._places = places
        self._context_tokens = context_tokens
        self._used_today = dict(used_today)
        self._began = at.day
        self._accounts: dict[str, Account] = {}
        self._host = Places()
        self._models: dict[str, Places] = {}
        self._bodies_bytes = 0
        self._waiting_tokens = 0

    def enter(
        self,
        team: str,
        allowed: Allowance,
        *,
        body_bytes: int,
        text_bytes: int,
        engines: int,
        at: Moment,
    ) -> Hold:
        """Let a request in whose body has not been read.

        Args:
            team: Whose it is.
            allowed: What the team may take.
            body_bytes: Largest size its body may turn out to have.
            text_bytes: The size that its caller announced; 0 if it did not.
            engines: How many engines there are to hold it.
            at: Now.

        Raises:
            RateLimitError: The team has reached a limit of its own.
            OverloadedError: The host holds as much as it can.
        """
        account = self._account(team, allowed, at=at)
        # A guess shuts nobody out for good: it is never above what a limit gives.
        tokens = min(
            1 + text_bytes // BYTES_PER_TOKEN,
            self._context_tokens,
            allowed.tokens_per_minute,
        )
        account.check(allowed, guess=tokens, at=at)
        if not self._host.may_enter(team, places=self._places * engines):
            raise _overloaded("the queue is full")
        if self._bodies_bytes + body_bytes > self._limits.bodies_bytes:
            raise _overloaded("too many bytes of request bodies are being read")
        self._check_waiting(tokens)
        account.enter(tokens)
        self._host.enter(team)
        self._bodies_bytes += body_bytes
        self._waiting_tokens += tokens
        return Hold(
            team=team,
            allowed=allowed,
            tokens=tokens,
            waiting_tokens=tokens,
            body_bytes=body_bytes,
        )

    def choose(self, hold: Hold, model: str) -> None:
        """Take a place of the engine of ``model``, which the body named.

        Raises:
            OverloadedError: That engine's queue is full.
        """
        taken = self._models.setdefault(model, Places())
        if not taken.may_enter(hold.team, places=self._places):
            raise _overloaded("the queue of this model is full")
        taken.enter(hold.team)
        hold.model = model

    def counted(
        self, hold: Hold, *, prompt_tokens: int, new_tokens: int, at: Moment
    ) -> None:
        """Hold the tokens that a request may need, now that they are known.

        Raises:
            RateLimitError: The team has not as many left.
            OverloadedError: Too many tokens wait already.
        """
        self._bodies_bytes -= hold.body_bytes
        hold.body_bytes = 0
        self._waiting_tokens -= hold.waiting_tokens
        hold.waiting_tokens = 0
        self._check_waiting(prompt_tokens)
        needed = prompt_tokens + new_tokens
        account = self._accounts[hold.team]
        account.grow(hold.allowed, held=hold.tokens, needed=needed, at=at)
        hold.tokens = needed
        hold.waiting_tokens = prompt_tokens
        self._waiting_tokens += prompt_tokens

    def begun(self, hold: Hold) -> None:
        """Count a request no longer among those whose answer has not begun."""
        self._waiting_tokens -= hold.waiting_tokens
        hold.waiting_tokens = 0

    def leave(self, hold: Hold, *, used_tokens: int, at: Moment) -> None:
        """Give everything back and count what was used; harmless when repeated."""
        if hold.left:
            return
        hold.left = True
        self.begun(hold)
        self._bodies_bytes -= hold.body_bytes
        self._host.leave(hold.team)
        if hold.model is not None:
            self._models[hold.model].leave(hold.team)
            if not self._models[hold.model].taken:
                del self._models[hold.model]
        account = self._accounts[hold.team]
        account.leave(held=hold.tokens, used=used_tokens, at=at)

    def standing(self, hold: Hold, *, at: Moment) -> Standing:
        """Return how a request's team stands with its limits."""
        return self._accounts[hold.team].standing(hold.allowed, at=at)

    def _account(self, team: str, allowed: Allowance, *, at: Moment) -> Account:
        account = self._accounts.get(team)
        if account is None:
            used = self._used_today.get(team, 0) if at.day == self._began else 0
            account = Account(allowed, used_today=used, at=at)
            self._accounts[team] = account
        return account

    def _check_waiting(self, tokens: int) -> None:
        waiting = self._waiting_tokens
        # A single prompt is bounded by the context; it may wait alone.
        if waiting and waiting + tokens > self._limits.queued_tokens:
            raise _overloaded("too many tokens are waiting")


def _overloaded(problem: str) -> OverloadedError:
    return OverloadedError(problem, retry_after_s=int(RETRY_AFTER_S))
