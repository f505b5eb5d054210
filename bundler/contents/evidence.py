"""Adds to a bundle what is said of its content: vendors' signatures, and the bill.

Both follow from what lies in chunks already, so they are made last.
"""

import datetime as dt
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from bundleformat.artifact import Artifact
from bundleformat.limits import Limits
from bundleformat.paths import Name
from bundler.contents.artifacts import artifact_of
from bundler.contents.chunks import ChunkFolder, store_bytes
from bundler.contents.provenance import check_provenance
from bundler.contents.sbom import Library, Subject, bill_of_materials
from bundler.contents.spec import BundleSpec, ModelSpec

BILL_NAME: Final = Name("bundle")
"""Name of the bill of materials of the whole bundle."""


def store_provenance(
    spec: ModelSpec,
    files: Sequence[Artifact],
    into: ChunkFolder,
    *,
    created: dt.datetime,
    limits: Limits,
) -> tuple[Artifact, ...]:
    """Check the vendor's signature over a model's ``files``, and store it.

    Raises:
        RefusalError: As ``check_provenance``.
    """
    if spec.provenance is None:
        return ()
    checked = check_provenance(
        spec.provenance,
        [(file.path, file.sha256) for file in files],
        created=created,
        limits=limits,
    )
    stored = store_bytes(
        io.BytesIO(checked.signature), into, size_bytes=len(checked.signature)
    )
    artifact = artifact_of(spec.name, stored, kind="provenance")
    return (replace(artifact, provenance=checked.provenance),)


def store_bill(
    spec: BundleSpec,
    artifacts: Sequence[Artifact],
    into: ChunkFolder,
    *,
    created: dt.datetime,
    libraries: Mapping[Name, Library],
) -> Artifact:
    """Store the bill of materials of ``artifacts``."""
    subject = Subject(channel=spec.channel, version=spec.version, created=created)
    data = bill_of_materials(subject, artifacts, libraries=libraries)
    stored = store_bytes(io.BytesIO(data), into, size_bytes=len(data))
    return artifact_of(BILL_NAME, stored, kind="sbom")
