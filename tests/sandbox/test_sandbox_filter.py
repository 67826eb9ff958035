"""The assembled filter, interpreted: what the kernel would answer for a system call and its arguments."""

import errno
import struct

import pytest

from gppo.sandbox.inside import syscalls

PID = 4321
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE, UNKNOWN = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def answer(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    data = struct.pack("<IIQ6Q", number, arch or ARCH[machine], 0, *(arguments + (0,) * 6)[:6])
    code = list(struct.iter_unpack("<HBBI", syscalls.assemble(machine, PID)))
    accumulator = at = 0
    while True:
        operation, if_true, if_false, k = code[at]
        at += 1
        if operation == 0x06:
            return k
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif operation == 0x54:
            accumulator &= k
        else:
            holds = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k, 0x45: accumulator & k}
            at += if_true if holds[operation] else if_false


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request):
    return request.param


def number(machine: str, name: str) -> int:
    return syscalls.numbers(syscalls.ALLOWED[machine] + syscalls.GUARDED[machine])[name]


def test_exactly_the_list_is_allowed(machine):
    listed = set(syscalls.numbers(syscalls.ALLOWED[machine]).values())
    guarded = set(syscalls.numbers(syscalls.GUARDED[machine]).values())
    for call in set(range(600)) - guarded:
        assert answer(machine, call) == (ALLOW if call in listed else REFUSE), call


@pytest.mark.parametrize("name", ["kill", "tgkill"])
def test_signals_reach_the_process_itself_only(machine, name):
    call = number(machine, name)
    assert answer(machine, call, PID, 6, 6) == ALLOW
    assert answer(machine, call, PID, 9, 9) == REFUSE
    for other in (0, 1, PID + 1, 2**32 - 1, 2**64 - 1):
        assert answer(machine, call, other) == REFUSE


def test_clone_makes_threads_only(machine):
    call = number(machine, "clone")
    assert answer(machine, call, 0x3D0F00) == ALLOW  # what the C library asks for a thread
    for flags in (17, 0x4000 | 17, 0x10000 | 0x10000000, 0x10000 | 0x20000, 0x20000000):
        assert answer(machine, call, flags) == REFUSE
    assert answer(machine, number(machine, "clone3"), 0) == UNKNOWN


def test_limits_names_and_descriptor_flags_of_itself_only(machine):
    limit, cpu, stack, pointer = number(machine, "prlimit64"), 0, 3, 0x7FFF_0000_0000
    for own in (0, PID):
        assert answer(machine, limit, own, cpu, 0) == ALLOW
        assert answer(machine, limit, own, stack, pointer) == ALLOW
        assert answer(machine, limit, own, stack, 0x1000) == ALLOW
        assert answer(machine, limit, own, cpu, pointer) == REFUSE
        assert answer(machine, limit, own, cpu, 0x1000) == REFUSE
    assert answer(machine, limit, 1, stack, 0) == REFUSE
    assert answer(machine, number(machine, "prctl"), 15) == ALLOW
    assert answer(machine, number(machine, "prctl"), 4) == REFUSE
    assert answer(machine, number(machine, "fcntl"), 0, 1) == ALLOW
    for aim in (8, 10, 15):  # F_SETOWN, F_SETSIG, F_SETOWN_EX
        assert answer(machine, number(machine, "fcntl"), 0, aim) == REFUSE
    assert answer(machine, number(machine, "ioctl"), 0, 0x5401) == ALLOW
    assert answer(machine, number(machine, "ioctl"), 0, 0x5412) == REFUSE  # TIOCSTI


def test_sockets_lead_to_the_process_itself_only(machine):
    pair = number(machine, "socketpair")
    assert answer(machine, pair, 1, 1 | 0o2000000) == ALLOW
    assert answer(machine, pair, 1, 2) == REFUSE
    assert answer(machine, pair, 2, 1) == REFUSE
    send = number(machine, "sendto")
    assert answer(machine, send, 3, 0, 0, 0, 0) == ALLOW
    assert answer(machine, send, 3, 0, 0, 0, 0x1000) == REFUSE
    assert answer(machine, send, 3, 0, 0, 0, 0x1_0000_0000) == REFUSE


def test_other_tables_of_calls_are_deadly():
    assert answer("x86_64", 0x40000000) == KILL
    assert answer("x86_64", 0, arch=0x40000003) == KILL  # 32-bit calls
    assert answer("aarch64", 0, arch=0x40000028) == KILL
