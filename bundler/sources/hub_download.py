"""Downloads large files of a hub into a cache folder, and goes on where it ended.

``huggingface-hub`` begins every download anew, so what has arrived is kept here:
``DIGEST.partial`` while it grows, and ``DIGEST`` once every byte was hashed. A
file that ``hf download`` left in the library's own cache is used where it lies.
"""

import fcntl
import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, disable_progress_bars

from bundleformat.digest import check_reader
from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    LimitExceededError,
    StorageFaultError,
)
from bundler.pack import check_room
from bundler.sources.hugging_face import token_for, translated
from bundler.sources.located import OnDisk, OnHub

MAX_BYTES: Final = 50_000_000_000
"""Largest file that a hub gives by plain HTTP. Unit: bytes.

Source: ``huggingface_constants.MAX_HTTP_DOWNLOAD_SIZE``.
"""

Advance = Callable[[int], object]
"""Told of bytes that have arrived or have been hashed."""


def fetch(wanted: OnHub, *, cache: Path, progress: Advance) -> OnDisk:
    """Return ``wanted`` on disk, with the bytes that the hub states.

    ``progress`` is told of every byte once, whether it was here before or comes
    now.

    Raises:
        DigestMismatchError: The bytes are not those; nothing of them is kept.
        ConflictError: Another build is downloading the same file.
        LimitExceededError: Larger than a hub gives by plain HTTP.
        MissingError, AccessDeniedError, HubFaultError, StorageFaultError: As
            ``translated``; what has arrived stays for the next try.
    """
    path = cache / wanted.sha256
    if path.is_file() and path.stat().st_size == wanted.size_bytes:
        progress(wanted.size_bytes)
    elif (elsewhere := _in_library_cache(wanted)) is not None:
        progress(wanted.size_bytes)
        path = elsewhere
    else:
        _check_size(wanted)
        with _partial(path) as partial:
            _download(wanted, partial, progress=progress)
            _check(wanted, partial)
            partial.replace(path)
    return OnDisk(path=path, size_bytes=wanted.size_bytes, sha256=wanted.sha256)


def _in_library_cache(wanted: OnHub) -> Path | None:
    file = wanted.file
    found = try_to_load_from_cache(file.repo, file.file, revision=file.revision)
    if not isinstance(found, str) or Path(found).stat().st_size != wanted.size_bytes:
        return None
    return Path(found)


def _check_size(wanted: OnHub) -> None:
    if wanted.size_bytes > MAX_BYTES:
        raise LimitExceededError(
            "too large for a plain download",
            where=wanted.file.origin,
            expected=f"at most {MAX_BYTES} bytes",
            actual=f"{wanted.size_bytes} bytes",
            hint="Get it with `hf download REPO FILE --revision COMMIT`; a build finds "
            "it in the cache then.",
        )


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """Give the file to grow, for this process alone."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        lock = partial.open("ab")
    except OSError as error:
        raise StorageFaultError(
            "a download cannot be kept",
            where=str(partial),
            actual=error.strerror or str(error),
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConflictError(
                "another build is downloading this file",
                where=str(partial),
                hint="Wait for it to end, then build again.",
            ) from error
        yield partial


class _Watched(io.BufferedRandom):
    """A file that tells how much is written to it."""

    def __init__(self, path: Path, progress: Advance) -> None:
        super().__init__(io.FileIO(path, "r+"))
        self._progress = progress

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        """Write ``data`` and tell."""
        count = super().write(data)
        self._progress(count)
        return count


def _download(wanted: OnHub, partial: Path, *, progress: Advance) -> None:
    file = wanted.file
    endpoint = file.endpoint or constants.ENDPOINT
    url = f"{endpoint}/{file.repo}/resolve/{file.revision}/{quote(file.file)}"
    with translated(file), _Watched(partial, progress) as out:
        there = out.seek(0, io.SEEK_END)
        check_room(partial, wanted.size_bytes - there)
        if there > wanted.size_bytes:
            there = out.truncate(0)
            out.seek(0)
        progress(there)
        disable_progress_bars()
        # Its warnings name the addresses of redirections; ours is the one that counts.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        # Redirections to another host lose the token: the HTTP client sees to it.
        http_get(
            url,
            out,
            resume_size=there,
            headers=build_hf_headers(token=token_for(file)),
            expected_size=wanted.size_bytes,
        )


def _check(wanted: OnHub, partial: Path) -> None:
    try:
        with partial.open("rb") as reader:
            check_reader(
                reader,
                sha256=wanted.sha256,
                size_bytes=wanted.size_bytes,
                where=wanted.file.origin,
            )
    except DigestMismatchError as error:
        partial.unlink()
        raise DigestMismatchError(
            "the downloaded bytes are not those the hub states",
            where=error.where,
            expected=error.expected,
            actual=error.actual,
            hint="What was downloaded has been removed; build again. If it differs "
            "again, somebody on the way changes it.",
        ) from error
