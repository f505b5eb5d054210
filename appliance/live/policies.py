"""The policy set that is in force: the installed core, and the site's stored files."""

from appliance.live.snapshot import Snapshot
from appliance.policy.compile import CoreFiles, PolicySet, compile_policies
from appliance.registry.store import Store
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import DigestMismatchError, StorageFaultError


def compile_active(snapshot: Snapshot, *, store: Store, core: CoreFiles) -> PolicySet:
    """Return the policy set of ``snapshot``, from bytes that are read again now.

    Raises:
        DigestMismatchError: A stored policy has changed.
        StorageFaultError: The disk cannot be read.
        MalformedError: A policy is not valid.
    """
    files = []
    for name, sha256 in snapshot.policies:
        data = _stored(store, sha256)
        if sha256_of(data) != sha256:
            raise DigestMismatchError(
                "a stored policy has changed",
                where=name,
                hint="Run: sallyport store repair MEDIUM",
            )
        files.append((name, data))
    return compile_policies(core, site=tuple(files))


def _stored(store: Store, sha256: Sha256) -> bytes:
    with store.open(sha256) as file:
        try:
            return file.read()
        except OSError as error:
            raise StorageFaultError(
                "a stored policy cannot be read",
                where=sha256,
                actual=str(error.strerror),
            ) from error
