"""Fuzzes one target with atheris: ``python -m tests.fuzz.fuzz_one NAME OPTION…``.

The options are libFuzzer's; the last is a folder, new or old, where the target's
seeds and the inputs that were found lie. The process has little memory, so an input
that makes a reader take much of it ends the run like any other bug.
"""

import hashlib
import resource
import sys
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["bundleformat", "securesystemslib", "tuf"]):
    from tests.fuzz.broken import BROKEN
    from tests.fuzz.targets import TARGETS

HEADROOM_BYTES: Final = 256 * 2**20
"""Address space that inputs may take beyond what the process has when it begins."""


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    target = {**TARGETS, **BROKEN}[sys.argv.pop(1)]
    folder = Path(sys.argv[-1])
    folder.mkdir(exist_ok=True)
    for seed in target.seeds():
        target.refusal(seed)
        (folder / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
    atheris.Setup(sys.argv, target.try_both)
    limit_bytes = address_space_bytes() + HEADROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    atheris.Fuzz()


def address_space_bytes() -> int:
    """Return how much address space this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
