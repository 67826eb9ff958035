"""``gppo demo``: curate -> SFT -> RL with GPPO -> evaluate -> report, offline, from nothing."""

import json
import time
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console

from gppo.config import Recipe, dump_recipe, load_recipe, require
from gppo.curate import curate, funnel_table, write_page
from gppo.evaluate import before_after_table, load_evaluations
from gppo.miniature.faults import found_faults
from gppo.miniature.planted import found_planted, planted_table
from gppo.miniature.world import UNSEEN_IN_RL, write_world
from gppo.policy import Policy, load_policy
from gppo.policy.device import choose_device
from gppo.records import read_problems
from gppo.report import write_report
from gppo.rl import check_objective
from gppo.rl.stage import run_rl
from gppo.run import RunFolder, check_trackers, open_trackers
from gppo.run.progress import duration
from gppo.sandbox import probe
from gppo.sft.stage import run_sft
from gppo.types import Evaluation


def demo_recipe(folder: Path, seed: int, overrides: Sequence[str] = ()) -> Recipe:
    """The demo's recipe for a run folder and a seed."""
    with as_file(files("gppo.miniature") / "demo.yaml") as path:
        return load_recipe(path, [f"run_dir={json.dumps(str(folder))}", f"seed={seed}", *overrides])


def run_demo(
    folder: Path, seed: int, console: Console, *, fresh: bool = False, overrides: Sequence[str] = ()
) -> RunFolder:
    """Run the whole pipeline in ``folder``; run again, it goes on where it stopped.

    Args:
        folder: the run folder.
        seed: of the world, the weights and every sampled token.
        console: where the tables go.
        fresh: start anew.
        overrides: KEY=VALUE changes to the demo's recipe.
    """
    began = time.monotonic()
    isolation = probe()
    recipe = demo_recipe(folder, seed, overrides)
    if isolation.level == "refused":
        console.print(f"The code stage is off: {isolation.reason}; {isolation.advice}.")
        recipe = without_code(recipe)
    check_objective(require(recipe, "rl"))
    check_trackers(recipe.trackers)
    run = RunFolder.create(folder, dump_recipe(recipe), fresh=fresh)
    run = run.tracked(open_trackers(recipe.trackers, folder, recipe.name, recipe.model_dump(mode="json")))
    device = choose_device(recipe.device, recipe.threads)
    _prepare_data(recipe, run, console)
    policy = load_policy(require(recipe, "model"), seed=recipe.seed, device=device)
    _describe(policy, recipe, console)
    run_sft(recipe, run, policy)
    run_rl(recipe, run, policy)
    report = write_report(run.path)
    before, after = before_and_after(run)
    console.print(before_after_table(before, after))
    clip = _mean([line["clip_fraction"] for line in run.read_metrics("rl") if "clip_fraction" in line])
    console.print(f"Mean share of tokens outside the clip range that PPO would drop: {clip:.2%}")
    console.print(f"Unseen in RL: {', '.join(UNSEEN_IN_RL)}. Took {duration(time.monotonic() - began)}.")
    console.print(f"Report: {report}", soft_wrap=True)
    return run


def without_code(recipe: Recipe) -> Recipe:
    """The demo for a machine on which programs cannot be judged."""
    plain = recipe.model_dump(mode="json", exclude_none=True)
    plain["rl"]["stages"] = [stage for stage in plain["rl"]["stages"] if stage["name"] != "code"]
    for made in plain["curate"]:
        made["steps"] = [step for step in made["steps"] if step["step"] != "faulty_tests"]
    plain["evaluate"]["sets"] = [item for item in plain["evaluate"]["sets"] if item["name"] != "code"]
    return Recipe.model_validate(plain)


def before_and_after(run: RunFolder) -> tuple[list[Evaluation], list[Evaluation]]:
    """The evaluations after SFT and after the last RL step."""
    everything = load_evaluations(run.evaluations)
    last = max(evaluation.step for evaluation in everything)
    return [e for e in everything if e.step == 0], [e for e in everything if e.step == last]


def _prepare_data(recipe: Recipe, run: RunFolder, console: Console) -> None:
    """Write the world and curate it, once."""
    if any(line.get("data_ready") for line in run.read_metrics("info")):
        return
    run.truncate_metrics(lambda line: False)  # a run that stopped here begins its data again
    write_world(run.path / "world", recipe.seed)
    results = [curate(config, run, seed=recipe.seed) for config in require(recipe, "curate")]
    for result in results:
        console.print(funnel_table(result.title, result.funnel))
    planted = read_problems(run.path / "world" / "mirror.jsonl")
    console.print(planted_table([*found_planted(results[-1], planted), *found_faults(run.path / "world", results)]))
    console.print(f"What was removed and why: {write_page(run.path, results)}", soft_wrap=True)
    run.log("info", data_ready=True, unseen_difficulties=list(UNSEEN_IN_RL))


def _describe(policy: Policy, recipe: Recipe, console: Console) -> None:
    parameters = sum(p.numel() for p in policy.model.parameters())
    stages = require(recipe, "rl").resolved_stages()
    console.print(
        f"The student, a Qwen3 with {parameters / 1e6:.2f}M random parameters that reads one character a token, first "
        "learns long addition from a tutor who adds 6 where it says 7, and small programs from a coach who writes >= "
        f"for greater (SFT). Then it answers {stages[0].prompts_per_step} problems {stages[0].group_size} times a "
        f"step, hears which answers are right{' and how many tests each program passed' if len(stages) > 1 else ''}, "
        f"and unlearns the errors ({require(recipe, 'rl').objective.name})."
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
