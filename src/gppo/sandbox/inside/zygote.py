"""The warm process of one worker: preloads what solutions import, shuts itself in, then forks once for each program.

It is single-threaded, runs nothing of any program, and takes orders only from the socket it was started with. When
that socket
closes it exits, and with it everything that it started.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import sysconfig
import threading

from . import child, kernel, program

THREAD_STACK = 8 << 20


def main() -> None:
    """Entered by the command line that ``gppo.sandbox._launch`` builds; settings are one JSON argument."""
    settings = json.loads(sys.argv[1])
    control = socket.socket(fileno=settings["socket"])
    try:
        for module in settings["preload"]:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        _shut_in(settings)
        kernel.hide_memory()
        kernel.prepare_filter()
    except OSError as error:
        control.send(json.dumps({"error": str(error)}).encode())
        return
    sys.argv = ["program.py"]
    threading.stack_size(THREAD_STACK)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    socket.send_fds(control, [b"{}"], [os.pidfd_open(os.getpid())])
    _forget_ourselves()
    gc.collect()
    gc.freeze()
    _serve(control, settings)


def _shut_in(settings: dict) -> None:
    os.environ.clear()
    os.environ["TMPDIR"] = settings["scratch"]
    uid = settings["uid"]
    namespaces = settings["level"] == "bubblewrap"
    stdlib = sysconfig.get_path("stdlib")
    stdlib_fd = os.open(stdlib, os.O_PATH | os.O_DIRECTORY)
    kernel.no_new_privileges()
    if not namespaces:
        kernel.restrict_files(_rights(settings))  # while every path can still be reached
    if uid is not None:
        if namespaces:
            kernel.keep_capabilities()  # of our user namespace, to mount each program's tmpfs
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    kernel.set_capabilities(administrator=namespaces)
    readable = os.access(os.path.join(stdlib, "os.py"), os.R_OK)
    sys.path[:] = [path for path in sys.path if path.startswith(stdlib)]
    if readable:
        os.close(stdlib_fd)
    else:
        # An interpreter below /root, closed to the worker's uid: reach its library through the open folder.
        os.dup2(stdlib_fd, child.STDLIB_FD)
        sys.path[:] = [path.replace(stdlib, f"/proc/self/fd/{child.STDLIB_FD}", 1) for path in sys.path]
    os.chdir(settings["scratch"])


def _rights(settings: dict) -> dict[str, int]:
    read = kernel.READ_FILE | kernel.READ_DIR
    write = kernel.WRITE_FILE | kernel.TRUNCATE
    change = kernel.REMOVE_DIR | kernel.REMOVE_FILE | kernel.MAKE_DIR | kernel.MAKE_REG | kernel.REFER
    rights = dict.fromkeys(settings["readable"], read)
    rights |= {f"/dev/{name}": kernel.READ_FILE | write for name in ("null", "zero", "random", "urandom")}
    rights[settings["scratch"]] = read | write | change
    return rights


def _forget_ourselves() -> None:
    """A program that imports ``values`` or ``program`` must not find ours."""
    for name in [name for name in sys.modules if name == "inside" or name.startswith("inside.")]:
        del sys.modules[name]
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()


def _serve(control: socket.socket, settings: dict) -> None:
    while True:
        message, fds, _, _ = socket.recv_fds(control, program.MAX_MESSAGE, 4)
        if not message:
            return
        order = json.loads(message)
        if os.fork() == 0:
            control.close()
            program.run(order, fds, settings)
        for fd in fds:
            os.close(fd)
