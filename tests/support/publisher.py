"""A publisher for tests: makes signed bundles in a folder, without key files.

Thin over the bundler's own functions. ``republish``, ``next_version`` and
``next_root`` give tests what a later release, or an attacker, would bring.
"""

import datetime as dt
import itertools
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA87PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from bundleformat.layout import root_path
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import FORMAT, Artifact, Digest, Manifest, ModelTerms
from bundleformat.paths import parse_name
from bundleformat.profile import Profile, profile_of_keys
from bundleformat.trust import TrustState, fingerprint, initial_state
from bundler.contents.artifacts import artifact_of, model_artifacts
from bundler.contents.chunks import ChunkFolder, store_in_chunks
from bundler.contents.inspection import model_terms
from bundler.contents.spec import ModelSpec
from bundler.pack import write_file
from bundler.roots.first import RootPlan, first_root
from bundler.signing.keys import FileKeyKind
from bundler.signing.publish import PublishingKeys, publish
from bundler.sources.local_file import locate
from bundler.sources.located import OnDisk
from bundler.sources.opened import Source
from bundler.sources.wanted import LocalFile

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
"""The time at which tests publish and verify unless they say otherwise."""

ROOT_EXPIRES = NOW + dt.timedelta(days=1_095)
BUNDLE_EXPIRES = NOW + dt.timedelta(days=365)

TERMS = ModelTerms(
    licence="Apache-2.0",
    origin="made for a test",
    allowed_regions=("in-blr",),
    architecture="llama",
    context_length=512,
)
"""Terms of a model whose bytes need not be a model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """The keys of one publisher; ``pq`` are everybody's second keys, in a hybrid."""

    root: tuple[CryptoSigner, ...]
    release: CryptoSigner
    bundler: CryptoSigner
    compliance: CryptoSigner
    pq: "Keys | None" = None

    @property
    def both(self) -> tuple["Keys", ...]:
        """The keys of each kind."""
        return (self,) if self.pq is None else (self, self.pq)

    @property
    def all_root(self) -> tuple[CryptoSigner, ...]:
        """The root keys of all kinds."""
        return tuple(signer for keys in self.both for signer in keys.root)

    @property
    def publishing(self) -> PublishingKeys:
        return PublishingKeys(
            release=tuple(keys.release for keys in self.both),
            bundler=tuple(keys.bundler for keys in self.both),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A bundle on disk, and what its publisher knows."""

    folder: Path
    keys: Keys
    roots: tuple[bytes, ...]
    manifest: Manifest

    @property
    def root(self) -> bytes:
        """The first root."""
        return self.roots[0]

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.root)

    def state(self, now: dt.datetime = NOW) -> TrustState:
        """The state of a host that trusts the first root and saw no bundle."""
        return initial_state(self.root, fingerprint=self.fingerprint, now=now)


def new_keys(*, roots: int = 1, kind: FileKeyKind = "ed25519") -> Keys:
    """Return new keys, with ``roots`` root holders."""
    if kind == "hybrid":
        return replace(
            new_keys(roots=roots), pq=new_keys(roots=roots, kind="ml-dsa-87")
        )
    make = _MAKERS[kind]
    return Keys(
        root=tuple(make() for _ in range(roots)),
        release=make(),
        bundler=make(),
        compliance=make(),
    )


def new_ml_dsa() -> CryptoSigner:
    """Return a new ML-DSA-87 key."""
    return CryptoSigner(MLDSA87PrivateKey.generate())


_MAKERS: Final[dict[FileKeyKind, Callable[[], CryptoSigner]]] = {
    "ed25519": CryptoSigner.generate_ed25519,
    "ml-dsa-87": new_ml_dsa,
}


def make_root(
    keys: Keys,
    *,
    channel: str = "main",
    threshold: int | None = None,
    expires: dt.datetime = ROOT_EXPIRES,
    profile: Profile | None = None,
) -> bytes:
    """Return a first root in which ``keys`` hold their roles.

    ``threshold`` counts holders. The profile is the one the keys are made for.
    """
    return first_root(
        RootPlan(
            channel=parse_name(channel),
            expires=expires,
            threshold=threshold or len(keys.root),
            signers=keys.all_root,
            absent=(),
            release_keys=tuple(each.release.public_key for each in keys.both),
            bundler_keys=tuple(each.bundler.public_key for each in keys.both),
            compliance_keys=tuple(each.compliance.public_key for each in keys.both),
            profile=profile
            or profile_of_keys([[each.release.public_key for each in keys.both]]),
        )
    )


def next_root(
    before: bytes,
    *,
    signers: Sequence[CryptoSigner],
    change: Callable[[Root], object] = lambda _: None,
    version: int | None = None,
) -> bytes:
    """Return the root after ``before``, changed and signed as told."""
    metadata = Metadata[Root].from_bytes(before)
    metadata.signatures.clear()
    metadata.signed.version = version or metadata.signed.version + 1
    change(metadata.signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def publish_bundle(
    folder: Path,
    *,
    models: Sequence[tuple[str, Path, ModelTerms | None]] = (),
    policies: Sequence[tuple[str, bytes]] = (),
    version: int = 1,
    channel: str = "main",
    keys: Keys | None = None,
    roots: Sequence[bytes] = (),
    chunk_bytes: int = 2**20,
    created: dt.datetime = NOW,
    expires: dt.datetime = BUNDLE_EXPIRES,
    digest: Digest = "sha256",
) -> Published:
    """Write a signed bundle to ``folder`` and return it.

    A model with terms may be any bytes; one without them must be a GGUF, whose
    facts are then read as a build does. Without ``roots`` a first one is made.
    """
    chosen = keys or new_keys()
    chain = tuple(roots) or (make_root(chosen, channel=channel),)
    folder.mkdir(parents=True)
    into = ChunkFolder(folder=folder, chunk_bytes=chunk_bytes, digest=digest)
    artifacts = [
        *itertools.chain.from_iterable(_store_model(into, *model) for model in models),
        *(_store_policy(into, name, data) for name, data in policies),
    ]
    manifest = Manifest(
        format=FORMAT,
        channel=parse_name(channel),
        version=version,
        created=created,
        artifacts=tuple(sorted(artifacts, key=lambda item: item.path)),
        digest=digest,
    )
    bundle = Published(folder=folder, keys=chosen, roots=chain, manifest=manifest)
    write_metadata(bundle, expires=expires)
    return bundle


def write_metadata(bundle: Published, *, expires: dt.datetime = BUNDLE_EXPIRES) -> None:
    """Write roots, manifest and signed metadata of ``bundle`` into its folder."""
    for version, root in enumerate(bundle.roots, start=1):
        write_file(bundle.folder / root_path(version), root)
    for path, data in publish(
        bundle.manifest, keys=bundle.keys.publishing, expires=expires
    ):
        write_file(bundle.folder / path, data)


def republish(
    bundle: Published,
    folder: Path,
    *,
    manifest: Manifest | None = None,
    keys: Keys | None = None,
    roots: Sequence[bytes] = (),
    expires: dt.datetime = BUNDLE_EXPIRES,
) -> Published:
    """Copy the chunks of ``bundle`` to ``folder`` and sign them anew."""
    shutil.copytree(bundle.folder, folder)
    shutil.rmtree(folder / "metadata")
    again = replace(
        bundle,
        folder=folder,
        manifest=manifest or bundle.manifest,
        keys=keys or bundle.keys,
        roots=tuple(roots) or bundle.roots,
    )
    write_metadata(again, expires=expires)
    return again


def next_version(
    bundle: Published,
    folder: Path,
    *,
    keys: Keys | None = None,
    roots: Sequence[bytes] = (),
) -> Published:
    """Publish the same artifacts once more, one version higher."""
    manifest = replace(bundle.manifest, version=bundle.manifest.version + 1)
    return republish(bundle, folder, manifest=manifest, keys=keys, roots=roots)


def _store_model(
    into: ChunkFolder, name: str, path: Path, terms: ModelTerms | None
) -> tuple[Artifact, ...]:
    """Store a model's file, or all parts of a split model named by its first."""
    source = LocalFile(path=path)
    spec = ModelSpec(
        name=parse_name(name),
        source=source,
        licence=TERMS.licence,
        origin=TERMS.origin,
        allowed_regions=TERMS.allowed_regions,
    )
    with ExitStack() as stack:
        sources = [
            stack.enter_context(
                Source(file.path, max_bytes=DEFAULT_LIMITS.artifact_bytes)
            )
            for file in locate(source).files
            if isinstance(file, OnDisk)
        ]
        known = terms or model_terms(sources, spec)
        stored = [store_in_chunks(each, into, progress=_ignore) for each in sources]
    return model_artifacts(parse_name(name), stored, terms=known)


def _store_policy(into: ChunkFolder, name: str, data: bytes) -> Artifact:
    path = into.folder.parent / f".{into.folder.name}.{name}.cedar"
    path.write_bytes(data)
    try:
        with Source(path, max_bytes=DEFAULT_LIMITS.policy_bytes) as source:
            stored = store_in_chunks(source, into, progress=_ignore)
    finally:
        path.unlink()
    return artifact_of(parse_name(name), stored)


def _ignore(_: object) -> None:
    """Show no progress."""
