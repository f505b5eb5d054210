"""A host with generations whose files are a few bytes each; nothing is signed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from appliance.import_steps.host import ImportHost
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.records.fields import JSON
from appliance.registry import catalogue
from bundleformat.digest import Sha256, sha256_of
from bundleformat.manifest import Artifact, Chunk, Kind, Manifest, encode_manifest
from bundleformat.paths import ArchivePath, Name
from tests.support.importing import Host, new_host
from tests.support.publisher import (
    NOW,
    TERMS,
    Keys,
    Published,
    make_root,
    new_keys,
)

PATHS = {
    "model": "models/{}.gguf",
    "part": "models/{}.gguf",
    "policy": "policies/{}.cedar",
    "sbom": "sbom/{}.cdx.json",
}


def artifact(kind: str, name: str, *, data: bytes) -> Artifact:
    """Return an artifact of those bytes."""
    digest = sha256_of(data)
    return Artifact(
        kind=cast("Kind", kind),
        name=Name(name),
        path=ArchivePath(PATHS[kind].format(name)),
        size_bytes=len(data),
        sha256=digest,
        chunks=(Chunk(sha256=digest, size_bytes=len(data)),),
        model=TERMS if kind == "model" else None,
    )


def manifest_of(
    files: Mapping[str, bytes], *, version: int, channel: str = "main"
) -> Manifest:
    """Return a manifest of ``files``, named as in ``model/a``."""
    artifacts = [
        artifact(*name.split("/", 1), data=data) for name, data in files.items()
    ]
    return Manifest(
        format=1,
        channel=Name(channel),
        version=version,
        created=NOW,
        artifacts=tuple(sorted(artifacts, key=lambda each: each.path.lower())),
    )


def split_manifest(parts: Mapping[str, bytes], *, version: int) -> Manifest:
    """Return a manifest of one split model."""
    first, *_ = names = list(parts)
    whole = manifest_of(
        {
            f"{'model' if name == first else 'part'}/{name}": parts[name]
            for name in names
        },
        version=version,
    )
    digests = tuple(sha256_of(data) for data in parts.values())
    return replace(
        whole,
        artifacts=tuple(
            replace(each, model=replace(TERMS, parts=digests)) if each.model else each
            for each in whole.artifacts
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A host, and the publisher it trusts."""

    host: Host
    keys: Published

    @property
    def parts(self) -> ImportHost:
        return self.host.parts()

    @property
    def environments(self) -> Path:
        return self.host.home / "environments"

    def path(self, data: bytes) -> Path:
        """Where those bytes are stored."""
        return self.host.store.path_of(sha256_of(data))

    def stored(self) -> set[Sha256]:
        """Every name in the store."""
        folder = self.host.store.folder
        return {Sha256(path.name) for path in folder.iterdir()}

    def deliver(
        self,
        version: int,
        files: Mapping[str, bytes],
        *,
        channel: str = "main",
        signed_by: tuple[str, ...] | None = None,
        environments: tuple[str, ...] = (),
    ) -> int:
        """Admit and activate ``files`` as an import does; return the generation."""
        manifest = manifest_of(files, version=version, channel=channel)
        return self.put(
            manifest,
            files.values(),
            signed_by=signed_by,
            environments=environments,
        )

    def put(
        self,
        manifest: Manifest,
        data: Iterable[bytes],
        *,
        signed_by: tuple[str, ...] | None = None,
        environments: tuple[str, ...] = (),
    ) -> int:
        """Admit ``data`` and activate ``manifest``."""
        for each in data:
            staged = self.host.staging / "copy"
            staged.write_bytes(each)
            self.host.store.admit(staged, sha256_of(each))
        encoded = encode_manifest(manifest)
        with self.host.database.begin() as connection:
            identity = catalogue.activate(
                connection, manifest=manifest, manifest_bytes=encoded, now=NOW
            )
            fields: dict[str, JSON] = {
                "channel": manifest.channel,
                "version": manifest.version,
                "manifest_sha256": sha256_of(encoded),
                "generation": identity,
                "signed_by": signed_by or (self.keys.keys.release.public_key.keyid,),
                "environments": environments or None,
            }
            imported = Draft(
                event=Event.BUNDLE_IMPORTED, outcome=Outcome.OK, fields=fields
            )
            self.host.append(connection, [imported])
        return identity

    def records(self) -> int:
        """How many records the ledger has."""
        return len(self.host.rows()["record"])


def kept_host(
    home: Path, *, keys: Keys | None = None, root: bytes | None = None
) -> Kept:
    """Commission a host that trusts one publisher and has imported nothing."""
    keys = keys or new_keys()
    published = Published(
        folder=home,
        keys=keys,
        roots=(root or make_root(keys),),
        manifest=manifest_of({"model/a": b"a"}, version=1),
    )
    extra = replace(
        published,
        roots=(make_root(keys, channel="extra"),),
        manifest=replace(published.manifest, channel=Name("extra")),
    )
    return Kept(host=new_host(home, published, extra), keys=published)
