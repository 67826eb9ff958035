"""Tiny random models of several families, with weights large enough that their distributions are not flat."""

import numpy as np
import torch
import transformers

from gppo.policy import Policy, byte_tokenizer
from gppo.types import Batch

TOKENIZER = byte_tokenizer()


def tiny_model(family: str, *, seed: int = 0, noise: float = 0.1, dtype: torch.dtype = torch.float32, **options):
    """``family`` is the prefix of transformers' classes, e.g. "Qwen3"."""
    shape = {
        "vocab_size": len(TOKENIZER),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "pad_token_id": TOKENIZER.pad_token_id,
        "eos_token_id": TOKENIZER.eos_token_id,
        "bos_token_id": None,
    }
    config = getattr(transformers, f"{family}Config")(**(shape | options))
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # Norms stay near one and biases leave zero.
            parameter.add_(noise * torch.randn_like(parameter))
    if dtype == torch.float64:
        _norms_in_float64(model)
    return model.to(dtype)


def _norms_in_float64(model: torch.nn.Module) -> None:
    """transformers computes RMS norms in float32 whatever the weights, and that rounds what exact tests compare."""
    for module in model.modules():
        if type(module).__name__ in ("Qwen3RMSNorm", "Qwen2RMSNorm", "LlamaRMSNorm", "MistralRMSNorm", "Phi3RMSNorm"):

            def forward(x: torch.Tensor, norm: torch.nn.Module = module) -> torch.Tensor:
                return torch.nn.functional.rms_norm(x, x.shape[-1:], norm.weight, norm.variance_epsilon)

            module.forward = forward


def tiny_policy(family: str = "Qwen3", *, head_bias: bool = False, **options) -> Policy:
    model = tiny_model(family, **options)
    if head_bias:
        model.lm_head.bias = torch.nn.Parameter(torch.randn(len(TOKENIZER)).to(model.dtype))
    return Policy(model, TOKENIZER)


def random_batch(seed: int = 0, rows: int = 6, longest: int = 9) -> Batch:
    """Prompts and responses of different lengths. Row 1 is left out of the policy gradient; 0 and 3 are correct."""
    rng = np.random.default_rng(seed)
    lengths = np.concatenate([[longest, 1], rng.integers(2, longest + 1, rows - 2)])
    mask_BT = np.arange(longest) < lengths[:, None]
    return Batch(
        prompt_ids=tuple(rng.integers(0, 256, size) for size in rng.integers(1, 13, rows)),
        response_ids_BT=np.where(mask_BT, rng.integers(0, 256, (rows, longest)), 0),
        mask_BT=mask_BT,
        sampled_logprobs_BT=np.zeros((rows, longest), dtype=np.float32),
        advantages_B=rng.normal(size=rows),
        policy_row_B=np.arange(rows) != 1,
        correct_B=np.isin(np.arange(rows), (0, 3)),
        group_B=np.arange(rows) // 2,
    )


def naive_logprobs(policy: Policy, batch: Batch, temperature: float = 1.0) -> torch.Tensor:
    """[B, T] by log_softmax over the model's own logits, row by row without padding, 0 where the batch is padded."""
    rows = []
    for prompt, response, mask in zip(batch.prompt_ids, batch.response_ids_BT, batch.mask_BT, strict=True):
        ids = torch.from_numpy(np.concatenate([prompt, response[mask]]))
        logits_TV = policy.model(input_ids=ids[None]).logits[0, len(prompt) - 1 : -1]
        wide = torch.promote_types(logits_TV.dtype, torch.float32)
        logprobs_TV = (logits_TV.to(wide) / temperature).log_softmax(-1)
        picked_T = logprobs_TV.gather(1, ids[len(prompt) :, None]).squeeze(1)
        rows.append(torch.nn.functional.pad(picked_T, (0, batch.mask_BT.shape[1] - len(picked_T))))
    return torch.stack(rows)


def gradients(policy: Policy) -> dict[str, torch.Tensor]:
    """Take every parameter's gradient and clear it."""
    taken = {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}
    policy.model.zero_grad(set_to_none=True)
    return taken


def worst_relative(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest ||got - expected|| / ||expected|| over parameters."""
    assert got.keys() == expected.keys()
    assert got
    return max(float((got[k].double() - e.double()).norm() / e.double().norm()) for k, e in expected.items())
