"""Decoding: ours beside a compiled bare loop (the floor) and ``generate()``, same model, prompts and lengths.

    python benchmarks/decode.py [--rounds 7] [--tokens 32] [--rows 128] [--many 2048] [--threads 2]

The floor is the leanest compiled decode of this model that we know: weights packed into fewer products, all shapes
static, one common position, every row as long as every other, no seeds, no stop tokens, no records but tokens and their
logprobs. ``generate()`` runs the model as transformers builds it, its products as torch has them; ours and the floor's
are by the faster of torch's two libraries. Then ours beside ``generate()`` alone, where lengths have a long tail and
where prompts are long. The ways take turns. Prints a table and one line of JSON.
"""

import argparse
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own name)
from transformers import GenerationConfig

from gppo.policy import Policy
from gppo.policy.chat import encode_prompt
from gppo.policy.products import linear_product
from gppo.rollout import LocalSampler, Request, requests_for
from gppo.rollout.local.bound import Bindable
from gppo.rollout.local.family import weights_of
from gppo.rollout.local.prefill import first_logits, prefill
from gppo.types import SamplingSettings
from world import (
    EndsAt,
    ForcedLengths,
    Workload,
    characters,
    interleaved,
    machine,
    problems_of,
    small_policy,
    small_qwen3,
    spread,
    sums,
    workload,
)

GROUP = 8


class Floor:
    """Decodes ``tokens`` tokens for ``rows`` rows that share prompts of one length by groups."""

    def __init__(self, policy: Policy, prompts: list[np.ndarray], tokens: int) -> None:
        self.policy, self.prompts, self.tokens = policy, prompts, tokens
        self.rows, self.start = len(prompts) * GROUP, len(prompts[0])
        assert len({len(prompt) for prompt in prompts}) == 1
        base: Any = policy.model.model
        config = policy.config
        self.heads, self.kv, self.width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.epsilon = config.rms_norm_eps
        self.layers = [
            (
                layer.input_layernorm.weight,
                torch.cat([getattr(layer.self_attn, f"{x}_proj").weight.data for x in "qkv"]),
                layer.self_attn.q_norm.weight,
                layer.self_attn.k_norm.weight,
                layer.self_attn.o_proj.weight,
                layer.post_attention_layernorm.weight,
                torch.cat([layer.mlp.gate_proj.weight.data, layer.mlp.up_proj.weight.data]),
                layer.mlp.down_proj.weight,
            )
            for layer in base.layers
        ]
        self.ends = (base.embed_tokens.weight, base.norm.weight, policy.head.weight, policy.head.bias)
        columns = torch.arange(self.start + tokens)
        cos, sin = base.rotary_emb(torch.zeros(1), columns[None])
        self.cos, self.sin = cos[0].detach(), sin[0].detach()
        self.queries = torch.empty(self.rows, self.kv, self.heads // self.kv, self.width)
        self.step = Bindable(self._step, {"cpp_wrapper": True, "size_asserts": False})

    def _step(self, keys: list[Tensor], values: list[Tensor], token_B: Tensor, column_1: Tensor) -> Any:
        embedding, last_norm, head, bias = self.ends
        rows = len(token_B)
        cos, sin = self.cos[column_1], self.sin[column_1]
        bias_L = (torch.arange(len(self.cos)) <= column_1).float().log()
        x_BH = F.embedding(token_B, embedding)

        def norm(x: Tensor, weight: Tensor) -> Tensor:
            return F.rms_norm(x, weight.shape, weight, self.epsilon)

        def rotate(x: Tensor) -> Tensor:
            first, second = x.chunk(2, -1)
            return x * cos + torch.cat((-second, first), -1) * sin

        for (norm_in, qkv, q_norm, k_norm, o, norm_mid, gate_up, down), key, value in zip(
            self.layers, keys, values, strict=True
        ):
            sizes = [self.heads * self.width, self.kv * self.width, self.kv * self.width]
            q, k, v = linear_product(norm(x_BH, norm_in), qkv).split(sizes, -1)
            q = rotate(norm(q.view(rows, self.heads, self.width), q_norm)).view(rows, self.kv, -1, self.width)
            key.index_copy_(2, column_1, rotate(norm(k.view(rows, self.kv, self.width), k_norm)).unsqueeze(2))
            value.index_copy_(2, column_1, v.view(rows, self.kv, 1, self.width))
            self.queries[torch.arange(rows)] = q  # through memory, as ours
            scores = (self.queries[:, :, :, None] * key[:, :, None]).sum(-1) * self.width**-0.5 + bias_L
            exps = (scores - scores.amax(-1, keepdim=True)).exp()
            mixed = (exps[..., None] * value[:, :, None]).sum(3) / exps.sum(-1, keepdim=True)
            x_BH = x_BH + linear_product(mixed.reshape(rows, -1), o)
            gate, up = linear_product(norm(x_BH, norm_mid), gate_up).chunk(2, -1)
            x_BH = x_BH + linear_product(F.silu(gate) * up, down)
        return self._draw(linear_product(norm(x_BH, last_norm), head, bias))

    def _draw(self, logits_BV: Tensor) -> tuple[Tensor, Tensor]:
        logprobs_BV = logits_BV.log_softmax(-1)
        token_B = (logprobs_BV - torch.empty_like(logprobs_BV).exponential_().log()).argmax(-1)
        return token_B, logprobs_BV.gather(1, token_B[:, None]).squeeze(1)

    @torch.inference_mode()
    def decode(self) -> tuple[Tensor, Tensor]:
        sources = [
            source for source in prefill(self.policy, self.prompts, weights_of(self.policy)) for _ in range(GROUP)
        ]
        shape = (self.rows, self.kv, self.start + self.tokens, self.width)
        keys, values = ([torch.zeros(shape) for _ in self.layers] for _ in range(2))
        index = torch.tensor([source.index for source in sources])
        for mine, theirs in zip(keys + values, sources[0].prompts.keys + sources[0].prompts.values, strict=True):
            mine[:, :, : self.start] = theirs[index]
        token, logprob = self._draw(first_logits(sources))
        out = [(token, logprob)]
        step = self.step.bind((token, torch.tensor([self.start])), keys, values)
        for column in range(self.start, self.start + self.tokens - 1):
            token, logprob = step(token, torch.tensor([column]))
            out.append((token, logprob))
        return torch.stack([t for t, _ in out], 1), torch.stack([p for _, p in out], 1)


def requests_of(policy: Policy, rows: int) -> list[Request]:
    prompts = [encode_prompt(policy.tokenizer, ({"role": "user", "content": text},)) for text in sums(rows // GROUP)]
    return [Request(f"p{i}", prompt, tuple(range(GROUP))) for i, prompt in enumerate(prompts)]


def beside_generate(work: Workload, rounds: int, clock: Callable[[], float]) -> float:
    """How many times faster than ``generate()`` responses of the workload's lengths are made."""
    tokenizer = characters()
    policy, stock = small_policy(tokenizer), small_qwen3(tokenizer)
    sampler, settings = ForcedLengths(policy, work, 256), SamplingSettings()
    requests, _ = requests_for(tokenizer, problems_of(work), GROUP, 1024)
    ids = torch.from_numpy(np.repeat(np.stack([request.prompt_ids for request in requests]), GROUP, 0))
    asked = GenerationConfig(max_new_tokens=int(work.lengths_PG.max()), do_sample=True, top_k=0, pad_token_id=0)

    def generate() -> None:
        ends = EndsAt(work.lengths_PG, tokenizer.eos_token_id)
        out = stock.generate(ids, attention_mask=torch.ones_like(ids), generation_config=asked, logits_processor=[ends])
        assert out.shape[1] == ids.shape[1] + work.lengths_PG.max()

    ways = {"ours": lambda: sampler.generate(requests, settings, seed=0, step=0), "generate()": generate}
    spent = interleaved(ways, rounds, clock=clock)
    rates = {name: spread([work.tokens / value for value in values]) for name, values in spent.items()}
    for name, (middle, low, high) in rates.items():
        print(f"{work.name + ', ' + name:28}{middle:10.0f}{low:11.0f}-{high:<8.0f}")
    return rates["ours"][0] / rates["generate()"][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--many", type=int, default=2048)
    parser.add_argument("--slots", type=int, default=256, help="responses side by side, for --many")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="count processor seconds, on a machine that is shared")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(options.threads)
    tokenizer = characters()
    policy, stock = small_policy(tokenizer), small_qwen3(tokenizer)
    few, many = requests_of(policy, options.rows), requests_of(policy, options.many)
    prompts = [request.prompt_ids for request in few]
    settings = SamplingSettings(max_tokens=options.tokens)
    floor = Floor(policy, prompts, options.tokens)
    sampler, plain = (LocalSampler(policy, options.slots, compiled=c) for c in (True, False))
    ids = torch.from_numpy(np.repeat(np.stack(prompts), GROUP, 0))
    asked = GenerationConfig(
        max_new_tokens=options.tokens,
        do_sample=True,
        top_k=0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )

    def generate() -> None:
        out = stock.generate(ids, attention_mask=torch.ones_like(ids), generation_config=asked)
        assert out.shape == (options.rows, len(prompts[0]) + options.tokens)

    seconds = {}
    for name, way in (("ours", lambda: sampler.generate(few, settings, seed=0, step=0)), ("floor", floor.decode)):
        start = time.perf_counter()
        way()
        seconds[f"first_{name}"] = time.perf_counter() - start
    ways = {
        "ours": lambda: sampler.generate(few, settings, seed=0, step=0),
        "floor": floor.decode,
        "ours, not compiled": lambda: plain.generate(few, settings, seed=0, step=0),
        "generate()": generate,
        f"ours, {options.many} rows": lambda: sampler.generate(many, settings, seed=0, step=0),
    }
    clock = time.process_time if options.cpu_time else time.perf_counter
    spent = interleaved(ways, options.rounds, clock=clock)
    print(f"{'way':28}{'tokens/s':>10}{'quartiles':>20}{'ours is':>10}")
    rates = {}
    for name, values in spent.items():
        tokens = (options.many if "rows" in name else options.rows) * options.tokens
        rates[name], low, high = spread([tokens / value for value in values])
        print(f"{name:28}{rates[name]:10.0f}{low:11.0f}-{high:<8.0f}{rates['ours'] / rates[name]:9.2f}x")
    ratios = {name: rates["ours"] / rate for name, rate in rates.items() if name != "ours"}
    growth = ratios.pop(f"ours, {options.many} rows")
    print(f"time a token at {options.many} rows against {options.rows}: {growth:.3f}")
    print("first call, compiling included, s: " + ", ".join(f"{k[6:]} {v:.1f}" for k, v in seconds.items()))
    for name in ("long-tailed", "long prompts"):
        ratios[f"generate(), {name}"] = beside_generate(workload(name), max(5, options.rounds // 2), clock)
        print(f"{name}: ours is {ratios[f'generate(), {name}']:.2f}x generate()")
    line = {"benchmark": "decode", "unit": "tokens/s", "ours": rates["ours"], "peer": rates, "ratio": ratios}
    print(json.dumps({**line, "growth": growth, **seconds, "settings": vars(options), "machine": machine()}))


if __name__ == "__main__":
    main()
