"""A model is a value: an engine, perhaps an adapter, a study seed, and the store that remembers its answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from .cost.flops import ModelSize
from .cost.prices import AnyPrice
from .engine import Engine, EngineStatus
from .recorder import SampleStore, Spend
from .types import Completion, Request, SampleRequest, Thinking, with_suffix


class ProgressCallback(Protocol):
    """Called as work is done."""

    def __call__(self, finished: int, wanted: int, tokens: int = 0) -> None:
        """So much of it is finished; `tokens` were generated for it, what was there before not counted."""
        ...


def silent(finished: int, wanted: int, tokens: int = 0) -> None:
    """Nobody watches."""


class ModelStatus(NamedTuple):
    """How buying goes, for those who watch."""

    spend: Spend
    """Of the whole store."""
    status: EngineStatus


@dataclass(frozen=True)
class Model:
    """What answers requests. A distilled student, a base model and an API differ only in what is inside."""

    name: str
    engine: Engine
    store: SampleStore
    seed: int = 0
    adapter: Path | None = None
    """A PEFT adapter directory; None is the engine's own model."""
    price: AnyPrice | None = None
    """None when nobody named a price; it is then unknown, never zero."""
    suffix: str = ""
    """A sentence behind the last turn of every request, which a student may have been taught to be asked with."""
    thinking: Thinking | None = None
    """Whether it is to think before it replies; None leaves it to the model."""

    @property
    def footprint(self) -> ModelSize | None:
        """As it runs here: the base, with an adapter beside it."""
        return self.engine.footprint(self.adapter)

    @property
    def merged_footprint(self) -> ModelSize | None:
        """As it would be put to work: a plain adapter is added to the base's weights; a NAT model cannot be."""
        from .local.model_dir import is_nat

        return self.footprint if self.adapter and is_nat(self.adapter) else self.engine.footprint(None)

    def __call__(self, requests: Sequence[Request], advance: ProgressCallback = silent) -> list[list[Completion]]:
        """The `n` completions of every request, in order; only what the store does not have is generated."""
        draws = self.draws(requests)
        unique = list({draw.key: draw for batch in draws for draw in batch}.values())
        found = self.store.get([draw.key for draw in unique])
        advance(len(found), len(unique))
        if len(found) < len(unique):
            missing = [draw for draw in unique if draw.key not in found]
            tokens = 0
            for finished in self.engine.generate(missing, self.store, self.adapter, planned=unique):
                found.update((draw.key, completion) for draw, completion in finished)
                tokens += sum(completion.usage.completion_tokens for _, completion in finished)
                advance(len(found), len(unique), tokens)
        return [[found[draw.key] for draw in batch] for batch in draws]

    def status(self) -> ModelStatus:
        """How it goes now."""
        return ModelStatus(self.store.spend(), self.engine.status())

    def draws(self, requests: Sequence[Request]) -> list[list[SampleRequest]]:
        """Every sample that the requests stand for, under its store key."""
        identity = self.engine.identity(self.adapter)
        if self.suffix:
            requests = [replace(r, messages=with_suffix(r.messages, self.suffix)) for r in requests]
        if self.thinking:
            requests = [r.with_thinking(self.thinking) for r in requests]
        return [[SampleRequest(r, i, _key(identity, r, i, self.seed)) for i in range(r.n)] for r in requests]


def _key(identity: tuple[str, ...], request: Request, index: int, seed: int) -> str:
    sampling = request.sampling
    parts = {
        "identity": list(identity),
        "messages": [list(message) for message in request.messages],
        "sampling": [sampling.temperature, sampling.top_p, sampling.max_tokens, list(sampling.stop)],
        "template": request.template,
        "logprobs": request.logprobs,
        "seed": seed,
        "index": index,
    }
    if request.thinking is not None:
        parts["thinking"] = str(request.thinking)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
