"""Reads every chunk that is on some media, and says how much of the bundle that is."""

from collections import Counter as Multiset
from collections.abc import Callable

from appliance.import_steps.copying import Counter
from appliance.import_steps.host import Observer, Verified
from appliance.intake.hashing import Digests, Hashers, signed_blocks
from bundleformat.bad_chunk import naming
from bundleformat.digest import Sha256
from bundleformat.errors import RefusalError, StorageFaultError
from bundleformat.layout import chunk_path
from bundleformat.manifest import Artifact, Chunk
from bundleformat.verify import VerifiedBundle
from bundleformat.verify_volume import list_volume
from bundleformat.volume_set import VolumeSet

Progress = Callable[[int], object]


def verify_present(
    volumes: VolumeSet, bundle: VerifiedBundle, *, observer: Observer
) -> Verified:
    """Hash every chunk that ``volumes`` have, and every artifact they have whole.

    Nothing is kept, so what was verified here MUST NOT be read again and used.

    Raises:
        DigestMismatchError: A chunk or an artifact is not what was signed.
        MissingError: A chunk is not on the medium that should have it.
        MalformedError: A link or special file lies in the place of a chunk.
        StorageFaultError: A medium cannot be read.
    """
    artifacts = bundle.manifest.artifacts
    sizes = {chunk.sha256: chunk.size_bytes for a in artifacts for chunk in a.chunks}
    present = set(list_volume(volumes, bundle).present)
    uses = Multiset(c.sha256 for a in artifacts for c in a.chunks)
    total = sum(sizes[each] * uses[each] for each in present)
    counter = Counter(observer, total)
    with Hashers() as hashers:
        for artifact in artifacts:
            _verify_artifact(
                volumes,
                artifact,
                present=present,
                hashers=hashers,
                progress=counter.add,
            )
    return Verified(
        bundle=bundle,
        chunks=len(present),
        chunks_of=len(sizes),
        size_bytes=sum(sizes[each] for each in present),
        size_bytes_of=sum(sizes.values()),
        volumes_wanted=volumes.wanted() if len(present) < len(sizes) else (),
        since=volumes.since,
    )


def _verify_artifact(
    volumes: VolumeSet,
    artifact: Artifact,
    *,
    present: set[Sha256],
    hashers: Hashers,
    progress: Progress,
) -> None:
    whole = Digests.of(artifact)
    complete = all(chunk.sha256 in present for chunk in artifact.chunks)
    for chunk in artifact.chunks:
        if chunk.sha256 in present:
            alone = Digests.of(chunk)
            digests = (alone, whole) if complete else (alone,)
            try:
                _hash(volumes, chunk, digests, hashers=hashers, progress=progress)
                alone.check(chunk, where=chunk_path(chunk.sha256))
            except RefusalError as error:
                raise naming(error, artifact, volumes) from error
    if complete:
        whole.check(artifact, where=artifact.path)


def _hash(
    volumes: VolumeSet,
    chunk: Chunk,
    digests: tuple[Digests, ...],
    *,
    hashers: Hashers,
    progress: Progress,
) -> None:
    where = chunk_path(chunk.sha256)
    try:
        with volumes.open(where) as file:
            blocks = signed_blocks(file, size_bytes=chunk.size_bytes, where=where)
            hashers.run(blocks, digests, sink=lambda block: progress(len(block)))
    except OSError as error:
        raise StorageFaultError(
            "cannot be read", where=where, actual=error.strerror or str(error)
        ) from error
