"""A rollout: one sampled response. A group: the G rollouts of one problem, judged."""

from dataclasses import dataclass

import numpy as np

from gppo.types.problem import Problem
from gppo.types.verdict import Verdict


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How tokens are drawn. RL never truncates (top_p 1, top_k 0), so stored logprobs are those of the draw.

    Args:
        temperature: logits are divided by it; 0 takes the most likely token.
        top_p: keep the smallest set of tokens whose probability reaches it; evaluation only.
        top_k: keep the k most likely tokens, 0 keeps all; evaluation only.
        max_tokens: longest response, the stop token included.
        repetition_penalty: logits of tokens that prompt or response hold already are divided by it where positive, else
            multiplied (https://arxiv.org/abs/1909.05858, section 4.1); 1 leaves them; evaluation only.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 1024
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled response.

    Args:
        problem_id: the problem it answers.
        sample: its index g in the group, 0 <= g < G.
        prompt_ids: int64 [S], the prompt's tokens.
        response_ids: int64 [T], the response's tokens, the stop token included.
        sampled_logprobs: float32 [T], nats, of the distribution that was sampled from.
        text: the response as text, without the stop token.
        finish_reason: "stop" (a stop token was drawn) or "length" (cut at max_tokens).
    """

    problem_id: str
    sample: int
    prompt_ids: np.ndarray
    response_ids: np.ndarray
    sampled_logprobs: np.ndarray
    text: str
    finish_reason: str

    @property
    def truncated(self) -> bool:
        """Whether the response was cut before the model ended it."""
        return self.finish_reason == "length"


@dataclass(frozen=True, slots=True)
class Group:
    """The G rollouts of one problem with their verdicts and rewards.

    Args:
        problem: what was asked.
        rollouts: G responses.
        verdicts: G judgements, in the same order.
        rewards_G: float64 [G]; NaN where infrastructure failed (masked, never a wrong answer).
        correct_G: bool [G]; the reward is at its maximum (every test passed, format kept).
    """

    problem: Problem
    rollouts: tuple[Rollout, ...]
    verdicts: tuple[Verdict, ...]
    rewards_G: np.ndarray
    correct_G: np.ndarray
