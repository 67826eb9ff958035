"""How much memory a stage needs at its peak, part by part. The formulas and where they come from: docs/plan.md.

b is the bytes of a number (4 or 2), P the model's numbers, L tokens of the largest forward pass, N those learned from,
H the width, I the MLP's, q and k the widths of all query heads and of all key heads, V the vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gppo.plan.load import SampleLoad, UpdateLoad
from gppo.plan.shape import ModelShape
from gppo.sizes import PREFILL_TOKENS, chunk_rows, padded_rows

#: The parts of memory, in the order in which they are shown.
PARTS = (
    "weights",
    "gradients",
    "optimizer",
    "reference",
    "activations",
    "logits chunk",
    "KV cache",
    "decoding",
    "checkpoint copy",
    "records",
    "allocator",
    "process",
)
#: Bytes of main memory that a response token takes in a step: its number, log-probabilities, coefficients and masks, in
#: rollouts, the batch, diagnostics and the saved rows.
RECORD_BYTES = 150
#: What a process on a CPU needs beyond its imports: threads, matrix products' buffers, pieces the allocator keeps.
CPU_PROCESS = 48 << 20
#: glibc's heap keeps holes between tensors that come and go: share of activations and gradients, measured by
#: ``benchmarks/plan.py`` beside the same runs without such a heap. Tensors of 32 MiB and more never lie in it.
HEAP_HOLES, HEAP_LARGEST = 0.4, 32 << 20
#: On a GPU: CUDA's context and workspaces. Assumed.
GPU_PROCESS = 1 << 30


@dataclass(frozen=True, slots=True)
class Setup:
    """How the model is kept.

    Args:
        shape: of the model.
        number: bytes of a weight, of its gradient and of each of its moments.
        product: bytes of what products are made of; fewer than ``number`` in mixed precision.
        checkpointing: whether layers recompute their activations.
        device: "cpu" or "cuda".
        ranks: GPUs over which FSDP2 shards; 1 is measured, more is an estimate.
        reference: whether a frozen copy is kept for the KL penalty.
        keeps_layers: whether gathered layers stay until their backward.
    """

    shape: ModelShape
    number: int
    product: int
    checkpointing: bool = False
    device: str = "cpu"
    ranks: int = 1
    reference: bool = False
    keeps_layers: bool = False

    @property
    def weights(self) -> int:
        """Bytes of all weights."""
        return self.shape.parameters * self.number

    @property
    def matrix(self) -> int:
        """Bytes of the embedding, and of the head."""
        return self.shape.matrix * self.number

    @property
    def mixed(self) -> bool:
        """Whether weights are wider than products."""
        return self.number > self.product

    @property
    def low_copy(self) -> int:
        """Bytes of the weights in the precision of products, where that is another."""
        return self.shape.parameters * self.product if self.mixed else 0


def layer_bytes(setup: Setup) -> int:
    """Bytes that one layer keeps for its backward, a token.

    RMS norms compute in float32: of each, its input, the normed value and the output are kept; in float32 as
    12 H, in bfloat16 as 4 H + 2 H + 2 H. Attention keeps rotated queries, keys, values, output and log-normalisers,
    and where heads are normalised, of both norms the input and the normed value. The MLP keeps gate, its SiLU, up, and
    the product of both. In mixed precision a norm keeps 8 H of float32, and each projection its own copy of its input.
    """
    shape, b = setup.shape, setup.product
    width = shape.query_width + shape.kv_width
    norms = (26 if setup.mixed else 24 if b == 4 else 16) * shape.hidden
    heads = (2 * b if b == 4 else 6) * width if shape.head_norms else 0
    attention = b * (width + shape.kv_width + shape.query_width) + 4 * shape.heads
    return norms + heads + attention + 4 * b * shape.intermediate


def backward_bytes(setup: Setup) -> int:
    """Bytes a token that the backward of a layer needs beyond what the layer kept.

    Most while the product of the MLP is taken apart: three gradients as wide as it, of which the kept product made
    room for one; and the gradients of the residual stream and of the norm.
    """
    shape = setup.shape
    return 2 * setup.product * shape.intermediate + 2 * setup.number * shape.hidden


def activation_bytes(setup: Setup, tokens: int) -> int:
    """Bytes of activations when the backward begins."""
    shape, layer = setup.shape, layer_bytes(setup)
    last = _last_norm(setup)
    if setup.checkpointing:  # each layer's input; one layer at a time in full
        return tokens * (shape.layers * setup.number * shape.hidden + last + layer + backward_bytes(setup))
    return tokens * (shape.layers * layer + last)


def head_bytes(setup: Setup, load: UpdateLoad) -> int:
    """Bytes of the head's single pass: chunks of logits, the gradient of its weight, and hidden states with theirs.

    Of a chunk there are logits, their exponentials and the products of both, in float32; while the second chunk is
    made, what became of the first one still exists.
    The weight's gradient adds up in float32; a bfloat16 product is added to it, which on a CPU takes a float32 copy; in
    mixed precision the weight itself is copied too.
    """
    shape, b = setup.shape, setup.product
    rows = min(load.learned, chunk_rows(shape.vocabulary))
    several = load.learned > rows
    per_logit = (16 if several else 12) if b == 4 else (18 if several else 12)
    sums = 4 if b == 4 else (10 if setup.device == "cpu" else 6) + (2 if setup.mixed else 0)
    return rows * shape.vocabulary * per_logit + shape.matrix * sums + 2 * load.learned * shape.hidden * b


def updating(setup: Setup, load: UpdateLoad) -> dict[str, int]:
    """Parts at the peak of an update, whichever of its moments that is.

    The moments: the head, with every activation kept; the backward of the last layer; its end, where the activations
    are gone and the embedding's gradient comes. Gradients of earlier passes are there in all of them.
    """
    shape, ranks = setup.shape, setup.ranks
    gradients = setup.weights // ranks
    before = gradients if load.passes > 1 else 0
    kept = activation_bytes(setup, load.tokens)
    at_head = {"gradients": before, "activations": kept, "logits chunk": head_bytes(setup, load)}
    if setup.checkpointing:
        at_head["activations"] -= load.tokens * (layer_bytes(setup) + backward_bytes(setup))
    last = load.tokens * _last_norm(setup)
    below = max(before, setup.matrix // ranks) + (setup.matrix if load.passes > 1 else 0)
    in_layers = {
        "gradients": below,
        "activations": kept - last + (0 if setup.checkpointing else load.tokens * backward_bytes(setup)),
    }
    embedding = setup.matrix * (2 if shape.tied else 1)
    at_end = {"gradients": gradients + embedding - (0 if load.passes > 1 else setup.matrix)}
    moments = [at_head, in_layers, at_end]
    if ranks > 1:
        for moment in moments:
            moment["gathered"] = gathered_bytes(setup)
    peak = max(moments, key=lambda moment: sum(moment.values()))
    peak["gradients"] += peak.pop("gathered", 0)
    held = _held(setup)
    # Autograd keeps the copies that autocast makes of the weights; where layers are gathered and computed again, only
    # those of one, which are counted there.
    held["weights"] += setup.low_copy if ranks == 1 or not setup.checkpointing else 0
    return held | peak


def gathered_bytes(setup: Setup) -> int:
    """Bytes of what FSDP2 gathers in an update: a layer and the next one with the buffer that it arrives in, the
    layer's gradient and the buffer from which it is scattered; embedding and head all the time."""
    shape = setup.shape
    layer = shape.layer_parameters
    layers = max(3, shape.layers + 1) if setup.keeps_layers else 3
    matrices = (1 if shape.tied else 2) * setup.matrix
    return (layers + 2) * layer * setup.number + matrices + (layer * setup.product if setup.mixed else 0)


def _last_norm(setup: Setup) -> int:
    """Bytes a token of the norm before the head: input, normed value, output."""
    return (12 if setup.number == 4 else 8) * setup.shape.hidden


def decoding(setup: Setup, load: SampleLoad) -> dict[str, int]:
    """Parts at the peak of sampling: the cache, the prompts' own keys and values, a step's logits and scores."""
    shape, b = setup.shape, setup.product
    token = 2 * shape.layers * shape.kv_width * b
    cache = load.slots * load.columns * token
    grows = load.slots * load.columns * shape.kv_width * b // 2  # one layer's old keys, while the cache doubles
    rows = padded_rows(load.rows, setup.device)
    # Logits, tempered, their logarithms, and two float64 masses; scores three times in float32.
    step = rows * shape.vocabulary * (b + 4 + 16) + 3 * 4 * rows * shape.heads * load.columns
    prompts = load.prompts * load.prompt_tokens
    # In a prefill nothing is kept but keys and values; a layer's MLP is what is widest.
    pass_tokens = min(prompts, max(PREFILL_TOKENS, load.prompt_tokens))
    prefill = pass_tokens * b * (2 * shape.hidden + 3 * shape.intermediate)
    sources = prompts * token + load.prompts * shape.vocabulary * b
    parts = {"KV cache": cache + grows, "decoding": sources + max(step, prefill)}
    held = _held(setup)
    # Mixed precision decodes with a copy in that of products; sharded weights with one that is whole.
    held["weights"] += setup.low_copy if setup.ranks == 1 else _whole_copy(setup)
    return held | parts


def _whole_copy(setup: Setup) -> int:
    """Bytes of the plain copy that sharded weights are sampled from: of a mixed policy its embedding stays wide."""
    if not setup.mixed:
        return setup.weights
    return setup.low_copy + setup.matrix - (0 if setup.shape.tied else setup.shape.matrix * setup.product)


def _held(setup: Setup) -> dict[str, int]:
    """What is there all the time: weights, AdamW's two moments (in the weights' own precision), the reference."""
    return {
        "weights": setup.weights // setup.ranks,
        "optimizer": 2 * setup.weights // setup.ranks,
        "reference": setup.weights // setup.ranks if setup.reference else 0,
    }


def host_parts(setup: Setup, tokens: int) -> dict[str, int]:
    """Main memory beside the model: the checkpoint that is being written, and what is known of a step's tokens.

    Of several ranks the first has the checkpoint, each has the tokens, and before the first step each loads the whole
    model.
    """
    parts = {"checkpoint copy": 3 * setup.weights, "records": RECORD_BYTES * tokens * setup.ranks}
    return parts | ({"loading": setup.weights * setup.ranks} if setup.ranks > 1 else {})


def holes(setup: Setup, load: UpdateLoad, parts: Mapping[str, int]) -> int:
    """What the allocator of a CPU keeps beyond what is alive, after an update with these parts."""
    widest = load.tokens * setup.shape.intermediate * setup.product
    moving = parts.get("activations", 0) + parts.get("gradients", 0)
    return round(HEAP_HOLES * moving) if widest < HEAP_LARGEST else 0


def ordered(parts: Mapping[str, int]) -> dict[str, int]:
    """The parts that there are, in the order of ``PARTS``."""
    return {name: parts[name] for name in PARTS if parts.get(name)}
