"""``gppo reproduce``: the units of an experiment run, its page written, its verdict printed."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gppo.reproduce.experiment import Experiment, read_experiment
from gppo.reproduce.jobs import Job, run_jobs
from gppo.reproduce.page import write_markdown
from gppo.reproduce.units import Plan, Unit, plan_units
from gppo.reproduce.verdict import arm_value, compare, in_words
from gppo.reproduce.work import make_start, read_result, run_unit, write_world
from gppo.run.environment import describe_environment
from gppo.run.folder import free_name
from gppo.run.lock import lock_folder
from gppo.run.progress import progress
from gppo.types import UserError
from gppo.types.files import atomic_file, json_line

_STATED, _LOG = "experiment.yaml", "log.jsonl"


def reproduce(
    file: Path, folder: Path, seeds: Sequence[int], scale: str, at_once: int, console: Console, *, fresh: bool = False
) -> Path:
    """Run what is missing of an experiment and write its page; returns the page.

    Args:
        file: the experiment.
        folder: where its units are; run again, what is finished there is not run again.
        seeds: of the units.
        scale: miniature, or one of the experiment's scales.
        at_once: units side by side.
        console: where the tables go.
        fresh: start anew; an older folder is moved aside.

    Raises:
        UserError: the experiment is wrong, or the folder holds units of another.
        Interrupted: a signal asked to stop.
    """
    experiment, stated = read_experiment(file), file.read_bytes()
    plan = plan_units(experiment, folder, seeds, scale)
    if fresh and folder.exists():
        folder.rename(free_name(folder))
    lock_folder(folder)
    _take(folder, stated, scale)
    todo = _todo(plan)
    if any(todo):
        _run(experiment, plan, todo, folder, scale, at_once)
    return conclude(experiment, folder, plan, hashlib.sha256(stated).hexdigest(), console)


def _todo(plan: Plan) -> list[list[Job]]:
    """What is not there yet: worlds, starts and units; each needs what stands before it."""
    worlds = [Job(f"world {w.folder.name}", write_world, w, w.folder.with_suffix(".log")) for w in plan.worlds]
    starts, units = (
        [_job(unit, work) for unit in some] for some, work in ((plan.starts, make_start), (plan.units, run_unit))
    )
    return [
        [job for job in worlds if not job.argument.folder.exists()],
        [job for job in starts if not (job.argument.folder / "model").exists()],
        [job for job in units if read_result(job.argument.folder) is None],
    ]


def _run(
    experiment: Experiment, plan: Plan, todo: Sequence[Sequence[Job]], folder: Path, scale: str, at_once: int
) -> None:
    """Do it, and note where and how long."""
    began, now = time.monotonic(), describe_environment()
    everything = len(plan.worlds) + len(plan.starts) + len(plan.units)
    try:
        with progress(experiment.name, everything, done=everything - sum(map(len, todo))) as bar:
            for jobs in todo:
                run_jobs(jobs, at_once, lambda job: bar.advance(status=job.name))
    finally:
        line = {
            **{key: now[key] for key in ("started", "git_commit", "cpu_count")},
            "torch": now["packages"].get("torch"),
            "machine": _processor(),
            "scale": scale,
            "at_once": at_once,
            "seconds": time.monotonic() - began,
        }
        with (folder / _LOG).open("ab") as log:
            log.write(json_line(line))


def _job(unit: Unit, work: Any) -> Job:
    return Job(unit.name, work, unit, unit.folder.with_suffix(".log"))


def conclude(experiment: Experiment, folder: Path, plan: Plan, digest: str, console: Console) -> Path:
    """Tables and verdicts on the console; page, figure and numbers in the folder. Returns the page."""
    from gppo.reproduce.figure import draw  # matplotlib is wanted at the end only

    results: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for unit in plan.units:
        if found := read_result(unit.folder):
            results.setdefault((unit.regime, unit.arm), {})[unit.seed] = found
    ran = [json.loads(line) for line in (folder / _LOG).read_bytes().splitlines()]
    page = folder / f"{experiment.name}.md"
    draw(experiment, results, folder / f"{experiment.name}.svg")
    with atomic_file(folder / f"{experiment.name}.jsonl") as file:
        file.writelines(json_line(_numbers(unit)) for found in results.values() for unit in found.values())
    with atomic_file(page) as file:
        file.write(write_markdown(experiment, results, ran, digest).encode())
    for regime in experiment.regimes:
        shown = Table(title=f"{regime.name}: {experiment.metric.what.strip()}, % (± standard error over seeds)")
        shown.add_column("arm")
        shown.add_column("metric", justify="right")
        for arm in experiment.arms_of(regime):
            mean, error = arm_value(results, regime.name, arm.name, experiment.metric)
            shown.add_row(arm.name, f"{100 * mean:.1f} ± {100 * error:.1f}")
        console.print(shown)
        for one in experiment.comparisons_in(regime):
            console.print(f"  {in_words(compare(experiment, regime, one, results))}", highlight=False)
    return page


def _numbers(unit: Mapping[str, Any]) -> dict[str, Any]:
    """What of a unit is small enough to be kept with a page: its evaluations, not the curves of its training."""
    return {key: value for key, value in unit.items() if key not in ("series", "tokens")}


def experiments_table(experiments: Sequence[Experiment]) -> Table:
    """What can be asked."""
    shown = Table(title="Experiments: gppo reproduce NAME", show_lines=True)
    for column in ("name", "question", "arms", "seeds"):
        shown.add_column(column)
    for one in experiments:
        shown.add_row(one.name, one.question.strip(), ", ".join(arm.name for arm in one.arms), str(one.seeds))
    return shown


def available_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _take(folder: Path, stated: bytes, scale: str) -> None:
    """Note what the folder holds. A UserError where it holds units of another experiment or scale."""
    path = folder / _STATED
    now = stated + f"\n# scale: {scale}\n".encode()
    if path.exists() and path.read_bytes() != now:
        raise UserError(
            f"{folder}: holds units of an experiment stated otherwise (see {path}); choose another --run, or start "
            "anew with --fresh, which moves it aside"
        )
    with atomic_file(path) as file:
        file.write(now)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
