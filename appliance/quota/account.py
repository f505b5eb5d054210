"""One team's account: its places, its minute and its day; pure.

Everything is checked before anything is taken, and taken before any work, so that
requests which come at one moment cannot all pass the same check.
"""

import datetime as dt
from typing import Literal

from appliance.errors import RateLimitError
from appliance.quota.allowance import Allowance
from appliance.quota.bucket import Bucket
from appliance.quota.moment import Moment
from appliance.quota.standing import Left, Standing

RETRY_AFTER_S = 2.0
"""When to come back if nobody knows when a place will be free. Unit: seconds."""


class Account:
    """What one team holds and has used."""

    def __init__(self, allowed: Allowance, *, used_today: int, at: Moment) -> None:
        self.places = 0
        self._requests = Bucket(allowed.requests_per_minute, now_ns=at.ns)
        self._tokens = Bucket(allowed.tokens_per_minute, now_ns=at.ns)
        self._day = at.day
        self._used_today = used_today
        self._held_tokens = 0

    def check(self, allowed: Allowance, *, guess: int, at: Moment) -> None:
        """Return if the team may begin a request of about ``guess`` tokens now.

        A day's last tokens are not refused by a guess: any are enough.

        Raises:
            RateLimitError: It may not; nothing was taken.
        """
        most = allowed.running + allowed.queued
        if self.places >= most:
            raise self._refusal(
                f"this team has {self.places} requests running or waiting, at most "
                f"{most}",
                "requests",
                allowed=allowed,
                wait_s=RETRY_AFTER_S,
                at=at,
            )
        wait_s = self._requests.wait_s(1, allowed.requests_per_minute, now_ns=at.ns)
        if wait_s > 0:
            raise self._refusal(
                f"this team may begin {allowed.requests_per_minute} requests in a "
                "minute",
                "requests",
                allowed=allowed,
                wait_s=wait_s,
                at=at,
            )
        self._check_day(allowed, 1, at=at)
        self._check_minute(allowed, guess, at=at)

    def enter(self, tokens: int) -> None:
        """Take a place and ``tokens``; ``check`` MUST have allowed it just now."""
        self.places += 1
        self._requests.move(1)
        self._hold(tokens)

    def leave(self, *, held: int, used: int, at: Moment) -> None:
        """Give the place back, and what was held beyond what was ``used``."""
        self.places -= 1
        self._hold(-held)
        self._tokens.move(used)
        self._turn(at.day)
        self._used_today += used

    def grow(self, allowed: Allowance, *, held: int, needed: int, at: Moment) -> None:
        """Hold ``needed`` tokens in place of the ``held`` ones.

        Raises:
            RateLimitError: There are not as many left; those held stay held.
        """
        self._hold(-held)
        try:
            self._check_day(allowed, needed, at=at)
            self._check_minute(allowed, needed, at=at)
        except RateLimitError:
            self._hold(held)
            raise
        self._hold(needed)

    def standing(self, allowed: Allowance, *, at: Moment) -> Standing:
        """Return what is left of the limits."""
        day_left = self._day_left(allowed, at.day)
        minute = _left(self._tokens, allowed.tokens_per_minute, at=at)
        day = Left(
            limit=allowed.tokens_per_day,
            remaining=max(0, day_left),
            reset_s=at.left_of_day_s,
        )
        return Standing(
            requests=_left(self._requests, allowed.requests_per_minute, at=at),
            tokens=day if day.remaining < minute.remaining else minute,
        )

    def _check_day(self, allowed: Allowance, tokens: int, *, at: Moment) -> None:
        if tokens > self._day_left(allowed, at.day):
            raise self._refusal(
                f"this team may use {allowed.tokens_per_day} tokens in a day, and "
                f"this request may need {tokens}",
                "tokens",
                allowed=allowed,
                wait_s=at.left_of_day_s,
                at=at,
            )

    def _check_minute(self, allowed: Allowance, tokens: int, *, at: Moment) -> None:
        # One request may take a whole minute's tokens and leave a debt: it could
        # never be served otherwise, and the rate holds all the same.
        limit = allowed.tokens_per_minute
        wait_s = self._tokens.wait_s(min(tokens, limit), limit, now_ns=at.ns)
        if wait_s > 0:
            raise self._refusal(
                f"this team may use {limit} tokens in a minute, and this request may "
                f"need {tokens}",
                "tokens",
                allowed=allowed,
                wait_s=wait_s,
                at=at,
            )

    def _hold(self, tokens: int) -> None:
        self._tokens.move(tokens)
        self._held_tokens += tokens

    def _day_left(self, allowed: Allowance, day: dt.date) -> int:
        self._turn(day)
        return allowed.tokens_per_day - self._used_today - self._held_tokens

    def _turn(self, day: dt.date) -> None:
        if day != self._day:
            self._day = day
            self._used_today = 0

    def _refusal(
        self,
        problem: str,
        kind: Literal["requests", "tokens"],
        *,
        allowed: Allowance,
        wait_s: float,
        at: Moment,
    ) -> RateLimitError:
        return RateLimitError(
            problem,
            kind=kind,
            retry_after_s=wait_s,
            headers=self.standing(allowed, at=at).headers(),
        )


def _left(bucket: Bucket, limit: int, *, at: Moment) -> Left:
    remaining = max(0, int(bucket.left(limit, now_ns=at.ns)))
    return Left(
        limit=limit,
        remaining=remaining,
        reset_s=bucket.wait_s(limit, limit, now_ns=at.ns),
    )
