"""The seccomp allowlist of a running test, and its assembly into classic BPF.

Threat: the kernel and the other processes of the machine. A program gets files, memory, threads, clocks and pipes to
itself.
It gets no new process, no exec, no socket that leads anywhere, no signal to anyone else, no ptrace, mount, key,
namespace, io_uring,
bpf or perf. What is not listed fails with EPERM, which a program sees as PermissionError. clone3 fails with ENOSYS:
its flags lie behind
a pointer that a filter cannot read, and the C library then falls back to clone.
"""

import errno
import struct
from collections.abc import Iterable

ALLOWED = {
    "x86_64": """
        read=0 write=1 open=2 close=3 stat=4 fstat=5 lstat=6 poll=7 lseek=8 mmap=9 mprotect=10 munmap=11 brk=12
        rt_sigaction=13 rt_sigprocmask=14 rt_sigreturn=15 pread64=17 pwrite64=18 readv=19 writev=20 access=21 pipe=22
        select=23 sched_yield=24 mremap=25 msync=26 mincore=27 madvise=28 dup=32 dup2=33 pause=34 nanosleep=35
        getitimer=36 alarm=37 setitimer=38 getpid=39 sendfile=40 recvfrom=45 shutdown=48 getsockname=51 getpeername=52
        getsockopt=55 exit=60 wait4=61 uname=63 flock=73 fsync=74 fdatasync=75 truncate=76 ftruncate=77
        getdents=78 getcwd=79 chdir=80 fchdir=81 rename=82 mkdir=83 rmdir=84 unlink=87 readlink=89 umask=95
        gettimeofday=96 getrlimit=97 getrusage=98 sysinfo=99 times=100 getuid=102 getgid=104 geteuid=107 getegid=108
        getppid=110 getpgrp=111 getgroups=115 getresuid=118 getresgid=120 getpgid=121 getsid=124 rt_sigpending=127
        rt_sigtimedwait=128 rt_sigsuspend=130 sigaltstack=131 getpriority=140 sched_getparam=143
        sched_getscheduler=145 sched_get_priority_max=146 sched_get_priority_min=147 arch_prctl=158
        gettid=186 time=201 futex=202 sched_getaffinity=204 epoll_create=213 getdents64=217 set_tid_address=218
        restart_syscall=219 fadvise64=221 clock_gettime=228 clock_getres=229 clock_nanosleep=230 exit_group=231
        epoll_wait=232 epoll_ctl=233 waitid=247 openat=257 mkdirat=258 newfstatat=262 unlinkat=263 renameat=264
        readlinkat=267 faccessat=269 pselect6=270 ppoll=271 set_robust_list=273 utimensat=280 epoll_pwait=281
        fallocate=285 eventfd2=290 epoll_create1=291 dup3=292 pipe2=293 preadv=295 pwritev=296 getcpu=309
        renameat2=316 getrandom=318 copy_file_range=326 statx=332 rseq=334 close_range=436
        faccessat2=439 epoll_pwait2=441
    """,
    "aarch64": """
        getcwd=17 eventfd2=19 epoll_create1=20 epoll_ctl=21 epoll_pwait=22 dup=23 dup3=24 flock=32 mkdirat=34
        unlinkat=35 renameat=38 truncate=45 ftruncate=46 fallocate=47 faccessat=48 chdir=49 fchdir=50 openat=56
        close=57 pipe2=59 getdents64=61 lseek=62 read=63 write=64 readv=65 writev=66 pread64=67 pwrite64=68 preadv=69
        pwritev=70 sendfile=71 pselect6=72 ppoll=73 readlinkat=78 newfstatat=79 fstat=80 fsync=82 fdatasync=83
        utimensat=88 exit=93 exit_group=94 waitid=95 set_tid_address=96 futex=98 set_robust_list=99 nanosleep=101
        getitimer=102 setitimer=103 clock_gettime=113 clock_getres=114 clock_nanosleep=115 sched_getscheduler=120
        sched_getparam=121 sched_getaffinity=123 sched_yield=124 sched_get_priority_max=125 sched_get_priority_min=126
        restart_syscall=128 sigaltstack=132 rt_sigsuspend=133 rt_sigaction=134 rt_sigprocmask=135 rt_sigpending=136
        rt_sigtimedwait=137 rt_sigreturn=139 getpriority=141 getresuid=148 getresgid=150 times=153 getpgid=155
        getsid=156 getgroups=158 uname=160 getrlimit=163 getrusage=165 umask=166 getcpu=168
        gettimeofday=169 getpid=172 getppid=173 getuid=174 geteuid=175 getgid=176 getegid=177 gettid=178 sysinfo=179
        getsockname=204 getpeername=205 recvfrom=207 getsockopt=209 shutdown=210 brk=214 munmap=215
        mremap=216 mmap=222 fadvise64=223 mprotect=226 msync=227 mincore=232 madvise=233 wait4=260 renameat2=276
        getrandom=278 copy_file_range=285 statx=291 rseq=293 close_range=436 faccessat2=439
        epoll_pwait2=441
    """,
}
#: Allowed for some arguments only.
GUARDED = {
    "x86_64": """
        sendto=44 socketpair=53 clone=56 kill=62 fcntl=72 ioctl=16 prctl=157 tgkill=234 prlimit64=302 clone3=435
    """,
    "aarch64": """
        sendto=206 socketpair=199 clone=220 kill=129 fcntl=25 ioctl=29 prctl=167 tgkill=131 prlimit64=261 clone3=435
    """,
}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

_CLONE_THREAD = 0x00010000
_CLONE_NEW_ANYTHING = 0x7E020000
#: F_DUPFD, GETFD, SETFD, GETFL, SETFL, the three kinds of locks, F_DUPFD_CLOEXEC. F_SETOWN and F_SETSIG would aim
#: signals at others.
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030)
#: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. FIOSETOWN would aim signals at others.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_SIGKILL = 9
#: File size, data, stack, core, processes, open files, address space. A CPU limit of its own would end it by SIGKILL.
_SETTABLE_LIMITS = (1, 2, 3, 4, 6, 7, 9)
_PR_SET_NAME, _PR_GET_NAME = 15, 16
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE_MASK = 1, 1, 0xF

_LOAD, _AND = 0x20, 0x54  # BPF_LD|W|ABS, BPF_ALU|AND|K
_EQUAL, _ABOVE, _AT_LEAST, _ANY_BIT = 0x15, 0x25, 0x35, 0x45  # BPF_JMP with JEQ, JGT, JGE, JSET against K
_RETURN = 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE = 0x00050000 | errno.EPERM
_UNKNOWN = 0x00050000 | errno.ENOSYS

Instruction = tuple[int, int, int, int]


def numbers(table: str) -> dict[str, int]:
    """A table above as {name: number}."""
    return {name: int(number) for name, number in (entry.split("=") for entry in table.split())}


def assemble(machine: str, own_pid: int) -> bytes:
    """The filter for a process on ``machine`` ("x86_64", "aarch64") that may signal ``own_pid`` only; KeyError
    elsewhere."""
    code = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _AUDIT_ARCH[machine]), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    if machine == "x86_64":  # the same numbers with this bit are a second, unfiltered table
        code += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL)]
    for low, high in _ranges(numbers(ALLOWED[machine]).values()):
        code += [(_AT_LEAST, 0, 2, low), (_ABOVE, 1, 0, high), (_RETURN, 0, 0, _ALLOW)]
    for name, number in numbers(GUARDED[machine]).items():
        check = _guard(name, own_pid)
        code += [(_EQUAL, 0, len(check), number), *check]
    code.append((_RETURN, 0, 0, _REFUSE))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _ranges(values: Iterable[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for value in sorted(values):
        if ranges and ranges[-1][1] == value - 1:
            ranges[-1] = (ranges[-1][0], value)
        else:
            ranges.append((value, value))
    return ranges


def _guard(name: str, own_pid: int) -> list[Instruction]:
    """Instructions that look at the arguments of ``name`` and always return."""
    if name in ("kill", "tgkill"):  # SIGKILL stays ours: seen on a program it means that it was killed from outside
        own = [_argument(0), (_EQUAL, 1, 0, own_pid), (_RETURN, 0, 0, _REFUSE)]
        return [*own, _argument(1 if name == "kill" else 2), (_EQUAL, 0, 1, _SIGKILL), *_refuse_then_allow()]
    if name == "prlimit64":
        own = [_argument(0), (_EQUAL, 2, 0, own_pid), (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _REFUSE)]
        reads = [_argument(2), (_EQUAL, 0, 3, 0), _high_half(2), (_EQUAL, 0, 1, 0), (_RETURN, 0, 0, _ALLOW)]
        return [*own, *reads, _argument(1), *_one_of(*_SETTABLE_LIMITS)]
    if name == "prctl":
        return [_argument(0), *_one_of(_PR_SET_NAME, _PR_GET_NAME)]
    if name == "fcntl":
        return [_argument(1), *_one_of(*_FCNTL)]
    if name == "ioctl":
        return [_argument(1), *_one_of(*_IOCTL)]
    if name == "clone":  # threads of the process itself
        return [
            _argument(0),
            (_ANY_BIT, 1, 0, _CLONE_NEW_ANYTHING),
            (_ANY_BIT, 1, 0, _CLONE_THREAD),
            *_refuse_then_allow(),
        ]
    if name == "socketpair":  # what asyncio wakes itself with
        kind = [_argument(1), (_AND, 0, 0, _SOCK_TYPE_MASK), *_one_of(_SOCK_STREAM)]
        return [_argument(0), (_EQUAL, 1, 0, _AF_UNIX), (_RETURN, 0, 0, _REFUSE), *kind]
    if name == "sendto":  # to the other end only, never to an address
        return [_argument(4), (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _REFUSE), _high_half(4), *_one_of(0)]
    if name == "clone3":
        return [(_RETURN, 0, 0, _UNKNOWN)]
    raise KeyError(name)


def _argument(index: int) -> Instruction:
    """Load the low half of an argument: all of it for the C types int and unsigned int."""
    return (_LOAD, 0, 0, 16 + 8 * index)


def _high_half(index: int) -> Instruction:
    """Load the other half, of a pointer."""
    return (_LOAD, 0, 0, 16 + 8 * index + 4)


def _one_of(*values: int) -> list[Instruction]:
    found = [instruction for value in values for instruction in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW))]
    return [*found, (_RETURN, 0, 0, _REFUSE)]


def _refuse_then_allow() -> list[Instruction]:
    """Falling in here refuses; jumping over one instruction allows."""
    return [(_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
