"""Trackers: what TensorBoard and wandb hold after a run that was killed and went on."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gppo.run import RunFolder, check_trackers, open_trackers
from gppo.run.trackers import curve_points
from gppo.types import UserError

STEPS = """
import os, signal, sys
from pathlib import Path
from gppo.run import RunFolder, open_trackers
name, path, first, last, killed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
run = RunFolder.create(path, "name: x")
run = run.tracked(open_trackers([name], path, "x", {"name": "x"}))
run.truncate_metrics(lambda line: line["kind"] != "rl" or line["step"] < first)  # as from a checkpoint
for step in range(first, last + 1):
    run.log("rl", step=step, stage="math", reward_mean=step / 10, entropy=float("nan"))
if killed == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def process(name: str, path: Path, first: int, last: int, killed: str = "") -> int:
    """A process of a run that logs some steps, in the way that ``gppo rl`` does."""
    environment = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(path)}
    command = [sys.executable, "-c", STEPS, name, str(path), str(first), str(last), killed]
    return subprocess.run(command, env=environment, timeout=120, check=False).returncode


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """Every number in the event files, in order, as a reader finds it that knows nothing of restarts."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = []
    for path in sorted(folder.glob("events*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                number = value.tensor.float_val[0] if value.HasField("tensor") else value.simple_value
                found.append((value.tag, event.step, round(number, 6)))
    return found


def test_tensorboard_has_each_step_once_after_a_kill_and_a_resume(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'gppo[tensorboard]'")
    run = tmp_path / "run"
    assert process("tensorboard", run, 1, 5, "killed") == -9
    assert [step for _, step, _ in scalars(run / "tensorboard")] == [1, 2, 3, 4, 5]
    assert process("tensorboard", run, 4, 6) == 0  # the last checkpoint was of step 3
    assert scalars(run / "tensorboard") == [("rl/reward_mean", step, step / 10) for step in range(1, 7)]


def test_tensorboard_takes_up_a_run_in_its_middle(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'gppo[tensorboard]'")
    run = RunFolder.create(tmp_path / "run", "name: x")
    run.log("sft", step=1, loss=2.0)
    run.log("funnel", rows_in=3)
    run = run.tracked(open_trackers(["tensorboard"], run.path, "x", {}))
    run.log("sft", step=2, loss=1.0)
    assert scalars(run.path / "tensorboard") == [("sft/loss", 1, 2.0), ("sft/loss", 2, 1.0)]
    assert [line["step"] for line in run.read_metrics("sft")] == [1, 2]


def test_wandb_is_one_run_and_is_told_each_step_once(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed: pip install 'gppo[wandb]'")
    run = tmp_path / "run"
    assert process("wandb", run, 1, 5, "killed") == -9
    first = json.loads((run / "wandb.json").read_text())
    assert first["told"] == {"rl": 5}
    assert process("wandb", run, 4, 6) == 0
    second = json.loads((run / "wandb.json").read_text())
    assert second == {"id": first["id"], "told": {"rl": 6}}
    files = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    assert {file.stem for file in files} == {f"run-{first['id']}"}  # one run, in two sittings
    told = [step for file in files for step in told_steps(file)]
    assert told[-1] == 6
    assert len(told) == len(set(told))


def told_steps(path: Path) -> list[int]:
    """The steps in wandb's own file."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = []
    for raw in records(path.read_bytes()):
        record = Record()
        record.ParseFromString(raw)
        items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        if "rl/step" in items:
            found.append(int(json.loads(items["rl/step"])))
    return found


def records(raw: bytes) -> Iterator[bytes]:
    """LevelDB's log: blocks of 32 KiB, in them pieces with a checksum, a length and a kind. Begins with 7 bytes."""
    place, parts = 7, b""
    while place + 7 <= len(raw):
        if (1 << 15) - place % (1 << 15) < 7:  # too small for a head: the block's rest is empty
            place += (1 << 15) - place % (1 << 15)
            continue
        length, kind = struct.unpack_from("<HB", raw, place + 4)
        if kind not in (1, 2, 3, 4):
            return
        parts += raw[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield parts
            parts = b""


def test_what_is_absent_is_said_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"trackers: no_such_tracker is not installed; install it with `pip install"):
        check_trackers(["no_such_tracker"])
    with pytest.raises(UserError, match="no_such_tracker"):
        open_trackers(["no_such_tracker"], tmp_path, "x", {})
    assert open_trackers([], tmp_path, "x", {}) == ()


def test_only_finite_numbers_with_a_step_are_points():
    line = {"kind": "rl", "time": 1.0, "step": 3, "a": 1, "b": 0.5, "stage": "x", "no": None, "yes": True}
    assert curve_points(line | {"c": float("nan"), "d": float("inf")}) == {"rl/a": 1.0, "rl/b": 0.5}
    assert curve_points({"kind": "info", "a": 1}) == {}
