"""The offline worlds of the experiments: each writes its sources, exercises and exams into a folder, from a seed."""

from collections.abc import Callable
from pathlib import Path

from gppo.reproduce.worlds.answers import write_answers
from gppo.reproduce.worlds.chains import write_misled, write_misled_long, write_slipping, write_slipping_long
from gppo.reproduce.worlds.code_sources import write_code_sources
from gppo.reproduce.worlds.math_sources import write_math_sources
from gppo.reproduce.worlds.programs import write_faulty_programs, write_programs
from gppo.reproduce.worlds.teachers import write_teachers

WORLDS: dict[str, Callable[[Path, int], None]] = {
    "answers": write_answers,
    "code_sources": write_code_sources,
    "faulty_programs": write_faulty_programs,
    "math_sources": write_math_sources,
    "misled": write_misled,
    "misled_long": write_misled_long,
    "programs": write_programs,
    "slipping": write_slipping,
    "slipping_long": write_slipping_long,
    "teachers": write_teachers,
}
