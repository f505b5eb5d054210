"""An approval: the compliance officer lets one act be done on one host, once.

The host writes what it asks for to a file: the act, its values, why, who asked and
until when. The officer reads that elsewhere and signs it whole, as ``statement`` has
it. So the approval is of use for nothing but what was asked, and whoever asks cannot
approve.

An ask is canonical JSON; an approval is a statement that holds one.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from securesystemslib.signer import Signer

from bundleformat import strictjson
from bundleformat.ledger_release import ORIGIN
from bundleformat.limits import Limits
from bundleformat.moments import format_moment, parse_moment
from bundleformat.statement import Statement
from bundleformat.trust import ComplianceKeys

PAYLOAD_TYPE = "application/vnd.sallyport.approval+json"
"""What the signature says the payload is. A signature for another type is void."""

FORMAT = 1
"""The version of the payload's format, and of an ask's."""

MAX_VALUES = 16
"""Most values of an act, and most facts told beside them."""

NONCE = re.compile(r"[0-9a-f]{32}")
"""What tells one ask from every other: 16 random bytes of the host."""

ROOT = re.compile(r"[0-9a-f]{64}")
"""The root of a ledger's tree."""

SIZE = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
"""How many records a ledger has, as text: it may pass 2**53."""

NAME = re.compile(r"[a-z_]{1,32}")
"""What a value of an act, or a fact, is called."""

VALUE = re.compile(r"[ -~]{1,20000}")
"""A value or a fact: printable ASCII."""

ASKED_BY = re.compile(r"uid [0-9]{1,10}(, login [0-9]{1,10})?", re.ASCII)
"""Which account of the host asked, and which login it began as."""


class Act(StrEnum):
    """What can be asked for; the names are those of the records."""

    BODY_READ = "body.read"
    BODY_ERASED = "body.erased"
    LOG_EXPORTED = "log.exported"
    HOLD_LIFTED = "hold.lifted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """What a host asks leave for.

    Attributes:
        nonce: Tells it from every other ask.
        log: The origin of the host's ledger.
        size: How many records that had, as text.
        root: Its root then, in hexadecimal.
        act: What is to be done.
        values: With what; nothing else may be done.
        facts: What the officer is told beside it; it binds nobody.
        reason: Why, in the asker's words, on one line.
        asked_by: Which account asked.
        asked: When, UTC, whole seconds.
        expires: From when on an approval is of no use any more.
    """

    nonce: str
    log: str
    size: str
    root: str
    act: Act
    values: Mapping[str, str]
    facts: Mapping[str, str]
    reason: str
    asked_by: str
    asked: dt.datetime
    expires: dt.datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """That an act may be done, and when that was signed."""

    ask: Ask
    issued: dt.datetime


_STATEMENT: Final = Statement(
    name="approval",
    payload_type=PAYLOAD_TYPE,
    hint="Ask the compliance officer for one that a compliance key of this channel's "
    "root signed.",
)
_ASK: Final = Statement(name="ask", payload_type="", hint="")
"""Reads an ask; it is no statement, as nobody signs it by itself."""

_FIELDS = {"ask", "format", "issued"}
_TEXTS = {
    "act",
    "asked",
    "asked_by",
    "expires",
    "log",
    "nonce",
    "reason",
    "root",
    "size",
}
_ASK_FIELDS = {*_TEXTS, "facts", "format", "values"}
_FORMS = {
    "nonce": (NONCE, "32 hexadecimal digits"),
    "log": (ORIGIN, "the origin of a ledger"),
    "size": (SIZE, "a number of records"),
    "root": (ROOT, "64 hexadecimal digits"),
    "asked_by": (ASKED_BY, "uid NUMBER, login NUMBER"),
}


def encode_ask(ask: Ask) -> bytes:
    """Return the one encoding of an ask, for the file that goes to the officer.

    Raises:
        MalformedError: A field is not one that ``parse_ask`` would accept.
    """
    _check(ask, _ASK, "")
    return strictjson.encode(_ask_value(ask))


def parse_ask(data: bytes, *, limits: Limits) -> Ask:
    """Return the ask in a file; nothing says yet that a host wrote it.

    Raises:
        LimitExceededError: Larger than an ask can be.
        MalformedError: It is none, or not in canonical form.
    """
    value = strictjson.decode_canonical(
        data,
        max_bytes=limits.site_certificate_bytes,
        max_depth=limits.json_depth,
        where=_ASK.name,
    )
    return _read_ask(value, _ASK, "")


def issue(approval: Approval, *signers: Signer) -> bytes:
    """Return the approval as a signed envelope.

    ``signers`` are all keys of one holder: two in a hybrid channel.

    Raises:
        KeyFileError, UsageError: A token does not sign.
        MalformedError: A field is not one that ``parse`` would accept.
    """
    _check(approval.ask, _STATEMENT, "payload.ask.")
    payload = {
        "ask": _ask_value(approval.ask),
        "format": FORMAT,
        "issued": format_moment(approval.issued),
    }
    return _STATEMENT.sign(payload, signers)


def parse(
    envelope: bytes, *, keys: Sequence[ComplianceKeys], limits: Limits
) -> tuple[Approval, tuple[str, ...]]:
    """Return the approval in an envelope, and the ids of the keys that signed it.

    The caller MUST compare what it allows with what is to be done, its times with
    the host's clock, and see that it was not used before.

    Raises:
        LimitExceededError: Larger than an approval can be.
        MalformedError: The envelope or, once verified, its payload is not one.
        SignatureError: No channel's keys signed these bytes as this type.
    """
    payload, signed_by = _STATEMENT.open(envelope, keys=keys, limits=limits)
    fields = _STATEMENT.fields(payload, _FIELDS, "payload")
    _STATEMENT.check_format(fields["format"], "payload.format", expected=FORMAT)
    issued = _STATEMENT.text(fields["issued"], "payload.issued")
    approval = Approval(
        ask=_read_ask(fields["ask"], _STATEMENT, "payload.ask."),
        issued=parse_moment(issued, where=f"{_STATEMENT.name}: payload.issued"),
    )
    return approval, signed_by


def _ask_value(ask: Ask) -> dict[str, Any]:
    return {
        "act": str(ask.act),
        "asked": format_moment(ask.asked),
        "asked_by": ask.asked_by,
        "expires": format_moment(ask.expires),
        "facts": dict(ask.facts),
        "format": FORMAT,
        "log": ask.log,
        "nonce": ask.nonce,
        "reason": ask.reason,
        "root": ask.root,
        "size": ask.size,
        "values": dict(ask.values),
    }


def _read_ask(value: Any, form: Statement, at: str) -> Ask:  # noqa: ANN401 - JSON
    fields = form.fields(value, _ASK_FIELDS, at.rstrip("."))
    form.check_format(fields["format"], f"{at}format", expected=FORMAT)
    text = {name: form.text(fields[name], f"{at}{name}") for name in _TEXTS}
    if text["act"] not in list(Act):
        raise form.malformed(f"{at}act", f"one of {', '.join(Act)}")
    ask = Ask(
        nonce=text["nonce"],
        log=text["log"],
        size=text["size"],
        root=text["root"],
        act=Act(text["act"]),
        values=_read_values(fields["values"], form, f"{at}values"),
        facts=_read_values(fields["facts"], form, f"{at}facts"),
        reason=text["reason"],
        asked_by=text["asked_by"],
        asked=parse_moment(text["asked"], where=f"{form.name}: {at}asked"),
        expires=parse_moment(text["expires"], where=f"{form.name}: {at}expires"),
    )
    _check(ask, form, at)
    return ask


def _read_values(value: object, form: Statement, place: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise form.malformed(place, "an object")
    return {name: form.text(text, f"{place}.{name}") for name, text in value.items()}


def _check(ask: Ask, form: Statement, at: str) -> None:
    for name, (pattern, expected) in _FORMS.items():
        if not pattern.fullmatch(getattr(ask, name)):
            raise form.malformed(f"{at}{name}", expected)
    for place, values in (("values", ask.values), ("facts", ask.facts)):
        if len(values) > MAX_VALUES or not all(
            NAME.fullmatch(name) and VALUE.fullmatch(text)
            for name, text in values.items()
        ):
            raise form.malformed(
                f"{at}{place}", f"at most {MAX_VALUES} names and printable ASCII"
            )
    form.check_reason(ask.reason, f"{at}reason")
    if not ask.asked < ask.expires:
        raise form.malformed(f"{at}expires", "a time after it was asked")
