import io

import numpy as np
from rich.console import Console

from gppo.evaluate import before_after_table
from gppo.types import Evaluation, SamplingSettings


def made(name, correct, difficulty, step=0) -> Evaluation:
    correct_PK = np.asarray(correct, dtype=bool)
    ones_PK = np.ones_like(correct_PK)
    ids = tuple(f"p{i}" for i in range(len(correct_PK)))
    return Evaluation(
        name, step, SamplingSettings(), ids, difficulty, correct_PK, ones_PK, ones_PK.astype(np.int64), ~ones_PK
    )


def cells(table) -> list[list[str]]:
    """The table as text: one list of cells a row."""
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    lines = console.file.getvalue().splitlines()
    return [[cell.strip() for cell in line.strip("│┃").split("│")] for line in lines if line.startswith("│")]


def test_rows_and_numbers():
    difficulty = ("easy", "easy", "hard", "hard")
    before = made("T=1", [[0, 1], [0, 1], [0, 0], [0, 0]], difficulty)
    after = made("T=1", [[1, 1], [1, 1], [0, 1], [1, 1]], difficulty, step=60)
    assert cells(before_after_table([before], [after])) == [
        ["T=1", "all", "25.0 ± 14.4", "87.5 ± 12.5", "+62.5 ± 12.5"],
        ["", "easy", "50.0 ± 0.0", "100.0 ± 0.0", "+50.0 ± 0.0"],
        ["", "hard", "0.0 ± 0.0", "75.0 ± 25.0", "+75.0 ± 25.0"],
    ]


def test_a_side_that_is_missing_shows_a_dash():
    only = made("greedy", [[1], [1]], ("", ""))
    assert cells(before_after_table([], [only])) == [["greedy", "all", "–", "100.0 ± 0.0", "–"]]
    assert cells(before_after_table([only], [])) == [["greedy", "all", "100.0 ± 0.0", "–", "–"]]


def test_names_are_text_not_markup():
    only = made("[red]set[/red]", [[1], [1]], ("[b]x", "[b]x"))
    rows = cells(before_after_table([only], []))
    assert rows[0][0] == "[red]set[/red]"
    assert rows[1][1] == "[b]x"
