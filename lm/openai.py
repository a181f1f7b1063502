"""The engine behind a URL: any server that speaks the OpenAI chat-completions API.

The SDK's own retries are off, since nobody could count them: every attempt is in the ledger before it is sent
(`ledger`), what is tried again is decided in one place (`retry`), and so is how much is asked at once (`pace`).
"""

from __future__ import annotations

import asyncio
import os
import queue
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from ..tasks.errors import ConfigError, DivconError, ModelError
from .completion import Draw, Request
from .cost import Footprint
from .engine import Finished, Identity, Pulse
from .ledger import Lease, Reserved, this_process
from .pace import Crowd, Rate
from .prices import Price
from .reply import Reply, read
from .retry import CallError, pause, refusal
from .store import Store

if TYPE_CHECKING:
    from openai import AsyncOpenAI

TokensKey = Literal["max_tokens", "max_completion_tokens"]

_POLL = 0.2
"""Seconds between two looks at a sample that another process is buying."""
_LOOK = 0.5
"""Seconds of a pause after which it is looked whether all is over."""
_AHEAD = 8
"""Calls that are written down before there is a place for them."""
_APART = 0.002
"""Seconds between the first calls. Answers to calls that were sent at once arrive at once, and wait for one another."""
_GRACE = 30.0
"""Seconds that a lease outlasts the call it is for."""


@dataclass(frozen=True)
class Limits:
    """How hard a server may be asked."""

    concurrency: int = 16
    """Requests in flight at most; fewer while the server says that it is crowded."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """Of prompts (estimated) and completions (at their limit)."""
    timeout: float = 120.0
    """Seconds for one attempt, to the last byte of its answer."""
    attempts: int = 6
    """How often a failed request is sent before the run stops."""
    timeouts: int = 2
    """How often a request that timed out is sent: each time it may have been billed."""


class OpenAI:
    """A model at an OpenAI-compatible endpoint."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key_env: str = "OPENAI_API_KEY",
        limits: Limits = Limits(),  # frozen
        parameters: int | None = None,
        price: Price | None = None,
        budget: float | None = None,
        together: bool = True,
        tokens_key: TokensKey = "max_tokens",
    ) -> None:
        """`parameters` is the size that floating-point operations are counted with; None leaves them unknown.

        The key is read from the environment variable `api_key_env` when the first request is sent. `budget` is what
        the store's attempts may cost together, in dollars, and needs a `price`. `together` asks for the samples of a
        prompt in one request. `tokens_key` is what the server calls the limit of a completion.
        """
        if budget is not None and price is None:
            raise ConfigError(f"max_usd cannot be kept: the price of {model} is unknown; give it under price")
        self._model = model
        self.base_url = base_url
        self._api_key_env = api_key_env
        self._limits = limits
        self._parameters = parameters
        self.price = price
        self.budget = budget
        self._together = together
        self._tokens_key = tokens_key
        self._owner = this_process()
        self._retries: Counter[str] = Counter()
        self._at_once = 0

    def identity(self, adapter: Path | None) -> Identity:
        if adapter is not None:
            raise ConfigError(f"{self._model} runs behind {self.base_url}: an adapter cannot be loaded into it")
        host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        return Identity(host, self._model, "")

    def footprint(self, adapter: Path | None) -> Footprint | None:
        return Footprint(self._parameters) if self._parameters else None

    @property
    def name(self) -> str:
        """The model and where it runs, as the ledger has it."""
        return f"{self._model} at {self.identity(None).host}"

    def key(self) -> str:
        """The key; a local server wants none, and the client insists on one."""
        return os.environ.get(self._api_key_env) or "none"

    def scrubbed(self, text: str) -> str:
        """A server's words without the key, should it repeat it."""
        return text.replace(self.key(), "***") if len(self.key()) > 4 else text

    def body(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """What is asked for samples of one request."""
        request = draws[0].request
        sampling = request.sampling
        options: dict[str, Any] = {self._tokens_key: sampling.max_tokens}
        if sampling.stop:
            options["stop"] = list(sampling.stop)
        if len(draws) > 1:
            options["n"] = len(draws)
        if request.logprobs:
            options["logprobs"] = True
        return {
            "model": self._model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": draws[0].seed % 2**31,
            **options,
        }

    def pulse(self) -> Pulse:
        return Pulse(self._at_once, dict(self._retries))

    def generate(
        self, draws: Sequence[Draw], missing: Set[str], store: Store, adapter: Path | None
    ) -> Iterator[Finished]:
        """Yield completions when they arrive. After a failure nothing new is sent, but what is in flight is kept."""
        wanted = [draw for draw in draws if draw.key in missing]
        arrived: queue.SimpleQueue[Finished | BaseException | None] = queue.SimpleQueue()
        buying = _Buying(self, store, arrived)
        # A thread of its own, since the caller's may run an event loop already (a notebook's does).
        thread = threading.Thread(target=buying.run, args=(wanted,), name=f"buying from {self._model}", daemon=True)
        thread.start()
        try:
            while (item := arrived.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            buying.stop()
            thread.join()


class _Buying:
    """One call of `generate`: its event loop, its client, and what became of every draw."""

    def __init__(
        self, engine: OpenAI, store: Store, arrived: queue.SimpleQueue[Finished | BaseException | None]
    ) -> None:
        self._engine = engine
        self._limits = engine._limits
        self._store = store
        self._arrived = arrived
        self._stopped = threading.Event()
        self._failure: DivconError | None = None

    def run(self, wanted: Sequence[Draw]) -> None:
        """Buy, and say when it is over: with the failure that ended it, or None."""
        try:
            asyncio.run(self._run(wanted))
        except BaseExceptionGroup as errors:  # it belongs to the thread that waits for it
            self._arrived.put(errors.exceptions[0])
        except BaseException as error:  # noqa: BLE001
            self._arrived.put(error)
        else:
            self._arrived.put(self._failure)

    def stop(self) -> None:
        """Send nothing new."""
        self._stopped.set()

    async def _run(self, wanted: Sequence[Draw]) -> None:
        self._crowd = Crowd(self._limits.concurrency)
        self._requests, self._tokens = Rate(self._limits.requests_per_minute), Rate(self._limits.tokens_per_minute)
        self._client = self._open()
        waiting = iter(_calls(wanted, together=self._engine._together))
        try:
            async with asyncio.TaskGroup() as tasks:
                # A few more than may be in flight, so that the next call is written down when a place becomes free.
                for i in range(min(self._limits.concurrency + _AHEAD, len(wanted))):
                    tasks.create_task(self._work(waiting, i * _APART))
        finally:
            await self._client.close()

    def _open(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        return AsyncOpenAI(api_key=self._engine.key(), base_url=self._engine.base_url, timeout=None, max_retries=0)

    async def _work(self, waiting: Iterator[list[Draw]], delay: float) -> None:
        """Take one call after another until there are none, or something has failed for good."""
        await asyncio.sleep(delay)
        for draws in waiting:
            if self._is_over():
                return
            try:
                await self._buy(draws)
            except DivconError as error:
                self._failure = self._failure or error

    def _is_over(self) -> bool:
        return self._failure is not None or self._stopped.is_set()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not past the end."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._is_over():
            await asyncio.sleep(min(left, _LOOK))

    async def _buy(self, draws: list[Draw]) -> None:
        """Buy these samples of one request, or find that others have."""
        failures: Counter[str] = Counter()
        while draws and not self._is_over():
            try:
                draws = await self._attempt(draws)
            except CallError as error:
                failures[str(error)] += 1
                self._engine._retries[self._engine.scrubbed(str(error))] += 1
                self._judge(error, failures)
                await self._sleep(pause(failures.total(), error.wait))

    def _judge(self, error: CallError, failures: Counter[str]) -> None:
        """Raise what ends the run, when this failure does."""
        if error.crowded:
            self._crowd.crowded()
        name = f"{self._engine._model} at {_without_credentials(self._engine.base_url)}"
        if not error.again:
            raise ConfigError(f"{name} refused the request: {self._engine.scrubbed(str(error))}")
        if failures.total() >= self._limits.attempts or failures[_TIMED_OUT] >= self._limits.timeouts:
            raise ModelError(
                f"{name} failed {failures.total()} times; the last time: {self._engine.scrubbed(str(error))}"
            )

    async def _attempt(self, draws: list[Draw]) -> list[Draw]:
        """One call for these samples; the samples that are still wanted after it."""
        request = draws[0].request
        prompt = estimated(request)
        await self._requests()
        await self._tokens(prompt + request.sampling.max_tokens * len(draws))
        reserved = self._reserve(draws)
        if reserved.stored:
            found = self._store.get(reserved.stored)
            self._arrived.put([(draw, found[draw.key]) for draw in draws if draw.key in found])
        ours = [draw for draw in draws if draw.key in reserved.attempts]
        left = await self._send(ours, reserved.attempts) if ours else []
        others = [draw for draw in draws if draw.key in reserved.busy]
        if others and not left:
            await self._sleep(_POLL)
        return left + others

    def _reserve(self, draws: list[Draw]) -> Reserved:
        request, price = draws[0].request, self._engine.price
        quote = price.quote(at_most(request), request.sampling.max_tokens) if price else None
        lease = Lease(self._engine._owner, 2 * self._limits.timeout + _GRACE)  # to wait for a place, and for an answer
        return self._store.reserve(draws, self._engine.name, lease, quote, self._engine.budget)

    async def _send(self, draws: list[Draw], attempts: dict[str, int]) -> list[Draw]:
        """Send one call and settle its attempts; the draws that it brought no sample for."""
        rows = [attempts[draw.key] for draw in draws]
        try:
            async with self._crowd.place():
                self._engine._at_once = self._crowd.running
                if self._is_over():
                    self._fail(draws, rows, "not sent", billed=False)
                    return []
                reply = await self._ask(draws)
        except CallError as error:
            self._fail(draws, rows, self._engine.scrubbed(str(error)), billed=error.billed != "no")
            raise
        self._crowd.served()
        return self._settle(draws, rows, reply)

    def _fail(self, draws: list[Draw], rows: list[int], cause: str, *, billed: bool) -> None:
        dollars = None if billed or self._engine.price is None else 0.0
        self._store.fail(rows, cause, [dollars] * len(rows), [draw.key for draw in draws])

    def _settle(self, draws: list[Draw], rows: list[int], reply: Reply) -> list[Draw]:
        price = self._engine.price
        got = list(zip(draws, reply.completions, strict=False))
        dollars = [price.dollars(usage) if price and reply.is_known else None for usage in reply.billed]
        self._store.settle(rows[: len(got)], got, dollars)
        self._arrived.put(got)
        if left := draws[len(got) :]:
            # It may be a server that does not know `n`: the others are asked for one by one.
            self._store.fail(rows[len(got) :], "fewer choices than asked", [0.0 if price else None] * len(left))
        return left

    async def _ask(self, draws: list[Draw]) -> Reply:
        import openai

        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._limits.timeout):
                # Not `chat.completions.create`, which spends a fifth of its time on rewriting what is JSON already.
                content = await self._client.post("/chat/completions", cast_to=str, body=self._engine.body(draws))
        except TimeoutError as error:
            raise CallError(_TIMED_OUT, billed="perhaps", crowded=True) from error
        except openai.APIStatusError as error:
            raise refusal(error.status_code, error.code, error.message, error.response.headers) from None
        except openai.APIConnectionError as error:
            refused = "Connect" in type(error.__cause__).__name__
            cause = "no connection" if refused else "the connection broke"
            raise CallError(cause, billed="no" if refused else "perhaps") from error
        except openai.APIError as error:
            raise CallError("an unreadable reply", billed="perhaps") from error
        request = draws[0].request
        seconds = time.perf_counter() - started
        return read(content, len(draws), estimated(request), request.sampling.max_tokens, seconds)


_TIMED_OUT = "timed out"


def _calls(draws: Sequence[Draw], *, together: bool) -> Iterator[list[Draw]]:
    """The draws that are asked for in one call each: samples of one request, unless it is greedy."""
    calls: dict[Request | str, list[Draw]] = {}
    for draw in draws:
        joined = together and draw.request.sampling.temperature > 0
        calls.setdefault(draw.request if joined else draw.key, []).append(draw)
    yield from calls.values()


def estimated(request: Request) -> int:
    """About how many tokens a prompt has."""
    return sum(len(message.content) for message in request.messages) // 4 + 8


def at_most(request: Request) -> int:
    """More tokens than a prompt has: no tokenizer makes more than one of a byte, and chat templates add a few."""
    return sum(len(message.content.encode()) + 16 for message in request.messages) + 16


def _without_credentials(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
