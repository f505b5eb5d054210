"""Reads the folder that holds every version of a trust root.

The folder is the publisher's record of a channel: ``1.root.json`` and all later
versions and, while a change waits for signatures, ``N.root.pending.json``, which
``root_pending.py`` knows and this module does not see. No pending root can enter
a bundle.

Source: TUF specification 1.0, section 4.3.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from bundleformat.errors import (
    ExpiredError,
    MissingError,
    StorageFaultError,
    UsageError,
)
from bundleformat.layout import parse_root_version
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.moments import format_moment
from bundleformat.paths import Name
from bundleformat.profile import holders_needed, parse_profile
from bundleformat.trust import CHANNEL_FIELD, parse_root
from bundler.errors import KeyFileError


def newest_root_path(place: Path) -> Path:
    """Return ``place`` if it is a file, or else the newest root in that folder."""
    try:
        versions = [parse_root_version(path.name) or 0 for path in place.iterdir()]
    except OSError:
        # Whoever reads it says what is wrong with it.
        return place
    return place / f"{max(versions, default=0) or 1}.root.json"


def read_root_file(path: Path) -> bytes:
    """Return the bytes of a root file, at most one more than a root may have.

    Raises:
        MissingError: There is no such file.
        StorageFaultError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(DEFAULT_LIMITS.root_bytes + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(
            "no such root file",
            where=str(path),
            hint="Name the folder that `root init` made, or a root file in it.",
        ) from error
    except OSError as error:
        raise StorageFaultError(
            "cannot be read", where=str(path), actual=error.strerror or str(error)
        ) from error


def read_root_folder(place: Path) -> tuple[bytes, ...]:
    """Return every root in a folder, from version 1 up without a gap.

    ``place`` is the folder, or a file in it such as ``1.root.json``. Signatures are not
    checked here; the build verifies its own output.

    Raises:
        MissingError: There is no such folder, no root in it, or one in between.
        MalformedError: A file there is not a root of the version it names.
        StorageFaultError: The folder cannot be read.
    """
    is_root_file = parse_root_version(place.name) is not None and place.is_file()
    folder = place.parent if is_root_file else place
    try:
        names = [path.name for path in folder.iterdir()]
        versions = sorted(v for v in map(parse_root_version, names) if v is not None)
        roots = tuple(
            read_root_file(folder / f"{version}.root.json") for version in versions
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(
            "no such root folder",
            where=str(folder),
            hint="Name the folder that `root init` made.",
        ) from error
    except OSError as error:
        raise StorageFaultError(
            "cannot be read", where=str(folder), actual=error.strerror or str(error)
        ) from error
    if not versions or versions != list(range(1, len(versions) + 1)):
        raise MissingError(
            "not every version of the root is in this folder",
            where=str(folder),
            expected="1.root.json and all later versions",
            hint="Name the folder that `root init` made.",
        )
    return roots


def check_may_sign(
    roots: Sequence[bytes],
    *,
    release: Sequence[Signer],
    bundler: Sequence[Signer],
    now: dt.datetime,
) -> Name:
    """Check that the newest root lets these keys sign a bundle; return its channel.

    Either may be empty, for a draft that others sign. Keys of a role that are
    given must be enough for it.

    Raises:
        KeyFileError: A key does not hold the role it was named for.
        UsageError: More holders of a role must sign.
        ExpiredError: ``now`` is at or past the root's expiry.
        MalformedError, LimitExceededError: The newest file is no root.
    """
    where = f"{len(roots)}.root.json"
    root = parse_root(roots[-1], where=where, limits=DEFAULT_LIMITS).signed
    if root.is_expired(now):
        raise ExpiredError(
            "the root has expired",
            where=where,
            expected=f"used before {format_moment(root.expires)}",
            hint="Renew it with `root renew`, and have its holders sign that; hosts "
            "take the new root from the bundle.",
        )
    _check_role(root, Targets.type, release, option="--release-key")
    for role in (Snapshot.type, Timestamp.type):
        _check_role(root, role, bundler, option="--bundler-key")
    return Name(str(root.unrecognized_fields[CHANNEL_FIELD]))


def _check_role(
    root: Root, role: str, signers: Sequence[Signer], *, option: str
) -> None:
    held, given = root.roles[role], {signer.public_key.keyid for signer in signers}
    for key_id in sorted(given.difference(held.keyids)):
        raise KeyFileError(
            "the newest root does not name this key for that role",
            where=option,
            expected=", ".join(held.keyids),
            actual=key_id,
            hint="Name a key that the root gives this role; `root show` lists them.",
        )
    if given and len(given) < held.threshold:
        holders = holders_needed(parse_profile(root), threshold=held.threshold)
        raise UsageError(
            "more holders must sign",
            where=option,
            expected=f"the keys of {holders} holders",
            hint="Name a key file of each, or leave the option out: the draft is then "
            "signed by one holder after another.",
        )
