"""The publisher of the corpus, with keys that anybody can make again.

The keys come from their names, so the same script gives the same signatures. They
are worth nothing: everybody who reads this file has them.
"""

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from bundleformat.artifact import (
    Artifact,
    Chunk,
    Environment,
    Kind,
    ModelTerms,
    Provenance,
    WheelSizes,
)
from bundleformat.digest import sha256_of
from bundleformat.layout import chunk_path, root_path
from bundleformat.manifest import FORMAT, Manifest
from bundleformat.paths import ArchivePath, Name
from bundler.signing.publish import publish
from tests.support.publisher import Keys, make_root

Files = dict[str, bytes]
"""A medium as it would be: path to bytes."""

CHANNEL: Final = "main"

EXPIRES: Final = dt.datetime(2126, 1, 1, tzinfo=dt.UTC)
"""Far enough that the committed files stay what they are."""

CREATED: Final = {
    version: dt.datetime(2026, 11, day, 9, tzinfo=dt.UTC)
    for version, day in ((1, 1), (2, 10), (3, 20), (4, 21))
}
"""When each version of the channel was made."""

ACTIVE: Final = 2
"""The version that every host of the corpus has before a case begins."""

NEXT: Final = 3
"""The version of the good bundle, and of what pretends to be it."""


def key(name: str) -> CryptoSigner:
    """Return the key of that name."""
    seed = hashlib.sha256(f"sallyport corpus: {name}".encode()).digest()
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(seed))


def keys_of(owner: str) -> Keys:
    """Return all keys of one publisher."""
    return Keys(
        root=tuple(key(f"{owner} root {number}") for number in (1, 2, 3)),
        release=key(f"{owner} release"),
        bundler=key(f"{owner} bundler"),
        compliance=key(f"{owner} compliance"),
    )


KEYS: Final = keys_of("publisher")
"""The keys of the publisher that the hosts trust."""


@cache
def root() -> bytes:
    """Return the root that the hosts trust: two of three holders."""
    return make_root(KEYS, threshold=2, expires=EXPIRES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """An artifact to be: what is said of it, and its bytes."""

    kind: Kind
    name: str
    path: str
    data: bytes
    chunk_bytes: int = 2**30
    model: ModelTerms | None = None
    environment: Environment | None = None
    provenance: Provenance | None = None
    wheel: WheelSizes | None = None

    def chunks(self) -> Sequence[bytes]:
        """Return its bytes in chunks."""
        step = self.chunk_bytes
        return [self.data[n : n + step] for n in range(0, len(self.data), step)]

    def artifact(self) -> Artifact:
        """Return what a manifest says of it."""
        return Artifact(
            kind=self.kind,
            name=Name(self.name),
            path=ArchivePath(self.path),
            size_bytes=len(self.data),
            sha256=sha256_of(self.data),
            chunks=tuple(
                Chunk(sha256=sha256_of(each), size_bytes=len(each))
                for each in self.chunks()
            ),
            model=self.model,
            environment=self.environment,
            provenance=self.provenance,
            wheel=self.wheel,
        )


def policy(name: str, *, says: str, chunks: int = 3) -> Delivery:
    """Return a policy in some chunks."""
    text = (
        f'@id("{name}")\n@reason("{says}")\n'
        "forbid (principal, action, resource)\n"
        'when { context.data_classes.contains("phi") };\n'
    )
    data = text.encode()
    return Delivery(
        kind="policy",
        name=name,
        path=f"policies/{name}.cedar",
        data=data,
        chunk_bytes=-(-len(data) // chunks),
    )


DELIVERED: Final[dict[int, tuple[Delivery, ...]]] = {
    1: (policy("site", says="health data is not processed here, said first"),),
    2: (policy("site", says="health data is not processed here"),),
    3: (
        policy("site", says="health data is never processed here"),
        policy("ward", says="not on this ward either", chunks=1),
    ),
    4: (policy("site", says="health data may not be processed here"),),
}
"""What each version of the channel delivers."""


def manifest_of(
    deliveries: Sequence[Delivery], *, version: int = NEXT, channel: str = CHANNEL
) -> Manifest:
    """Return the manifest of ``deliveries``."""
    artifacts = (each.artifact() for each in deliveries)
    return Manifest(
        format=FORMAT,
        channel=Name(channel),
        version=version,
        created=CREATED[version],
        artifacts=tuple(sorted(artifacts, key=lambda each: each.path.lower())),
    )


def chunk_files(deliveries: Sequence[Delivery]) -> Files:
    """Return the chunks of ``deliveries`` where they lie on a medium."""
    return {
        chunk_path(sha256_of(chunk)): chunk
        for each in deliveries
        for chunk in each.chunks()
    }


def signed(
    manifest: Manifest,
    *,
    keys: Keys = KEYS,
    roots: Sequence[bytes] = (),
    expires: dt.datetime = EXPIRES,
) -> Files:
    """Return roots, metadata and manifest, as the publisher writes them."""
    chain = tuple(roots) or (root(),)
    return {
        **{root_path(n): data for n, data in enumerate(chain, start=1)},
        **dict(publish(manifest, keys=keys.publishing, expires=expires)),
    }


def bundle(
    *deliveries: Delivery,
    version: int = NEXT,
    keys: Keys = KEYS,
    roots: Sequence[bytes] = (),
    expires: dt.datetime = EXPIRES,
) -> Files:
    """Return a bundle of ``deliveries``, or of what that version delivers."""
    chosen = deliveries or DELIVERED[version]
    manifest = manifest_of(chosen, version=version)
    return {
        **signed(manifest, keys=keys, roots=roots, expires=expires),
        **chunk_files(chosen),
    }


def trust_only(*, version: int, roots: Sequence[bytes]) -> Files:
    """Return a bundle that delivers nothing but ``roots``."""
    manifest = replace(manifest_of((), version=version), purpose="trust")
    return signed(manifest, roots=roots)
