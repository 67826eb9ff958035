"""A recipe run by verl: data converted, jobs started and followed, models brought back into the run folder."""

import logging
import os
import secrets
import signal
import subprocess
import time
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gppo.bridges.verl.data import convert
from gppo.bridges.verl.guard import PARENT
from gppo.bridges.verl.jobs import Job
from gppo.bridges.verl.metrics import as_ours, new_lines
from gppo.bridges.verl.render import render_rl, render_sft
from gppo.config import Recipe, VerlConfig, require
from gppo.policy import Checkpoints, adopt_model
from gppo.policy.load import load_tokenizer
from gppo.run import RunFolder, progress
from gppo.run.interrupt import Interrupted, StopRequest, stop_requests
from gppo.run.progress import Bar
from gppo.types import GppoError, UserError

logger = logging.getLogger(__name__)
_POLL, _PATIENCE, _SHOWN = 0.5, 30.0, 400


def jobs_of(recipe: Recipe, kind: str) -> list[Job]:
    """The jobs of ``sft`` or ``rl``; RL of a recipe with an sft section starts from what that left.

    Raises:
        UserError: something that verl cannot do.
    """
    if kind == "sft":
        return [render_sft(recipe)]
    return render_rl(recipe, _fine_tuned(recipe) if recipe.sft else None)


def run_jobs(recipe: Recipe, run: RunFolder, kind: str) -> None:
    """Run the jobs one after the other; goes on where an earlier call stopped.

    Metrics arrive in the run while verl works, and the newest model of each job becomes a checkpoint of the run.

    Raises:
        UserError: verl is not installed, or the recipe asks for something that it cannot do.
        Interrupted: a signal asked to stop.
        GppoError: a job broke off more often than ``verl.restarts`` allows.
    """
    _require_verl()
    jobs = jobs_of(recipe, kind)
    tokenizer = load_tokenizer(require(recipe, "model"))
    for job in jobs:
        if job.steps is not None and _path(run, job, job.steps).is_dir():
            continue
        if not job.data.is_file():
            run.log("info", verl_job=job.folder.name, **convert(job, recipe, run, tokenizer))
        with progress(f"verl {job.stage}", job.steps, done=_saved_step(job)) as bar, stop_requests() as stop:
            try:
                _train(job, run, recipe.verl or VerlConfig(), bar, stop)
            finally:
                _bring_back(job, run)


def _train(job: Job, run: RunFolder, cluster: VerlConfig, bar: Bar, stop: StopRequest) -> None:
    for attempt in range(cluster.restarts + 1):
        done = _saved_step(job)
        bar.advance(done - bar.done)
        run.truncate_metrics(lambda line, done=done: line.get("kind") != job.kind or line["step"] <= job.first + done)  # type: ignore[misc]
        if _attempt(job, run, bar, stop) == 0:
            return
        if stop:
            raise Interrupted(
                f"stopped after step {_saved_step(job)}; run the same command again to go on", stop.signum or 2
            )
        reached = f"its checkpoint of step {_saved_step(job)} is whole" if _saved_step(job) else "it has no checkpoint"
        if attempt < cluster.restarts:
            logger.warning("verl broke off (%s) and is started again: %s; see %s", _reason(job), reached, job.log)
    raise GppoError(
        f"{job.folder.name}: verl broke off {cluster.restarts + 1} times, at last with '{_reason(job)}' (more in "
        f"{job.log}); {reached}: mend that and run the same command again"
    )


def _attempt(job: Job, run: RunFolder, bar: Bar, stop: StopRequest) -> int:
    """Start verl and follow it to its end; its exit status."""
    offset = job.metrics.stat().st_size if job.metrics.is_file() else 0
    environment = os.environ | {"HYDRA_FULL_ERROR": "1", PARENT: str(os.getpid())} | dict(job.environment)
    if job.environment["RAY_ADDRESS"] == "local" and "RAY_AUTH_MODE" not in os.environ:
        # Ray runs what is sent to its ports. Its own token would be left in the user's home, for all other clusters.
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    job.reason.unlink(missing_ok=True)
    with job.log.open("ab") as log:
        # A session of its own: Ctrl-C reaches this process alone, which then ends the others in order.
        process = subprocess.Popen(
            job.arguments(), stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            while process.poll() is None and not stop:
                offset = _follow(job, run, bar, offset)
                time.sleep(_POLL)
        finally:
            _end(process)
    _follow(job, run, bar, offset)
    return process.returncode


def _follow(job: Job, run: RunFolder, bar: Bar, offset: int) -> int:
    for behind, step, data in new_lines(job.metrics, offset):
        offset, ours = behind, as_ours(data)
        if ours:
            run.log(job.kind, step=job.first + step, stage=job.stage, engine="verl", **ours)
            shown = "reward_mean" if job.kind == "rl" else "loss"
            bar.advance(max(step - bar.done, 0), status=f"{shown} {ours.get(shown, float('nan')):.3f}")
    return offset


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask verl to stop, then insist; its Ray processes end with it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _bring_back(job: Job, run: RunFolder) -> None:
    """The newest model that verl saved becomes a checkpoint of the run."""
    step = _saved_step(job)
    target = _path(run, job, step)
    if not step or target.is_dir():
        return
    folder = job.checkpoints / f"global_step_{step}"
    source = (folder / "actor" if job.kind == "rl" else folder) / "huggingface"
    if not any(source.glob("*.safetensors")):
        raise GppoError(f"{source}: verl saved no whole model; keep hf_model in checkpoint.save_contents")
    whole = job.steps is None or step == job.steps
    steps = job.first + (step if job.steps is None else job.steps)
    target.parent.mkdir(parents=True, exist_ok=True)
    made = adopt_model(source, target.parent, job.first + step, {"steps": steps, "engine": "verl", "stage": job.stage})
    logger.warning("%s of stage '%s' is %s", "the model" if whole else "the newest checkpoint", job.stage, made)


def _path(run: RunFolder, job: Job, step: int) -> Path:
    return run.checkpoints.absolute() / job.kind / f"step-{job.first + step:06d}"


def _saved_step(job: Job) -> int:
    """The step of verl's newest whole checkpoint, 0 without one."""
    try:
        return int((job.checkpoints / "latest_checkpointed_iteration.txt").read_text())
    except (OSError, ValueError):
        return 0


def _reason(job: Job) -> str:
    """What verl says broke it; where it could say nothing, the last line of its log that names an error."""
    if job.reason.is_file():
        return job.reason.read_text(encoding="utf-8").strip()[:_SHOWN]
    with job.log.open(errors="replace") as file:
        lines = deque((line.strip() for line in file if "Error" in line and "INFO" not in line), maxlen=1)
    return lines[0][:_SHOWN] if lines else "no error in its log"


def _fine_tuned(recipe: Recipe) -> str:
    folder = recipe.folder.absolute() / "checkpoints" / "sft"
    newest = Checkpoints(folder).latest()
    return str(newest or folder / "step-NNNNNN")


def _require_verl() -> None:
    if find_spec("verl") is None:
        raise UserError(
            "verl is not installed in this environment; install the extra: pip install 'gppo[verl]' (it needs an older "
            "transformers than the rest, so give it an environment of its own)"
        )


def show(jobs: list[Job], echo: Any) -> None:
    """Print the commands, for --dry-run."""
    for job in jobs:
        echo(f"# {job.stage}: reads {job.source}, converted to {job.data}")
        echo(job.shown())
