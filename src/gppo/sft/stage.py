"""SFT as a recipe asks for it: data in, fine-tuned policy out, progress shown."""

import logging

from gppo.config import Recipe, require
from gppo.policy import ALONE, Checkpoints, Policy, World, load_model
from gppo.records import read_conversations
from gppo.run import RunFolder, progress
from gppo.sft.data import encode_samples
from gppo.sft.loop import total_steps, train_sft
from gppo.types import UserError

logger = logging.getLogger(__name__)


def run_sft(recipe: Recipe, run: RunFolder, policy: Policy, world: World = ALONE) -> None:
    """Fine-tune ``policy`` on ``recipe.sft.data``; goes on from the run's newest checkpoint.

    Bad rows of the data go to ``<run>/quarantine/sft.jsonl``.

    Raises:
        UserError: the data cannot be read, or no sample is short enough.
    """
    config = require(recipe, "sft")
    conversations = read_conversations(config.data, quarantine=run.path / "quarantine" / "sft.jsonl")
    longest = min(config.max_length, policy.max_context)
    samples, too_long = encode_samples(policy.tokenizer, [c.messages for c in conversations], longest)
    if too_long:
        logger.warning(
            "%d of %d samples are longer than %d tokens and are left out", too_long, len(conversations), longest
        )
    note = {"sft_samples": len(samples), "sft_samples_too_long": too_long}
    # A run that goes on has noted it before.
    if not any(note.items() <= line.items() for line in run.read_metrics("info")):
        run.log("info", **note)
    newest = Checkpoints(run.checkpoints / "sft").latest()
    done = int(newest.name.removeprefix("step-")) if newest else 0
    with progress("SFT", total_steps(config, len(samples)), done=done, shown=world.leads) as bar:

        def show(step: int, _steps: int, loss: float) -> None:
            bar.advance(step - bar.done, status=f"loss {loss:.3f}")

        train_sft(policy, samples, config, run, seed=recipe.seed, world=world, on_step=show)


def load_fine_tuned(run: RunFolder, policy: Policy, world: World = ALONE) -> None:
    """Put the result of the run's SFT into the policy: RL of a recipe with an sft section starts from it.

    Raises:
        UserError: SFT has not been run in this folder, or not to its end.
    """
    newest = world.lead(Checkpoints(run.checkpoints / "sft").newest_good)
    if newest is None:
        raise UserError(
            f"{run.path}: the recipe has an sft section and SFT has not been run here; run `gppo sft` with it first, "
            "or take the section out to start RL from model"
        )
    state = load_model(newest, policy, world)
    if state["step"] < state["steps"]:
        raise UserError(
            f"{run.path}: SFT stopped after step {state['step']} of {state['steps']}; run `gppo sft` again to finish it"
        )
