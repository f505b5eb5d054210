"""Files that are made to exhaust whoever reads them.

The caps are finite, and a length is compared with its cap before anything is read
or allocated for it. None of these is small enough to be committed.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from appliance.import_steps.host import Step
from bundleformat.layout import (
    MANIFEST_PATH,
    METADATA_FOLDER,
    TIMESTAMP_PATH,
    VOLUME_HINT_PATH,
)
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.single_file import MAX_OTHER_FILES
from bundleformat.ustar import END
from tests.support.iso_bytes import SECTOR, iso_image
from tests.support.publisher import next_root
from tests.vectors.bundles.case import (
    DIGEST,
    LIMIT,
    MALFORMED,
    Case,
    of_folder,
    of_made,
    of_media,
)
from tests.vectors.bundles.chunks import SITE
from tests.vectors.bundles.estate import KEYS, Files, bundle, root
from tests.vectors.bundles.forge import (
    ROOT_PATH,
    SNAPSHOT_PATH,
    TARGETS_PATH,
    Value,
    named_snapshot,
    named_targets,
    resigned,
    with_bytes,
    with_json,
    with_manifest,
)
from tests.vectors.bundles.forms import entries, header
from tests.vectors.bundles.signatures import put_signature

CAPS: Final = {
    "root": (ROOT_PATH, DEFAULT_LIMITS.root_bytes),
    "timestamp": (TIMESTAMP_PATH, DEFAULT_LIMITS.timestamp_bytes),
    "snapshot": (SNAPSHOT_PATH, DEFAULT_LIMITS.snapshot_bytes),
    "targets": (TARGETS_PATH, DEFAULT_LIMITS.targets_bytes),
    "manifest": (MANIFEST_PATH, DEFAULT_LIMITS.manifest_bytes),
    "hint": (VOLUME_HINT_PATH, DEFAULT_LIMITS.volume_hint_bytes),
}
"""Files of a volume, and the most bytes each may have."""


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    for what, (path, cap) in CAPS.items():
        yield _of(
            f"{what}-above-its-cap",
            path,
            partial(_padded, what, cap + 1),
            step=Step.LOCK if what == "hint" else Step.VERIFY,
        )
    yield from _signatures()
    yield from _counts()
    yield from _lists()
    yield from _sparse_images()


def _signatures() -> Iterator[Case]:
    for what, path in (("timestamp", TIMESTAMP_PATH), ("root", ROOT_PATH)):
        for name, change in (
            ("a-signature-of-a-megabyte", put_signature("ab" * 2**19)),
            ("5000-signatures", lambda v: v["signatures"].extend(_many(5_000))),
        ):
            yield _of(
                f"{what}-with-{name}",
                path,
                partial(with_json, path, change),
            )


def _many(count: int) -> list[Value]:
    return [{"keyid": f"{n:064x}", "sig": "00" * 64} for n in range(count)]


def _counts() -> Iterator[Case]:
    yield of_folder(
        "files-beside-the-metadata",
        LIMIT,
        METADATA_FOLDER,
        lambda medium: _touch(medium / METADATA_FOLDER, DEFAULT_LIMITS.root_files + 65),
        step=Step.VERIFY,
    )
    yield _of("roots-of-300-versions", "metadata", lambda: bundle(roots=_chain(300)))
    entries_ = of_media(
        "entries-of-a-single-file",
        LIMIT,
        f"header at byte {_ENTRIES * 512}",
        lambda folder: _file(folder, "medium.mbundle", _many_entries()),
    )
    yield replace(entries_, slow=True)


def _lists() -> Iterator[Case]:
    yield _of(
        "manifest-of-4097-artifacts",
        "artifacts",
        lambda: with_manifest(_artifacts(DEFAULT_LIMITS.artifacts + 1)),
    )
    yield _of(
        "manifest-of-32769-chunks",
        "artifacts[0].chunks",
        lambda: with_manifest(_chunks(DEFAULT_LIMITS.chunks + 1)),
    )
    two = _of(
        "manifest-of-40000-chunks-in-two",
        "artifacts",
        lambda: with_manifest(_chunks_of_two),
    )
    yield replace(two, slow=True)
    yield of_made(
        "timestamp-of-a-million-values",
        LIMIT,
        TIMESTAMP_PATH,
        lambda: with_bytes(TIMESTAMP_PATH, lambda _: b"[" + b"0," * 10**6 + b"0]"),
        step=Step.VERIFY,
    )
    yield of_made(
        "targets-of-brackets",
        LIMIT,
        TARGETS_PATH,
        lambda: named_targets(with_bytes(TARGETS_PATH, lambda _: b"[" * 8 * 2**20)),
        step=Step.VERIFY,
    )
    yield of_made(
        "targets-of-one-long-string",
        MALFORMED,
        TARGETS_PATH,
        lambda: named_targets(
            with_bytes(TARGETS_PATH, lambda _: b'"' + b"\\" * (8 * 2**20 - 1))
        ),
        step=Step.VERIFY,
    )


def _sparse_images() -> Iterator[Case]:
    yield of_media(
        "sparse-single-file-of-5-gib",
        MALFORMED,
        f"byte {len(b''.join(entries(bundle())))}",
        lambda folder: _sparse(
            folder, "medium.mbundle", b"".join(entries(bundle())) + END
        ),
    )
    yield of_media(
        "sparse-single-file-of-zeros",
        MALFORMED,
        "medium.mbundle",
        lambda folder: _sparse(folder, "medium.mbundle", b""),
    )
    yield of_media(
        "sparse-single-file-with-a-chunk-of-5-gib",
        LIMIT,
        SITE[1],
        lambda folder: _sparse(folder, "medium.mbundle", _claiming(5 * 2**30)),
    )
    yield of_media(
        "sparse-image-with-a-chunk-of-4-gib",
        DIGEST,
        SITE[1],
        lambda folder: _sparse(folder, "medium.iso", _image_claiming_4_gib()),
        step=Step.COPY,
    )


def _of(
    name: str, where: str, files: Callable[[], Files], *, step: Step = Step.VERIFY
) -> Case:
    return of_made(name, LIMIT, where, files, step=step)


def _padded(what: str, size_bytes: int) -> Files:
    """Return a bundle one file of which is so long, and otherwise as signed."""
    path, _ = CAPS[what]
    if what == "hint":
        return {**bundle(), path: bytes(size_bytes)}
    files = with_bytes(path, lambda data: data.ljust(size_bytes))
    if what == "manifest":
        return resigned(files, manifest=files[path])
    if what == "targets":
        return named_targets(files)
    return named_snapshot(files) if what == "snapshot" else files


def _touch(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"{number}.x").touch()


def _chain(count: int) -> tuple[bytes, ...]:
    found = [root()]
    while len(found) < count:
        found.append(next_root(found[-1], signers=KEYS.root[:2]))
    return tuple(found)


_ENTRIES: Final = DEFAULT_LIMITS.chunks + MAX_OTHER_FILES


def _many_entries() -> bytes:
    return b"".join(header(f"metadata/{n:06}", 0) for n in range(_ENTRIES + 1)) + END


def _artifacts(count: int) -> Callable[[Value], None]:
    def change(value: Value) -> None:
        first = json.dumps(value["artifacts"][0])
        value["artifacts"] = [json.loads(first) for _ in range(count)]

    return change


def _chunks(count: int) -> Callable[[Value], None]:
    def change(value: Value) -> None:
        artifact = value["artifacts"][0]
        artifact["chunks"] = artifact["chunks"][:1] * count
        artifact["size_bytes"] = count

    return change


def _chunks_of_two(value: Value) -> None:
    for artifact in value["artifacts"]:
        artifact["kind"], artifact["path"] = "sbom", f"sbom/{artifact['name']}"
        artifact["chunks"] = artifact["chunks"][:1] * 20_000
        artifact["size_bytes"] = 20_000 * artifact["chunks"][0]["size_bytes"]


def _file(folder: Path, name: str, data: bytes) -> list[Path]:
    (folder / name).write_bytes(data)
    return [folder / name]


def _sparse(folder: Path, name: str, data: bytes) -> list[Path]:
    paths = _file(folder, name, data)
    os.truncate(paths[0], 5 * 2**30 + SECTOR)
    return paths


def _claiming(size_bytes: int) -> bytes:
    files = bundle()
    kept = {path: data for path, data in files.items() if not path.startswith("c/")}
    return b"".join([*entries(kept), header(SITE[1], size_bytes)])


def _image_claiming_4_gib() -> bytes:
    """Return an image whose chunk claims as much as one run can hold."""
    image = iso_image(bundle())
    most = 2**32 - SECTOR
    image.put(image.records[SITE[1]] + 10, most.to_bytes(4, "little"))
    image.put(image.records[SITE[1]] + 14, most.to_bytes(4, "big"))
    blocks = (5 * 2**30 + SECTOR) // SECTOR
    image.put(
        16 * SECTOR + 80, blocks.to_bytes(4, "little") + blocks.to_bytes(4, "big")
    )
    return bytes(image.data)
