"""One request to a server, sent again where that can help, and never where it cannot."""

import asyncio
import json
import os
import random
from collections.abc import Callable
from typing import Self

import httpx2

from gppo.config.endpoint import EndpointConfig
from gppo.rollout.openai.backoff import delay, retry_after
from gppo.rollout.openai.budget import Budget
from gppo.rollout.openai.wire import Answer, Ask, BadAnswerError, read_answer
from gppo.run.interrupt import StopRequest
from gppo.types import GppoError, UserError

#: The longest body that is read: far above what tokens take as escaped JSON, far below what hurts.
_BYTES_A_TOKEN, _BYTES_AROUND = 64, 1 << 18
_CONNECT_SECONDS = 30.0
_LOOK_SECONDS = 0.2
_ERROR_BYTES, _ERROR_CHARACTERS = 1 << 14, 300
#: Statuses below 500 that another attempt may change.
_PASSING = (408, 409, 425, 429)
#: At these a request is at fault, not the server nor the key: others may still be answered.
_OF_REQUEST = (400, 413, 422)


class RefusedError(UserError):
    """The server says no and would again: what, where, what to do.

    Attributes:
        of_request: only this request is refused, as far as one can tell.
    """

    def __init__(self, message: str, of_request: bool) -> None:
        super().__init__(message)
        self.of_request = of_request


class GaveUpError(GppoError):
    """Every attempt failed."""


class _AgainError(Exception):
    """An attempt failed and another may not.

    Attributes:
        asked: the server's Retry-After in seconds.
        may_cost: whether the server may have worked for it, and ask to be paid.
    """

    def __init__(self, reason: str, *, asked: float | None = None, may_cost: bool = False) -> None:
        super().__init__(reason)
        self.asked = asked
        self.may_cost = may_cost


class Client:
    """A server and its model. Use it as an async context manager.

    Args:
        config: where, which, how often, how long.
        budget: what may be spent; every attempt is counted against it.
        lost: called with a request that may have cost something and brought nothing.
        stop: whether to stop; nothing is tried again then.

    Attributes:
        retries: attempts beyond the first so far.

    Raises:
        UserError: the environment variable of the key is not set, or holds what no header can carry.
    """

    def __init__(
        self,
        config: EndpointConfig,
        budget: Budget,
        lost: Callable[[Ask], None] = lambda ask: None,
        stop: StopRequest | None = None,
    ) -> None:
        self.config = config
        self.budget = budget
        self.retries = 0
        self._lost = lost
        self._stop = stop
        self._key = api_key(config)
        self._chance = random.Random()
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._http = httpx2.AsyncClient(
            headers=headers,
            # The whole request has a limit of its own; a server that sends a byte a minute never trips a read timeout.
            timeout=httpx2.Timeout(None, connect=min(_CONNECT_SECONDS, config.timeout)),
            limits=httpx2.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; on the loop that they were used on."""
        await self._http.aclose()

    async def ask(self, ask: Ask) -> Answer:
        """One response.

        Raises:
            BudgetSpentError: another attempt might pass the budget.
            RefusedError: the server says no for good.
            GaveUpError: all attempts failed.
        """
        for attempt in range(self.config.attempts):
            try:
                return await self._attempt(ask)
            except _AgainError as failure:
                if attempt + 1 == self.config.attempts or self._stop:
                    raise GaveUpError(
                        f"{self.config.url}: no answer to problem {ask.name}, sample {ask.sample}, in "
                        f"{attempt + 1} attempts; at last {failure}"
                    ) from failure
                self.retries += 1
                await self._wait(delay(attempt, failure.asked, self._chance))
        raise AssertionError("a client makes at least one attempt")

    async def _wait(self, seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while (left := until - clock()) > 0 and not self._stop:
            await asyncio.sleep(min(left, _LOOK_SECONDS))

    async def _attempt(self, ask: Ask) -> Answer:
        """Send once, and count what it cost: nothing, what the server says, or the worst where nobody knows."""
        await self.budget.hold(ask)
        cost = (0, 0)
        try:
            answer = await self._send(ask)
            cost = (answer.prompt_tokens, answer.response_tokens)
            return answer
        except _AgainError as failure:
            if failure.may_cost:
                cost = (ask.prompt_tokens, ask.max_tokens)
                self._lost(ask)
            raise
        except asyncio.CancelledError:
            self._lost(ask)
            raise
        finally:
            await self.budget.settle(ask, *cost)

    async def _send(self, ask: Ask) -> Answer:
        seconds = self.config.timeout
        content = json.dumps(ask.body).encode()
        try:
            async with (
                asyncio.timeout(seconds),
                self._http.stream("POST", self.config.url + ask.path, content=content) as response,
            ):
                if response.status_code != 200:
                    self._fail(response, await _read(response, _ERROR_BYTES, cut=True), ask)
                raw = await _read(response, _BYTES_A_TOKEN * ask.max_tokens + _BYTES_AROUND)
            return read_answer(raw, ask)
        except BadAnswerError as error:
            raise _AgainError(str(error), may_cost=True) from error
        except TimeoutError as error:
            raise _AgainError(f"nothing whole came in {seconds:g} seconds", may_cost=True) from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise _AgainError(f"the server cannot be reached ({_reason(error)})") from error
        except httpx2.RequestError as error:
            raise _AgainError(f"the connection broke ({_reason(error)})", may_cost=True) from error

    def _fail(self, response: httpx2.Response, body: bytes, ask: Ask) -> None:
        """Raise what a status other than 200 means."""
        status, said = response.status_code, self._said(body)
        if status in _PASSING or (status >= 500 and status != 501):
            asked = retry_after(response.headers.get("retry-after"))
            raise _AgainError(f"the server answered {status}{said}", asked=asked)
        where = f"{self.config.url}{ask.path}"
        of_request = status in _OF_REQUEST
        what = f"{where}: refused problem {ask.name} with status {status}{said}"
        raise RefusedError(f"{what}; {self._advice(status)}", of_request)

    def _advice(self, status: int) -> str:
        name = self.config.api_key_env
        if status in (401, 403):
            return f"check the key in {name}" if name else "name the variable that holds your key with api_key_env"
        if status == 402:
            return "see to the account's balance"
        if status in (404, 405, 501):
            return f"check the endpoint's url, and that it has a model '{self.config.model}'"
        if status in _OF_REQUEST:
            return "change what the recipe sends, or leave the problem out"
        return "check the endpoint's url"

    def _said(self, body: bytes) -> str:
        """What the server says about a failure: one short line of printable text, without the key."""
        text = body.decode("utf-8", "replace")
        try:
            content = json.loads(text)
            error = content.get("error", content) if isinstance(content, dict) else text
            message = error.get("message") if isinstance(error, dict) else error
            text = message if isinstance(message, str) else text
        except (ValueError, RecursionError):
            pass  # a page of a proxy, say; its beginning is better than nothing
        if self._key:
            text = text.replace(self._key, "***")
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return f" ({line[:_ERROR_CHARACTERS].rstrip('. ')})" if line else ""


def api_key(config: EndpointConfig) -> str:
    """The key of an endpoint, "" where it needs none.

    Raises:
        UserError: the environment variable is not set, or holds what no header can carry.
    """
    name = config.api_key_env
    if name is None:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        raise UserError(f"endpoint.api_key_env: the environment variable {name} is not set; export the key under it")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError(f"endpoint.api_key_env: {name} holds characters that no key has; export it again")
    return key


async def _read(response: httpx2.Response, most: int, *, cut: bool = False) -> bytes:
    """The body. One that is longer than ``most`` bytes, unpacked, is cut or refused."""
    raw = bytearray()
    async for part in response.aiter_bytes():
        raw += part
        if len(raw) > most:
            if cut:
                break
            raise BadAnswerError(f"the answer is longer than {most:,} bytes")
    return bytes(raw[:most])


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_ERROR_CHARACTERS] or type(error).__name__
