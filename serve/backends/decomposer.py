"""Decomposing for many at once: questions that come together are decomposed together, and none twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...decompose.decomposition import Decomposition
from ...lm.engine import Engine
from ...lm.local.chat_template import encode
from ...lm.local.model_dir import LocalEngine
from ...lm.recorder import NoRecord
from ...lm.types import Completion, Request, Usage
from ...solve.askers import NextQuestion
from ...tasks.question import Question
from ..pipeline.sanitize import sanitize
from ..pipeline.types import CachedResult, DecomposeRequest, DecomposeResult
from .batcher import Batcher

Clean = Callable[[str], str]


_TOO_LONG = Decomposition((), "unreadable", "", Usage())
"""Of a question for which the decomposer has no room."""


@dataclass(frozen=True)
class DecomposerService:
    """A model that decomposes whatever it is given, a batch at a time."""

    asker: NextQuestion
    clean: Clean = str
    """Drops what the tokenizer of the model that reads the sub-questions would take for more than text."""

    def __call__(self, wanted: Sequence[DecomposeRequest]) -> list[DecomposeResult]:
        """The decompositions, in order. Nothing is kept."""
        model = replace(self.asker.first.model, store=NoRecord())
        askers = [replace(self.asker, first=replace(self.asker.first, model=model, limit=w.limit)) for w in wanted]
        requests = [_request(*each) for each in zip(askers, wanted, strict=True)]
        fits = [_fits(model.engine, request) for request in requests]
        replies = iter(model([request for request, does in zip(requests, fits, strict=True) if does]))
        read = [
            _read(asker, each, next(replies)[0]) if does else _TOO_LONG
            for asker, each, does in zip(askers, wanted, fits, strict=True)
        ]
        return [self._made(*each) for each in zip(wanted, read, strict=True)]

    def _made(self, wanted: DecomposeRequest, read: Decomposition) -> DecomposeResult:
        subquestions = sanitize(read.subquestions, most=wanted.limit, clean=self.clean)
        kind = "unreadable" if read.subquestions and not subquestions else read.kind
        return DecomposeResult(subquestions, kind, self._id(wanted), read.usage)

    def _id(self, wanted: DecomposeRequest) -> str:
        model = self.asker.first.model
        parts = [*model.engine.identity(model.adapter), self.asker.first.prompt.sha256, wanted]
        return f"dec-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}"


def _request(asker: NextQuestion, wanted: DecomposeRequest) -> Request:
    question = _question(wanted)
    return asker.first.request(question) if wanted.history is None else asker.request(question, wanted.history)


def _fits(engine: Engine, request: Request) -> bool:
    """Whether a model has room for a prompt and what it is to write; one that is elsewhere has to say so itself."""
    if not isinstance(engine, LocalEngine) or engine.local.context is None:
        return True
    prompt = len(encode(engine.local.tokenizer, request.messages, request.thinking))
    return prompt + request.sampling.max_tokens <= engine.local.context


def _read(asker: NextQuestion, wanted: DecomposeRequest, made: Completion) -> Decomposition:
    if wanted.history is None:
        return asker.first.read(made)
    return asker.read(made, wanted.history)


def _question(wanted: DecomposeRequest) -> Question:
    return Question("asked", wanted.question, answer="")


_Own = tuple[str, DecomposeRequest]
"""A caller, and what they want."""


class DecompositionCache:
    """Decompositions for requests that run at once: batched, remembered, and each made once for all who wait for it."""

    def __init__(self, batcher: Batcher[DecomposeRequest, DecomposeResult], most: int) -> None:
        """`most` is how many are remembered; the one not asked for longest is forgotten first."""
        self._batcher = batcher
        self._most = most
        self._there: OrderedDict[_Own, DecomposeResult] = OrderedDict()
        self._coming: dict[_Own, asyncio.Task[DecomposeResult]] = {}

    def __len__(self) -> int:
        return len(self._there)

    async def __call__(self, wanted: DecomposeRequest, seconds: float, caller: str = "") -> CachedResult:
        """Raises TimeoutError after so many seconds, and whatever the decomposer does; others may still wait for it.

        Each caller has their own: that a question was asked before is not for others to know.
        """
        own = (caller, wanted)
        if (made := self._there.get(own)) is not None:
            self._there.move_to_end(own)
            return CachedResult(made, was_there=True)
        task = self._coming.get(own)
        is_coming = task is not None
        if task is None:
            task = self._coming[own] = asyncio.create_task(self._batcher.submit(wanted))
            task.add_done_callback(lambda done: self._came(own, done))
        return CachedResult(await asyncio.wait_for(asyncio.shield(task), seconds), was_there=is_coming)

    def _came(self, own: _Own, done: asyncio.Task[DecomposeResult]) -> None:
        del self._coming[own]
        if done.cancelled() or done.exception() is not None:
            return
        self._there[own] = done.result()
        while len(self._there) > self._most:
            self._there.popitem(last=False)
