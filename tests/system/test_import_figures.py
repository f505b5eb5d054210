"""What an import takes of a host: memory that does not grow, and its bytes once."""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import commission_flow
from appliance.clock import SystemClock
from appliance.home import Home
from benchmarks.watch import Peak, watch
from tests.support.gguf_writer import TinyModel, write_model
from tests.support.publisher import make_root, new_keys, publish_bundle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MEMORY_BYTES = 100 * 10**6
"""Most that the importing process may have resident, whatever it imports."""

DISK = 1.05
"""Most that staging and store together may take, in sizes of what is imported."""

CHUNK_BYTES = 64 * 2**20


def import_of(folder: Path, *, layers: int) -> tuple[int, Peak]:
    """Import a model of so many layers by the command; return its size and peaks."""
    folder.mkdir()
    model = TinyModel(
        layers=layers, embedding=1024, heads=16, kv_heads=8, feed_forward=4096
    )
    path = write_model(folder / "model.gguf", model)
    now = SystemClock().now().replace(microsecond=0)
    expires = now + dt.timedelta(days=30)
    keys = new_keys()
    root = make_root(keys, expires=expires)
    bundle = publish_bundle(
        folder / "bundle",
        models=[("large", path, None)],
        keys=keys,
        roots=[root],
        created=now,
        expires=expires,
        chunk_bytes=CHUNK_BYTES,
    )
    home = Home(folder / "home")
    commission_flow.initialise_trust(
        home, root, fingerprint=bundle.fingerprint, clock=SystemClock()
    )
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", "bundle", "import", str(bundle.folder)],
        env={**os.environ, "SALLYPORT_HOME": str(home.root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        peak = watch(process, folders=(home.staging, home.store))
    assert process.returncode == 0
    return path.stat().st_size, peak


def test_an_import_takes_little_memory_whatever_its_size_and_its_bytes_once(
    tmp_path: Path,
) -> None:
    small_bytes, small = import_of(tmp_path / "small", layers=1)
    size_bytes, large = import_of(tmp_path / "large", layers=12)
    assert size_bytes > 8 * small_bytes > 8 * CHUNK_BYTES // 2
    assert large.rss_bytes < MEMORY_BYTES
    # What the larger one takes beside is blocks in flight, and not its size.
    assert large.rss_bytes - small.rss_bytes < 8 * 2**20
    assert size_bytes <= large.disk_bytes <= DISK * size_bytes
