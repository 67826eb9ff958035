"""A server that speaks OpenAI's protocol, and what it may cost."""

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from gppo.config.base import Strict

# What the client reads answers by, or takes from elsewhere in the recipe.
_OURS = ("model", "messages", "prompt", "n", "stream", "seed", "temperature", "top_p", "top_k")


class BudgetConfig(Strict):
    """What a run may use up in all, over every start of it. A request is sent only where its worst case still fits."""

    tokens: int | None = Field(default=None, description="Tokens, those of prompts and of responses added.", ge=1)
    money: float | None = Field(default=None, description="Money, in the currency of price_in and price_out.", gt=0)


class EndpointConfig(Strict):
    """One model on one server: vLLM's, SGLang's, llama.cpp's or a provider's."""

    url: str = Field(description="Where its paths begin, e.g. http://localhost:8000/v1.", min_length=1)
    model: str = Field(description="The name that the server knows the model by.", min_length=1)
    api: Literal["chat", "completions"] | None = Field(
        default=None,
        description="chat sends the turns, and the server applies its template. completions sends token ids made with "
        "the recipe's tokenizer, so that prompts are those of the local engine. Where not given: chat, and "
        "completions for an evaluation whose recipe has a model section.",
    )
    api_key_env: str | None = Field(
        default=None, description="Name of the environment variable that holds the key; never the key itself."
    )
    concurrency: int = Field(default=16, description="Requests under way at a time.", ge=1, le=4096)
    timeout: float = Field(default=600.0, description="Seconds for one request before it is tried again.", gt=0)
    attempts: int = Field(default=8, description="Times that a request is sent before it is given up.", ge=1)
    price_in: float = Field(default=0.0, description="Price of a million prompt tokens.", ge=0)
    price_out: float = Field(default=0.0, description="Price of a million response tokens.", ge=0)
    budget: BudgetConfig = Field(default_factory=BudgetConfig, description="Where spending ends.")
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="Keys added to every request, e.g. {reasoning_effort: high}; null takes a key out, as in "
        "{max_tokens: null, max_completion_tokens: 32768}.",
    )

    @field_validator("url")
    @classmethod
    def _web_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write a web address such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("leave user, password and query out of the address; name the key with api_key_env")
        return url.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        # What was written is not repeated: it may be the key.
        if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError("write the name of an environment variable, e.g. OPENAI_API_KEY, not the key")
        return name

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        fixed = [key for key in _OURS if key in extra and extra[key] is not None]
        needed = [key for key in ("model", "messages", "prompt") if key in extra]
        if fixed or needed:
            raise ValueError(f"'{(fixed or needed)[0]}' is set from other keys of the recipe; take it out")
        return extra

    @model_validator(mode="after")
    def _money_needs_prices(self) -> "EndpointConfig":
        if self.budget.money is not None and not (self.price_in or self.price_out):
            raise ValueError("budget.money needs price_in and price_out, the prices of a million tokens")
        return self
