"""The assembled filters, run on a model of the kernel's interpreter."""

import errno
import struct

import pytest

from appliance.containment.bpf import (
    ALLOW,
    ERRNO,
    JUMP_EQUAL,
    JUMP_GREATER_EQUAL,
    KILL_PROCESS,
    LOAD_WORD,
    RETURN,
    Refusal,
    assemble,
)
from appliance.containment.seccomp import NETWORK
from appliance.intake.confine import EXAMINER
from bundleformat.errors import InternalFaultError

AUDIT = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
SOCKET = {"x86_64": 41, "aarch64": 198}
SOCKETPAIR = {"x86_64": 53, "aarch64": 199}
KILL = {"x86_64": 62, "aarch64": 129}
VM_ACCESS = {"x86_64": (310, 311), "aarch64": (270, 271)}
PTRACE = {"x86_64": 101, "aarch64": 117}
READ = {"x86_64": 0, "aarch64": 63}
MACHINES = pytest.mark.parametrize("machine", list(AUDIT))


def answer(program: bytes, *, audit: int, number: int, first: int = 0) -> int:
    """Return what ``program`` says of one call, as Linux would run it."""
    data = struct.pack("<IIQQ", number, audit, 0, first)
    accumulator, place = 0, 0
    rows = list(struct.iter_unpack("<HBBI", program))
    while True:
        code, yes, no, value = rows[place]
        place += 1
        if code == RETURN:
            return int(value)
        if code == LOAD_WORD:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == JUMP_EQUAL:
            place += yes if accumulator == value else no
        else:
            assert code == JUMP_GREATER_EQUAL
            place += yes if accumulator >= value else no


@MACHINES
def test_the_network_filter_lets_unix_sockets_through_and_no_other(
    machine: str,
) -> None:
    program = assemble(NETWORK, machine=machine)
    for call in (SOCKET[machine], SOCKETPAIR[machine]):
        for family in range(64):
            said = answer(program, audit=AUDIT[machine], number=call, first=family)
            assert said == (ALLOW if family == 1 else ERRNO | errno.EAFNOSUPPORT)


@MACHINES
def test_the_network_filter_leaves_other_calls_alone(machine: str) -> None:
    program = assemble(NETWORK, machine=machine)
    reaching = {PTRACE[machine], 438, *VM_ACCESS[machine]}
    refused = {SOCKET[machine], SOCKETPAIR[machine], 425} | reaching
    for number in set(range(600)) - refused:
        assert answer(program, audit=AUDIT[machine], number=number) == ALLOW
    for number in reaching:
        said = answer(program, audit=AUDIT[machine], number=number)
        assert said == ERRNO | errno.EPERM
    said = answer(program, audit=AUDIT[machine], number=425)
    assert said == ERRNO | errno.ENOSYS


@MACHINES
def test_the_examiners_filter_refuses_every_socket_and_signal(machine: str) -> None:
    program = assemble(EXAMINER, machine=machine)
    for number in (SOCKET[machine], SOCKETPAIR[machine], KILL[machine], 435):
        said = answer(program, audit=AUDIT[machine], number=number, first=1)
        assert said == ERRNO | errno.EPERM
    assert answer(program, audit=AUDIT[machine], number=READ[machine]) == ALLOW


@pytest.mark.parametrize("refusals", [NETWORK, EXAMINER], ids=["network", "examiner"])
@MACHINES
def test_calls_of_a_foreign_abi_kill(
    machine: str, refusals: tuple[Refusal, ...]
) -> None:
    program = assemble(refusals, machine=machine)
    x32 = 0x4000_0000 | READ[machine]
    assert answer(program, audit=AUDIT[machine], number=x32) == KILL_PROCESS
    i386 = 0x4000_0003
    assert answer(program, audit=i386, number=READ[machine]) == KILL_PROCESS


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(InternalFaultError) as caught:
        assemble(NETWORK, machine="pdp11")
    assert (caught.value.code, caught.value.where) == ("check-failed", "pdp11")


def test_a_misspelt_call_is_a_bug_and_not_a_gap_in_the_filter() -> None:
    with pytest.raises(ValueError, match="sokcet"):
        assemble([Refusal(call="sokcet", error=1)], machine="x86_64")
