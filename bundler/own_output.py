"""Verifies what this machine wrote, with the host's own code and a host's eyes.

No bundle leaves the connected machine that a host would refuse: before it gets
its name, it is read back and verified from the first root on, payload included.
"""

import datetime as dt
import tempfile
from pathlib import Path

from bundleformat.digest import Sha256, check_reader
from bundleformat.layout import chunk_path
from bundleformat.limits import Limits
from bundleformat.medium import Medium
from bundleformat.trust import BOOTSTRAP_FILE, TrustState
from bundleformat.verify import VerifiedBundle, verify_chunks, verify_metadata
from bundleformat.volume_hint import read_hint
from bundler.progress import Meter


def verify_own_output(
    medium: Medium,
    *,
    roots: tuple[bytes, ...],
    now: dt.datetime,
    limits: Limits,
    meter: Meter,
) -> VerifiedBundle:
    """Return the bundle on ``medium`` as a host sees it that began with root 1.

    Raises:
        RefusalError: A host would refuse it.
        StorageFaultError: It cannot be read.
    """
    # The roots are the publisher's own, so no fingerprint is compared here. An
    # old first root may have expired; what counts is where its chain leads.
    state = TrustState(
        files=((BOOTSTRAP_FILE, roots[0]), ("root_history/1.root.json", roots[0]))
    )
    with tempfile.TemporaryDirectory() as scratch:
        bundle = verify_metadata(
            medium,
            state=state,
            floor=None,
            now=now,
            scratch=Path(scratch),
            limits=limits,
        )
    hint = read_hint(medium, limits=limits)
    if hint is not None and hint.since is not None:
        _verify_listed(medium, bundle, frozenset(hint.chunks), meter=meter)
        return bundle
    artifacts = bundle.manifest.artifacts
    meter.stage("Verifying", sum(item.size_bytes for item in artifacts))
    verify_chunks(medium, bundle, progress=meter.advance)
    return bundle


def _verify_listed(
    medium: Medium, bundle: VerifiedBundle, here: frozenset[Sha256], *, meter: Meter
) -> None:
    """Verify the chunks that a differential bundle does not leave to its hosts."""
    chunks = {
        chunk.sha256: chunk
        for artifact in bundle.manifest.artifacts
        for chunk in artifact.chunks
        if chunk.sha256 in here
    }
    meter.stage("Verifying", sum(chunk.size_bytes for chunk in chunks.values()))
    for chunk in chunks.values():
        path = chunk_path(chunk.sha256)
        with medium.open(path) as file:
            check_reader(
                file,
                sha256=chunk.sha256,
                sha384=chunk.sha384,
                size_bytes=chunk.size_bytes,
                where=path,
                sink=lambda block: meter.advance(len(block)),
            )
