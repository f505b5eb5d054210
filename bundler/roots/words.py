"""Says in plain words what a root changes against the one before.

Pure. Whoever signs a root must see everything that they sign, so what this module
has no words for is named as a field that differs, never left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tuf.api.metadata import Root

from bundleformat.moments import format_moment
from bundleformat.profile import PROFILE_FIELD
from bundleformat.trust import CHANNEL_FIELD, COMPLIANCE_FIELD
from bundler.roots.rules import (
    HOLDER_ROLES,
    HolderRole,
    beside_id,
    holders_of,
    keys_of,
    kind_of,
)
from bundler.signing.holder import holder_of


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleChange:
    """What changes for the holders of one role.

    Attributes:
        role: Which role.
        added: Ids of the keys that get it, and what is read beside them.
        removed: The same of the keys that lose it.
        holders: How many people must sign, before and after.
    """

    role: HolderRole
    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    holders: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class RootChanges:
    """What a root changes.

    Attributes:
        roles: The roles that change.
        expires: When the root must be replaced, before and after.
        other: Names of all further fields that differ.
    """

    roles: tuple[RoleChange, ...]
    expires: tuple[str, str]
    other: tuple[str, ...]


_NO_ROOT: Final = "nothing"

_EXPECTED: Final = frozenset(
    {
        "_type",
        "consistent_snapshot",
        "spec_version",
        CHANNEL_FIELD,
        PROFILE_FIELD,
    }
)
"""What a first root says besides that has one value only, or is shown elsewhere."""


def changes_between(before: Root | None, after: Root) -> RootChanges:
    """Return what ``after`` changes; of a first root, everything."""
    found = (_role_change(before, after, role) for role in HOLDER_ROLES)
    return RootChanges(
        roles=tuple(
            one
            for one in found
            if one.added or one.removed or one.holders[0] != one.holders[1]
        ),
        expires=(
            format_moment(before.expires) if before else _NO_ROOT,
            format_moment(after.expires),
        ),
        other=_other(before, after),
    )


def change_lines(changes: RootChanges) -> tuple[str, ...]:
    """Return what a person reads of the changes."""
    lines = tuple(_lines(changes))
    return lines or ("nothing but its version changes",)


def changes_value(changes: RootChanges) -> dict[str, Any]:
    """Return what ``--json`` shows of the changes."""
    return {
        "roles": {
            one.role: {
                "added": [key_id for key_id, _ in one.added],
                "removed": [key_id for key_id, _ in one.removed],
                "holders": list(one.holders),
            }
            for one in changes.roles
        },
        "expires": list(changes.expires),
        "other": list(changes.other),
    }


def role_lines(root: Root) -> tuple[str, ...]:
    """Return who holds which role in a root, for reading."""
    return tuple(
        line
        for role in HOLDER_ROLES
        for line in (
            f"{role}: {_people(holders_of(root, role))} must sign, of these keys",
            *(
                f"  {key_id}  {beside_id(key)}"
                for key_id, key in keys_of(root, role).items()
            ),
        )
    )


def roles_value(root: Root) -> dict[str, Any]:
    """Return what ``--json`` shows of who holds which role."""
    return {
        role: {
            "holders": holders_of(root, role),
            "keys": {
                key_id: kind_of(key) for key_id, key in keys_of(root, role).items()
            },
            "holder_names": {
                key_id: holder_of(key)
                for key_id, key in keys_of(root, role).items()
                if holder_of(key)
            },
        }
        for role in HOLDER_ROLES
    }


def _role_change(before: Root | None, after: Root, role: HolderRole) -> RoleChange:
    old, new = _keys(before, role), _keys(after, role)
    return RoleChange(
        role=role,
        added=tuple(sorted((key_id, said) for key_id, said, _ in new - old)),
        removed=tuple(sorted((key_id, said) for key_id, said, _ in old - new)),
        holders=(holders_of(before, role) if before else 0, holders_of(after, role)),
    )


def _keys(root: Root | None, role: HolderRole) -> set[tuple[str, str, str]]:
    # With the key itself: another key under a known id is another key.
    if root is None:
        return set()
    return {
        (key_id, beside_id(key), repr(key.to_dict()))
        for key_id, key in keys_of(root, role).items()
    }


def _other(before: Root | None, after: Root) -> tuple[str, ...]:
    new = _rest(after)
    if before is None:
        return tuple(sorted(key for key in new if new[key] and key not in _EXPECTED))
    old = _rest(before)
    return tuple(
        sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    )


def _rest(root: Root) -> dict[str, Any]:
    """Return the fields that ``RootChanges`` has no words for."""
    rest = root.to_dict()
    roles = rest.pop("roles")
    for key in ("expires", "keys", "version", COMPLIANCE_FIELD):
        rest.pop(key, None)
    for name, role in roles.items():
        for key in ("keyids", "threshold"):
            del role[key]
        rest[f"roles.{name}"] = role
    used = {key_id for role in root.roles.values() for key_id in role.keyids}
    rest["unused keys"] = sorted(root.keys.keys() - used)
    return rest


def _lines(changes: RootChanges) -> Iterator[str]:
    for one in changes.roles:
        for key_id, said in one.removed:
            yield f"{one.role} loses  {key_id}  {said}"
        for key_id, said in one.added:
            yield f"{one.role} gains  {key_id}  {said}"
        if one.holders[0] != one.holders[1]:
            was = f", was {one.holders[0]}" if one.holders[0] else ""
            yield f"{one.role} needs  {_people(one.holders[1])} to sign{was}"
    if changes.expires[0] != changes.expires[1]:
        was = "" if changes.expires[0] == _NO_ROOT else f", was {changes.expires[0]}"
        yield f"expires       {changes.expires[1]}{was}"
    for name in changes.other:
        yield f"differs       {name}"


def _people(count: int) -> str:
    return f"{count} holder{'s' if count != 1 else ''}"
