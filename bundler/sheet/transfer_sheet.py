"""The transfer sheet: one page that travels apart from the medium it describes.

Trust on a new host begins with what a person compares and types from this page: the
digest of the installer, the digest of the manifest, the fingerprint of the root. A
copy of the page on the medium itself would prove nothing.

The same bundle gives the same page; it holds no time but the bundle's own. What a
bundle says is shown as text and never interpreted.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tuf.api.metadata import Metadata, Root

from bundleformat.digest import sha256_of
from bundleformat.errors import MalformedError
from bundleformat.layout import MANIFEST_PATH, root_path
from bundleformat.manifest import Artifact, Kind
from bundleformat.moments import format_moment
from bundleformat.profile import PROFILE_FIELD
from bundleformat.report import printable
from bundleformat.trust import grouped
from bundleformat.verify import VerifiedBundle
from bundler.progress import size
from bundler.signing.holder import holder_of

MAX_ROWS: Final = 24
"""Contents, volumes and signing keys that fit the page one by one, together."""

MAX_VOLUMES: Final = 6
"""Volumes that are listed one by one; the rest is counted."""

MAX_SIGNERS: Final = 12
"""Signing keys that are listed."""

_SHORT: Final = 8

_SHOWN: Final[tuple[Kind, ...]] = ("model", "policy", "lock", "installer")
"""What is listed one by one, in the order in which people decide about it."""

_COUNTED: Final[dict[Kind, str]] = {
    "part": "further parts of models",
    "wheel": "wheels of the environments",
    "requirements": "lists of requirements",
    "provenance": "signatures of vendors",
    "sbom": "bill of materials",
}
"""What is counted, and what it is called."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetVolume:
    """A volume as the page lists it; ``label`` is what is written on the disc."""

    number: int
    label: str
    chunks: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Signer:
    """A key that signed, in a role."""

    role: str
    key_id: str
    kind: str
    holder: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """Everything the page says, as printable text.

    Attributes:
        title: Channel and version.
        facts: Names and values at the top of the page.
        compared: What is compared or typed by a person: a name, what it is the
            digest of, and the digits in groups.
        contents: Kind, name, size, and first and last digits of the digest.
        more: What of the contents is not listed one by one, or an empty string.
        volumes: What there is to carry.
        signers: Role, key id, kind of key, and the holder's name or nothing.
        commands: What to type on the host, with what it is for.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    compared: tuple[tuple[str, str, str], ...]
    contents: tuple[tuple[str, str, str, str], ...]
    more: str
    volumes: tuple[str, ...]
    signers: tuple[tuple[str, str, str, str], ...]
    commands: tuple[tuple[str, str], ...]


def make_sheet(
    bundle: VerifiedBundle, *, volumes: Sequence[SheetVolume] = (), of: int = 1
) -> Sheet:
    """Return the page of ``bundle``, of whose ``of`` volumes ``volumes`` were seen.

    Raises:
        MalformedError: The bundle's state lacks metadata it was verified with.
    """
    manifest = bundle.manifest
    root = Metadata[Root].from_bytes(bundle.state.newest_root())
    installer = next(
        (each for each in manifest.artifacts if each.kind == "installer"), None
    )
    contents = _contents(manifest.artifacts)
    listed = tuple(_volumes(volumes, of=of))
    signers = _signers(bundle, root)[:MAX_SIGNERS]
    room = MAX_ROWS - len(listed) - len(signers)
    return Sheet(
        title=f"channel {manifest.channel}, version {manifest.version}",
        facts=tuple(_facts(bundle, root.signed)),
        compared=tuple(_compared(bundle, installer)),
        contents=contents[:room],
        more=_more(contents[room:]),
        volumes=listed,
        signers=tuple(
            (signer.role, signer.key_id, signer.kind, signer.holder)
            for signer in signers
        ),
        commands=tuple(_commands(bundle, installer)),
    )


def _facts(bundle: VerifiedBundle, root: Root) -> Iterator[tuple[str, str]]:
    manifest = bundle.manifest
    threshold = root.roles[Root.type]
    profile = str(root.unrecognized_fields.get(PROFILE_FIELD, "standard"))
    yield "made", format_moment(manifest.created)
    yield "refused from", format_moment(bundle.expires)
    yield (
        "delivers",
        "whom to trust, and nothing else"
        if (manifest.purpose == "trust")
        else _total(manifest.artifacts),
    )
    yield "profile", f"{printable(profile)}, {manifest.digest}"
    keys = f"{threshold.threshold} of {len(threshold.keyids)} keys"
    until = format_moment(root.expires)
    yield "root", f"version {bundle.root_version}, {keys}, until {until}"
    if manifest.minimum_version is not None:
        yield "needs", f"Sallyport {manifest.minimum_version} or newer"


def _total(artifacts: Sequence[Artifact]) -> str:
    total = sum(each.size_bytes for each in artifacts)
    noun = "file" if len(artifacts) == 1 else "files"
    return f"{len(artifacts)} {noun}, {size(total)}"


def _compared(
    bundle: VerifiedBundle, installer: Artifact | None
) -> Iterator[tuple[str, str, str]]:
    if installer is not None:
        yield "install.py", "SHA-256 of the installer", grouped(installer.sha256)
    algorithm = bundle.manifest.digest
    digest = hashlib.new(algorithm, bundle.manifest_bytes).hexdigest()
    name = f"SHA-{algorithm.removeprefix('sha')} of {MANIFEST_PATH}"
    yield "manifest", name, grouped(digest)
    print_ = sha256_of(bundle.state.newest_root())
    yield "root", f"fingerprint of {root_path(bundle.root_version)}", grouped(print_)


def _contents(artifacts: Sequence[Artifact]) -> tuple[tuple[str, str, str, str], ...]:
    """Return what people decide about first, and wheels and the like as one row."""
    rows: list[tuple[str, str, str, str]] = []
    for kind in _SHOWN:
        rows += [
            (
                kind,
                _named(each),
                size(each.size_bytes),
                f"{each.sha256[:_SHORT]}…{each.sha256[-_SHORT:]}",
            )
            for each in artifacts
            if each.kind == kind
        ]
    for kind, noun in _COUNTED.items():
        counted = [each for each in artifacts if each.kind == kind]
        if counted:
            total = size(sum(each.size_bytes for each in counted))
            rows.append((kind, f"{len(counted)} {noun}", total, "by the manifest"))
    return tuple(rows)


def _named(artifact: Artifact) -> str:
    target = artifact.environment
    if artifact.model is not None:
        return f"{artifact.name} ({printable(artifact.model.licence)})"
    if target is not None:
        return f"{artifact.name} (Python {target.python}, {target.cpu}, {target.role})"
    return artifact.name


def _more(rest: Sequence[tuple[str, str, str, str]]) -> str:
    if not rest:
        return ""
    return f"and {len(rest)} more: sallyport-bundler inspect lists them"


def _volumes(volumes: Sequence[SheetVolume], *, of: int) -> Iterator[str]:
    if of == 1:
        label = volumes[0].label if volumes else "one volume"
        yield f"1 of 1: {printable(label)}"
        return
    seen = {volume.number: volume for volume in volumes}
    for number in range(1, min(of, MAX_VOLUMES) + 1):
        volume = seen.get(number)
        label = "not at hand when this was made"
        if volume is not None:
            label = f"{printable(volume.label)}, {volume.chunks} chunks"
        yield f"{number} of {of}: {label}"
    if of > MAX_VOLUMES:
        yield f"and {of - MAX_VOLUMES} more"


def _signers(bundle: VerifiedBundle, root: Metadata[Root]) -> list[Signer]:
    signers = []
    names = {"targets": "release", "snapshot": "bundler", "timestamp": "bundler"}
    for role, name in names.items():
        data = bundle.state.file(f"{role}.json")
        if data is None:
            raise MalformedError("no metadata of that role", where=role)
        signed: Metadata[Any] = Metadata.from_bytes(data)
        result = root.signed.get_verification_result(
            role, signed.signed_bytes, signed.signatures
        )
        for key_id in sorted(result.signed):
            key = root.signed.keys[key_id]
            signers.append(
                Signer(
                    role=name,
                    key_id=key_id,
                    kind=printable(key.scheme),
                    holder=holder_of(key),
                )
            )
    return list(dict.fromkeys(signers))


def _commands(
    bundle: VerifiedBundle, installer: Artifact | None
) -> Iterator[tuple[str, str]]:
    root = f"MEDIUM/{root_path(bundle.root_version)}"
    if installer is not None:
        yield "sha256sum MEDIUM/install.py", "compare with the first digest above"
        yield (
            "python3 MEDIUM/install.py --fingerprint '…'",
            "asks for the manifest's digest; takes the root's fingerprint",
        )
    else:
        yield (
            f"sallyport trust init --root {root} --fingerprint '…'",
            "on a new host only; type the root's fingerprint",
        )
        yield "sallyport bundle verify MEDIUM", "reads every byte, changes nothing"
    instead = "instead, on a host that has Sallyport; " if installer else ""
    yield "sallyport bundle import MEDIUM", f"{instead}volumes in any order"
