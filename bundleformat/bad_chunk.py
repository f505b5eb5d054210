"""Says of a bad chunk what it is part of, and on which medium it lies.

A chunk is named by its digest, which tells a person with three discs in the hand
neither which model is concerned nor which disc to copy again.
"""

from typing import TypeVar

from bundleformat.errors import RefusalError
from bundleformat.manifest import Artifact
from bundleformat.paths import ArchivePath
from bundleformat.volume_set import CHUNKS_FOLDER, VolumeSet

Refusal = TypeVar("Refusal", bound=RefusalError)


def naming(error: Refusal, artifact: Artifact, volumes: VolumeSet) -> Refusal:
    """Return ``error``, whose hint says what the chunk belongs to and where it lies.

    An error about anything but a chunk is returned as it is.
    """
    if not error.where.startswith(f"{CHUNKS_FOLDER}/"):
        return error
    medium = volumes.holder(ArchivePath(error.where))
    part = f"It is part of {artifact.kind} {artifact.name}, on {medium}."
    return error.with_hint(" ".join(filter(None, (part, error.hint))))
