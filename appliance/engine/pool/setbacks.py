"""What went wrong with one model, and what follows from it; pure.

A load that failed is not tried again at once, so that requests for a broken model
do not cost a load each. A model whose process dies too often is taken out: nothing
is started any more until somebody gives it another try. That others have its room
is no fault of the model, and keeps nobody from trying again.
"""

from dataclasses import dataclass

from appliance.engine.pool.crashes import CrashWindow
from appliance.engine.supervisor import Crash
from appliance.errors import ModelUnavailableError, NoRoomError
from appliance.settings import ModelSettings
from bundleformat.errors import Error

RETRY_MIN_S = 1.0
"""First wait before a load that failed is tried again; it doubles each time."""

RETRY_MAX_S = 60.0
"""Longest such wait."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenOut:
    """A model that crashed too often, and the last of its crashes."""

    name: str
    crashes: int
    window_s: int
    exit_status: int


class Setbacks:
    """The failures and crashes of one model.

    Attributes:
        failure: Why the last load came to nothing; None after one that did not.
        taken_out: Why no engine is started any more, or None.
    """

    def __init__(self, models: ModelSettings) -> None:
        self.failure: Error | None = None
        self.taken_out: TakenOut | None = None
        self._limit, self._window_s = models.crash_limit, models.crash_window_s
        self._crashes = CrashWindow(limit=self._limit, window_s=self._window_s)
        self._wait_s = RETRY_MIN_S
        self._until_s = 0.0

    @property
    def lacks_room(self) -> bool:
        """Whether the last load came to nothing for want of room alone."""
        return isinstance(self.failure, NoRoomError)

    def rests(self, now_s: float) -> bool:
        """Whether it is too early to load it again."""
        return self.taken_out is not None or now_s < self._until_s

    def failed(self, error: Error, *, now_s: float) -> None:
        """Note why a load came to nothing."""
        self.failure = error
        if not self.lacks_room:
            self._until_s = now_s + self._wait_s
            self._wait_s = min(2 * self._wait_s, RETRY_MAX_S)

    def loaded(self) -> None:
        """Note that a load succeeded."""
        self.failure, self._wait_s, self._until_s = None, RETRY_MIN_S, 0.0

    def crashed(self, crash: Crash, *, name: str, now_s: float) -> bool:
        """Note a crash of the model called ``name``; return whether it is taken out."""
        if crash.died and self._crashes.note(now_s):
            self.taken_out = TakenOut(
                name=name,
                crashes=self._limit,
                window_s=self._window_s,
                exit_status=crash.exit_status,
            )
        return self.taken_out is not None

    def forget(self) -> None:
        """Give the model another try."""
        self.taken_out = None
        self.loaded()
        self._crashes.forget()

    def check(self, now_s: float) -> None:
        """Refuse a request for a model that is not to be loaded now.

        Raises:
            ModelUnavailableError: It was taken out, or its last load has just failed.
        """
        if self.taken_out is not None:
            raise ModelUnavailableError(_why(self.taken_out))
        if self.failure is not None and self.rests(now_s):
            raise _unavailable(self.failure, left_s=self._until_s - now_s)

    def check_loaded(self, now_s: float) -> None:
        """Refuse a request whose model has just not been loaded.

        Raises:
            NoRoomError: Nobody could be unloaded for it.
            ModelUnavailableError: It was taken out, or the load failed.
        """
        self.check(now_s)
        if isinstance(self.failure, NoRoomError):
            raise self.failure.with_traceback(None)
        if self.failure is not None:
            raise _unavailable(self.failure, left_s=RETRY_MIN_S)


def _unavailable(error: Error, *, left_s: float) -> ModelUnavailableError:
    # Where it failed is the operator's business: callers are told what, not where.
    return ModelUnavailableError(
        f"the model cannot be loaded: {error.problem}",
        retry_after_s=max(1, round(left_s)),
    )


def _why(taken_out: TakenOut) -> str:
    return (
        f"the model was taken out after {taken_out.crashes} crashes within "
        f"{taken_out.window_s} seconds; the operator gives it another try with "
        "sallyport model restore, or by starting the server again"
    )
