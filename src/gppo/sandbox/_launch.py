"""How a worker's zygote is started: the command line of each level, what it may read, and under which uid."""

import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import IO, Any, Literal

Level = Literal["bubblewrap", "landlock"]

#: What solutions import. A fork has them for nothing; a fresh import of all of it costs more than most tests.
PRELOAD = """
    abc array ast base64 bisect builtins calendar cmath collections collections.abc contextlib copy csv ctypes
    dataclasses datetime decimal enum fractions functools gc hashlib heapq inspect io itertools json keyword
    linecache locale math numbers operator os os.path pprint queue random re resource select signal statistics
    string struct sys tempfile textwrap threading time token tokenize traceback types typing unicodedata warnings
    weakref zlib
""".split()  # noqa: SIM905 - forty quoted names would be no easier to read

_PACKAGE = Path(__file__).parent
_BOOT = (
    "import sys; sys.path.insert(0, {folder!r}); from inside.zygote import main; sys.path.remove({folder!r}); main()"
)
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # the order of a set, and so a verdict, is the same in every run
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",  # each thread would reserve 64 MiB of the address space
}
_STACK_KB = 262_144
_INNER_UID = 1000
_SCRATCH = "/tmp"
_INSIDE = "/gppo"


def python_paths() -> list[str]:
    """What the interpreter reads: its library, and the folders of shared libraries. No site-packages of an
    environment."""
    paths = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), executable()]
    shared = sysconfig.get_config_var("LDLIBRARY")
    folder = sysconfig.get_config_var("LIBDIR")
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and shared and folder:
        paths += [str(path) for path in Path(folder).glob("libpython3*")]
    paths += ["/lib", "/lib64", "/usr/lib", "/usr/lib64"]
    return list(dict.fromkeys(path for path in paths if os.path.exists(path)))


def executable() -> str:
    """The interpreter itself, outside any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def worker_uid() -> int | None:
    """A uid that nobody else has, so that the limit on processes counts one worker's only; None for an ordinary user.

    It is random: two programs that use gppo on one machine know nothing of each other.
    """
    if os.geteuid() != 0:
        return None
    first, _, count = (int(number) for number in Path("/proc/self/uid_map").read_text().split()[:3])
    highest = min(first + count, 1 << 31)
    return highest - 1 - secrets.randbelow(max(1, min(1 << 28, count // 4)))


def start(
    level: Level, control: socket.socket, scratch: str, entrances: list[str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a zygote.

    Args:
        level: of isolation.
        control: the socket that it holds.
        scratch: its folder, with "landlock".
        entrances: of the control groups that it lives in.
        log: where its complaints go.
    """
    uid = worker_uid()
    settings: dict[str, Any] = {"level": level, "socket": control.fileno(), "preload": PRELOAD, "uid": uid}
    settings["owner"] = os.getpid()  # for whoever reads a list of processes
    if level == "landlock":
        settings |= {"scratch": scratch, "readable": python_paths()}
        if uid is not None:
            os.chown(scratch, uid, uid)
        return _popen(_python(str(_PACKAGE), settings), [control.fileno()], entrances, log)
    settings["scratch"] = _SCRATCH
    if uid is None:
        command = [
            *_bubblewrap(),
            "--uid",
            str(_INNER_UID),
            "--gid",
            str(_INNER_UID),
            "--",
            *_python(_INSIDE, settings),
        ]
        return _popen(command, [control.fileno()], entrances, log)
    return _start_mapped(control, uid, settings, entrances, log)


def _start_mapped(
    control: socket.socket, uid: int, settings: dict[str, Any], entrances: list[str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """As root: uid 0 of the namespace is root's, to read an interpreter below /root while mounting; the zygote then
    becomes
    another uid that stands for ``uid`` outside, where limits on processes bind, and gives up the way back."""
    blocked, unblock = os.pipe()
    told, tell = os.pipe()
    settings["uid"] = _INNER_UID
    ways = ["--userns-block-fd", str(blocked), "--info-fd", str(tell)]
    capabilities = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    try:
        command = [*_bubblewrap(), *capabilities, *ways, "--", *_python(_INSIDE, settings)]
        process = _popen(command, [control.fileno(), blocked, tell], entrances, log)
        os.close(tell)
        tell = -1
        with open(os.dup(told), "rb") as info:
            child = json.loads(info.read() or b"{}").get("child-pid")
        if child is not None:
            for kind in ("uid_map", "gid_map"):
                Path(f"/proc/{child}/{kind}").write_text(f"0 0 1\n{_INNER_UID} {uid} 1\n")
            os.write(unblock, b"1")
        return process
    finally:
        for fd in (blocked, unblock, told, tell):
            if fd >= 0:
                os.close(fd)


def _popen(command: list[str], fds: list[int], entrances: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    # The main thread's stack can grow to what the limit was at exec: set it in a shell, before anything else starts.
    # Control groups are entered there too: whatever is forked later is in them from its first moment.
    script = f"ulimit -S -s {_STACK_KB} 2>/dev/null; "
    script += "".join(f"echo $$ 2>/dev/null >{shlex.quote(entrance)}; " for entrance in entrances)
    return subprocess.Popen(
        ["/bin/sh", "-c", script + 'exec "$@"', "sh", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        env=_ENVIRONMENT,  # nothing of ours: tokens and keys live in environments
        cwd="/",
        pass_fds=fds,
        start_new_session=True,  # Ctrl-C is for the trainer, which then closes us
    )


def _python(folder: str, settings: dict[str, Any]) -> list[str]:
    flags = ["-s", "-S", "-P", "-B", "-X", "utf8"]
    return [executable(), *flags, "-c", _BOOT.format(folder=folder), json.dumps(settings)]


def _bubblewrap() -> list[str]:
    command = [shutil.which("bwrap") or "bwrap"]
    command += [
        "--unshare-user",
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--hostname",
        "sandbox",
    ]
    command += ["--as-pid-1", "--clearenv", "--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"]
    environment = _ENVIRONMENT | _library_path()
    for name, value in environment.items():
        command += ["--setenv", name, value]
    for folder in _parents([*python_paths(), "/dev/null"]):
        command += [
            "--perms",
            "0755",
            "--dir",
            folder,
        ]  # where bwrap makes them itself it copies modes: /root's is 0700
    for path in python_paths():
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        else:
            command += ["--ro-bind", path, path]
    command += ["--ro-bind", str(_PACKAGE / "inside"), f"{_INSIDE}/inside", "--dir", _SCRATCH]
    for name in ("null", "zero", "random", "urandom"):
        command += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    return [*command, "--remount-ro", "/", "--chdir", "/"]


def _parents(paths: list[str]) -> list[str]:
    """The folders above ``paths``, outermost first, without the root."""
    return sorted({str(parent) for path in paths for parent in Path(path).parents} - {"/"})


def _library_path() -> dict[str, str]:
    """Without /etc/ld.so.cache a libpython in an unusual folder must be named."""
    folder = sysconfig.get_config_var("LIBDIR")
    return {"LD_LIBRARY_PATH": folder} if sysconfig.get_config_var("Py_ENABLE_SHARED") and folder else {}
