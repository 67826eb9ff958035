"""SIGKILL at random moments changes nothing: the end is, bit by bit, that of a run that nobody disturbed.

Short here; ``make chaos`` sets GPPO_CHAOS=full: 30 kills of RL, 10 each of SFT, evaluation and both judges of files.
"""

import json
import os
import random
import time
from pathlib import Path

import psutil
from chaos_kills import ForkServer, Kills, said, same_outcome
from chaos_world import CODE, program, sums, write_recipe

FULL = os.environ.get("GPPO_CHAOS") == "full"
RL_KILLS, OTHER_KILLS = (30, 10) if FULL else (4, 1)
SEED = int(os.environ.get("GPPO_CHAOS_SEED", "0"))


def chaos(server: ForkServer, tmp_path: Path, write, arguments, aims, kills, latest, same) -> Kills:
    """Kill runs in folders of their own until there were as many kills; each must end like the undisturbed one.

    Args:
        write: (folder) writes what the command reads.
        same: (folder of the undisturbed run, folder of another) -> what differs.
    """
    calm = tmp_path / "calm"
    calm.mkdir()
    write(calm)
    assert server.run(calm, *arguments) == 0, said(calm)
    done = Kills(random.Random(SEED), latest)
    for attempt in range(20):
        folder = tmp_path / f"chaos-{attempt}"
        folder.mkdir()
        write(folder)
        done.until_done(server, folder, arguments, aims, kills - done.count)
        assert same(calm, folder) == [], said(folder)
        if done.count >= kills:
            print(f"\n{' '.join(map(str, arguments))}: {done.count} kills in {attempt + 1} runs; {dict(done.found)}")
            return done
    raise AssertionError(f"only {done.count} kills")


def same_runs(one: Path, other: Path) -> list[str]:
    known = (".lock", ".report.html.")  # half a report is left for ten minutes: it may be someone else's
    left = [str(path) for path in (other / "run").rglob(".*") if not path.name.startswith(known)]
    return same_outcome(one / "run", other / "run") + left


def test_rl_on_math_and_code(server, world, tmp_path):
    length = 12 if FULL else 3

    def write(folder: Path) -> None:
        stages = [
            {"name": "math", "data": str(world / "math.jsonl"), "steps": length},
            {"name": "code", "data": str(world / "code.jsonl"), "steps": length, "prompts_per_step": 2},
        ]
        write_recipe(folder / "recipe.yaml", world, sft=None, run_dir="run", rl={"stages": stages})

    aims = ("random", "checkpoint", "random", "evaluation", "random", "rollouts") if FULL else ("random", "checkpoint")
    before = sandboxes()
    chaos(server, tmp_path, write, ["rl", "recipe.yaml"], aims, RL_KILLS, 3.0 if FULL else 1.5, same_runs)
    rewards = [line["reward_mean"] for line in metrics(tmp_path / "calm") if line.get("stage") == "code"]
    assert len({*rewards}) > 1, "programs ran and were judged"
    deadline = time.monotonic() + 20  # tests beside this one kill too, and what dies takes a moment
    while sandboxes() > before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert sandboxes() <= before, "what the killed processes had started has ended with them"


def test_sft(server, world, tmp_path):
    def write(folder: Path) -> None:
        write_recipe(folder / "recipe.yaml", world, rl=None, evaluate=None, run_dir="run")

    chaos(server, tmp_path, write, ["sft", "recipe.yaml"], ("random", "checkpoint"), OTHER_KILLS, 0.8, same_runs)


def test_eval(server, world, tmp_path):
    def write(folder: Path) -> None:
        write_recipe(folder / "recipe.yaml", world, sft=None, rl=None, run_dir="run", evaluate=many)

    many = {"sampling": [{"temperature": 1.0, "top_p": 1.0, "k": 4}, {"temperature": 0.6, "k": 4}]}
    chaos(
        server, tmp_path, write, ["eval", "recipe.yaml"], ("evaluation", "random"), OTHER_KILLS, 1.5, same_evaluations
    )


def same_evaluations(one: Path, other: Path) -> list[str]:
    def read(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (folder / "run" / "evaluations").iterdir()}

    return [] if read(one) == read(other) else ["evaluations"]


def test_verify_code(server, tmp_path):
    def write(folder: Path) -> None:
        with (folder / "in.jsonl").open("w") as file:
            for i in range(60 if FULL else 12):
                problem = CODE[i % len(CODE)]
                tests = {"inputs": problem.inputs[:4], "outputs": problem.outputs[:4], "fn_name": "f"}
                source = problem.solution if i % 3 else problem.misconception
                file.write(json.dumps({"id": i, "response": program(source), "tests": tests}) + "\n")
                if i % 10 == 9:
                    file.write("{broken\n")

    arguments = ["verify", "code", "in.jsonl", "out.jsonl"]
    chaos(server, tmp_path, write, arguments, ("output", "random"), OTHER_KILLS, 1.0, same_files)


def test_verify_math(server, tmp_path):
    def write(folder: Path) -> None:
        with (folder / "in.jsonl").open("w") as file:
            for i, problem in enumerate(sums(40) * (50 if FULL else 5)):
                answer = int(problem.ground_truth) + (i % 3 == 0)
                response = f"<think>so</think>\\boxed{{{answer}}}" if i % 7 else "no answer"
                if i % 5 == 0:  # needs a worker
                    response = f"<think>so</think>\\boxed{{\\frac{{{2 * answer}}}{{2}}+x-x}}"
                file.write(json.dumps({"id": i, "gold": problem.ground_truth, "response": response}) + "\n")
                if i % 50 == 49:
                    file.write("{broken\n")

    arguments = ["verify", "math", "in.jsonl", "out.jsonl"]
    chaos(server, tmp_path, write, arguments, ("output", "random"), OTHER_KILLS, 1.5, same_files)


def same_files(one: Path, other: Path) -> list[str]:
    """Outputs and quarantine, seconds aside."""

    def read(folder: Path, name: str) -> list[dict]:
        rows = [json.loads(line) for line in (folder / name).read_bytes().splitlines()]
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    return [name for name in ("out.jsonl", "out.jsonl.quarantine.jsonl") if read(one, name) != read(other, name)]


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


def sandboxes() -> int:
    """Sandboxes and judges that nobody owns any more and that still run something.

    A bubblewrap whose owner is killed while it sets up can stay behind, alone and idle: a known leak of the launcher.
    """
    orphans = [p for p in psutil.process_iter(["ppid", "cmdline"]) if p.info["ppid"] == 1]
    found = 0
    for process in orphans:
        command = " ".join(process.info["cmdline"] or [])
        if "gppo.verify" in command or ("zygote" in command and ("bwrap" not in command or process.children())):
            found += 1
    return found
