"""The models of an endpoint at work: takes the steps of many requests at once."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from ...core.errors import ConfigError, ModelError
from ...lm.local.chat_template import without_control_tokens
from ...lm.local.weights import load_tokenizer
from ...prompts import PromptFamily
from ...solve.voting.election import NOBODY, Election, VoteResult
from ..backends import loading
from ..backends.batcher import Batcher
from ..backends.decomposer import Clean, DecomposerService
from ..backends.decomposer_cache import BatchedDecomposer
from ..backends.local import LocalModel
from ..backends.ranker import RankerScorer
from ..backends.upstream import Upstream
from ..pipeline import response, templates
from ..pipeline.billing import Rates
from ..pipeline.errors import APIError
from ..pipeline.pipeline import (
    Ask,
    Composition,
    Decompose,
    Elect,
    RequestTrace,
    Step,
    Steps,
    Who,
    ahead,
    chain,
    ended,
    failed,
    run,
)
from ..pipeline.request import Chat, refused_rule
from ..pipeline.response import Reply
from ..pipeline.types import CachedResult, DecomposeRequest, DecomposeResult
from ..pipeline.usage import written
from ..settings import DecomposerSettings, LocalSolverSettings, ServeSettings, UpstreamSettings
from .admission import MemoryBudget
from .metrics import Metrics

_LOG = logging.getLogger(__name__)
_HELLO = "How many apples are two apples and three apples?"
"""What a decomposer is asked before anybody else asks it."""
_MOST_SAMPLES = 64
"""Of one call, by any setting: so many wait for a local model whatever a key's share of its queue is."""
_VOTES = 4
"""Votes at once, in threads of their own."""


class Answerer(Protocol):
    """A model behind the chat-completions API, whoever runs it."""

    async def complete(self, body: Mapping[str, Any]) -> Reply:
        """A whole reply. Raises Refused."""
        ...

    def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[Reply, None]:
        """The chunks of a reply, the last with its usage. Raises Refused. Closed early, it stops what is generated."""
        ...

    async def warm(self) -> None: ...

    async def close(self) -> None: ...


class Service:
    """Everything that answers."""

    def __init__(self, settings: ServeSettings, watch: Metrics | None = None) -> None:
        """Opens nothing large yet. Raises ConfigError when something is not there."""
        self.settings = settings
        self.watch = watch or Metrics()
        if problem := refused_rule(settings.vote.rule, settings):
            raise ConfigError(problem)
        self.answerers: dict[Who, Answerer] = {}
        self._remembering: BatchedDecomposer | None = None
        self._batcher: Batcher[DecomposeRequest, DecomposeResult] | None = None
        self._voting = ThreadPoolExecutor(_VOTES, thread_name_prefix="votes")
        self._samples: MemoryBudget | None = None
        self._upstream: Upstream | None = None
        families: dict[Who, PromptFamily] = {}
        self.rates = Rates()
        if settings.upstream:
            self._open_upstream(settings.upstream, families)
        if settings.local:
            self._open_local(settings.local, families)
        if settings.decomposer:
            self._open_decomposer(settings.decomposer)
        self._ranker = RankerScorer(settings.vote.ranker) if settings.vote.ranker else None
        election = Election(settings.vote.grader, self._ranker, algebra=settings.vote.algebra)
        secret = secrets.token_bytes(32)
        self.composition = Composition(families, election, secret, settings.decomposer, settings.cascade)

    def _open_upstream(self, of: UpstreamSettings, families: dict[Who, PromptFamily]) -> None:
        self.answerers["upstream"] = self._upstream = Upstream(of)
        families["upstream"] = templates.family(of.prompts)
        self.rates = replace(self.rates, upstream=of.rates())

    def _open_local(self, of: LocalSolverSettings, families: dict[Who, PromptFamily]) -> None:
        solver = loading.opened(of.path, "solver", of.model, of.concurrency)
        name = self.name if self.settings.upstream is None else "local"
        self.answerers["local"] = LocalModel(
            solver.engine,
            solver.adapter,
            name,
            most=of.concurrency,
            max_queue=of.max_queue,
            suffix=solver.suffix,
            thinking=solver.thinking,
        )
        families["local"] = loading.templates(of, solver)
        if self.settings.keys:
            self._samples = MemoryBudget(*_queue(of, self.settings), "the model waits for")
        price, size = of.price, solver.engine.footprint(solver.adapter)
        self.rates = replace(self.rates, local=price, local_size=size)

    def _open_decomposer(self, of: DecomposerSettings) -> None:
        opened = loading.opened(str(of.path), "decomposer", of.model, of.concurrency)
        decomposing = DecomposerService(loading.asker(of, opened), _clean(self.settings))
        self._batcher = Batcher(
            decomposing, most=of.concurrency, max_queue=of.max_queue, on_batch=self.watch.decomposed
        )
        self._remembering = BatchedDecomposer(self._batcher, of.cache)
        price, size = of.price, opened.engine.footprint(opened.adapter)
        self.rates = replace(self.rates, decomposer=price, decomposer_size=size)

    def reload(self, settings: ServeSettings) -> None:
        """Other settings of the same models, for all that is asked from now on."""
        self.settings = settings
        self.composition = replace(self.composition, decomposer=settings.decomposer, cascade=settings.cascade)
        if settings.upstream and self._upstream:
            self._upstream.reload(settings.upstream)
            self.rates = replace(self.rates, upstream=settings.upstream.rates())
        if settings.local and self._samples:
            self._samples.resize(*_queue(settings.local, settings))

    @property
    def name(self) -> str:
        """What clients call it: the API LLM's name, or else the local model's."""
        if self.settings.upstream:
            return self.settings.upstream.model
        local = self.settings.local
        return (local.name or local.path.rstrip("/").rpartition("/")[2]) if local else ""

    async def warm(self) -> None:
        """Load every model, and let each say something."""
        if self._batcher is not None:
            await self._batcher.submit(DecomposeRequest(_HELLO, 1))
        for answerer in self.answerers.values():
            await answerer.warm()
        if self._ranker:
            await asyncio.to_thread(self._ranker.warm)

    async def close(self) -> None:
        """Give back what is open; whoever still waits gets an error."""
        for answerer in self.answerers.values():
            await answerer.close()
        if self._batcher is not None:
            await self._batcher.close()
        self._voting.shutdown(wait=False, cancel_futures=True)

    async def answer(self, chat: Chat, trail: RequestTrace) -> Reply:
        """The whole reply to a request. Raises Refused."""
        return await run(chain(chat, self.composition, trail), partial(self._take, trail=trail))

    async def stream(self, chat: Chat, trail: RequestTrace) -> AsyncGenerator[Reply, None]:
        """The chunks of the reply to a request, without its usage. Raises Refused, perhaps in between."""
        steps = chain(chat, self.composition, trail)
        last = await ahead(steps, partial(self._take, trail=trail))
        if not isinstance(last, Ask):
            for chunk in response.as_chunks(last):
                yield chunk
            return
        async with aclosing(self._streamed(last, steps, trail)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _streamed(self, step: Ask, steps: Steps, trail: RequestTrace) -> AsyncGenerator[Reply, None]:
        """The last step's chunks as they come; the chain is told what they took."""
        used: Any = None
        last: Reply = {}
        try:
            separate = response.Separator()
            with _timed(trail, "solve"), self._queued(step, trail):
                async with aclosing(self.answerers[step.who].stream(step.body)) as chunks:
                    async for chunk in chunks:
                        trail.answered_by = step.who
                        trail.streamed += written(chunk)
                        used = chunk.get("usage") or used
                        if chunk["choices"]:
                            last = {key: value for key, value in chunk.items() if key != "usage"}
                            yield separate(last)
                    if rest := separate.rest():
                        yield {**last, "choices": rest}
        except APIError as refused:
            failed(steps, refused)
        ended(steps, {"choices": [], "usage": used})

    async def _take(self, step: Step, trail: RequestTrace) -> Any:
        match step:
            case Decompose(wanted):
                with _timed(trail, "decompose"):
                    return await self._decompose(wanted, trail.caller)
            case Ask(who, body):
                with _timed(trail, "solve"), self._queued(step, trail):
                    return response.separated(await self.answerers[who].complete(body))
            case Elect():
                with _timed(trail, "vote"):
                    return await self._elect(step)

    @contextmanager
    def _queued(self, step: Ask, trail: RequestTrace) -> Iterator[None]:
        """A place in the local model's queue for each sample. Raises Refused where the key holds its share of them."""
        if self._samples is None or step.who != "local":
            yield
            return
        with self._samples.taken(trail.caller) as take:
            take(step.body.get("n") or 1)
            yield

    async def _elect(self, step: Elect) -> VoteResult:
        """Who is elected, if that is known in time; the thread may go on for a while."""
        election = partial(self.composition.election, step.question, step.samples, step.rule)
        voting = asyncio.get_running_loop().run_in_executor(self._voting, election)
        try:
            return await asyncio.wait_for(voting, self.settings.vote.timeout)
        except TimeoutError:
            _LOG.warning("a vote was given up after %g s", self.settings.vote.timeout)
            return NOBODY

    async def _decompose(self, wanted: DecomposeRequest, caller: str) -> CachedResult | None:
        """None when the decomposer fails, whatever the reason: it is a help, and no more."""
        if self._remembering is None or self.settings.decomposer is None:
            return None
        try:
            return await self._remembering(wanted, self.settings.decomposer.timeout, caller)
        except TimeoutError:
            cause = "timeout"
        except APIError:
            cause = "busy"
        except (ModelError, ConfigError) as error:
            cause = type(error).__name__
        except Exception as error:  # noqa: BLE001  # a library's, on a question that nobody foresaw
            cause = type(error).__name__
        _LOG.warning("the decomposer failed (%s)", cause)
        self.watch.decomposer_failed(cause)
        return None


def _clean(settings: ServeSettings) -> Clean:
    """What drops the control tokens of the model that reads the sub-questions, where its tokenizer is known."""
    if settings.upstream and settings.upstream.tokenizer:
        return partial(without_control_tokens, load_tokenizer(settings.upstream.tokenizer))
    return str  # a local model's are dropped where its prompt is encoded


def _queue(of: LocalSolverSettings, settings: ServeSettings) -> tuple[int, float, int]:
    """The samples that a local model's queue holds, the share of one key, and what is left to it in any case."""
    return of.concurrency + of.max_queue, settings.limits.key_share, _MOST_SAMPLES


@contextmanager
def _timed(trail: RequestTrace, phase: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        trail.seconds[phase] = trail.seconds.get(phase, 0.0) + time.perf_counter() - started
