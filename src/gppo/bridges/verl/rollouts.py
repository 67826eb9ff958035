"""The responses of a step as verl's trainer holds them, as the rows that a run folder keeps."""

import json
from typing import Any

import numpy as np

from gppo.bridges.verl.batches import Rows
from gppo.run.rollouts import RolloutRow

#: What must be read of verl's queue.
FIELDS = ["prompts", "responses", "rollout_log_probs", "reward_model", "extra_info"]


def rollout_rows(
    data: Any, rows: Rows, advantages_B: np.ndarray, tokenizer: Any, *, step: int, stage: str
) -> list[RolloutRow]:
    """One row a response; what only an update knows of its tokens stays empty.

    Args:
        data: verl's fields ``FIELDS`` of the batch.
        rows: of the same batch, in the same order.
        advantages_B: [B].
        tokenizer: of the policy.
        step: counted over all stages.
        stage: its name.
    """
    columns = {key: list(data[key].unbind() if hasattr(data[key], "unbind") else data[key]) for key in FIELDS}
    samples: dict[str, int] = {}
    found = []
    for b, uid in enumerate(rows.uids):
        judged, extra = rows.judged[b], _plain(columns["extra_info"][b])
        prompt_ids, response_ids = columns["prompts"][b].numpy(), columns["responses"][b].numpy()
        samples[uid] = samples.get(uid, -1) + 1
        found.append(
            RolloutRow(
                step=step,
                stage=stage,
                problem_id=str(extra.get("id", "")),
                sample=samples[uid],
                prompt_text=tokenizer.decode(prompt_ids, skip_special_tokens=True),
                response_text=tokenizer.decode(response_ids, skip_special_tokens=True),
                prompt_ids=prompt_ids,
                response_ids=response_ids,
                sampled_logprobs=columns["rollout_log_probs"][b].float().numpy(),
                update_logprobs=None,
                entropy=None,
                coefficient=None,
                advantage=float(advantages_B[b]),
                reward=float(rows.rewards[b]),
                reward_parts=json.dumps({key: judged.get(key) for key in ("task", "format", "overlong")}),
                finish_reason="length" if rows.truncated[b] else "stop",
                verdict=str(judged.get("verdict", "")),
                extracted=judged.get("pred") or None,
                rule=str(judged.get("rule", "")),
                ground_truth=str(_plain(columns["reward_model"][b]).get("ground_truth", "")),
                difficulty="",
            )
        )
    return found


def _plain(value: Any) -> dict[str, Any]:
    value = getattr(value, "data", value)
    return value if isinstance(value, dict) else {}
