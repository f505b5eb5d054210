"""A folder beside what is being made, so that that appears whole or not at all."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundleformat.errors import StorageFaultError


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Yield a private folder on the file system of ``path``, and remove it.

    Raises:
        StorageFaultError: The disk refused, here or within the ``with`` block.
    """
    final = path.absolute()
    scratch = final.with_name(f".{final.name}.{secrets.token_hex(4)}.partial")
    try:
        scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise StorageFaultError(
            "the export cannot be written",
            where=str(path),
            actual=str(error.strerror),
        ) from error
