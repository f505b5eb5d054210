"""Who has signed something, who has still to, and whether it is enough.

Pure. One *standing* is one root's judgement of one piece of metadata. A new root
has two of them: by the root before, and by itself; both must be complete.

Source: TUF specification 1.0, sections 5.3.4 and 6.1.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root, Targets, VerificationResult

from bundleformat.errors import SignatureError
from bundleformat.profile import (
    KeyFamily,
    Profile,
    check_both_kinds,
    family_of,
    holders_needed,
    parse_profile,
)
from bundler.roots.rules import kind_of
from bundler.signing.holder import holder_of

_FAMILIES: Final[tuple[KeyFamily, ...]] = ("classical", "ml-dsa")


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyStanding:
    """One key that may sign, and whether its valid signature is there.

    ``holder`` is its holder's name, or empty where the root has none.
    """

    key_id: str
    kind: str
    family: KeyFamily
    holder: str
    signed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What one root says of the signatures on one piece of metadata.

    Attributes:
        root_version: The version of the root that judges.
        role: What its holders are called: ``root`` or ``release``.
        profile: The root's profile.
        holders: How many people must sign.
        threshold: How many keys must; twice as many in a hybrid channel.
        keys: Every key that may, those that did first.
        complete: Whether this root is satisfied.
    """

    root_version: int
    role: str
    profile: Profile
    holders: int
    threshold: int
    keys: tuple[KeyStanding, ...]
    complete: bool

    def wanted(self) -> tuple[tuple[str, int], ...]:
        """Return how many signatures are wanted still, by kind where kinds count."""
        signed = Counter(key.family for key in self.keys if key.signed)
        if self.profile != "hybrid":
            return (("", max(0, self.threshold - signed.total())),)
        return tuple(
            (family, max(0, self.threshold // 2 - signed[family]))
            for family in _FAMILIES
        )


def root_standings(
    metadata: Metadata[Root], *, before: Root | None
) -> tuple[Standing, ...]:
    """Return what the root before, if there is one, and the new one itself say."""
    new = metadata.signed
    result = new.get_root_verification_result(
        before, metadata.signed_bytes, metadata.signatures
    )
    own = _standing(new, result.second, role="root")
    if before is None:
        return (own,)
    return (_standing(before, result.first, role="root"), own)


def targets_standing(metadata: Metadata[Targets], *, root: Root) -> Standing:
    """Return what ``root`` says of the signatures on a list of targets."""
    result = root.get_verification_result(
        Targets.type, metadata.signed_bytes, metadata.signatures
    )
    return _standing(root, result, role="release")


def is_complete(standings: Sequence[Standing]) -> bool:
    """Return whether every root that is asked is satisfied."""
    return all(standing.complete for standing in standings)


def may_sign(standings: Sequence[Standing]) -> frozenset[str]:
    """Return the ids of all keys whose signature any of the roots would count."""
    return frozenset(key.key_id for one in standings for key in one.keys)


def standing_value(standing: Standing) -> dict[str, Any]:
    """Return what ``--json`` shows of a standing."""
    return {
        "root_version": standing.root_version,
        "role": standing.role,
        "profile": standing.profile,
        "holders": standing.holders,
        "threshold": standing.threshold,
        "complete": standing.complete,
        "signed": [key.key_id for key in standing.keys if key.signed],
        "unsigned": [key.key_id for key in standing.keys if not key.signed],
        "wanted": {kind or "any": count for kind, count in standing.wanted()},
        "kinds": {key.key_id: key.kind for key in standing.keys},
        "holder_names": {key.key_id: key.holder for key in standing.keys if key.holder},
    }


def standings_lines(standings: Sequence[Standing]) -> tuple[str, ...]:
    """Return what a person reads of standings; two that are alike are said once."""
    first, *others = standings
    if others and all(
        replace(one, root_version=first.root_version) == first for one in others
    ):
        versions = " and ".join(f"root {one.root_version}" for one in standings)
        return _lines(first, asking=f"{versions} ask")
    return tuple(
        line
        for one in standings
        for line in _lines(one, asking=f"root {one.root_version} asks")
    )


def _lines(standing: Standing, *, asking: str) -> tuple[str, ...]:
    asked = f"{standing.holders} of {_holders(standing)} {standing.role} holders"
    return (
        f"{asking} {asked}: {_verdict(standing)}",
        *(
            f"  {'signed' if key.signed else 'open  '}  {key.key_id}  ({key.kind})"
            f"{'  ' + key.holder if key.holder else ''}"
            for key in standing.keys
        ),
    )


def _standing(root: Root, result: VerificationResult, *, role: str) -> Standing:
    profile = parse_profile(root)
    keys = (
        *(_key(key, signed=True) for key in result.signed.values()),
        *(_key(key, signed=False) for key in result.unsigned.values()),
    )
    return Standing(
        root_version=root.version,
        role=role,
        profile=profile,
        holders=holders_needed(profile, threshold=result.threshold),
        threshold=result.threshold,
        keys=keys,
        complete=_is_satisfied(profile, result),
    )


def _is_satisfied(profile: Profile, result: VerificationResult) -> bool:
    if not result.verified:
        return False
    try:
        check_both_kinds(
            profile, result.signed.values(), threshold=result.threshold, where="root"
        )
    except SignatureError:
        return False
    return True


def _key(key: Key, *, signed: bool) -> KeyStanding:
    return KeyStanding(
        key_id=key.keyid,
        kind=kind_of(key),
        family=family_of(key, where=f"key {key.keyid}"),
        holder=holder_of(key),
        signed=signed,
    )


def _holders(standing: Standing) -> int:
    return holders_needed(standing.profile, threshold=len(standing.keys))


def _verdict(standing: Standing) -> str:
    if standing.complete:
        return "enough have signed"
    parts = [
        f"{count} more {kind + ' ' if kind else ''}signature{'s' if count > 1 else ''}"
        for kind, count in standing.wanted()
        if count
    ]
    return f"{' and '.join(parts)} wanted"
