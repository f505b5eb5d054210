"""What a process has taken, in the kernel's own count."""

import mmap
import os
from pathlib import Path

from appliance.engine.planning.processes import taken_bytes

SIZE = 32 * 2**20


def test_memory_counts_once_it_is_used_and_files_do_not(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(SIZE))
    before = taken_bytes(os.getpid())
    assert before > 2**20
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        assert mapped.find(b"\x01") == -1
        assert taken_bytes(os.getpid()) - before < SIZE // 4
        mapped.close()
    used = bytearray(os.urandom(1024) * (SIZE // 1024))
    assert taken_bytes(os.getpid()) - before > SIZE // 2
    assert len(used) == SIZE


def test_a_process_that_is_gone_has_taken_nothing() -> None:
    assert taken_bytes(2**30) == 0
