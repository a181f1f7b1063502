"""The engine behind a URL: any server that speaks the OpenAI chat-completions API.

The SDK's own retries are off, since nobody could count them: every attempt is in the store before it is sent.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Generator, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..tasks.errors import ConfigError, ModelError
from .completion import Completion, Draw, Usage
from .cost import Footprint
from .engine import Finished, Identity
from .store import Store

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

_PATIENCE = 60.0
"""The longest pause between two attempts, in seconds."""


class OpenAI:
    """A model at an OpenAI-compatible endpoint; at most `concurrency` requests are in flight."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 16,
        timeout: float = 120.0,
        attempts: int = 6,
        parameters: int | None = None,
    ) -> None:
        """`parameters` is the size that floating-point operations are counted with; None leaves them unknown.

        The key is read from the environment variable `api_key_env` when the first request is sent. `timeout` is in
        seconds, for one attempt.
        """
        self._model = model
        self._base_url = base_url
        self._api_key_env = api_key_env
        self._concurrency = concurrency
        self._timeout = timeout
        self._attempts = attempts
        self._parameters = parameters

    def identity(self, adapter: Path | None) -> Identity:
        if adapter is not None:
            raise ConfigError(f"{self._model} runs behind {self._base_url}: an adapter cannot be loaded into it")
        host = urlsplit(self._base_url).netloc.rpartition("@")[2]
        return Identity(host, self._model, "")

    def footprint(self, adapter: Path | None) -> Footprint | None:
        return Footprint(self._parameters) if self._parameters else None

    def generate(
        self, draws: Sequence[Draw], missing: Set[str], store: Store, adapter: Path | None
    ) -> Iterator[Finished]:
        """Yield each completion when it arrives. After a failure nothing new is sent, but what is in flight is kept."""
        steps = self._steps([draw for draw in draws if draw.key in missing], store)
        # A thread of its own, since the caller's may run an event loop already (a notebook's does).
        with ThreadPoolExecutor(max_workers=1) as thread:
            try:
                while (finished := thread.submit(next, steps, None).result()) is not None:
                    yield finished
            finally:
                thread.submit(steps.close).result()

    def _steps(self, wanted: list[Draw], store: Store) -> Generator[Finished]:
        with asyncio.Runner() as runner:
            yield from self._drain(runner.get_loop(), wanted, store)

    def _drain(self, loop: asyncio.AbstractEventLoop, wanted: list[Draw], store: Store) -> Iterator[Finished]:
        client = self._client()
        waiting = iter(wanted)
        running: set[asyncio.Task[Finished]] = set()
        failure: ConfigError | ModelError | None = None
        try:
            while True:
                while failure is None and len(running) < self._concurrency:
                    if (draw := next(waiting, None)) is None:
                        break
                    running.add(loop.create_task(self._complete(client, draw, store)))
                if not running:
                    break
                waited = asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                done, running = loop.run_until_complete(waited)
                for task in done:
                    try:
                        yield task.result()
                    except (ConfigError, ModelError) as error:
                        failure = failure or error
            if failure:
                raise failure
        finally:
            loop.run_until_complete(_stop(running, client))

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        # A local server wants no key, and the client insists on one.
        key = os.environ.get(self._api_key_env) or "none"
        return AsyncOpenAI(api_key=key, base_url=self._base_url, timeout=self._timeout, max_retries=0)

    async def _complete(self, client: AsyncOpenAI, draw: Draw, store: Store) -> Finished:
        problem = ""
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(min(_PATIENCE, 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0))
            (row,) = store.begin([draw])
            try:
                finished = [(draw, await self._ask(client, draw))]
            except ModelError as error:
                store.fail([row], problem := str(error))
            except ConfigError as error:
                store.fail([row], str(error))
                raise
            else:
                store.settle([row], finished)
                return finished
        raise ModelError(f"{self._model} at {self._base_url} failed {self._attempts} times; the last time: {problem}")

    async def _ask(self, client: AsyncOpenAI, draw: Draw) -> Completion:
        sampling = draw.request.sampling
        options: dict[str, Any] = {"stop": list(sampling.stop)} if sampling.stop else {}
        started = time.perf_counter()
        async with _translated(self._model):
            reply = await client.chat.completions.create(
                model=self._model,
                messages=[{"role": m.role, "content": m.content} for m in draw.request.messages],  # type: ignore[misc]  # a TypedDict per role
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                logprobs=draw.request.logprobs or None,
                seed=draw.seed % 2**31,
                **options,
            )
        return _read(reply, time.perf_counter() - started)


async def _stop(running: Set[asyncio.Task[Finished]], client: AsyncOpenAI) -> None:
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await client.close()


def _read(reply: ChatCompletion, seconds: float) -> Completion:
    """A completion from a reply. A reply without an answer is a failed call, not an empty answer."""
    choices = getattr(reply, "choices", None)
    if not choices or choices[0].message.content is None:
        raise ModelError("the reply held no text")
    if reply.usage is None:
        raise ModelError("the reply held no usage")
    choice, usage = choices[0], reply.usage
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens or 0) if details else 0
    content = choice.logprobs.content if choice.logprobs else None
    return Completion(
        text=choice.message.content,
        finish=choice.finish_reason,
        usage=Usage(usage.prompt_tokens, usage.completion_tokens, cached, seconds),
        logprobs=tuple(token.logprob for token in content) if content else None,
    )


@asynccontextmanager
async def _translated(model: str) -> AsyncIterator[None]:
    """Turn the SDK's errors into ours, by what the caller does about them."""
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        if error.status_code in (408, 409, 429) or error.status_code >= 500:
            if error.code == "insufficient_quota":
                raise ConfigError(f"{model}: the account has no quota left") from error
            raise ModelError(f"status {error.status_code}") from error
        raise ConfigError(f"{model} refused the request with status {error.status_code}: {error.message}") from error
    except openai.APITimeoutError as error:
        raise ModelError("timed out") from error
    except openai.APIConnectionError as error:
        raise ModelError(f"no connection: {error.__cause__ or error}") from error
    except (openai.APIError, ValueError) as error:
        raise ModelError(f"an unreadable reply: {error}") from error
