"""The offline worlds of the experiments: each writes its sources, exercises and exams into a folder, from a seed."""

from collections.abc import Callable
from pathlib import Path

from gppo.reproduce.worlds.chains import write_misled, write_misled_long, write_slipping, write_slipping_long

WORLDS: dict[str, Callable[[Path, int], None]] = {
    "misled": write_misled,
    "misled_long": write_misled_long,
    "slipping": write_slipping,
    "slipping_long": write_slipping_long,
}
