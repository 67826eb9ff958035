"""Responses beside each other."""

from dataclasses import replace

import pytest
from synthetic_run import row

from gppo.report.beside import beside_each_other
from gppo.run import write_rollouts
from gppo.run.rollouts import problems_of
from gppo.types import GppoError


def group(step, problem, *rewards):
    """Responses that say which they are."""
    made = [row(step, sample, problem, "1", reward, "", "1", {}) for sample, reward in enumerate(rewards)]
    return [replace(one, sample=k, response_text=f"{problem} {step} {k}") for k, one in enumerate(made)]


def shown(pairs, kind):
    return [(pair.left.thinking, pair.right.thinking) for pair in pairs if pair.kind == kind]


def test_a_problem_drawn_twice_is_shown_then_and_now(tmp_path):
    write_rollouts(tmp_path, 1, [*group(1, "a", -1, -1, 1), *group(1, "b", -1, 1), *group(1, "once", 1, 1)])
    write_rollouts(tmp_path, 4, [*group(4, "b", 1, 1), *group(4, "never judged", float("nan"))])
    write_rollouts(tmp_path, 9, [*group(9, "a", 1, -1, 1), *group(9, "never judged", 1)])
    pairs = beside_each_other(tmp_path)
    # The widest gap first; of a group whose mean is -1/3 a response with -1 is typical.
    assert shown(pairs, "time") == [("a 1 0", "a 9 0"), ("b 1 0", "b 4 0")]
    assert shown(pairs, "group") == [("a 9 1", "a 9 2")]


def test_the_widest_gaps_of_the_last_step_are_shown(tmp_path):
    rows = [one for k in range(6) for one in group(2, f"p{k}", k / 10, 0.0, float("nan"))]
    write_rollouts(tmp_path, 2, rows)
    assert shown(beside_each_other(tmp_path), "group") == [(f"p{k} 2 1", f"p{k} 2 0") for k in (5, 4, 3)]


def test_nothing_saved_is_nothing_shown(tmp_path):
    assert beside_each_other(tmp_path / "none") == []


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "step-000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(GppoError, match=r"step-000001\.parquet: damaged"):
        problems_of(tmp_path, 1)
