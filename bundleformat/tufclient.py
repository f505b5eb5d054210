"""Runs the TUF client workflow against a volume, on a scratch copy of the state.

``tuf.ngclient`` writes metadata to disk before its targets were looked at. Run
on a scratch folder that is thrown away, it cannot poison the state: the caller
gets the new state as a value and commits it when everything else held, too.
Every file is read under its own cap and decoded strictly before the library
sees it. Nothing here opens a connection; the only "network" is the volume.

Source: TUF specification 1.0, section 5 (client workflow).
"""

import datetime as dt
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import unquote

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from bundleformat.errors import (
    DigestMismatchError,
    ExpiredError,
    InternalFaultError,
    LimitExceededError,
    MalformedError,
    MissingError,
    RollbackError,
    SignatureError,
    StorageFaultError,
)
from bundleformat.layout import TIMESTAMP_PATH, parse_root_version
from bundleformat.limits import Limits
from bundleformat.medium import Medium
from bundleformat.moments import format_moment, whole_second
from bundleformat.paths import ArchivePath, parse_path
from bundleformat.trust import BOOTSTRAP_FILE, TrustState, parse_root
from bundleformat.tufjson import decode_metadata

_SCHEME: Final = "volume:///"
"""Prefix of the addresses under which the library asks for files."""

NEWEST: Final = (
    "Import the newest bundle of this channel. To serve an older one that a host has "
    "imported before, run there: sallyport generations rollback"
)
"""What a person does about a bundle that is too old."""

_CACHED: Final = ("snapshot.json", "targets.json", "timestamp.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Refreshed:
    """Metadata that passed the TUF workflow, and the state it leads to."""

    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]
    state: TrustState

    @property
    def expires(self) -> dt.datetime:
        """The earliest expiry: from then on a host refuses the bundle."""
        roles = (self.root, self.timestamp, self.snapshot, self.targets)
        return min(role.signed.expires for role in roles)


def refresh(
    volume: Medium,
    *,
    state: TrustState,
    reference_time: dt.datetime,
    now: dt.datetime,
    scratch: Path,
    limits: Limits,
) -> Refreshed:
    """Return the volume's metadata as accepted by ``state``, which is unchanged.

    Below ``scratch`` a folder is made and removed again. Expiry is compared with
    ``reference_time``; ``now``, the clock, only explains a refusal.

    Raises:
        SignatureError, RollbackError, ExpiredError, DigestMismatchError,
        MissingError, MalformedError, LimitExceededError: The metadata is refused.
        StorageFaultError: The medium or the scratch folder cannot be used.
    """
    fetcher = _VolumeFetcher(volume, limits)
    try:
        with tempfile.TemporaryDirectory(dir=scratch, prefix="trust-") as name:
            folder = Path(name)
            _write_state(state, folder)
            updater = _updater(folder, state, fetcher, limits)
            _set_reference_time(updater, reference_time)
            updater.refresh()
            return _read_back(folder, state, limits)
    except (tuf_errors.RepositoryError, tuf_errors.DownloadError) as error:
        if isinstance(error, tuf_errors.ExpiredMetadataError):
            raise _expired(
                error,
                fetcher=fetcher,
                state=state,
                reference_time=reference_time,
                now=now,
            ) from error
        _raise_translated(error, fetcher=fetcher, state=state)
    except OSError as error:
        raise StorageFaultError(
            "the scratch folder cannot be used",
            where=str(scratch),
            actual=error.strerror or str(error),
        ) from error


class _VolumeFetcher(FetcherInterface):
    """Answers the library's requests from a volume.

    Attributes:
        last: The file asked for last, which is the one an error is about.
        expiry: When each file that was read ends, by the kind of metadata.
        version: The version of each, in the same way.
        misnamed: That file holds another version than its name says.
    """

    def __init__(self, volume: Medium, limits: Limits) -> None:
        self._volume = volume
        self._limits = limits
        self.last = TIMESTAMP_PATH
        self.expiry: dict[str, dt.datetime] = {}
        self.version: dict[str, int] = {}
        self.misnamed = False

    def _fetch(self, url: str) -> Iterator[bytes]:
        return iter((self.download_bytes(url, self._limits.targets_bytes),))

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return one metadata file, decoded strictly but not yet trusted.

        Overrides the base class, which would copy through a file in ``/tmp``.
        """
        self.last = path = parse_path(unquote(url.removeprefix(_SCHEME)))
        self.misnamed = False
        # A signed length above our own cap does not raise the cap.
        cap = _cap_of(path, self._limits)
        try:
            data = self._volume.read(path, max_bytes=min(max_length, cap))
        except MissingError as error:
            if parse_root_version(path.rpartition("/")[2]) is None:
                raise
            # The library reads this as: there is no newer root.
            raise tuf_errors.DownloadHTTPError("absent", 404) from error
        except LimitExceededError as error:
            if max_length >= cap:
                raise
            raise DigestMismatchError(
                "longer than signed", where=path, expected=f"{max_length} bytes"
            ) from error
        signed = decode_metadata(
            data, max_bytes=cap, max_depth=self._limits.json_depth, where=path
        ).signed
        self.expiry[signed.type], self.version[signed.type] = (
            signed.expires,
            signed.version,
        )
        version = path.rpartition("/")[2].partition(".")[0]
        self.misnamed = version.isdigit() and int(version) != signed.version
        return data


def _cap_of(path: ArchivePath, limits: Limits) -> int:
    """Return the most bytes a metadata file of this name may have."""
    caps = {
        "root": limits.root_bytes,
        "timestamp": limits.timestamp_bytes,
        "snapshot": limits.snapshot_bytes,
        "targets": limits.targets_bytes,
    }
    role = path.rpartition("/")[2].removesuffix(".json").rpartition(".")[2]
    return caps.get(role, 0)


def _write_state(state: TrustState, folder: Path) -> None:
    (folder / "root_history").mkdir()
    for name, data in state.files:
        (folder / name).write_bytes(data)


def _updater(
    folder: Path, state: TrustState, fetcher: FetcherInterface, limits: Limits
) -> Updater:
    bootstrap = state.file(BOOTSTRAP_FILE)
    if bootstrap is None:
        raise StorageFaultError("the trust state holds no root", where=BOOTSTRAP_FILE)
    config = UpdaterConfig(
        max_root_rotations=limits.root_files,
        max_delegations=1,
        root_max_length=limits.root_bytes,
        timestamp_max_length=limits.timestamp_bytes,
        snapshot_max_length=limits.snapshot_bytes,
        targets_max_length=limits.targets_bytes,
        prefix_targets_with_hash=False,
    )
    return Updater(
        metadata_dir=str(folder),
        metadata_base_url=f"{_SCHEME}metadata/",
        fetcher=fetcher,
        config=config,
        bootstrap=bootstrap,
    )


def _set_reference_time(updater: Updater, reference_time: dt.datetime) -> None:
    # The library reads the clock itself and has no argument for the time. Its
    # attribute is private, so a release that moves it must not go unnoticed:
    # expiry would silently follow a clock that may have been set back.
    trusted = getattr(updater, "_trusted_set", None)
    if not isinstance(getattr(trusted, "reference_time", None), dt.datetime):
        raise InternalFaultError(
            "this release of tuf keeps its reference time elsewhere",
            hint="Install a release of tuf that Sallyport names as supported.",
        )
    vars(trusted)["reference_time"] = reference_time


def _read_back(folder: Path, before: TrustState, limits: Limits) -> Refreshed:
    files = {
        name: data for name, data in before.files if not name.startswith("root_history")
    }
    for path in (folder / "root_history").iterdir():
        files[f"root_history/{path.name}"] = path.read_bytes()
    for name in _CACHED:
        files[name] = (folder / name).read_bytes()
    state = TrustState(files=tuple(sorted(files.items())))
    return Refreshed(
        # The link that the library keeps to the root it trusts.
        root=parse_root(
            (folder / "root.json").read_bytes(), where="root", limits=limits
        ),
        timestamp=Metadata[Timestamp].from_bytes(files["timestamp.json"]),
        snapshot=Metadata[Snapshot].from_bytes(files["snapshot.json"]),
        targets=Metadata[Targets].from_bytes(files["targets.json"]),
        state=state,
    )


def _expired(
    error: Exception,
    *,
    fetcher: _VolumeFetcher,
    state: TrustState,
    reference_time: dt.datetime,
    now: dt.datetime,
) -> ExpiredError:
    # The library looks at the root's expiry after it asked for the timestamp, so
    # the file asked for last is not the one concerned.
    if "root.json" in str(error):
        what, where, role = "root", "root", Root.type
    else:
        what, where = "bundle", fetcher.last
        role = where.rpartition("/")[2].removesuffix(".json").rpartition(".")[2]
    clock = f"{format_moment(whole_second(now))} by this machine's clock"
    hint = (
        "Check this machine's clock. If it is right, ask the publisher for a newer "
        "bundle; a host takes this one, on record, with --accept-expired --reason TEXT."
    )
    if reference_time > now:
        # The floor's time decided, so nothing is wrong with the clock's.
        moment = format_moment(reference_time)
        clock = f"{moment}, when the newest accepted bundle was created"
        hint = (
            f"A bundle signed as created at {moment} was accepted here, and time "
            "never goes back behind it. Ask the publisher for a bundle that is valid "
            "later than that."
        )
    return ExpiredError(
        f"the {what} has expired",
        where=where,
        expected=f"a time before {format_moment(_expiry(role, fetcher, state))}",
        actual=clock,
        hint=hint,
    )


def _expiry(role: str, fetcher: _VolumeFetcher, state: TrustState) -> dt.datetime:
    """Return the end of the newest file of ``role``; a root may be the state's."""
    found = fetcher.expiry.get(role)
    if found is None:
        root = state.newest_root()
        found = Metadata[Root].from_bytes(root).signed.expires
    return found


def _raise_translated(
    error: Exception, *, fetcher: _VolumeFetcher, state: TrustState
) -> NoReturn:
    """Raise the error of our tree that says the same as the library's."""
    where = fetcher.last
    match error:
        case tuf_errors.UnsignedMetadataError():
            raise SignatureError(
                "signed by fewer trusted keys than required",
                where=where,
                hint="If the publisher has changed keys, the medium must carry every "
                f"root after root {max(state.roots())}: copy its whole metadata folder "
                "again. Otherwise it is not theirs, or was altered: report it.",
            ) from error
        case tuf_errors.BadVersionNumberError() if fetcher.misnamed:
            raise MalformedError(
                "the file holds another version than its name says", where=where
            ) from error
        case tuf_errors.BadVersionNumberError():
            raise RollbackError(
                "older than what this machine has accepted",
                where=where,
                **_versions(fetcher, state),
                hint=NEWEST,
            ) from error
        case tuf_errors.LengthOrHashMismatchError():
            raise DigestMismatchError(
                "the bytes differ from what was signed", where=where
            ) from error
        case tuf_errors.DownloadError():
            raise StorageFaultError("cannot be read", where=where) from error
        case _:
            raise MalformedError(
                "not acceptable TUF metadata", where=where, actual=str(error)
            ) from error


def _versions(fetcher: _VolumeFetcher, state: TrustState) -> dict[str, str]:
    """Return which bundle was accepted, and which one this is, if that is known."""
    accepted, found = state.file("timestamp.json"), fetcher.version.get(Timestamp.type)
    if accepted is None or fetcher.last != TIMESTAMP_PATH:
        return {}
    newest = Metadata[Timestamp].from_bytes(accepted).signed.version
    return {"expected": f"bundle {newest} or newer", "actual": f"bundle {found}"}
