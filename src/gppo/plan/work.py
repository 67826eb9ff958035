"""How much a step computes, how long that takes where a share of the machine's rates is reached, and what is written.

A token's forward pass is 2 products a number of its layers and head, and 4 q a token that it attends to in each layer;
the backward is twice that, and checkpointing the layers' forward once more.
"""

from dataclasses import dataclass

from gppo.plan.load import SampleLoad
from gppo.plan.machine import Machine
from gppo.plan.shape import ModelShape

#: Bytes that a response token takes in a saved rollout: number, log-probabilities, entropy, coefficient, text.
ROLLOUT_BYTES = 24


@dataclass(frozen=True, slots=True)
class Work:
    """One training step.

    Args:
        sampled: response tokens that are decoded.
        learned: tokens sent through the update, prompts included.
        flops_sample: products of prefill and decoding.
        flops_update: products of forward, backward and recomputation.
        seconds_sample: at best and at worst.
        seconds_update: at best and at worst.
    """

    sampled: int
    learned: int
    flops_sample: float
    flops_update: float
    seconds_sample: tuple[float, float]
    seconds_update: tuple[float, float]

    @property
    def seconds(self) -> tuple[float, float]:
        """Of the step; checkpoints and judging are written and done meanwhile."""
        return (
            self.seconds_sample[0] + self.seconds_update[0],
            self.seconds_sample[1] + self.seconds_update[1],
        )


def forward_flops(shape: ModelShape, tokens: float, context: float) -> float:
    """Products of one forward pass over tokens that attend to ``context`` others on average."""
    numbers = shape.layers * shape.layer_parameters + shape.matrix
    return tokens * (2 * numbers + 4 * shape.layers * shape.query_width * context)


def update_flops(shape: ModelShape, tokens: float, context: float, *, checkpointing: bool) -> float:
    """Products of an update: forward, backward, and the layers again where they recompute."""
    again = forward_flops(shape, tokens, context) - tokens * 2 * shape.matrix if checkpointing else 0.0
    return 3 * forward_flops(shape, tokens, context) + again


def rl_work(
    shape: ModelShape,
    number: int,
    sample: SampleLoad,
    length: float,
    group: int,
    epochs: int,
    machine: Machine,
    *,
    checkpointing: bool,
) -> Work:
    """A step of RL.

    Args:
        shape: of the model.
        number: bytes of what products are made of.
        sample: of one device.
        length: tokens of a response on average.
        group: responses of a prompt.
        epochs: over the step's rollouts.
        machine: rates.
        checkpointing: whether layers recompute.
    """
    rows = sample.responses
    prompts = rows / group * sample.prompt_tokens
    decoded = rows * length
    context = sample.prompt_tokens + length / 2
    prefill = forward_flops(shape, prompts, sample.prompt_tokens / 2)
    decode = forward_flops(shape, decoded, context)
    learned = prompts + decoded
    update = update_flops(shape, learned * epochs, context, checkpointing=checkpointing)
    # Each step of all rows reads every weight once, and the keys and values of each row.
    steps = decoded / sample.rows
    weights = (shape.layers * shape.layer_parameters + shape.matrix) * number
    moved = steps * weights + decoded * context * 2 * shape.layers * shape.kv_width * number

    def sampling(mfu: float, reach: float) -> float:
        reading = moved / (machine.bandwidth * reach)
        return prefill / (machine.flops * mfu) + max(reading, decode / (machine.flops * mfu))

    (low, high), (slow, fast) = machine.mfu, machine.reach
    n = machine.count
    return Work(
        sampled=round(decoded * n),
        learned=round(learned * epochs * n),
        flops_sample=(prefill + decode) * n,
        flops_update=update * n,
        seconds_sample=(sampling(high, fast), sampling(low, slow)),
        seconds_update=(update / (machine.flops * high), update / (machine.flops * low)),
    )


def sft_work(shape: ModelShape, batch: int, length: float, machine: Machine, *, checkpointing: bool) -> Work:
    """A step of SFT over ``batch`` samples of ``length`` tokens on average."""
    tokens = batch * length
    flops = update_flops(shape, tokens, length / 2, checkpointing=checkpointing)
    low, high = machine.mfu
    rate = machine.flops * machine.count
    return Work(0, round(tokens), 0.0, flops, (0.0, 0.0), (flops / (rate * high), flops / (rate * low)))


def checkpoint_bytes(shape: ModelShape, number: int) -> int:
    """One checkpoint: weights and two moments."""
    return 3 * shape.parameters * number


def rollout_bytes(sampled: int) -> int:
    """What a step's rollouts take on disk."""
    return ROLLOUT_BYTES * sampled
