"""The site's policies as they would be in force after an import."""

from collections.abc import Callable
from functools import partial

from appliance.db.session import database_faults, reader
from appliance.import_steps.host import ImportHost
from appliance.registry import catalogue
from bundleformat.errors import StorageFaultError
from bundleformat.manifest import Artifact, Manifest

Policies = tuple[tuple[str, bytes], ...]
"""Policies as name and bytes, by name."""


def policies_after(
    host: ImportHost, manifest: Manifest, *, read: Callable[[Artifact], bytes]
) -> Policies:
    """Return every site policy that would be in force after this import, by name.

    ``read`` gives the verified bytes of one that the manifest lists.
    """
    with database_faults(host.database), reader(host.database).begin() as connection:
        others = {
            policy.name: host.store.path_of(policy.sha256)
            for policy in catalogue.active_policies(connection)
            if policy.channel != manifest.channel
        }
    sources = {name: path.read_bytes for name, path in others.items()} | {
        each.name: partial(read, each)
        for each in manifest.artifacts
        if each.kind == "policy"
    }
    return tuple((name, _read(name, sources[name])) for name in sorted(sources))


def _read(name: str, source: Callable[[], bytes]) -> bytes:
    try:
        return source()
    except OSError as error:
        raise StorageFaultError(
            "cannot be read", where=f"policy {name}", actual=error.strerror or ""
        ) from error
