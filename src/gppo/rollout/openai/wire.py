"""What goes over the wire: a request's body, and an answer out of a body that nobody vouches for."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gppo.config.endpoint import EndpointConfig
from gppo.run.fingerprint import fingerprint
from gppo.types import Message, SamplingSettings
from gppo.verify.thinking import CLOSE_TAG, OPEN_TAG

#: Tokens that a chat template may add to a turn, its own system turn included. Templates in use add fewer.
_TEMPLATE_TOKENS = 256
_MOST_TOKENS = 1 << 40  # a count beyond this is no count
#: What vLLM and others understand besides OpenAI's keys, and where it changes nothing.
_NEUTRAL = {"top_k": 0, "repetition_penalty": 1.0}
_NO_CHARACTERS = re.compile("[\0\ud800-\udfff]")


class BadAnswerError(Exception):
    """A body that is no answer; its text says why."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One response that is wanted.

    Args:
        name: the problem's id.
        sample: which response to it.
        path: below the endpoint's address.
        body: what is sent, as JSON knows it.
        prompt_tokens: the most tokens that the prompt can have.
        max_tokens: the longest response.
    """

    name: str
    sample: int
    path: str
    body: Mapping[str, Any]
    prompt_tokens: int
    max_tokens: int

    @property
    def key(self) -> str:
        """Two requests with one key ask for the same response to the same problem."""
        sent = json.dumps(self.body, sort_keys=True)
        return fingerprint([self.name, str(self.sample), self.path, sent])


@dataclass(frozen=True, slots=True)
class Answer:
    """One response as it came.

    Args:
        text: reasoning in think tags, where the server told them apart, and what follows.
        finish_reason: "stop" or "length".
        prompt_tokens: as the server counts.
        response_tokens: as the server counts, reasoning and stop token included.
        token_ids: the response's tokens, where the server gives them.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    response_tokens: int
    token_ids: tuple[int, ...] | None = None


def chat_ask(
    config: EndpointConfig,
    name: str,
    sample: int,
    messages: Sequence[Message],
    settings: SamplingSettings,
    seed: int,
) -> Ask:
    """Ask for a response to turns; the server applies its chat template."""
    body = _body(config, settings, seed, messages=[dict(turn) for turn in messages])
    # A token is at least a byte of the text, whatever the tokenizer; the tags of a turn come on top.
    most = sum(len(turn["content"].encode("utf-8", "surrogatepass")) + _TEMPLATE_TOKENS for turn in messages)
    return Ask(name, sample, "/chat/completions", body, most, settings.max_tokens)


def completion_ask(
    config: EndpointConfig,
    name: str,
    sample: int,
    prompt_ids: Sequence[int],
    settings: SamplingSettings,
    seed: int,
) -> Ask:
    """Ask for what follows token ids: the prompt is the same to the bit as the local engine's."""
    body = _body(config, settings, seed, prompt=[int(token) for token in prompt_ids])
    return Ask(name, sample, "/completions", body, len(prompt_ids), settings.max_tokens)


def _body(config: EndpointConfig, settings: SamplingSettings, seed: int, **prompt: Any) -> dict[str, Any]:
    # The fields of the settings have the protocol's names; servers refuse keys that they do not know.
    sampling = {key: value for key, value in asdict(settings).items() if value != _NEUTRAL.get(key)}
    body = {"model": config.model, **prompt, **sampling, "seed": seed}
    body |= config.extra
    return {key: value for key, value in body.items() if value is not None}


def read_answer(raw: bytes, ask: Ask) -> Answer:
    """The answer in a response's body.

    A count of tokens that the server does not give, or gives as no count, is taken at its worst: as many as were
    allowed.

    Raises:
        BadAnswerError: it is not JSON, not of the protocol's shape, or the server ended for a reason of its own.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError("the answer is not JSON") from error
    choice = _first_choice(content)
    chat = ask.path == "/chat/completions"
    said = choice.get("message") if chat else choice
    if not isinstance(said, dict):
        raise BadAnswerError("the answer holds no message")
    reason = choice.get("finish_reason")
    if reason not in ("stop", "length"):
        raise BadAnswerError(f"the server ended with finish_reason {_shown(reason)}")
    text = _text(said, "content" if chat else "text")
    thought = _text(said, "reasoning_content") or _text(said, "reasoning")
    usage = content.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Answer(
        text=_NO_CHARACTERS.sub("\ufffd", with_thinking(thought, text, cut=reason == "length")),
        finish_reason=reason,
        prompt_tokens=_count(usage.get("prompt_tokens"), ask.prompt_tokens),
        response_tokens=_count(usage.get("completion_tokens"), ask.max_tokens),
        token_ids=_token_ids(choice.get("token_ids"), ask.max_tokens),
    )


def with_thinking(thought: str, text: str, *, cut: bool) -> str:
    """Reasoning that a server told apart, in front of the answer and in think tags, as chat templates write it.

    Args:
        thought: the reasoning, "" where the server tells nothing apart.
        text: what follows it.
        cut: the response was cut at its limit. Where nothing follows the reasoning, it was cut while thinking and the
            tag stays open.
    """
    if not thought:
        return text
    opened = f"{OPEN_TAG}\n{thought.strip(chr(10))}"
    if cut and not text:
        return opened
    return f"{opened}\n{CLOSE_TAG}\n\n{text.lstrip(chr(10))}"


def opened_in_text(text: str) -> str:
    """The response with the opening tag in front, where the server's template opened the thinking in the prompt."""
    return f"{OPEN_TAG}\n{text.lstrip(chr(10))}" if CLOSE_TAG in text and OPEN_TAG not in text else text


def _first_choice(content: Any) -> dict[str, Any]:
    choices = content.get("choices") if isinstance(content, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadAnswerError("the answer holds no choices")
    return choices[0]


def _text(said: dict[str, Any], key: str) -> str:
    value = said.get(key)
    if value is None:
        return ""  # a response that was cut while thinking has no content
    if not isinstance(value, str):
        raise BadAnswerError(f"{key} is no text")
    return value


def _count(value: Any, worst: int) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if is_count else worst


def _token_ids(value: Any, most: int) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > most:
        return None
    whole = all(isinstance(token, int) and not isinstance(token, bool) and 0 <= token < 2**31 for token in value)
    return tuple(value) if whole else None


def _shown(value: Any) -> str:
    return repr(value)[:60]
