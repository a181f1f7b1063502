"""Buying samples: one call of the OpenAI engine, with its event loop, and what became of every draw.

A call is written down before it is sent and settled after it; a failure is judged in one place (`retry`).
"""

from __future__ import annotations

import asyncio
import queue
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...core.errors import ConfigError, DivconError, ModelError
from ..recorder import Attempt, Charge, Finished, Lease, Purchase, PurchaseRecorder, Reserved, free
from ..types import Completion, Request, SampleRequest
from .limits import PermanentFailures
from .rate_limit import AdaptiveConcurrency, RateLimiter
from .response import Reply, read, stated
from .retry import CallError, pause, refusal, remedy
from .spec import ApiSpec
from .token_estimate import estimated

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


@dataclass
class Traffic:
    """What an engine's calls add up to while they run, for those who watch."""

    at_once: int = 0
    """Requests in flight."""
    retries: Counter[str] = field(default_factory=Counter)
    """Failed calls by cause."""


class Dispatcher:
    """One call of `generate`: its event loop, its client, and what became of every draw."""

    def __init__(
        self,
        spec: ApiSpec,
        traffic: Traffic,
        record: PurchaseRecorder,
        arrived: queue.SimpleQueue[Finished | BaseException | None],
        draws: Sequence[SampleRequest],
    ) -> None:
        """`draws` are all samples of the stage, also those that are stored already."""
        self._spec = spec
        self._traffic = traffic
        self._limits = spec.limits
        self._record = record
        self._arrived = arrived
        self._stopped = threading.Event()
        self._failure: DivconError | None = None
        self._failed = PermanentFailures(spec.limits, draws)
        self._singly = False
        """Whether the server is known to give one sample a call."""

    def run(self, wanted: Sequence[SampleRequest]) -> None:
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

    async def _run(self, wanted: Sequence[SampleRequest]) -> None:
        self._crowd = AdaptiveConcurrency(self._limits.concurrency)
        self._requests, self._tokens = (
            RateLimiter(self._limits.requests_per_minute),
            RateLimiter(self._limits.tokens_per_minute),
        )
        self._client = self._spec.connect()
        waiting = iter(_calls(wanted, together=self._spec.together))
        try:
            async with asyncio.TaskGroup() as tasks:
                # A few more than may be in flight, so that the next call is written down when a place becomes free.
                for i in range(min(self._limits.concurrency + _AHEAD, len(wanted))):
                    tasks.create_task(self._work(waiting, i * _APART))
        finally:
            await self._client.close()

    async def _work(self, waiting: Iterator[list[SampleRequest]], delay: float) -> None:
        """Take one call after another until there are none, or something has failed permanently."""
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

    async def _buy(self, draws: list[SampleRequest]) -> None:
        """Buy these samples of one request, or find that others have."""
        failures: Counter[str] = Counter()
        while draws and not self._is_over():
            together = 1 if self._singly else len(draws)
            try:
                draws = await self._attempt(draws[:together]) + draws[together:]
            except CallError as error:
                if error.parameter == "n" and together > 1:  # it is asked for them one by one
                    self._singly = True
                    continue
                if error.of_request and self._failed.allow(draws[0].request):
                    self._traffic.retries[_REFUSED] += together
                    self._arrived.put([(draw, Completion.failed()) for draw in draws[:together]])
                    draws = draws[together:]
                    continue
                failures[str(error)] += 1
                self._traffic.retries[self._spec.scrubbed(str(error))] += 1
                self._judge(error, failures)
                await self._sleep(pause(failures.total(), error.wait))

    def _judge(self, error: CallError, failures: Counter[str]) -> None:
        """Raise what ends the run, when this failure does."""
        if error.crowded:
            self._crowd.crowded()
        name = f"{self._spec.model} at {_without_credentials(self._spec.base_url)}"
        if not error.again:
            advice = f"; {remedy(error.parameter, self._spec.options.extra_body)}" if error.parameter else ""
            if error.of_request:
                n = len(self._failed) + 1
                advice = f"; {n} request{'s' * (n > 1)} failed permanently, more than max_failures allows"
            raise ConfigError(f"{name} refused the request: {self._spec.scrubbed(str(error))}{advice}")
        if failures.total() >= self._limits.attempts or failures[_TIMED_OUT] >= self._limits.timeouts:
            raise ModelError(
                f"{name} failed {failures.total()} times; the last time: {self._spec.scrubbed(str(error))}"
            )

    async def _attempt(self, draws: list[SampleRequest]) -> list[SampleRequest]:
        """One call for these samples; the samples that are still wanted after it."""
        request = draws[0].request
        prompt = estimated(request.messages)
        await self._requests()
        await self._tokens(prompt + request.sampling.max_tokens * len(draws))
        reserved = self._reserve(draws)
        if reserved.stored:
            self._arrived.put(reserved.stored)
        left = await self._send(reserved.attempts) if reserved.attempts else []
        if reserved.busy and not left:
            await self._sleep(_POLL)
        return left + reserved.busy

    def _reserve(self, draws: list[SampleRequest]) -> Reserved:
        lease = Lease(self._spec.owner, 2 * self._limits.timeout + _GRACE)  # to wait for a place, and for an answer
        terms = Purchase(self._spec.name, lease, self._spec.quote(draws[:1]), self._spec.budget)
        return self._record.reserve(draws, terms)

    async def _send(self, attempts: list[Attempt]) -> list[SampleRequest]:
        """Send one call and settle its attempts; the draws that it brought no sample for."""
        try:
            async with self._crowd.place():
                self._traffic.at_once = self._crowd.running
                if self._is_over():
                    self._fail(attempts, CallError("not sent", billed="no"))
                    return []
                reply = await self._ask([attempt.draw for attempt in attempts])
        except CallError as error:
            self._fail(attempts, error)
            raise
        self._crowd.served()
        return self._settle(attempts, reply)

    def _fail(self, attempts: list[Attempt], error: CallError) -> None:
        charge = free(self._spec.price)
        if error.billed != "no":
            draws = [attempt.draw for attempt in attempts]
            charge = Charge(None, self._spec.worst(draws, error.stated) / len(attempts))
        self._record.fail(attempts, self._spec.scrubbed(str(error)), [charge] * len(attempts))

    def _settle(self, attempts: list[Attempt], reply: Reply) -> list[SampleRequest]:
        """Keep what came. A usage that can be believed is of the whole call: what did not come adds nothing to it."""
        made = list(zip(attempts, reply.completions, strict=False))
        self._arrived.put(self._record.settle(made, self._charges(attempts, reply)))
        if missing := attempts[len(made) :]:
            self._singly = self._singly or len(made) == 1  # of a server that does not know `n`
            charge = free(self._spec.price if reply.is_known else None)
            self._record.fail(missing, "fewer choices than asked", [charge] * len(missing), release=False)
        return [attempt.draw for attempt in missing]

    def _charges(self, attempts: list[Attempt], reply: Reply) -> list[Charge]:
        """What each sample that came has cost."""
        price = self._spec.price
        if reply.is_known:
            return [Charge(price.dollars(usage) if price else None) for usage in reply.billed]
        whole = self._spec.worst([attempt.draw for attempt in attempts], reply.stated, reply.beyond)
        return [Charge(None, whole / len(reply.billed)) for _ in reply.billed]

    async def _ask(self, draws: list[SampleRequest]) -> Reply:
        import openai

        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._limits.timeout):
                # Not `chat.completions.create`, which spends a fifth of its time on rewriting what is JSON already.
                content = await self._client.post("/chat/completions", cast_to=str, body=self._spec.body(draws))
        except TimeoutError as error:
            raise CallError(_TIMED_OUT, billed="perhaps", crowded=True) from error
        except openai.APIStatusError as error:
            spoken_of = stated(error.response.text)
            raise refusal(
                error.status_code, error.code, error.message, error.response.headers, spoken_of, error.param
            ) from None
        except openai.APIConnectionError as error:
            refused = "Connect" in type(error.__cause__).__name__
            cause = "no connection" if refused else "the connection broke"
            raise CallError(cause, billed="no" if refused else "perhaps") from error
        except openai.APIError as error:
            raise CallError("an unreadable reply", billed="perhaps") from error
        request = draws[0].request
        seconds = time.perf_counter() - started
        return read(content, len(draws), estimated(request.messages), request.sampling.max_tokens, seconds)


_TIMED_OUT = "timed out"
_REFUSED = "permanently refused"


def _calls(draws: Sequence[SampleRequest], *, together: bool) -> Iterator[list[SampleRequest]]:
    """The draws that are asked for in one call each: samples of one request, unless it is greedy."""
    calls: dict[Request | str, list[SampleRequest]] = {}
    for draw in draws:
        joined = together and draw.request.sampling.temperature > 0
        calls.setdefault(draw.request if joined else draw.key, []).append(draw)
    yield from calls.values()


def _without_credentials(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
