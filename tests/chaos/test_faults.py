"""Every fault is caused for real: what the user reads, and that the run then ends as if nothing had been."""

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from chaos_kills import ForkServer, said, same_outcome
from chaos_world import CODE, sums, write_recipe

from gppo.policy.products import ONEDNN
from gppo.records import write_problems

RL = ("rl", "recipe.yaml")


def stages(world: Path, *names: str, steps: int = 3) -> list[dict[str, Any]]:
    return [
        {"name": name, "data": str(world / f"{name}.jsonl"), "steps": steps, "prompts_per_step": 2} for name in names
    ]


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Callable[..., Path]:
    """folder(name, **changes): a folder with a recipe of RL on sums, then on programs."""

    def make(name: str = "here", *, at: Path | None = None, rl: dict[str, Any] | None = None, **over: Any) -> Path:
        place = (at or tmp_path) / name
        place.mkdir()
        rl = {"stages": stages(world, "math", "code"), "group_size": 3} | (rl or {})
        write_recipe(place / "recipe.yaml", world, **({"sft": None, "evaluate": None, "run_dir": "run"} | over), rl=rl)
        return place

    return make


@pytest.fixture(scope="module")
def calm(server: ForkServer, world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of ``folder()``, undisturbed."""
    place = tmp_path_factory.mktemp("calm")
    rl = {"stages": stages(world, "math", "code"), "group_size": 3}
    write_recipe(place / "recipe.yaml", world, sft=None, evaluate=None, run_dir="run", rl=rl)
    assert server.run(place, *RL) == 0, said(place)
    return place


def last_line(place: Path) -> str:
    lines = said(place).splitlines()
    assert not any(line.startswith("Traceback") for line in lines), said(place)
    print(lines[-1])
    return lines[-1]


def steps_of(place: Path) -> list[int]:
    path = place / "run" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()] if path.is_file() else []
    return [line["step"] for line in lines if line["kind"] == "rl"]


def metric(place: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (place / "run" / "metrics.jsonl").read_bytes().splitlines()]
    return [line[name] for line in lines if line["kind"] == "rl"]


def children(pid: int, mark: str) -> list[psutil.Process]:
    found = []
    try:
        everything = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    for process in everything:
        try:
            if mark in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop(server, folder, calm, signum, status):
    place = folder()
    command = server.start(place, *RL)
    assert command.wait_until(lambda: len(steps_of(place)) >= 2)
    assert command.kill(signum) == status
    done = steps_of(place)[-1]
    assert last_line(place) == f"gppo: stopped after RL step {done} of 6; run the same command again to go on"
    assert server.run(place, *RL) == 0
    assert same_outcome(calm / "run", place / "run") == []


def test_asked_to_stop_while_it_evaluates(server, folder, world):
    sets = [{"name": "sums", "data": str(world / "math.jsonl")}]
    way = {"sampling": [{"temperature": 1.0, "top_p": 1.0, "k": 8}], "sets": sets}
    place, whole = (folder(name, rl=None, evaluate=way) for name in ("here", "whole"))
    command = server.start(place, "eval", "recipe.yaml")
    assert command.wait_until(lambda: any(place.glob("run/evaluations/*.results.jsonl")))
    assert command.kill(signal.SIGTERM) == 143
    assert last_line(place).startswith("gppo: stopped while evaluating 'T=1' at step 0, ")
    assert last_line(place).endswith(" of 96 responses are judged and kept; run the same command again to go on")
    for one in (place, whole):
        assert server.run(one, "eval", "recipe.yaml") == 0
    for name in ("step-000000--T-1.json", "step-000000--T-1.results.jsonl"):
        assert (place / "run/evaluations" / name).read_bytes() == (whole / "run/evaluations" / name).read_bytes()


def test_a_full_disk(server, folder, calm):
    """A small file system fills up in the middle of the run; then it grows."""
    disk = calm.parent / "disk"
    disk.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=1400k", "tmpfs", str(disk)]
    if subprocess.run(small, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        place = folder(at=disk)
        assert server.run(place, *RL) == 1
        message = last_line(place)
        assert message.startswith("error: run/")
        assert "space" in message
        assert message.endswith("run the same command again")
        assert server.run(place, *RL) == 1  # as long as nothing has changed
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        assert server.run(place, *RL) == 0, said(place)
        assert same_outcome(calm / "run", place / "run") == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_the_sandbox_is_killed(server, folder, calm):
    """Its zygote dies under the programs: they run again in a fresh one."""
    place = folder()
    command, killed = server.start(place, *RL), 0
    assert command.wait_until(lambda: len(steps_of(place)) >= 3)
    while not command.ended and killed < 3:
        for process in children(command.pid, "inside.zygote")[:1]:
            process.kill()
            killed += 1
        time.sleep(0.1)
    assert command.wait() == 0, said(place)
    assert killed
    assert same_outcome(calm / "run", place / "run") == []


def algebra(folder: Callable[..., Path], world: Path, name: str = "here", **reward: Any) -> Path:
    """RL on sums whose reference answers only computer algebra can compare: each needs a worker process."""
    problems = [replace(p, ground_truth=rf"\int_0^1 {2 * int(p.ground_truth)} x \, dx") for p in sums(12)]
    write_problems(world / "algebra.jsonl", problems)
    return folder(name, rl={"stages": stages(world, "algebra", steps=5), "reward": reward})


def test_a_judge_is_killed(server, folder, world):
    """Once: the answer is judged again. Again and again: masked, counted, and the run stops before it learns noise."""
    whole, once, ever = (algebra(folder, world, name) for name in ("whole", "once", "ever"))
    assert server.run(whole, *RL) == 0, said(whole)
    command = server.start(once, *RL)
    assert command.wait_until(lambda: len(steps_of(once)) >= 2)
    for process in children(command.pid, "gppo.verify._worker"):
        process.kill()
    assert command.wait() == 0, said(once)
    assert same_outcome(whole / "run", once / "run") == []

    command = server.start(ever, *RL)
    assert command.wait_until(lambda: len(steps_of(ever)) >= 2)
    while not command.ended:
        for process in children(command.pid, "gppo.verify._worker"):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    assert command.wait() == 1
    message = last_line(ever)
    assert "of the responses could not be judged (more than rl.reward.max_infra_share 5%); the judge is at" in message
    assert message.endswith("then run the same command again")
    assert server.run(ever, *RL) == 0, said(ever)
    assert same_outcome(whole / "run", ever / "run") == []


def test_a_judge_hangs(server, folder, world):
    """A worker that answers no more is killed at the time limit; the run goes on and the time-out is counted."""
    place = algebra(folder, world, judge_timeout=0.5)
    command, stopped = server.start(place, *RL), []
    while not command.ended:
        if len(steps_of(place)) >= 1 and not stopped:
            stopped = children(command.pid, "gppo.verify._worker")
            for process in stopped:
                process.suspend()
        time.sleep(0.005)
    assert command.wait() == 0, said(place)
    assert stopped
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in stopped)
    assert sum(share > 0 for share in metric(place, "timeout_share")) == 1
    assert metric(place, "infra_share") == [0.0] * 5


def test_a_checkpoint_is_damaged(server, folder, calm):
    place = folder()
    command = server.start(place, *RL)
    assert command.wait_until(lambda: len([*place.glob("run/checkpoints/rl/step-*")]) >= 2)
    command.kill(signal.SIGTERM)
    newest = max(place.glob("run/checkpoints/rl/step-*"))
    weights = bytearray((newest / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (newest / "model.safetensors").write_bytes(weights)
    assert server.run(place, *RL) == 0, said(place)
    assert f"note: the checkpoint run/checkpoints/rl/{newest.name} is damaged (the checksum of model.safet" in said(
        place
    )
    shutil.rmtree(place / f"run/checkpoints/rl/damaged-{newest.name}")
    assert same_outcome(calm / "run", place / "run") == []


def test_data_that_is_damaged_or_changed(server, folder, calm, world):
    place = folder()
    data = place / "data.jsonl"
    good = (world / "math.jsonl").read_bytes().splitlines(keepends=True)
    data.write_bytes(b"".join([*good[:3], good[3][:40] + b"\xff\x00\n", b"\x80" * 50 + b"\n", *good[4:]]))
    own = [{"name": "math", "data": str(data), "steps": 3, "prompts_per_step": 2}]
    write_recipe(place / "recipe.yaml", world, sft=None, evaluate=None, run_dir="run", rl={"stages": own})
    command = server.start(place, *RL)
    assert command.wait_until(lambda: len(steps_of(place)) >= 1)
    command.kill(signal.SIGTERM)
    bad = [json.loads(line) for line in (place / "run/quarantine/rl-math.jsonl").read_text().splitlines()]
    assert [row["line"] for row in bad] == [4, 5]
    data.write_bytes(b"".join(good))
    assert server.run(place, *RL) == 2
    assert last_line(place) == (
        "error: run: the problems of stage 'math' are not those that the run began with; put the data back, or start "
        "anew with --fresh"
    )
    torn = place / "torn.parquet"
    write_problems(torn, sums(12))
    torn.write_bytes(torn.read_bytes()[:-100])
    assert server.run(place, *RL, "--fresh", "--set", f"rl.stages.0.data={torn}") == 2
    assert f"error: {torn}: " in last_line(place)


def test_the_memory_limit_of_a_worker(server, folder):
    """A program that takes more than it may is told from a wrong one, and those beside it do not notice."""
    place = folder()
    hog = "def f(n): return len('x' * (1 << 33)) + n"
    tests = {"inputs": CODE[0].inputs[:2], "outputs": CODE[0].outputs[:2], "fn_name": "f"}
    rows = [{"id": i, "code": code, "tests": tests} for i, code in enumerate([CODE[0].solution, hog, CODE[0].solution])]
    (place / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert server.run(place, "verify", "code", "in.jsonl", "out.jsonl") == 0
    cases = [json.loads(line)["cases"] for line in (place / "out.jsonl").read_text().splitlines()]
    assert cases == [["PASS", "PASS"], ["MLE", "MLE"], ["PASS", "PASS"]]
    assert last_line(place) == "2 passed, 1 failed"


def test_gradients_that_are_no_numbers(server, folder):
    """A learning rate of 1e30 makes them so in truth."""
    place = folder(rl={"learning_rate": 1e30, "optimizer": {"warmup_steps": 0, "max_grad_norm": 1e30}})
    assert server.run(place, *RL) == 1
    assert "diverged" in last_line(place)
    assert last_line(place).startswith("error: ")


def test_a_sampler_that_dies_of_memory(server, folder, calm):
    place = folder()
    command = server.start(place, *RL)
    assert command.wait_until(lambda: len(steps_of(place)) >= 3)
    # Less address space than it has: the next allocation of any size fails.
    limit = psutil.Process(command.pid)
    limit.rlimit(psutil.RLIMIT_AS, (limit.memory_info().vms // 2, psutil.RLIM_INFINITY))
    status = command.wait()
    # oneDNN does not look whether it was given its scratch memory: then there is no sentence, and still nothing lost.
    if not (ONEDNN and status == -signal.SIGSEGV):
        assert status == 1
        assert last_line(place).startswith("error: ")
    assert server.run(place, *RL) == 0, said(place)
    assert same_outcome(calm / "run", place / "run") == []


def test_a_changed_recipe(server, folder):
    place = folder()
    assert server.run(place, *RL) == 0
    assert server.run(place, *RL, "--set", "rl.learning_rate=1e-5", "--set", "seed=9") == 2
    assert "another recipe (different: seed, rl.learning_rate); choose another run_dir" in last_line(place)
    longer = ["--set", "rl.stages.1.steps=5", "--set", "rl.save_every=2", "--set", "rl.keep_checkpoints=1"]
    assert server.run(place, *RL, *longer) == 0, said(place)
    assert steps_of(place) == [1, 2, 3, 4, 5, 6, 7, 8]
    whole = folder("whole")
    assert server.run(whole, *RL, *longer) == 0
    assert same_outcome(whole / "run", place / "run") == []
    changed = json.loads((place / "run/environment.json").read_text())["continued"][-1]["changed"]
    assert changed == ["rl.stages.1.steps", "rl.save_every", "rl.keep_checkpoints"]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_run_twice(server, folder, world, threads):
    """Bit by bit, on one thread and on two; and SFT too."""
    brief = {"stages": stages(world, "math", "code", steps=2), "group_size": 3}
    places = [folder(name, threads=threads, sft={"steps": 4}, rl=brief) for name in ("one", "other")]
    for place in places:
        for command in ("sft", "rl"):
            assert server.run(place, command, "recipe.yaml") == 0, said(place)
    assert same_outcome(places[0] / "run", places[1] / "run") == []
