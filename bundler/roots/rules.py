"""The rules that every root of a channel keeps, whoever changed it.

Pure. What TUF asks of a root is checked by its library; these are the rules on
top: every key has the id that follows from it, nobody is asked for more signatures
than there are keys, root keys stay offline and so hold no other role, site
certificates have somebody to sign them, and every key and threshold fits the
channel's profile.

Source: TUF specification 1.0, section 4.3; FORMAT.md, "The root".
"""

import copy
from typing import Final, Literal

from securesystemslib.signer import Key, SSlibKey
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from bundleformat.errors import MalformedError
from bundleformat.profile import (
    Profile,
    check_root_profile,
    family_of,
    holders_needed,
    parse_profile,
    public_key,
    tuf_threshold,
)
from bundleformat.trust import COMPLIANCE_FIELD
from bundler.errors import RootRuleError
from bundler.signing.holder import HOLDER_FIELD, MAX_HOLDER_CHARS, holder_of, is_holder

HolderRole = Literal["root", "release", "bundler", "compliance"]
"""What holders are called after what they do."""

HOLDER_ROLES: Final[tuple[HolderRole, ...]] = (
    "root",
    "release",
    "bundler",
    "compliance",
)

TUF_ROLES: Final[dict[HolderRole, tuple[str, ...]]] = {
    "root": (Root.type,),
    "release": (Targets.type,),
    "bundler": (Snapshot.type, Timestamp.type),
    "compliance": (),
}
"""The TUF roles of each; compliance keys are a field of Sallyport's own."""


HOLDER_HAS: Final[dict[Profile, str]] = {
    "standard": "one key",
    "hybrid": "an Ed25519 or ECDSA key and an ML-DSA-87 key",
    "cnsa": "one ML-DSA-87 key",
}
"""What every holder of a role has, by profile."""


def kind_of(key: Key) -> str:
    """Return what people call this kind of key, such as ``ed25519``."""
    return key.scheme.partition("/")[0].removeprefix("ecdsa-sha2-")


def beside_id(key: Key) -> str:
    """Return what people read beside a key's id: its kind, and its holder's name."""
    holder = holder_of(key)
    return f"({kind_of(key)})" + (f"  {holder}" if holder else "")


def keys_of(root: Root, role: HolderRole) -> dict[str, Key]:
    """Return the keys that hold ``role`` in a root that was parsed, by id."""
    if role == "compliance":
        # from_dict takes its argument apart, so it is given a copy.
        found = copy.deepcopy(root.unrecognized_fields.get(COMPLIANCE_FIELD, {}))
        return {
            keyid: SSlibKey.from_dict(keyid, value) for keyid, value in found.items()
        }
    keyids = root.roles[TUF_ROLES[role][0]].keyids
    return {keyid: root.keys[keyid] for keyid in keyids}


def holders_of(root: Root, role: HolderRole) -> int:
    """Return how many people ``role`` asks to sign; one for site certificates."""
    if role == "compliance":
        return 1
    threshold = root.roles[TUF_ROLES[role][0]].threshold
    return holders_needed(parse_profile(root), threshold=threshold)


def check_root_rules(root: Root) -> None:
    """Check that a root keeps every rule.

    Raises:
        RootRuleError: It does not; ``where`` names the role concerned.
    """
    if root.roles[Snapshot.type].to_dict() != root.roles[Timestamp.type].to_dict():
        raise RootRuleError(
            "snapshot and timestamp have different holders", where="bundler"
        )
    for role in HOLDER_ROLES:
        _check_own_ids(root, role)
        _check_names(root, role)
        _check_enough(root, role)
    root_ids = keys_of(root, "root").keys()
    for role in HOLDER_ROLES[1:]:
        for keyid in root_ids & keys_of(root, role).keys():
            raise RootRuleError(
                f"a root key would hold the role {role}, too",
                where=role,
                actual=keyid,
                hint="Root keys stay offline; make another key for this role.",
            )
    try:
        check_root_profile(root, keys_of(root, "compliance"))
    except MalformedError as error:
        raise RootRuleError(
            error.problem,
            where=error.where,
            expected=error.expected,
            actual=error.actual,
            hint="`root show` names the channel's profile; make keys for it with "
            "`keygen --kind`.",
        ) from error


def _check_own_ids(root: Root, role: HolderRole) -> None:
    # TUF takes any id. People know a key by its id alone, so an id that does not
    # follow from its key would have them vouch for a key they never saw; and one
    # key under two ids could hold two roles.
    for keyid, key in keys_of(root, role).items():
        public = public_key(key, where=f"root: key {ascii(keyid)[1:-1]}")
        own: str = SSlibKey.from_crypto(public).keyid
        if own != keyid:
            raise RootRuleError(
                "a key under an id that is not its own",
                where=role,
                expected=own,
                actual=ascii(keyid)[1:-1],
                hint="Do not sign this; ask who put the key there.",
            )


def _check_names(root: Root, role: HolderRole) -> None:
    for keyid, key in keys_of(root, role).items():
        name = key.unrecognized_fields.get(HOLDER_FIELD)
        if name is not None and not is_holder(name):
            raise RootRuleError(
                f"key {keyid} has a holder with no name that can be shown",
                where=role,
                expected=f"1 to {MAX_HOLDER_CHARS} printable characters in one line",
                actual=ascii(name)[: 2 * MAX_HOLDER_CHARS],
                hint="Do not sign this; ask who put the key there.",
            )


def _check_enough(root: Root, role: HolderRole) -> None:
    profile, keys = parse_profile(root), keys_of(root, role)
    needed = holders_of(root, role)
    classical = [key for key in keys.values() if _is_classical(key)]
    if profile == "hybrid" and 2 * len(classical) != len(keys):
        raise RootRuleError(
            f"not every {role} holder would have both kinds of key",
            where=role,
            expected="as many classical as ML-DSA-87 keys",
            actual=f"{len(classical)} and {len(keys) - len(classical)}",
            hint="Add or remove both keys of a holder at once: their file holds both.",
        )
    if len(keys) >= tuf_threshold(profile, holders=needed):
        return
    raise RootRuleError(
        f"too few {role} keys would be left",
        where=role,
        expected=f"keys of at least {needed} holder{'s' if needed > 1 else ''}",
        actual=f"keys of {len(keys) // tuf_threshold(profile, holders=1)}",
        hint=f"Add another {role} key first"
        + (", or lower the number with `root set-threshold`." if needed > 1 else "."),
    )


def _is_classical(key: Key) -> bool:
    return family_of(key, where=f"key {key.keyid}") == "classical"
