"""The offline worlds of the experiments: each writes its sources, exercises and exams into a folder, from a seed."""

from collections.abc import Callable
from pathlib import Path

from gppo.reproduce.worlds.chains import write_misled, write_slipping

WORLDS: dict[str, Callable[[Path, int], None]] = {
    "misled": write_misled,
    "slipping": write_slipping,
}
