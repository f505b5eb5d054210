"""Readers that do what none may, to show that a run of the fuzzer finds it."""

import time
from typing import Final

from tests.fuzz.target import Target


def _raise(data: bytes) -> None:
    if data[:1] == b"!":
        raise KeyError(data)


def _wait(data: bytes) -> None:
    if data[:1] == b"!":
        time.sleep(10)


def _swell(data: bytes) -> None:
    if data[:1] == b"!":
        bytearray(2**30)


BROKEN: Final = {
    f"broken-{name}": Target(
        name=f"broken-{name}", read=read, seeds=lambda: [b"", b"? good"]
    )
    for name, read in (("exception", _raise), ("time", _wait), ("memory", _swell))
}
