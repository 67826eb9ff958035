"""What a teacher is asked, and the record that comes of an answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gppo.config.distill import DistillConfig
from gppo.policy.chat import encode_prompt
from gppo.records import Conversation
from gppo.rollout import seed_of
from gppo.rollout.openai import Answer, Ask, chat_ask, completion_ask, opened_in_text
from gppo.types import Message, Problem, SamplingSettings, Verdict


@dataclass(frozen=True, slots=True)
class Teacher:
    """The requests of a distillation.

    Args:
        config: the recipe's section.
        problems: what is asked.
        seed: the recipe's.
        tokenizer: makes prompts where ``endpoint.api`` is completions.
    """

    config: DistillConfig
    problems: Sequence[Problem]
    seed: int
    tokenizer: Any = None

    @property
    def wanted(self) -> int:
        """How many responses there are to be."""
        return len(self.problems) * self.config.samples

    def asks(self) -> Iterator[tuple[Problem, Ask]]:
        """Every request with its problem: problems in their order, a problem's samples in theirs."""
        config = self.config
        settings = SamplingSettings(config.temperature, config.top_p, config.top_k, config.max_response_tokens)
        for problem in self.problems:
            as_tokens = config.endpoint.api == "completions"
            prompt_ids = encode_prompt(self.tokenizer, problem.prompt).tolist() if as_tokens else []
            for sample in range(config.samples):
                seed = seed_of(self.seed, 0, problem.id, sample)
                if as_tokens:
                    ask = completion_ask(config.endpoint, problem.id, sample, prompt_ids, settings, seed)
                else:
                    ask = chat_ask(config.endpoint, problem.id, sample, problem.prompt, settings, seed)
                yield problem, ask

    def conversation(
        self, problem: Problem, ask: Ask, answer: Answer, verdict: Verdict, pass_rate: float | None
    ) -> Conversation:
        """A response as a record, with where it comes from and what it is worth.

        ``ability``, ``ground_truth`` and ``pass_rate`` are named as the steps of curation look for them.
        """
        told = {
            "problem_id": problem.id,
            "sample": ask.sample,
            "ability": problem.ability,
            "ground_truth": problem.ground_truth,
            "pass_rate": pass_rate,
            "teacher": self.config.endpoint.model,
            "verdict": verdict.status,
            "score": verdict.score,
            "finish_reason": answer.finish_reason,
            "prompt_tokens": answer.prompt_tokens,
            "response_tokens": answer.response_tokens,
        }
        said: Message = {"role": "assistant", "content": opened_in_text(answer.text)}
        turns = (*problem.prompt, said)
        return Conversation(f"{problem.id}#{ask.sample}", turns, problem.data_source, {**problem.extra, **told})
