"""Makes the next version of a root, before anybody signs it.

Pure: bytes of a root in, bytes of its successor without a signature out. Every
change is checked against the rules of ``root_rules.py`` at once, so a root that
breaks one never reaches a holder. Changes add up: the first begins version N+1,
the following ones edit it, and each drops the signatures collected before it,
because they were made over something else.

Source: TUF specification 1.0, sections 4.3 and 6.1 (key management and migration).
"""

import datetime as dt
from dataclasses import dataclass

from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, Root

from bundleformat.errors import ConflictError, MissingError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.profile import parse_profile, tuf_threshold
from bundleformat.trust import COMPLIANCE_FIELD, parse_root
from bundler.errors import RootRuleError
from bundler.roots.rules import (
    HOLDER_HAS,
    TUF_ROLES,
    HolderRole,
    check_root_rules,
    holders_of,
    keys_of,
    kind_of,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AddKeys:
    """Give ``role`` to one holder: one key, or in a hybrid channel one of each kind."""

    role: HolderRole
    keys: tuple[SSlibKey, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoveKeys:
    """Take ``role`` from keys: from then on hosts refuse what they sign."""

    role: HolderRole
    key_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SetThreshold:
    """Ask for the signatures of ``holders`` people of ``role``."""

    role: HolderRole
    holders: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Renew:
    """Let the root live until ``expires``."""

    expires: dt.datetime


Change = AddKeys | RemoveKeys | SetThreshold | Renew
"""One edit of a root."""


def begin_next(current: bytes) -> bytes:
    """Return the version after ``current``, which says the same and is not signed.

    Raises:
        MalformedError, LimitExceededError: ``current`` is no root.
    """
    metadata = parse_root(current, where="root", limits=DEFAULT_LIMITS)
    metadata.signed.version += 1
    return _unsigned(metadata.signed)


def changed(pending: bytes, change: Change) -> bytes:
    """Return ``pending`` with ``change`` made, and without any signature.

    Raises:
        ConflictError: It would change nothing.
        MissingError: A key to remove does not hold the role.
        RootRuleError: The root would break a rule that every root keeps.
        MalformedError, LimitExceededError: ``pending`` is no root.
    """
    root = parse_root(pending, where="root", limits=DEFAULT_LIMITS).signed
    before = _unsigned(root)
    match change:
        case AddKeys():
            _add(root, change)
        case RemoveKeys():
            _remove(root, change)
        case SetThreshold():
            _set_threshold(root, change)
        case Renew():
            root.expires = change.expires
    after = _unsigned(root)
    if after == before:
        raise ConflictError("the root says so already", where=f"root {root.version}")
    check_root_rules(root)
    return after


def _unsigned(root: Root) -> bytes:
    return Metadata(root).to_bytes()


def _add(root: Root, change: AddKeys) -> None:
    profile = parse_profile(root)
    if len(change.keys) != tuf_threshold(profile, holders=1):
        raise RootRuleError(
            f"not the keys of one holder in a {profile} channel",
            where=change.role,
            expected=HOLDER_HAS[profile],
            actual=" and ".join(kind_of(key) for key in change.keys),
            hint="Make the key again with `keygen --kind`.",
        )
    for key in change.keys:
        if key.keyid in keys_of(root, change.role):
            raise ConflictError(
                f"this key is a {change.role} key already",
                where=change.role,
                actual=key.keyid,
            )
        for role in TUF_ROLES[change.role]:
            root.add_key(key, role)
        if change.role == "compliance":
            root.unrecognized_fields.setdefault(COMPLIANCE_FIELD, {})[key.keyid] = (
                key.to_dict()
            )


def _remove(root: Root, change: RemoveKeys) -> None:
    for key_id in change.key_ids:
        held = keys_of(root, change.role)
        if key_id not in held:
            raise MissingError(
                f"this key is no {change.role} key",
                where=change.role,
                expected=" or ".join(held),
                actual=key_id,
                hint="`root show` lists every key of every role.",
            )
        for role in TUF_ROLES[change.role]:
            root.revoke_key(key_id, role)
        if change.role == "compliance":
            del root.unrecognized_fields[COMPLIANCE_FIELD][key_id]


def _set_threshold(root: Root, change: SetThreshold) -> None:
    if change.role == "compliance":
        raise RootRuleError(
            "one compliance holder signs a site certificate, always",
            where=change.role,
            expected="root, release or bundler",
        )
    if change.holders == holders_of(root, change.role):
        raise ConflictError(
            "the threshold is so already",
            where=change.role,
            actual=str(change.holders),
        )
    for role in TUF_ROLES[change.role]:
        root.roles[role].threshold = tuf_threshold(
            parse_profile(root), holders=change.holders
        )
