"""What a run of RL needs so that nothing is lost: state, checkpoints, and what happens when a step breaks off."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gppo.config.rl import RLConfig
from gppo.policy import ALONE, Checkpoints, Optimizer, Policy, World, place, raised_on_all
from gppo.rl.collect import Experience
from gppo.rl.update import Update
from gppo.rollout import Request
from gppo.run import RunFolder
from gppo.run.fingerprint import fingerprint
from gppo.run.interrupt import Interrupted, StopRequest
from gppo.run.rollouts import remove_rollouts_after
from gppo.run.where import note_another_place
from gppo.types import Diverged, GppoError, Problem, UserError

#: In these phases the weights are those after the step before, so a step can be left and drawn again.
_BEFORE_UPDATE = ("sampling", "judging")
#: What the death of another process, or a lack of memory, makes a sampler or a judge raise.
_DEATHS = (RuntimeError, OSError, EOFError, MemoryError)


class _StoppedError(Exception):
    """A signal asked to stop while responses were drawn."""


@dataclass(slots=True)
class Session:
    """One process's part of a run.

    Args:
        policy, optimizer: what is trained.
        config: the recipe's rl section.
        run: where metrics, rollouts and checkpoints are.
        checkpoints: the run's.
        heard: whether a signal asked this process to stop.
        state: of the run; goes into every checkpoint.
        steps: of all stages.
        saved: the step of the newest checkpoint that was begun.
        evaluated: the step whose evaluation was the last to be finished; -1 where there was none.
        world: the ranks. All of them call every method but ``look_up``.
        stop: whether to stop, as all ranks agree.
    """

    policy: Policy
    optimizer: Optimizer
    config: RLConfig
    run: RunFolder
    checkpoints: Checkpoints
    heard: StopRequest
    state: dict[str, Any]
    steps: int
    saved: int = 0
    evaluated: int = -1
    world: World = ALONE
    stop: StopRequest = field(default_factory=StopRequest)

    def resume(self, seed: int, data: dict[str, str]) -> None:
        """Go on from the newest good checkpoint, or begin; metrics and rollouts are cut back to it.

        Args:
            seed: the run's.
            data: for each stage's name what ``problems_fingerprint`` says.

        Raises:
            UserError: the problems of a stage are others than they were, or the checkpoint is another model's.
            GppoError: every checkpoint is damaged.
        """
        self.agree()
        now = place(self.policy.device) | {"ranks": self.world.size}
        self.state |= {"step": 0, "stage": 0, "cursor": 0, "responses_lost": 0}
        if found := self.checkpoints.restore(self.policy, self.optimizer):
            changed = [name for name in data if found["data"].get(name, data[name]) != data[name]]
            if changed:
                raise UserError(
                    f"{self.run.path}: the problems of stage '{changed[0]}' are not those that the run began with; put "
                    "the data back, or start anew with --fresh"
                )
            note_another_place(found["place"], now)
            self.state |= found
        self.state |= {"seed": seed, "data": data, "place": now}
        done = self.saved = self.state["step"]
        self.run.truncate_metrics(lambda line: line.get("kind") != "rl" or line["step"] <= done)
        if self.world.leads:
            remove_rollouts_after(self.run.rollouts, done)

    def agree(self) -> None:
        """Whether to stop, from here on until the next time."""
        self.stop = self.world.agreed(self.heard)

    def save(self) -> None:
        """Begin to write a checkpoint of the present state."""
        self.saved = self.state["step"]
        rest = {key: value for key, value in self.state.items() if key != "step"}
        # Metrics are flushed with it: after a power cut they must reach as far as the checkpoint does.
        self.checkpoints.start(self.saved, self.policy, self.optimizer, rest, flush=(self.run.metrics,))

    def save_where_due(self) -> None:
        """The checkpoints of ``save_every``, and those that an evaluation is of."""
        self.checkpoints.check()
        if self.evaluation_due or self.state["step"] % self.config.save_every == 0:
            self.save()

    @property
    def evaluation_due(self) -> bool:
        """Whether the weights of now are to be evaluated."""
        done, every = self.state["step"], self.config.evaluate_every
        return done in (0, self.steps) or bool(every and done % every == 0)

    def evaluate_where_due(self, evaluate: Callable[[int, StopRequest], float | None] | None) -> None:
        """Evaluate, and note the score of the checkpoint."""
        if self.evaluation_due and (evaluate is None or not self.stop):
            score = evaluate and evaluate(self.state["step"], self.heard)
            self.evaluated = self.state["step"]
            if score is not None:
                self.checkpoints.score(self.evaluated, score)

    def look_up(self, phase: str) -> None:
        """Leave the step where a stop was asked for and no update has begun; only inside ``draw``."""
        if self.heard and phase in _BEFORE_UPDATE:
            raise _StoppedError

    def draw(self, collect: Callable[[], Experience]) -> Experience | None:
        """A step's experience; None where a signal asked to stop meanwhile.

        Whatever goes wrong in it, the steps before it are saved: no update has begun.

        Raises:
            GppoError: sampler or judge died, too many responses could not be judged, or the model has diverged (then
                nothing is saved).
        """
        try:
            experience = collect()
            self.world.together(partial(self._refuse_noise, experience))
        except _StoppedError:
            self.agree()
            return None
        except Exception as error:
            if self.world.size > 1 and not raised_on_all(error):
                raise  # the others are elsewhere, and to save takes all
            self._save_what_is_not_saved()
            if isinstance(error, _DEATHS):
                raise self._death(error) from error
            raise
        rollouts = (rollout for group in experience.groups for rollout in group.rollouts)
        if not all(np.isfinite(rollout.sampled_logprobs).all() for rollout in rollouts):
            raise Diverged(
                f"step {self.state['step'] + 1}: the model's log-probabilities are not finite: the run has diverged; "
                "lower the learning rate, or continue from an earlier checkpoint"
            )
        return experience

    def update(self, learn: Callable[[], Update]) -> Update:
        """A step's update. What it has done by half cannot be saved: the run goes on from the checkpoint before.

        Raises:
            GppoError: it ran out of memory.
        """
        try:
            return learn()
        except (RuntimeError, MemoryError) as error:
            if "memory" not in str(error) and not isinstance(error, MemoryError):
                raise
            newest = self.checkpoints.settled()  # the one that is being written is what the run will go on from
            goes_on = f"from {newest.name}" if newest else "from its beginning"
            raise GppoError(
                f"step {self.state['step'] + 1}: the update ran out of memory (more in {self._details(error)}); lower "
                f"rl.micro_batch_tokens and run the same command again: the run goes on {goes_on}"
            ) from error

    def end(self) -> None:
        """Say so where the run was stopped before its end, with everything on disk."""
        if self.stop and self.evaluated < self.steps:  # the last step is evaluated
            self._save_what_is_not_saved()
            self.checkpoints.wait()
            raise Interrupted(
                f"stopped after RL step {self.state['step']} of {self.steps}; run the same command again to go on",
                self.stop.signum or 2,
            )

    def _save_what_is_not_saved(self) -> None:
        if self.saved < self.state["step"]:
            self.save()

    def _refuse_noise(self, experience: Experience) -> None:
        """Count the responses that could not be judged, which are masked; too many of them would teach noise."""
        rewards = np.concatenate([group.rewards_G for group in experience.groups])
        lost = int(np.isnan(rewards).sum())
        share, limit = lost / len(rewards), self.config.reward.max_infra_share
        if share > limit:
            raise GppoError(
                f"step {self.state['step'] + 1}: {share:.0%} of the responses could not be judged (more than "
                f"rl.reward.max_infra_share {limit:.0%}); the judge is at fault, not the model: look at the machine's "
                "memory and at `gppo verify math` on one of them, then run the same command again"
            )
        self.state["responses_lost"] += lost

    def _death(self, error: Exception) -> GppoError:
        """What the user reads."""
        details = self._details(error)
        lines, done = str(error).strip().splitlines(), self.state["step"]
        said = f"{type(error).__name__}{f': {lines[0].rstrip(chr(46))}' if lines else ''}"
        kept = f"the {done} steps before it are saved" if done else "no step was done before it"
        death = GppoError(
            f"step {done + 1}: sampling or judging broke off ({said}; more in {details}), {kept}: mend that and run "
            "the same command again"
        )
        death.on_all_ranks = True
        return death

    def _details(self, error: Exception) -> Path:
        """A file with the traceback."""
        details = self.run.path / "failure.txt"
        if not self.run.looks_on:
            details.write_text("".join(traceback.format_exception(error)))
        return details


def problems_fingerprint(prompts: Sequence[tuple[Problem, Request]]) -> str:
    """Of everything in a stage's problems that a run depends on."""
    parts = ((problem.id, request.prompt_ids.tobytes(), problem.ground_truth) for problem, request in prompts)
    return fingerprint(part for three in parts for part in three)
