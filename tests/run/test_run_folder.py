import itertools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.run import RunFolder, describe_environment
from gppo.run.changes import differing_keys
from gppo.types import GppoError, UserError

RECIPE = "name: t\nrl:\n  learning_rate: 1.0e-06\n  stages:\n  - name: a\n    steps: 3\n"


def lines(run: RunFolder) -> list[dict]:
    return [{k: v for k, v in item.items() if k != "time"} for item in run.read_metrics()]


def test_a_new_run(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "runs" / "t", RECIPE)
    assert run.recipe.read_text("utf-8") == RECIPE
    assert sorted(item.name for item in run.path.iterdir()) == [
        ".lock",
        "checkpoints",
        "environment.json",
        "evaluations",
        "recipe.yaml",
        "rollouts",
    ]
    assert run.report == run.path / "report.html"
    assert run.read_metrics() == []
    assert RunFolder.open(str(run.path)) == run


def test_the_same_recipe_goes_on(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "t", RECIPE)
    run.log("step", step=1)
    reordered = "rl: {stages: [{steps: 3, name: a}], learning_rate: 0.000001}\nname: t\n"
    again = RunFolder.create(tmp_path / "t", reordered)
    assert lines(again) == [{"kind": "step", "step": 1}]
    assert again.recipe.read_text("utf-8") == RECIPE
    environment = json.loads(again.environment.read_text())
    assert len(environment["continued"]) == 1
    assert environment["continued"][0]["python"] == environment["python"]


def test_a_mended_recipe_is_taken_while_nothing_was_made(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "t", RECIPE)
    run = RunFolder.create(tmp_path / "t", "name: t\nseed: 5\n")
    assert run.recipe.read_text() == "name: t\nseed: 5\n"


def test_another_recipe_is_refused_with_its_keys(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "t", RECIPE).log("rl", step=1)
    changed = "name: t\nseed: 1\nrl:\n  learning_rate: 2.0e-06\n  stages:\n  - name: a\n    steps: 4\n"
    with pytest.raises(UserError) as caught:
        RunFolder.create(tmp_path / "t", changed)
    assert str(caught.value) == (
        f"{tmp_path / 't'}: holds a run with another recipe (different: rl.learning_rate, rl.stages.0.steps, seed); "
        "choose another run_dir, or start anew with --fresh, which moves the old run aside"
    )


def test_many_differences_are_cut_short(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "t", "".join(f"k{i}: 1\n" for i in range(14))).log("sft", step=1)
    with pytest.raises(UserError, match="k9 and 4 more"):
        RunFolder.create(tmp_path / "t", "".join(f"k{i}: 2\n" for i in range(14)))


def test_fresh_moves_the_old_run_aside(tmp_path: Path) -> None:
    for seed in range(3):
        run = RunFolder.create(tmp_path / "t", f"seed: {seed}\n", fresh=True)
        run.log("step", seed=seed)
    names = ["t.old-1", "t.old-2", "t"]
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(names)
    assert [lines(RunFolder.open(tmp_path / name))[0]["seed"] for name in names] == [0, 1, 2]


def test_fresh_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunFolder.create(tmp_path / "t", RECIPE)
    monkeypatch.chdir(tmp_path / "t")
    # The old folder moves, the process with it: the run starts again in the folder it stands in.
    with_dots = RunFolder.create(Path("..") / "t", "seed: 1\n", fresh=True)
    assert with_dots.recipe.read_text("utf-8") == "seed: 1\n"
    assert (tmp_path / "t.old-1" / "recipe.yaml").read_text("utf-8") == RECIPE


def test_fresh_where_the_folder_cannot_be_moved(full_disk: Path) -> None:
    RunFolder.create(full_disk, RECIPE)
    with pytest.raises(UserError, match=r"cannot be moved aside \(Device or resource busy\)"):
        RunFolder.create(full_disk, RECIPE, fresh=True)


def test_what_is_no_run_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("x")
    (home / ".hidden").write_text("x")
    for fresh in (False, True):
        with pytest.raises(UserError, match=r"holds thesis\.tex and no recipe\.yaml"):
            RunFolder.create(home, RECIPE, fresh=fresh)
    with pytest.raises(UserError, match="a file, not a folder"):
        RunFolder.create(home / "thesis.tex", RECIPE)
    with pytest.raises(UserError, match="not a run folder"):
        RunFolder.open(home)
    (home / "thesis.tex").unlink()
    RunFolder.create(home, RECIPE)


def test_damaged_files_of_a_run(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "t", RECIPE)
    run.environment.write_text("[]")
    with pytest.raises(GppoError, match=r"environment\.json: damaged; remove it"):
        RunFolder.create(tmp_path / "t", RECIPE)
    run.recipe.write_text("a: [")
    with pytest.raises(GppoError, match=r"recipe\.yaml: damaged; mend it"):
        RunFolder.create(tmp_path / "t", RECIPE)


def test_a_full_disk_while_a_run_starts(full_disk: Path) -> None:
    (full_disk / "filler").write_bytes(bytes(64 * 1024))
    with pytest.raises(GppoError, match="no space left on the device"):
        RunFolder.create(full_disk / "t", RECIPE)
    assert not (full_disk / "t" / "recipe.yaml").exists()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xy", min_size=1, max_size=2), inner, max_size=3)
    ),
)


@given(VALUES, VALUES)
def test_keys_differ_exactly_where_values_do(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (not list(differing_keys(one, other))) == same
    assert sorted(differing_keys(one, other)) == sorted(differing_keys(other, one))


def test_differing_keys_by_hand() -> None:
    one = {"a": 1, "b": {"c": [1, {"d": 2}]}, "e": [1]}
    other = {"a": True, "b": {"c": [1, {"d": 3}]}, "e": [1, 2], "f": {}}
    assert list(differing_keys(one, other)) == ["a", "b.c.1.d", "e", "f"]


def test_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = describe_environment(["numpy", "surely-not-installed"])
    assert found["packages"] == {"numpy": np.__version__}
    assert found["cpu_count"] == os.cpu_count()
    monkeypatch.chdir(tmp_path)
    assert describe_environment()["git_commit"] is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_environment()["git_commit"] is None


def test_environment_names_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert len(head) == 40
    assert describe_environment()["git_commit"] == head


def test_metrics_come_back(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "t", RECIPE)
    run.log("step", step=1, loss=float("nan"), reward=np.float32(0.5), counts=np.array([1, 2]))
    run.log("eval", name="é\n", best=float("inf"))
    assert lines(run) == [
        {"kind": "step", "step": 1, "loss": None, "reward": 0.5, "counts": [1, 2]},
        {"kind": "eval", "name": "é\n", "best": None},
    ]
    assert [item["kind"] for item in run.read_metrics("eval")] == ["eval"]
    assert run.read_metrics()[0]["time"] <= run.read_metrics()[1]["time"]
    with pytest.raises(TypeError, match="a set cannot be written"):
        run.log("step", bad={1})
    assert len(run.read_metrics()) == 2


@given(cut=st.integers(1, 200))
def test_a_half_written_line_is_ignored_then_replaced(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    run = RunFolder(tmp_path_factory.mktemp("t"))
    for step in range(3):
        run.log("step", step=step)
    content = run.metrics.read_bytes()
    kept = content[: -min(cut, len(content))]
    run.metrics.write_bytes(kept)
    whole = kept.count(b"\n")
    assert [item["step"] for item in run.read_metrics()] == list(range(whole))
    run.log("step", step=9)
    assert [item["step"] for item in run.read_metrics()] == [*range(whole), 9]


@pytest.mark.parametrize("damage", [b"{\n", b"[1]\n", b"\xff\n"])
def test_a_damaged_line_is_named(tmp_path: Path, damage: bytes) -> None:
    run = RunFolder(tmp_path)
    run.log("step", step=1)
    with run.metrics.open("ab") as file:
        file.write(damage)
    run.log("step", step=2)
    with pytest.raises(GppoError, match=r"metrics\.jsonl: line 2 is damaged"):
        run.read_metrics()


def test_truncating_keeps_the_bytes_of_the_rest(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.truncate_metrics(lambda line: False) == 0
    for step in range(5):
        run.log("step", step=step)
    run.log("note", text="kept")
    before = run.metrics.read_bytes().splitlines(keepends=True)
    assert run.truncate_metrics(lambda line: line.get("step", 0) < 3) == 2
    assert run.metrics.read_bytes() == b"".join(before[:3] + before[5:])
    assert run.truncate_metrics(lambda line: True) == 0


def test_a_full_disk_leaves_the_metrics_as_they_were(full_disk: Path) -> None:
    run = RunFolder(full_disk)

    def log_for_ever() -> None:
        for step in itertools.count():
            run.log("step", step=step, text="x" * 777)

    with pytest.raises(GppoError) as caught:
        log_for_ever()
    assert str(caught.value) == (
        f"{run.metrics}: no space left on the device; free some and run the same command again"
    )
    content = run.metrics.read_bytes()
    assert content.endswith(b"\n")
    assert [item["step"] for item in run.read_metrics()] == list(range(content.count(b"\n")))


def test_a_line_cut_by_a_limit_is_taken_back(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gppo.run import RunFolder\n"
        "run = RunFolder(Path(sys.argv[1]))\n"
        "for step in range(100): run.log('step', step=step, text='x' * 100)"
    )
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # noqa: E731
    ended = subprocess.run(
        [sys.executable, "-c", code, tmp_path], preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert "the limit on a file's size is reached" in ended.stderr
    run = RunFolder(tmp_path)
    assert run.metrics.read_bytes().endswith(b"\n")
    assert 3 <= len(run.read_metrics()) < 10


def test_a_device_that_takes_nothing() -> None:
    from gppo.run.metrics import append_metrics

    with pytest.raises(GppoError, match="/dev/full: no space left"):
        append_metrics(Path("/dev/full"), "step", {})


def test_no_gpu_stack_is_imported() -> None:
    code = "import sys, gppo.run, gppo.records, gppo.config; sys.exit('torch' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
