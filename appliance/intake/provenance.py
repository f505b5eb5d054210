"""Checks a vendor's signature over a model again, on the isolated host.

The publisher checked it when the bundle was made and pinned the vendor's key or
CA certificate in the signed manifest. Certificates have to be valid at the time
the bundle carries: that time is signed by the publisher, who saw the signature.
"""

from pathlib import Path

from bundleformat.digest import Sha256
from bundleformat.errors import MalformedError, StorageFaultError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import Artifact, Manifest
from bundleformat.model_signing import check_covers, verify_model_signature


def check_provenance(path: Path, *, artifact: Artifact, manifest: Manifest) -> str:
    """Return who signed the model that ``artifact``, a signature at ``path``, is of.

    Raises:
        SignatureError, ExpiredError: The pinned key or certificate did not sign.
        DigestMismatchError: It signed other files than the model's.
        MalformedError, LimitExceededError: It is no model signature.
        StorageFaultError: It cannot be read.
    """
    if artifact.provenance is None:
        raise MalformedError("no vendor's signature", where=artifact.path)
    try:
        with path.open("rb") as file:
            data = file.read(DEFAULT_LIMITS.provenance_bytes + 1)
    except OSError as error:
        raise StorageFaultError(
            "cannot be read", where=str(path), actual=error.strerror or ""
        ) from error
    signed = verify_model_signature(
        data,
        provenance=artifact.provenance,
        moment=manifest.created,
        limits=DEFAULT_LIMITS,
        where=artifact.path,
    )
    check_covers(signed, _files(artifact, manifest), where=artifact.path)
    return signed.signer


def _files(artifact: Artifact, manifest: Manifest) -> list[tuple[str, Sha256]]:
    """Return place and digest of each file of the model that was signed."""
    paths = {each.sha256: each.path for each in manifest.artifacts}
    for each in manifest.artifacts:
        if each.model is not None and each.name == artifact.name:
            parts = each.model.parts or (each.sha256,)
            return [(paths.get(part, each.path), part) for part in parts]
    raise MalformedError("the signature of no model", where=artifact.path)
