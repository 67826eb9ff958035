"""Any server that speaks OpenAI's protocol: requests, retries, budgets, and a sampler over them."""

from gppo.rollout.openai.budget import Budget, BudgetSpentError, Tokens
from gppo.rollout.openai.client import Client, GaveUpError, RefusedError, api_key
from gppo.rollout.openai.collect import Answers, Outcome, collect
from gppo.rollout.openai.sampler import UNKNOWN_TOKEN, OpenAISampler
from gppo.rollout.openai.wire import Answer, Ask, chat_ask, completion_ask, opened_in_text, read_answer

__all__ = [
    "UNKNOWN_TOKEN",
    "Answer",
    "Answers",
    "Ask",
    "Budget",
    "BudgetSpentError",
    "Client",
    "GaveUpError",
    "OpenAISampler",
    "Outcome",
    "RefusedError",
    "Tokens",
    "api_key",
    "chat_ask",
    "collect",
    "completion_ask",
    "opened_in_text",
    "read_answer",
]
