# ruff: noqa: E501
"""Programs that try to get out, to stay, to forge or to exhaust; one property each, with the status that each must get.

``{secret}`` is the path of a readable file of the host, ``{outside}`` of a writable folder. A program that gets what it wants prints
"ESCAPED" and ends well, so that no expected status below can be reached by an escape.
"""

from dataclasses import dataclass

from gppo.sandbox import Asserts, Function, Limits, Program, Script


@dataclass(frozen=True)
class Hostile:
    """What must come of one program. ``stdout`` and ``value`` are compared where they are not None."""

    name: str
    program: Program
    status: str
    stdout: bytes | None = None
    value: object = None
    passed: bool = False
    spins: bool = False

    @property
    def limits(self) -> Limits:
        """Little time for what never ends; for all else so much that a busy machine changes nothing."""
        seconds = 1.0 if self.spins or self.status == "timeout" else 10.0
        return Limits(seconds=seconds, memory_mb=256, output_kb=64, processes=8)


def script(
    name: str, status: str, source: str, stdout: bytes | None = None, stdin: bytes = b"", spins: bool = False
) -> Hostile:
    return Hostile(name, Script(source, (stdin,)), status, stdout, spins=spins)


def refused(name: str, attempt: str, before: str = "") -> Hostile:
    """The attempt must raise OSError; then the program says so and ends well."""
    lines = "\n".join(f"    {line}" for line in attempt.split("\n"))
    source = f"{before}\ntry:\n{lines}\n    print('ESCAPED')\nexcept OSError:\n    print('refused')\n"
    return script(name, "ok", source, b"refused\n")


SYSCALL = """import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*a):
    r = libc.syscall(*a)
    if r < 0:
        raise OSError(ctypes.get_errno(), 'x')
    return r
"""

EXITS = [
    script("sys.exit(0) is a normal end", "ok", "import sys; print(1); sys.exit(0)", b"1\n"),
    script("sys.exit(3)", "error", "import sys; sys.exit(3)"),
    script("exit with a text", "error", "import sys; sys.exit('bye')"),
    script("os._exit(0) without flushing", "ok", "import os; print('lost'); os._exit(0)", b""),
    script("os._exit(256 + 1)", "error", "import os; os._exit(257)"),
    script("an exception", "error", "1 / 0"),
    script("a replaced excepthook", "error", "import sys; sys.excepthook = lambda *a: None; 1 / 0"),
    script(
        "atexit output counts", "ok", "import atexit; atexit.register(print, 'last'); print('first')", b"first\nlast\n"
    ),
    script("atexit that exits", "ok", "import atexit, os; atexit.register(os._exit, 0); print(1, flush=True)", b"1\n"),
    script("atexit that never ends", "timeout", "import atexit\n@atexit.register\ndef f():\n    while True: pass"),
    script(
        "a thread that never ends",
        "timeout",
        "import threading, time; threading.Thread(target=time.sleep, args=(99,)).start()",
    ),
    script(
        "a daemon thread does not hold it",
        "ok",
        "import threading, time; threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    ),
    script("a patched os._exit", "timeout", "import os\ndef f(*a):\n    while True: pass\nos._exit = f"),
    script("kills itself", "error", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
    script("aborts", "error", "import os; os.abort()"),
    script("a segmentation fault", "error", "import ctypes; ctypes.string_at(0)"),
    script("KeyboardInterrupt", "error", "raise KeyboardInterrupt"),
]

OUTPUT = [
    script("a flood of output", "output", "while True: print('x' * 1000)"),
    script(
        "a flood with OSError caught",
        "output",
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nwhile True:\n    try: print('x' * 1000)\n    except OSError: pass",
        spins=True,
    ),
    script("a flood on standard error", "output", "import sys\nwhile True: sys.stderr.write('x' * 1000)"),
    script("exactly the limit", "ok", "import sys; sys.stdout.write('x' * (64 << 10))", b"x" * (64 << 10)),
    script("one byte over the limit", "output", "import sys; sys.stdout.write('x' * ((64 << 10) + 1))"),
    script("a truncate to many gigabytes", "output", "import os; os.ftruncate(1, 1 << 40)"),
    script("closed standard output", "ok", "import os; os.close(1)", b""),
    script("prints after closing", "error", "import sys; sys.stdout.close(); print(1)"),
    script(
        "seeks back and overwrites", "ok", "import os; os.write(1, b'no\\n'); os.lseek(1, 0, 0); os.write(1, b'ok\\n')"
    ),
    script("writes to standard input", "ok", "import os\nos.write(0, b'x' * 10)\nprint(1)", b"1\n"),
    script("surrogates", "error", "print('\\ud800')"),
    script("NUL bytes and raw bytes", "ok", "import sys; sys.stdout.buffer.write(b'\\0\\xff\\n')", b"\0\xff\n"),
    script("input that is no UTF-8", "error", "input()", stdin=b"\xff\xfe\n"),
    script(
        "open(0) and os.write(1)", "ok", "import os; os.write(1, open(0).read().upper().encode())", b"AB\n", b"ab\n"
    ),
]

EXHAUST = [
    script("a memory bomb", "memory", "x = bytearray(1 << 40)"),
    script("a slow memory bomb", "memory", "x = []\nwhile True: x.append(bytearray(1 << 20))"),
    script(
        "a memory bomb that catches",
        "timeout",
        "x = []\nwhile True:\n    try: x.append(bytearray(1 << 20))\n    except MemoryError: pass",
    ),
    script("a memory bomb by mmap", "memory", "import mmap\nx = []\nwhile True: x.append(mmap.mmap(-1, 1 << 26))"),
    script(
        "a huge stack of a thread",
        "error",
        "import threading\nthreading.stack_size(1 << 30)\nthreading.Thread(target=print).start()",
    ),
    script("endless loop", "timeout", "while True: pass"),
    script("sleeps", "timeout", "import time; time.sleep(100)"),
    script(
        "sleeps with signals blocked",
        "timeout",
        "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\ntime.sleep(100)",
    ),
    script(
        "ignores SIGTERM, SIGXCPU and SIGALRM",
        "timeout",
        "import signal\nfor s in (15, 24, 14): signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
    ),
    script("a regular expression that explodes", "timeout", "import re; re.match('(a+)+$', 'a' * 40 + 'b')"),
    script("a spin inside C", "timeout", "import itertools; sum(itertools.repeat(1))"),
    script("a giant power", "timeout", "x = 7 ** (7 ** 10)"),
    script("a giant int as text", "error", "print(10 ** 5000)"),
    script("a fork bomb", "error", "import os\nwhile True: os.fork()"),
    script(
        "a daemon",
        "error",
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(99)\nprint(1)",
    ),
    script("multiprocessing", "error", "import multiprocessing as m\np = m.Process(target=print)\np.start()\np.join()"),
    script(
        "a thread bomb",
        "error",
        "import threading, time\nthreading.stack_size(65536)\nfor _ in range(20000): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
    ),
    script("recursion without end", "error", "def f(): f()\nf()"),
    script(
        "recursion without end or limit",
        "error",
        "import sys\nsys.setrecursionlimit(1 << 30)\nclass A:\n    def __getattr__(self, n): return getattr(self, n + '')\nA().x",
    ),
    script(
        "deep recursion that is fine",
        "ok",
        "import sys\nsys.setrecursionlimit(10 ** 6)\ndef f(n): return n and 1 + f(n - 1)\nprint(f(50000))",
        b"50000\n",
    ),
    script(
        "deep recursion in a thread",
        "ok",
        "import sys, threading\nsys.setrecursionlimit(10 ** 6)\nthreading.stack_size(64 << 20)\ndef f(n): return n and 1 + f(n - 1)\nt = threading.Thread(target=lambda: print(f(20000)))\nt.start(); t.join()",
        b"20000\n",
    ),
    script("deep nesting to compile", "compile", "x = " + "[" * 5000 + "]" * 5000),
    script("deep nesting of parentheses to compile", "compile", "(" * 100000),
    script("a unary chain to compile", "compile", "x = " + "-" * 200000 + "1"),
    script("NUL in the source", "compile", "print(1)\0"),
    script("a lone surrogate in the source", "compile", "print('\ud800')"),
    script("a constant that folds to gigabytes", "memory", "x = 'a' * (1 << 34)"),
    script("too many open files", "error", "x = [open('/dev/null') for _ in range(1000)]"),
    script(
        "a bomb of bytes on disk",
        "memory",
        "i = 0\nwhile True:\n    with open(f'f{i}', 'wb') as f: f.write(b'x' * 60000)\n    i += 1",
    ),
    script("a bomb of inodes", "memory", "import os\ni = 0\nwhile True:\n    os.mkdir(f'd{i}')\n    i += 1"),
    script(
        "a bomb in a folder that cannot be listed",
        "memory",
        "import os\nos.mkdir('d', 0o300)\ni = 0\nwhile True:\n    with open(f'd/{i}', 'wb') as f: f.write(b'x' * 60000)\n    i += 1",
    ),
    script(
        "leaves a folder that cannot be listed",
        "ok",
        "import os\nos.mkdir('d', 0o300)\nos.mkdir('d/e', 0)\nopen('d/f', 'w').write('x')",
    ),
    script("a bomb of nested folders", "memory", "import os\nwhile True:\n    os.mkdir('d')\n    os.chdir('d')"),
    script("one file larger than the limit", "output", "open('f', 'wb').write(b'x' * (1 << 20))"),
]

ESCAPES = [
    refused("reads a file of the host", "open({secret!r}).read()"),
    refused("lists the host's logs", "os.listdir('/var/log')", "import os"),
    refused("reads /etc/passwd", "open('/etc/passwd').read()"),
    refused("reads its environment in /proc", "open('/proc/self/environ').read()"),
    refused("reads the memory of process 1", "open('/proc/1/mem', 'rb').read(1)"),
    refused("reads its own memory map", "open('/proc/self/maps').read()"),
    refused("lists processes", "os.listdir('/proc')", "import os"),
    refused("reads the kernel log", "open('/dev/kmsg').read()"),
    refused("writes outside", "open({outside!r} + '/new', 'w')"),
    refused("writes into the interpreter's library", "open(os.__file__, 'a')", "import os"),
    refused("a symbolic link to outside", "os.symlink('/', 'root')\nopen('root' + {secret!r}).read()", "import os"),
    refused("a hard link to a host file", "os.link({secret!r}, 'mine')", "import os"),
    refused("a device node", "os.mknod('disk', 0o60666, os.makedev(8, 0))", "import os"),
    refused("changes modes", "os.chmod('.', 0o777)", "import os"),
    refused("chroot", "os.chroot('.')", "import os"),
    refused("a TCP socket", "socket.socket().connect(('127.0.0.1', 1))", "import socket"),
    refused("a UDP socket", "socket.socket(type=socket.SOCK_DGRAM)", "import socket"),
    refused("a netlink socket", "socket.socket(16, 3, 0)", "import socket"),
    refused("an abstract unix socket", "socket.socket(1).connect('\\0x')", "import socket"),
    refused("a datagram pair, to send to names", "socket.socketpair(type=socket.SOCK_DGRAM)", "import socket"),
    refused("exec", "os.execv(sys.executable, ['python'])", "import os, sys"),
    refused("a subprocess", "subprocess.run(['true'])", "import subprocess"),
    refused("ptrace of the parent", "call(101, 16, os.getppid(), 0, 0)", SYSCALL),
    refused("reads the parent's memory", "call(310, os.getppid(), 0, 0, 0, 0, 0)", SYSCALL),
    refused("mounts", "call(165, b'tmpfs', b'/tmp', b'tmpfs', 0, 0)", SYSCALL),
    refused("a new user namespace", "call(272, 0x10000000)", SYSCALL),
    refused("becomes root", "os.setuid(0)", "import os"),
    refused("io_uring", "call(425, 8, 0)", SYSCALL),
    refused("bpf", "call(321, 0, 0, 0)", SYSCALL),
    refused("userfaultfd", "call(323, 0)", SYSCALL),
    refused("the kernel's keyring", "call(250, 0, -3, 0)", SYSCALL),
    refused("a second view of memory by memfd", "os.memfd_create('x')", "import os"),
    refused("signals its parent", "os.kill(os.getppid(), 9)", "import os"),
    refused("signals everyone", "os.kill(-1, 9)", "import os"),
    refused("signals process 1", "os.kill(1, 9)", "import os"),
    refused("aims SIGIO at its parent", "fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid())", "import fcntl, os"),
    refused("limits of its parent", "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))", "import resource, os"),
    refused("undoes not being dumpable", "call(157, 4, 1, 0, 0, 0)", SYSCALL),
    refused("a second filter", "call(317, 1, 0, 0)", SYSCALL),
    script("raises its limits", "error", "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))"),
    script("raises its stack, which is allowed", "ok", "import resource\nresource.setrlimit(resource.RLIMIT_STACK, (1 << 28, resource.getrlimit(resource.RLIMIT_STACK)[1]))\nprint(1)", b"1\n"),
    script("the table of 32-bit calls", "error", SYSCALL + "\ncall(0x40000000 + 39)\nprint('ESCAPED')"),
    script("scans for descriptors", "ok", "import os\nfor fd in [*range(3, 60), *range(61, 1100)]:\n    try:\n        os.fstat(fd)\n        print('ESCAPED', fd)\n    except OSError: pass\nprint('end')", b"end\n"),
    script("looks for secrets in the environment", "ok", "import os; print(sorted(os.environ))", b"['TMPDIR']\n"),
    script("looks for the sandbox in its modules", "error", "import inside.values"),
    script("looks for an expected output in memory", "ok", "import gc\nprint(any('inside' in str(f) for f in gc.get_objects() if isinstance(f, str) and 'EXPECTED' in f))", b"False\n"),
    script("leaves a file for the next run", "ok", "import os\nopen('left', 'w').write('x')\nprint(len(os.listdir('.')))", b"1\n"),
]  # fmt: skip


def function(name: str, status: str, source: str, value: object = None) -> Hostile:
    return Hostile(name, Function(source, "f", ((1,),)), status, value=value)


VALUES = [
    function("a plain value", "ok", "def f(x): return (x, [2.5, None], {'k': {3}}, '\\ud800\\0')", (1, [2.5, None], {"k": {3}}, "\ud800\0")),
    function("equal to everything", "error", "class E:\n    def __eq__(self, o): return True\ndef f(x): return E()"),
    function("a list equal to everything", "ok", "class E(list):\n    def __eq__(self, o): return True\ndef f(x): return E([7])", [7]),
    function("an int equal to everything", "ok", "class E(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\ndef f(x): return E(7)", 7),
    function("exits before returning", "error", "import sys\ndef f(x): sys.exit(0)"),
    function("_exits before returning", "error", "import os\ndef f(x): os._exit(0)"),
    function("writes a frame that is no value", "error", "import os\ndef f(x):\n    os.write(3, b'{\"pickle\": \"x\"}')\n    os._exit(0)"),
    function("writes two frames", "error", "import os\ndef f(x):\n    os.write(3, b'{\"d\": []}')\n    return 1"),
    function("nests 100,000 deep", "error", "import os\ndef f(x):\n    os.write(3, b'[' * 30000 + b']' * 30000)\n    os._exit(0)"),
    function("returns nesting", "error", "def f(x):\n    v = []\n    for _ in range(5000): v = [v]\n    return v"),
    function("returns itself", "error", "def f(x):\n    v = []\n    v.append(v)\n    return v"),
    function("an int of a million digits", "error", "def f(x): return 1 << 4000000"),
    function("digits past the text limit", "error", "import os\ndef f(x):\n    os.write(3, b'9' * 60000)\n    os._exit(0)"),
    function("keys that collide", "error", "import os\ndef f(x):\n    os.write(3, b'{\"s\": [' + b','.join(b'%d' % (k * (2**61 - 1)) for k in range(1, 5600))[:60000].rsplit(b',', 1)[0] + b']}' * 1)\n    os._exit(0)"),
    function("too large a value", "output", "def f(x): return 'x' * 100000"),
    function("a generator", "error", "def f(x): yield 1"),
    function("a missing function", "error", "def g(x): return 1"),
    function("patches json", "error", "import json\njson.dumps = lambda *a, **k: 'EVIL'\ndef f(x): return 1"),
]  # fmt: skip


def asserts(name: str, status: str, source: str, test: str, passed: bool = False) -> Hostile:
    return Hostile(name, Asserts(source, ("f",), (test,)), status, passed=passed)


TESTER = [
    asserts("right", "ok", "def f(x): return x + 1", "assert f(1) == 2", passed=True),
    asserts("wrong", "ok", "def f(x): return x", "assert f(1) == 2"),
    asserts("equal to everything, to the test code", "ok", "class E:\n    def __eq__(self, o): return True\ndef f(x): return E()", "assert f(1) == 2"),
    asserts("an int equal to everything, to the test code", "ok", "class E(int):\n    def __eq__(self, o): return True\ndef f(x): return E(9)", "assert f(1) == 2"),
    asserts("exits 0 when called", "error", "import os\ndef f(x): os._exit(0)", "assert f(1) == 2"),
    asserts("exits 0 when loaded", "error", "import sys\nsys.exit(0)", "assert f(1) == 2"),
    asserts("exits 0 inside except Exception", "error", "import os\ndef f(x): os._exit(0)", "try:\n    f(1)\nexcept Exception:\n    pass"),
    asserts("forges a verdict", "error", "import os\ndef f(x):\n    for fd in range(3, 60):\n        try: os.write(fd, b'{\"passed\": true}')\n        except OSError: pass\n    return 0", "assert f(1) == 2"),
    asserts("patches builtins", "ok", "import builtins\nbuiltins.AssertionError = ValueError\nbuiltins.sum = lambda x: 2\ndef f(x): return []", "assert sum(f(1)) == 2"),
    asserts("patches what the channel uses", "error", "import os\nos.write = lambda *a: 1 / 0\ndef f(x): return 2", "assert f(1) == 2"),
    asserts("looks for the test code", "ok", "import gc\ndef f(x): return sum('needle' in o for o in gc.get_objects() if isinstance(o, str))", "needle = 5\nassert f(1) == needle"),
    asserts("raises what the test expects", "ok", "def f(x): raise KeyError(x)", "try:\n    f(1)\n    assert False\nexcept KeyError:\n    pass", passed=True),
    asserts("hangs", "timeout", "def f(x):\n    while True: pass", "assert f(1) == 2"),
    asserts("a memory bomb when called", "memory", "def f(x): return bytearray(1 << 40)", "assert f(1) == 2"),
    asserts("a segmentation fault when called", "error", "import ctypes\ndef f(x): ctypes.string_at(0)", "assert f(1) == 2"),
]  # fmt: skip

ALL: list[Hostile] = [*EXITS, *OUTPUT, *EXHAUST, *ESCAPES, *VALUES, *TESTER]


def filled(program: Program, secret: str, outside: str) -> Program:
    """With the two paths in place of their names."""
    if not isinstance(program, Script):
        return program
    source = program.source.replace("{secret!r}", repr(secret)).replace("{outside!r}", repr(outside))
    return Script(source, program.stdins)
