"""A publisher's root folder for tests, with holders who may be in other rooms."""

from collections.abc import Sequence
from pathlib import Path

from securesystemslib.signer import CryptoSigner, SSlibKey

from bundleformat.paths import parse_name
from bundleformat.profile import Profile
from bundler.rooms.files import SignatureFile
from bundler.rooms.signatures import sign_subject
from bundler.rooms.subject import Subject, open_subject
from bundler.root_change_flow import PendingRoot, change_root
from bundler.roots.change import Change
from bundler.roots.first import RootPlan, first_root
from bundler.signing_flow import Attached, attach, request_of
from tests.support.publisher import NOW, ROOT_EXPIRES, Keys

Holder = tuple[CryptoSigner, ...]
"""One person's keys: one, or in a hybrid channel one of each kind."""


def publics(*holders: Holder) -> tuple[SSlibKey, ...]:
    """Return the public keys of these people."""
    return tuple(signer.public_key for holder in holders for signer in holder)


def root_holders(keys: Keys) -> tuple[Holder, ...]:
    """Return the root holders, each with all their keys."""
    return tuple(zip(*(kind.root for kind in keys.both), strict=True))


def release_holder(keys: Keys) -> Holder:
    """Return the release holder with all their keys."""
    return tuple(kind.release for kind in keys.both)


def bundler_holder(keys: Keys) -> Holder:
    """Return the bundler holder with all their keys."""
    return tuple(kind.bundler for kind in keys.both)


def plan_of(
    keys: Keys,
    *,
    signing: Sequence[int],
    threshold: int,
    profile: Profile = "standard",
    more_release: Sequence[Holder] = (),
    release_threshold: int = 1,
) -> RootPlan:
    """Return the plan of a first root that the holders numbered ``signing`` sign."""
    holders = root_holders(keys)
    return RootPlan(
        channel=parse_name("main"),
        expires=ROOT_EXPIRES,
        threshold=threshold,
        signers=tuple(signer for i in signing for signer in holders[i]),
        absent=publics(*(h for i, h in enumerate(holders) if i not in signing)),
        release_keys=publics(release_holder(keys), *more_release),
        bundler_keys=publics(bundler_holder(keys)),
        compliance_keys=tuple(kind.compliance.public_key for kind in keys.both),
        profile=profile,
        release_threshold=release_threshold,
    )


def new_root_folder(folder: Path, plan: RootPlan) -> Path:
    """Make a root folder with a signed first root."""
    folder.mkdir()
    (folder / "1.root.json").write_bytes(first_root(plan))
    return folder


def change(folder: Path, *changes: Change) -> PendingRoot:
    """Make changes to the pending root."""
    return change_root(folder, changes)


def subject_of(target: Path) -> Subject:
    """Return what waits for signatures."""
    return open_subject(request_of(target))


def signed_by(target: Path, *holders: Holder) -> tuple[str, SignatureFile]:
    """Return a signature file that these people made in their room."""
    signers = [signer for holder in holders for signer in holder]
    return ("room.json", sign_subject(subject_of(target), signers))


def sign(target: Path, *holders: Holder) -> Attached:
    """Have these people sign, and attach what they made."""
    return attach(target, [signed_by(target, *holders)], now=NOW)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file below ``folder``."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
