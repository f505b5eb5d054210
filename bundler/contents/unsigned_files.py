"""The files of a volume that nobody signs: a note for people, and a hint."""

import datetime as dt

from bundleformat.artifact import Artifact
from bundleformat.layout import INSTALLER_PATH, NOTE_PATH, VOLUME_HINT_PATH
from bundleformat.manifest import Manifest
from bundleformat.moments import format_moment
from bundleformat.paths import ArchivePath
from bundleformat.volume_hint import VolumeHint, encode
from bundler.contents.since import Since, chunks_of
from bundler.installer import installer_bytes


def unsigned_files(
    manifest: Manifest, *, expires: dt.datetime, since: Since | None
) -> tuple[tuple[ArchivePath, bytes], ...]:
    """Return note and hint of a bundle on one volume, and its installer's copy."""
    files = [
        (NOTE_PATH, _note(manifest, expires, since).encode("utf-8")),
        (VOLUME_HINT_PATH, encode(_hint(manifest, since))),
    ]
    if any(artifact.kind == "installer" for artifact in manifest.artifacts):
        files.append((INSTALLER_PATH, installer_bytes()))
    return tuple(files)


def _hint(manifest: Manifest, since: Since | None) -> VolumeHint:
    here = chunks_of(manifest) - (since.chunks if since is not None else frozenset())
    return VolumeHint(
        channel=manifest.channel,
        version=manifest.version,
        volume=1,
        of=1,
        since=None if since is None else since.version,
        chunks=tuple(sorted(here)),
    )


def _note(manifest: Manifest, expires: dt.datetime, since: Since | None) -> str:
    only = () if since is None else (_since_line(since),)
    lines = (
        f"Sallyport bundle: channel {manifest.channel}, version {manifest.version}",
        f"Created {format_moment(manifest.created)}",
        f"Refused from {format_moment(expires)} on",
        *only,
        "",
        *(_artifact_line(item) for item in manifest.artifacts),
        "",
        "This note is not signed and no program reads it. On the isolated host:",
        "  sallyport bundle verify FOLDER",
        "  sallyport bundle import FOLDER",
        "",
    )
    return "\n".join(lines)


def _since_line(since: Since) -> str:
    return f"Only what changed: for hosts that have imported version {since.version}"


def _artifact_line(item: Artifact) -> str:
    return f"  {item.path}  {item.size_bytes} bytes  sha256 {item.sha256}"
