"""Run the hostile programs at one level and print, as JSON, what went against expectation. Run as the user that is to
be tested."""

import json
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile_programs as suite

from gppo.sandbox import Sandbox, Script

NEXT = Script("import os\nprint(int(input()) * 2, os.listdir('.'))", (b"21\n",))


def run_all(level: str, only: str = "") -> dict:
    """Every program, each followed by a harmless one, on two workers. Returns what was unexpected, and what was left
    behind."""
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    folder.chmod(0o777)
    (folder / "secret").write_text("EXPECTED secret")
    (folder / "secret").chmod(0o666)
    tempfile.tempdir = tempfile.mkdtemp()  # of its own: other sandboxes come and go in the usual one
    os.chmod(tempfile.tempdir, 0o1777)
    before_fds = len(os.listdir("/proc/self/fd"))
    wrong: list[str] = []
    with Sandbox(workers=2, level=level) as sandbox:

        def one(case: suite.Hostile) -> None:
            start = time.monotonic()
            program = suite.filled(case.program, str(folder / "secret"), str(folder))
            run = sandbox.run(program, case.limits)[0]
            seconds = time.monotonic() - start
            got = f"{run.status} {run.detail!r} {run.stdout[:80]!r} {run.value!r:.80} passed={run.passed}"
            said = f"{case.name}: {got} in {seconds:.1f} s"
            fine = run.status == case.status and run.passed == case.passed and b"ESCAPED" not in run.stdout
            fine = (
                fine
                and case.stdout in (None, run.stdout)
                and (case.value is None or repr(run.value) == repr(case.value))
            )
            if not fine or seconds > case.limits.seconds + 15:
                wrong.append(f"{said}; expected {case.status} {case.stdout!r} {case.value!r:.80}")
            after = sandbox.run(NEXT)[0]
            if after.stdout != b"42 []\n":
                wrong.append(f"after {case.name}: {after}")

        cases = [case for case in suite.ALL if only in case.name]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, cases))
    shutil.rmtree(folder)
    left = sorted(os.listdir(tempfile.tempdir))
    shutil.rmtree(tempfile.tempdir)
    return {
        "uid": os.geteuid(),
        "programs": len(cases),
        "wrong": wrong,
        "processes": survivors(),
        "files": left,
        "descriptors": len(os.listdir("/proc/self/fd")) - before_fds,
    }


def survivors() -> list[str]:
    """Processes of a sandbox of this process: every one of them has its mark in the command line."""
    mark, found = f'"owner": {os.getpid()}'.encode(), []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and int(entry) != os.getpid() and mark in Path("/proc", entry, "cmdline").read_bytes():
                found.append(entry)
        except OSError:
            continue
    return found


if __name__ == "__main__":
    print(json.dumps(run_all(*sys.argv[1:])))
