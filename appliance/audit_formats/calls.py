"""Who used which model with which class of data, and which calls were refused.

A call's tokens are in its ``llm.response``, its model and class in its
``llm.request``; the two are brought together by the number that the one names. Memory
is bounded whatever the ledger holds: so many rows, so many calls without an end, and
of each code so many refusals one by one.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from appliance.audit_formats.record import AuditRecord

MAX_USES: Final = 1_000
"""Teams with a model and a class that are counted one by one."""

MAX_OPEN: Final = 10_000
"""Calls whose end may be still to come; of more the oldest is forgotten."""

MAX_OF_A_CODE: Final = 100
"""Refusals of one code that are listed: a flood of one hides none of another."""

MAX_CODES: Final = 50
"""Codes of which refusals are listed."""

MAX_IDS: Final = 8
"""Policies of one refusal that are named."""

OTHERS: Final = "(others)"
"""What is beyond a limit is counted under this."""

ELSEWHERE: Final = "(not in these records)"
"""The model and class of an answer whose request is in another export."""


class Used(NamedTuple):
    """What a row is about; each is empty where the record names none."""

    team: str
    model: str
    data_class: str


_OTHERS: Final = Used(OTHERS, OTHERS, OTHERS)


@dataclass(kw_only=True, slots=True)
class Usage:
    """How much of it there was, from the first to the last time."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first: str = ""
    last: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """One record of a refusal, as far as it is told here.

    Attributes:
        model: The name of a model that this host knows.
        unknown_sha256: The digest of the name of one that it does not.
        policies: What refused it, at most ``MAX_IDS`` of them.
        more_policies: How many others did.
        calls: How many calls the record stands for.
    """

    seq: int
    ts: str
    team: str
    key_id: str
    model: str
    unknown_sha256: str
    data_class: str
    code: str
    policies: tuple[str, ...]
    more_policies: int
    calls: int


@dataclass(kw_only=True, slots=True)
class Calls:
    """What a pass over the records found of calls.

    Attributes:
        uses: By team, model and class; tokens are those of calls that ended.
        listed: Refusals, in their order.
        unlisted: How many refused calls none of these stands for, by code.
    """

    uses: dict[Used, Usage] = field(default_factory=dict)
    listed: list[Refusal] = field(default_factory=list)
    unlisted: Counter[str] = field(default_factory=Counter)
    _of_a_code: Counter[str] = field(default_factory=Counter)
    _open: OrderedDict[str, Used] = field(default_factory=OrderedDict)

    def take(self, record: AuditRecord) -> None:
        """Count one record; those that are of no call are passed over."""
        event = record.text("event")
        if event == "llm.request":
            self._begin(record)
        elif event == "llm.response":
            self._end(record)
        elif event == "llm.aborted":
            self._open.pop(record.text("parent"), None)
        elif event == "llm.refused":
            self._refuse(record)

    def _begin(self, record: AuditRecord) -> None:
        used = Used(
            record.text("team"),
            record.text("model", "name"),
            record.text("labels", "class"),
        )
        self._usage(used, record).calls += 1
        self._open[str(record.seq)] = used
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)

    def _end(self, record: AuditRecord) -> None:
        used = self._open.pop(record.text("parent"), None)
        if used is None:
            used = Used(record.text("team"), ELSEWHERE, ELSEWHERE)
        usage = self._usage(used, record)
        usage.prompt_tokens += record.count("prompt_tokens")
        usage.completion_tokens += record.count("completion_tokens")

    def _usage(self, used: Used, record: AuditRecord) -> Usage:
        if used not in self.uses and len(self.uses) >= MAX_USES:
            used = _OTHERS
        usage = self.uses.setdefault(used, Usage())
        # A clock that was set back may give an earlier time to a later record.
        times = [each for each in (usage.first, usage.last, record.text("ts")) if each]
        usage.first, usage.last = min(times, default=""), max(times, default="")
        return usage

    def _refuse(self, record: AuditRecord) -> None:
        code = record.text("code")
        if code not in self._of_a_code and len(self._of_a_code) >= MAX_CODES:
            code = OTHERS
        if code != OTHERS and self._of_a_code[code] < MAX_OF_A_CODE:
            self._of_a_code[code] += 1
            self.listed.append(_refusal(record))
        else:
            self.unlisted[code] += stands_for(record)


def stands_for(record: AuditRecord) -> int:
    """Return how many calls the record of a refusal stands for: more in a flood."""
    return 1 + record.count("left_out")


def _refusal(record: AuditRecord) -> Refusal:
    listed = record.at("policy", "ids")
    ids = [str(each) for each in listed] if isinstance(listed, list) else []
    return Refusal(
        seq=record.seq,
        ts=record.text("ts"),
        team=record.text("team"),
        key_id=record.text("actor", "key_id"),
        model=record.text("model", "name"),
        unknown_sha256=record.text("model", "name_sha256"),
        data_class=record.text("labels", "class"),
        code=record.text("code"),
        policies=tuple(ids[:MAX_IDS]),
        more_policies=len(ids[MAX_IDS:]),
        calls=stands_for(record),
    )
