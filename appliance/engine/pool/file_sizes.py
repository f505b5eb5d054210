"""Tells what a model needs from the size of its files alone.

The cache and the buffers of an engine are not in these numbers.
"""

from pathlib import Path

from appliance.engine.pool.budget import Need
from bundleformat.errors import StorageFaultError

_MEMINFO = Path("/proc/meminfo")


class FileSizes:
    """Implements ``budget.MemoryBudget``."""

    async def need(self, *paths: Path) -> Need:
        """Return the size of the files, which are mapped into memory."""
        try:
            size_bytes = sum(path.stat().st_size for path in paths)
        except OSError as error:
            raise StorageFaultError(
                "a stored model cannot be found", actual=str(error.strerror)
            ) from error
        return Need(total_bytes=size_bytes, mapped_bytes=size_bytes)

    def available_bytes(self) -> int:
        """Return the kernel's ``MemAvailable``."""
        try:
            lines = _MEMINFO.read_text("ascii").splitlines()
        except OSError as error:
            raise StorageFaultError(
                "the memory of this host cannot be told", actual=str(error.strerror)
            ) from error
        (found,) = [line for line in lines if line.startswith("MemAvailable:")]
        return int(found.split()[1]) * 1024
