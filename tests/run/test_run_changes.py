"""Which changes of a recipe leave a run what it is."""

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gppo.run import RunFolder
from gppo.run.changes import unsafe_changes
from gppo.run.fingerprint import fingerprint
from gppo.run.rollouts import remove_rollouts_after
from gppo.run.where import note_another_place
from gppo.types import UserError

RECIPE = {
    "name": "t",
    "seed": 0,
    "run_dir": None,
    "sft": {"steps": 5, "save_every": 2},
    "rl": {
        "learning_rate": 1e-6,
        "save_every": 5,
        "reward": {"judge_workers": 1, "max_infra_share": 0.05, "judge_timeout": 5.0},
        "optimizer": {"schedule": "constant", "max_bad_updates": 3},
        "stages": [{"name": "a", "steps": 3}, {"name": "b", "steps": 4}],
    },
    "evaluate": {"sets": [{"name": "x"}], "max_response_tokens": 8},
}


def changes(begun=("sft", "rl"), **over):
    new = copy.deepcopy(RECIPE)
    for key, value in over.items():
        *way, last = key.split("__")
        place = new
        for part in way:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
    return unsafe_changes(RECIPE, new, lambda section: section in begun)


def test_curation_may_change_until_something_was_trained_on_it():
    there, new = {**RECIPE, "curate": [{"steps": []}]}, {**RECIPE, "curate": [{"steps": [{"step": "exact_dedup"}]}]}
    assert unsafe_changes(there, new, lambda section: False) == []
    assert unsafe_changes(there, new, lambda section: section == "sft") == ["curate.0.steps"]
    assert unsafe_changes(there, new, lambda section: section == "rl") == ["curate.0.steps"]


@pytest.mark.parametrize(
    "change",
    [
        {"run_dir": "elsewhere"},
        {"evaluate": None},
        {"evaluate__sets": []},
        {"evaluate__max_response_tokens": 9},
        {"sft__save_every": 3},
        {"rl__save_every": 3},
        {"rl__keep_best": 2},
        {"rl__reward__judge_workers": 8},
        {"rl__reward__max_infra_share": 0.2},
        {"rl__optimizer__max_bad_updates": 9},
        {"rl__stages__1__steps": 9},
    ],
)
def test_safe(change):
    assert changes(**change) == []


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"seed": 1}, "seed"),
        ({"name": "u"}, "name"),
        ({"sft__steps": 6}, "sft.steps"),
        ({"rl__learning_rate": 1e-5}, "rl.learning_rate"),
        ({"rl__reward__judge_timeout": 9.0}, "rl.reward.judge_timeout"),
        ({"rl__stages__0__steps": 9}, "rl.stages.0.steps"),  # the second stage would begin elsewhere
        ({"rl__stages__1__steps": 3}, "rl.stages.1.steps"),  # fewer: steps may be there already
        ({"rl": None}, "rl"),
    ],
)
def test_unsafe(change, key):
    assert changes(**change) == [key]


def test_more_steps_under_a_cosine_would_be_other_learning_rates():
    new = copy.deepcopy(RECIPE)
    new["rl"]["optimizer"]["schedule"] = "cosine"
    longer = copy.deepcopy(new)
    longer["rl"]["stages"][1]["steps"] = 9
    assert unsafe_changes(new, longer, lambda _: True) == ["rl.stages.1.steps"]


def test_a_stage_that_has_not_begun_may_change_in_every_way():
    assert changes(("sft",), rl__learning_rate=1.0, sft__save_every=9) == []
    assert changes(("sft",), rl__learning_rate=1.0, sft__steps=9) == ["sft.steps"]
    assert changes((), rl=None) == []


def test_a_run_takes_the_safe_change_and_notes_it(tmp_path: Path):
    import json

    import yaml

    run = RunFolder.create(tmp_path / "t", yaml.safe_dump(RECIPE))
    run.log("rl", step=1)
    new = copy.deepcopy(RECIPE)
    new["rl"]["save_every"] = 1
    RunFolder.create(tmp_path / "t", yaml.safe_dump(new))
    assert yaml.safe_load(run.recipe.read_text()) == new
    assert json.loads(run.environment.read_text())["continued"][0]["changed"] == ["rl.save_every"]
    new["rl"]["learning_rate"] = 1.0
    with pytest.raises(UserError, match=r"different: rl.learning_rate\)"):
        RunFolder.create(tmp_path / "t", yaml.safe_dump(new))
    new["sft"]["steps"] = 99  # SFT has not begun here
    new["rl"]["learning_rate"] = 1e-6
    RunFolder.create(tmp_path / "t", yaml.safe_dump(new))


HOLD = """
import sys
from gppo.run import RunFolder
RunFolder.create(sys.argv[1], "name: t\\n")
RunFolder.create(sys.argv[1], "name: t\\n")
print("held", flush=True)
sys.stdin.read()
"""


def test_what_changes_the_last_digits_is_taken_with_a_note(tmp_path: Path, caplog):
    assert changes(rl__micro_batch_tokens=8, threads=2) == []
    run = RunFolder.create(tmp_path / "t", "name: t\nthreads: 1\n")
    RunFolder.create(tmp_path / "t", "name: t\nthreads: 3\n")
    assert caplog.text == "", "nothing has been made yet"
    run.log("rl", step=1)
    RunFolder.create(tmp_path / "t", "name: t\nthreads: 2\n")
    assert "threads changed: from here on numbers may differ" in caplog.text


def test_one_process_at_a_time(tmp_path: Path):
    """The lock is there for others, not for the same process, and goes with the process that holds it."""
    folder = tmp_path / "t"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        for fresh in (False, True):
            with pytest.raises(UserError, match=rf"another process \({holder.pid}\) works in this run folder"):
                RunFolder.create(folder, "name: t\n", fresh=fresh)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    RunFolder.create(folder, "name: t\n")


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path: Path):
    run = RunFolder.create(tmp_path / "t", "name: t\n")
    left = [run.path / ".recipe.yaml.0123456789ab.tmp", run.rollouts / ".step-000001.parquet.0123456789ab.tmp"]
    # gppo report may be writing these now
    pages = [run.path / f".{name}.html.0123456789ab.tmp" for name in ("report", "microscope")]
    for path in (*left, *pages):
        path.touch()
    RunFolder.create(tmp_path / "t", "name: t\n")
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in pages)
    for path in pages:
        os.utime(path, (0, 0))
    RunFolder.create(tmp_path / "t", "name: t\n")
    assert not any(path.exists() for path in pages)


def test_rollouts_of_later_steps_are_removed(tmp_path: Path):
    names = [f"step-{step:06d}.parquet" for step in (1, 2, 3, 1_000_000)]
    for name in (*names, "notes.txt"):
        (tmp_path / name).touch()
    remove_rollouts_after(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", *names[:2]]
    remove_rollouts_after(tmp_path / "none", 0)


def test_a_fingerprint_sees_borders_and_order():
    assert fingerprint(["ab", "c"]) == fingerprint([b"ab", b"c"])
    different = [["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], ["ab", "c", ""], [], [""]]
    assert len({fingerprint(parts) for parts in different}) == len(different)


def test_another_place_is_pointed_out(caplog):
    note_another_place({"device": "cpu", "threads": 2}, {"device": "cpu", "threads": 2})
    note_another_place({"device": "cpu"}, {"device": "cpu", "threads": 2})  # it was not noted then
    assert caplog.text == ""
    note_another_place({"device": "H100", "torch": "2.12"}, {"device": "cpu", "threads": 2, "torch": "2.13"})
    assert "(device H100 before, cpu now; torch 2.12 before, 2.13 now)" in caplog.text
