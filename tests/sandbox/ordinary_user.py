"""Run a script of these tests as an ordinary user, from root."""

import os
import subprocess
import sys
from pathlib import Path

UID = 54_321
_REPOSITORY = Path(__file__).resolve().parents[2]

# An interpreter below /root is closed to an ordinary user. In a mount namespace of our own, every closed folder on the
# way gives place
# to an open, empty one in which only what is needed appears.
_REVEAL = """
set -e
stage=$(mktemp -d)
while [ "$1" != -- ]; do
    closed=$1 wanted=$2; shift 2
    mount --bind "$wanted" "$stage"
    mount -t tmpfs -o mode=0755 tmpfs "$closed"
    mkdir -p "$wanted"
    mount --move "$stage" "$wanted"
done
shift
rmdir "$stage"
exec setpriv --reuid {uid} --regid {uid} --clear-groups --inh-caps=-all "$@"
""".replace("{uid}", str(UID))


def run_as_ordinary_user(script: Path, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run ``script`` with this interpreter under another uid; needs root that may mount."""
    moves = []
    for wanted in (sys.base_prefix, str(_REPOSITORY)):
        closed = [str(folder) for folder in reversed(Path(wanted).parents) if not folder.stat().st_mode & 0o001]
        if closed:
            moves += [closed[0], wanted]
    command = [sys.executable, str(script), *arguments]
    environment = {**os.environ, "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _REVEAL, "sh", *moves, "--", *command],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        cwd="/",
        check=False,
    )
