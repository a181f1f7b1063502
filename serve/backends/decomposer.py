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
from ...lm.local.model_dir import Here
from ...lm.store.store import Store
from ...lm.types import Completion, Request, Usage
from ...solve.policy import Next
from ...tasks.question import Question
from ..pipeline.sanitize import tame
from ..pipeline.types import Found, Made, Wanted
from .batcher import Batcher

Clean = Callable[[str], str]


_TOO_LONG = Decomposition((), "unreadable", "", Usage())
"""Of a question for which the decomposer has no room."""


@dataclass(frozen=True)
class Decomposing:
    """A model that decomposes whatever it is given, a batch at a time."""

    asker: Next
    clean: Clean = str
    """Drops what the tokenizer of the model that reads the sub-questions would take for more than text."""

    def __call__(self, wanted: Sequence[Wanted]) -> list[Made]:
        """The decompositions, in order. Nothing is kept."""
        with Store() as scratch:
            model = replace(self.asker.first.model, store=scratch)
            askers = [replace(self.asker, first=replace(self.asker.first, model=model, limit=w.limit)) for w in wanted]
            requests = [_request(*each) for each in zip(askers, wanted, strict=True)]
            fits = [_fits(model.engine, request) for request in requests]
            replies = iter(model([request for request, does in zip(requests, fits, strict=True) if does]))
            read = [
                _read(asker, each, next(replies)[0]) if does else _TOO_LONG
                for asker, each, does in zip(askers, wanted, fits, strict=True)
            ]
            return [self._made(*each) for each in zip(wanted, read, strict=True)]

    def _made(self, wanted: Wanted, read: Decomposition) -> Made:
        subquestions = tame(read.subquestions, most=wanted.limit, clean=self.clean)
        kind = "unreadable" if read.subquestions and not subquestions else read.kind
        return Made(subquestions, kind, self._id(wanted), read.usage)

    def _id(self, wanted: Wanted) -> str:
        model = self.asker.first.model
        parts = [*model.engine.identity(model.adapter), self.asker.first.prompt.sha256, wanted]
        return f"dec-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}"


def _request(asker: Next, wanted: Wanted) -> Request:
    question = _question(wanted)
    return asker.first.request(question) if wanted.history is None else asker.request(question, wanted.history)


def _fits(engine: Engine, request: Request) -> bool:
    """Whether a model has room for a prompt and what it is to write; one that is elsewhere has to say so itself."""
    if not isinstance(engine, Here) or engine.local.context is None:
        return True
    prompt = len(encode(engine.local.tokenizer, request.messages))
    return prompt + request.sampling.max_tokens <= engine.local.context


def _read(asker: Next, wanted: Wanted, made: Completion) -> Decomposition:
    if wanted.history is None:
        return asker.first.read(made.text, made.usage)
    return asker.read(made.text, made.usage, wanted.history)


def _question(wanted: Wanted) -> Question:
    return Question("asked", wanted.question, answer="")


_Own = tuple[str, Wanted]
"""A caller, and what they want."""


class Remembering:
    """Decompositions for requests that run at once: batched, remembered, and each made once for all who wait for it."""

    def __init__(self, batcher: Batcher[Wanted, Made], most: int) -> None:
        """`most` is how many are remembered; the one not asked for longest is forgotten first."""
        self._batcher = batcher
        self._most = most
        self._there: OrderedDict[_Own, Made] = OrderedDict()
        self._coming: dict[_Own, asyncio.Task[Made]] = {}

    def __len__(self) -> int:
        return len(self._there)

    async def __call__(self, wanted: Wanted, seconds: float, caller: str = "") -> Found:
        """Raises TimeoutError after so many seconds, and whatever the decomposer does; others may still wait for it.

        Each caller has their own: that a question was asked before is not for others to know.
        """
        own = (caller, wanted)
        if (made := self._there.get(own)) is not None:
            self._there.move_to_end(own)
            return Found(made, was_there=True)
        task = self._coming.get(own)
        is_coming = task is not None
        if task is None:
            task = self._coming[own] = asyncio.create_task(self._batcher.submit(wanted))
            task.add_done_callback(lambda done: self._came(own, done))
        return Found(await asyncio.wait_for(asyncio.shield(task), seconds), was_there=is_coming)

    def _came(self, own: _Own, done: asyncio.Task[Made]) -> None:
        del self._coming[own]
        if done.cancelled() or done.exception() is not None:
            return
        self._there[own] = done.result()
        while len(self._there) > self._most:
            self._there.popitem(last=False)
