"""Decomposing for many at once: questions that come together are decomposed together."""

from __future__ import annotations

import hashlib
import json
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
from ..pipeline.types import DecomposeRequest, DecomposeResult

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
