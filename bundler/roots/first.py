"""Makes version 1 of a channel's trust root.

Pure. Signing needs the private keys of at least the threshold of root holders;
the rest may be named by their public halves, so that holders who are absent can
sign the next version. Where no room holds enough keys, the first root is made
without its signatures, and the holders sign it one after another.

Source: TUF specification 1.0, section 4.3.
"""

import datetime as dt
from dataclasses import dataclass

from securesystemslib.signer import Key, Signer, SSlibKey
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from bundleformat.errors import SignatureError, UsageError
from bundleformat.paths import Name
from bundleformat.profile import (
    PROFILE_FIELD,
    Profile,
    check_signatures,
    tuf_threshold,
)
from bundleformat.trust import CHANNEL_FIELD, COMPLIANCE_FIELD
from bundler.roots.rules import check_root_rules
from bundler.signing.publish import sign_metadata


@dataclass(frozen=True, kw_only=True, slots=True)
class RootPlan:
    """Who holds which role in a channel's first root.

    Thresholds count people. In a ``hybrid`` channel each of them has two keys,
    which lie beside one another in every tuple.

    Attributes:
        channel: The channel's name.
        expires: When the root must have been replaced.
        threshold: Root holders who must sign a root.
        signers: Root keys that sign now.
        absent: Root keys that do not sign now.
        release_keys: Keys that may sign the list of targets.
        bundler_keys: Keys of which one holder's signs snapshot and timestamp.
        compliance_keys: Keys of which one holder's signs a site certificate.
        profile: Which kinds of keys sign.
        release_threshold: Release holders who must sign the list of targets.
    """

    channel: Name
    expires: dt.datetime
    threshold: int
    signers: tuple[Signer, ...]
    absent: tuple[SSlibKey, ...]
    release_keys: tuple[SSlibKey, ...]
    bundler_keys: tuple[SSlibKey, ...]
    compliance_keys: tuple[SSlibKey, ...]
    profile: Profile = "standard"
    release_threshold: int = 1


def default_threshold(holders: int) -> int:
    """Return the majority of ``holders``: one lost or stolen key decides nothing."""
    return holders // 2 + 1


def first_root(plan: RootPlan) -> bytes:
    """Return the bytes of version 1 of a root, signed as planned.

    Raises:
        UsageError: Too few signers, a key named twice, or a root key that would
            hold another role, too.
        RootRuleError: It would break another rule of roots.
    """
    root = _root(plan)
    metadata = Metadata(root)
    sign_metadata(metadata, signers=plan.signers)
    try:
        check_signatures(root, metadata, role=Root.type, where="root")
    except SignatureError as error:
        raise UsageError(
            "not enough root keys can sign",
            where="--threshold",
            expected=f"the private keys of {plan.threshold} root holders",
            hint="Name the .key file of as many root keys as the threshold asks for, "
            "or let the holders sign one after another with --pending.",
        ) from error
    return metadata.to_bytes()


def unsigned_first_root(plan: RootPlan) -> bytes:
    """Return version 1 of a root with the signatures of whoever is here, or none.

    Raises:
        UsageError, RootRuleError: As ``first_root``, except for too few signers.
    """
    metadata = Metadata(_root(plan))
    sign_metadata(metadata, signers=plan.signers)
    return metadata.to_bytes()


def _root(plan: RootPlan) -> Root:
    _check_plan(plan)
    root = Root(version=1, expires=plan.expires, consistent_snapshot=True)
    for role, keys, holders in (
        (Root.type, _root_keys(plan), plan.threshold),
        (Targets.type, plan.release_keys, plan.release_threshold),
        (Snapshot.type, plan.bundler_keys, 1),
        (Timestamp.type, plan.bundler_keys, 1),
    ):
        for key in keys:
            root.add_key(key, role)
        root.roles[role].threshold = tuf_threshold(plan.profile, holders=holders)
    root.unrecognized_fields[CHANNEL_FIELD] = plan.channel
    root.unrecognized_fields[PROFILE_FIELD] = plan.profile
    root.unrecognized_fields[COMPLIANCE_FIELD] = {
        key.keyid: key.to_dict() for key in plan.compliance_keys
    }
    check_root_rules(root)
    return root


def _root_keys(plan: RootPlan) -> tuple[Key, ...]:
    return (*(signer.public_key for signer in plan.signers), *plan.absent)


def _check_plan(plan: RootPlan) -> None:
    root_ids = [key.keyid for key in _root_keys(plan)]
    for option, keys in (
        ("--root-key", _root_keys(plan)),
        ("--release-key", plan.release_keys),
        ("--bundler-key", plan.bundler_keys),
        ("--compliance-key", plan.compliance_keys),
    ):
        ids = [key.keyid for key in keys]
        if len(set(ids)) != len(ids):
            raise UsageError("a key is named twice", where=option)
        if option != "--root-key" and not set(ids).isdisjoint(root_ids):
            raise UsageError(
                "a root key holds another role, too",
                where=option,
                hint="Root keys stay offline; make another key for this role.",
            )
    for option, keys, holders in (
        ("--threshold", _root_keys(plan), plan.threshold),
        ("--release-threshold", plan.release_keys, plan.release_threshold),
    ):
        given = len(keys) // tuf_threshold(plan.profile, holders=1)
        if not 1 <= holders <= given:
            raise UsageError(
                "not a number of holders who could sign",
                where=option,
                expected=f"1 to {given}",
                actual=str(holders),
                hint="It counts people; name a key file for each of them.",
            )
