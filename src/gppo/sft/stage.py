"""SFT as a recipe asks for it: data in, fine-tuned policy out, progress shown."""

import logging

from gppo.config import Recipe, require
from gppo.policy import Checkpoints, Policy
from gppo.records import read_conversations
from gppo.run import RunFolder, progress
from gppo.sft.data import encode_samples
from gppo.sft.loop import total_steps, train_sft

logger = logging.getLogger(__name__)


def run_sft(recipe: Recipe, run: RunFolder, policy: Policy) -> None:
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
    with progress("SFT", total_steps(config, len(samples)), done=done) as bar:

        def show(step: int, _steps: int, loss: float) -> None:
            bar.advance(step - bar.done, status=f"loss {loss:.3f}")

        train_sft(policy, samples, config, run, seed=recipe.seed, on_step=show)
