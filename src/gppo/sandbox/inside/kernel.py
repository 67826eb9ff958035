"""The few kernel calls that Python does not offer, through ctypes. Each raises OSError with the call's name."""

import ctypes
import functools
import os
import platform
import stat
import struct

from . import syscalls

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x08000000, 0x10000000, 0x20000000
_MS_NOSUID, _MS_NODEV = 2, 4
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 8, 22, 38
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_SYS_ADMIN = 21
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
# Landlock has the same numbers on every architecture.
_SYS_LANDLOCK_CREATE, _SYS_LANDLOCK_ADD, _SYS_LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_CREATE_VERSION, _LANDLOCK_RULE_PATH = 1, 1

MACHINE = platform.machine()
_PLACEHOLDER = b"\x5a\xa5\x7e\x6b"  # a pid that no system gives out: the filter's is put in its place
_libc = ctypes.CDLL(None, use_errno=True)

# Rights of Landlock's first version; later ones add to what is handled, and so to what is refused.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = 1, 2, 4, 8, 16, 32
MAKE_DIR, MAKE_REG = 128, 256
_HANDLED_SINCE = {1: 0x1FFF, 2: 0x2000, 3: 0x4000, 5: 0x8000}
REFER, TRUNCATE = 0x2000, 0x4000
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _prctl(name: str, *arguments: int) -> None:
    _checked(name, _libc.prctl(*(ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:5])))


def die_with_parent() -> None:
    """Be killed when the parent dies, however it dies."""
    _prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, 9)


def hide_memory() -> None:
    """Nobody without privilege may ptrace this process or read its memory, not even one of the same uid."""
    _prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, 0)


def no_new_privileges() -> None:
    """A set-uid file gives nothing from here on."""
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def keep_capabilities() -> None:
    """Let the permitted capabilities survive the next change of uid."""
    _prctl("PR_SET_KEEPCAPS", _PR_SET_KEEPCAPS, 1)


def set_capabilities(*, administrator: bool) -> None:
    """Hold CAP_SYS_ADMIN of this user namespace, or nothing at all."""
    held = 1 << _CAP_SYS_ADMIN if administrator else 0
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("<6I", held, held, 0, 0, 0, 0)
    _checked("capset", _libc.syscall(_SYS_CAPSET[MACHINE], header, data))


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` name for new ones."""
    _checked("unshare", _libc.unshare(flags))


def mount_tmpfs(path: str, megabytes: int, inodes: int) -> None:
    """A private memory file system on ``path``, bounded in bytes and in files."""
    options = f"size={megabytes}m,nr_inodes={inodes},mode=1777".encode()
    _checked("mount", _libc.mount(b"tmpfs", path.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, options))


@functools.cache
def _template() -> bytes:
    return syscalls.assemble(MACHINE, *struct.unpack("<I", _PLACEHOLDER))


def prepare_filter() -> None:
    """Assemble the filter once, before the forks: in Python that takes longer than all else that a fork does."""
    _template()


def install_filter(own_pid: int) -> None:
    """Restrict this process to the allowlist of :mod:`syscalls`, for good. Needs :func:`no_new_privileges` before."""
    code = _template().replace(_PLACEHOLDER, struct.pack("<I", own_pid))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    address = ctypes.create_string_buffer(program, len(program))
    _prctl("PR_SET_SECCOMP", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(address))


def landlock_version() -> int:
    """The kernel's Landlock version, 0 where it is off."""
    return max(0, _libc.syscall(_SYS_LANDLOCK_CREATE, None, 0, _LANDLOCK_CREATE_VERSION))


def restrict_files(rights: dict[str, int]) -> None:
    """From here on open only what lies under the given paths, with the given rights; no TCP and, on newer kernels, no
    abstract
    sockets or signals to processes outside. Paths that do not exist are skipped."""
    version = landlock_version()
    handled = sum(bits for since, bits in _HANDLED_SINCE.items() if version >= since)
    network = 3 if version >= _NETWORK_SINCE else 0
    scopes = 3 if version >= _SCOPES_SINCE else 0
    attribute = struct.pack("<QQQ", handled, network, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _checked("landlock_create_ruleset", _libc.syscall(_SYS_LANDLOCK_CREATE, attribute, len(attribute), 0))
    for path, allowed in rights.items():
        try:
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            allowed &= _OF_FILES
        rule = struct.pack("<Qi", allowed & handled, parent)
        _checked("landlock_add_rule", _libc.syscall(_SYS_LANDLOCK_ADD, ruleset, _LANDLOCK_RULE_PATH, rule, 0))
        os.close(parent)
    _checked("landlock_restrict_self", _libc.syscall(_SYS_LANDLOCK_RESTRICT, ruleset, 0))
    os.close(ruleset)
