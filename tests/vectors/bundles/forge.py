"""What a holder of keys can sign, and what anybody can write into a file.

Nothing here checks anything: whatever is asked for is written, and signed.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import rfc8785
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from bundleformat.layout import MANIFEST_PATH, TIMESTAMP_PATH, root_path
from tests.support.publisher import next_root
from tests.vectors.bundles.estate import KEYS, NEXT, Files, bundle, root

Value = dict[str, Any]
Change = Callable[[Value], object]
"""Changes the object it is given."""

SNAPSHOT_PATH: Final = f"metadata/{NEXT}.snapshot.json"
TARGETS_PATH: Final = f"metadata/{NEXT}.targets.json"
ROOT_PATH: Final = root_path(1)
ROOT_2_PATH: Final = root_path(2)


def unchanged(_: Value) -> None:
    """Change nothing."""


def with_bytes(path: str, change: Callable[[bytes], bytes]) -> Files:
    """Return the good bundle with the bytes of one file changed."""
    files = bundle()
    return {**files, path: change(files[path])}


def with_text(path: str, before: str, after: str) -> Files:
    """Return the good bundle with one text in one file replaced."""

    def put(data: bytes) -> bytes:
        changed = data.replace(before.encode(), after.encode("utf-8"), 1)
        if changed == data:
            raise ValueError(before)
        return changed

    return with_bytes(path, put)


def with_json(path: str, change: Change) -> Files:
    """Return the good bundle with the object in one file changed, and not signed."""
    return with_bytes(path, lambda data: compact(changed(data, change)))


def put(**said: object) -> Change:
    """Return what says something else in some fields."""
    return lambda value: value.update(said)


def resigned_with(role: str, change: Change) -> Callable[[], Files]:
    """Return what makes the good bundle with one role's metadata changed."""
    of = {role: change}
    return lambda: resigned(
        bundle(),
        targets=of.get("targets", unchanged),
        snapshot=of.get("snapshot", unchanged),
        timestamp=of.get("timestamp", unchanged),
    )


def without(*paths: str) -> Files:
    """Return the good bundle without some files."""
    return {path: data for path, data in bundle().items() if path not in paths}


def changed(data: bytes, change: Change) -> Value:
    """Return the object in ``data``, changed."""
    value: Value = json.loads(data)
    change(value)
    return value


def compact(value: Value) -> bytes:
    """Return ``value`` as TUF writes it."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def sign(signed: Value, signers: Sequence[CryptoSigner]) -> bytes:
    """Return metadata with the signatures of ``signers``."""
    data = (encode_canonical(signed) or "").encode()
    made = [signer.sign(data).to_dict() for signer in signers]
    return compact({"signatures": made, "signed": signed})


def resigned(
    files: Files,
    *,
    manifest: bytes | None = None,
    targets: Change = unchanged,
    snapshot: Change = unchanged,
    timestamp: Change = unchanged,
    release: Sequence[CryptoSigner] = (KEYS.release,),
    bundler: Sequence[CryptoSigner] = (KEYS.bundler,),
) -> Files:
    """Return ``files`` with their metadata changed, and all of it signed.

    Each change is made to the signed part, after it names what lies below it.
    """
    made = dict(files)
    if manifest is not None:
        made[MANIFEST_PATH] = manifest
    signed: Value = json.loads(made[TARGETS_PATH])["signed"]
    signed["targets"][MANIFEST_PATH].update(_named(made[MANIFEST_PATH]))
    targets(signed)
    made[TARGETS_PATH] = sign(signed, release)
    return named_targets(made, snapshot=snapshot, timestamp=timestamp, bundler=bundler)


def named_targets(
    files: Files,
    *,
    snapshot: Change = unchanged,
    timestamp: Change = unchanged,
    bundler: Sequence[CryptoSigner] = (KEYS.bundler,),
) -> Files:
    """Return ``files`` with snapshot and timestamp signed for these targets."""
    signed: Value = json.loads(files[SNAPSHOT_PATH])["signed"]
    signed["meta"]["targets.json"].update(_named(files[TARGETS_PATH]))
    snapshot(signed)
    made = {**files, SNAPSHOT_PATH: sign(signed, bundler)}
    return named_snapshot(made, timestamp=timestamp, bundler=bundler)


def named_snapshot(
    files: Files,
    *,
    timestamp: Change = unchanged,
    bundler: Sequence[CryptoSigner] = (KEYS.bundler,),
) -> Files:
    """Return ``files`` with the timestamp signed for this snapshot."""
    signed: Value = json.loads(files[TIMESTAMP_PATH])["signed"]
    signed["meta"]["snapshot.json"].update(_named(files[SNAPSHOT_PATH]))
    timestamp(signed)
    return {**files, TIMESTAMP_PATH: sign(signed, bundler)}


def with_manifest(change: Change, *, files: Files | None = None) -> Files:
    """Return ``files``, or the good bundle, with the manifest changed, and signed."""
    before = files or bundle()
    value = changed(before[MANIFEST_PATH], change)
    return resigned(before, manifest=rfc8785.dumps(value))


def with_manifest_bytes(change: Callable[[bytes], bytes]) -> Files:
    """Return the good bundle with the bytes of its manifest changed, and signed."""
    files = bundle()
    return resigned(files, manifest=change(files[MANIFEST_PATH]))


def root_2(
    change: Callable[[Root], object] = lambda _: None,
    *,
    signers: Sequence[CryptoSigner] = KEYS.root[:2],
    version: int | None = None,
) -> bytes:
    """Return the root after the trusted one, changed and signed as told."""
    return next_root(root(), signers=signers, change=change, version=version)


def odd_root_2(change: Change, *, signers: Sequence[CryptoSigner] = ()) -> bytes:
    """Return such a root whose object the library might not even write."""
    signed: Value = json.loads(root_2())["signed"]
    change(signed)
    return sign(signed, signers or KEYS.root[:2])


def revoke_bundler(fresh: CryptoSigner) -> Callable[[Root], None]:
    """Return the change of a root that gives the bundler's roles to another key."""

    def change(value: Root) -> None:
        for role in ("snapshot", "timestamp"):
            value.revoke_key(KEYS.bundler.public_key.keyid, role)
            value.add_key(fresh.public_key, role)

    return change


def keyid_of(signer: CryptoSigner) -> str:
    """Return the id of a key."""
    return signer.public_key.keyid


def signature_of(data: bytes) -> str:
    """Return the first signature of a metadata file, in hexadecimal."""
    metadata: Metadata[Any] = Metadata.from_bytes(data)
    return next(iter(metadata.signatures.values())).signature


def _named(data: bytes) -> Value:
    digest = hashlib.sha256(data).hexdigest()
    return {"length": len(data), "hashes": {"sha256": digest}}
