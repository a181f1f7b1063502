"""Choosing the next token, row by row, from random streams that belong to the samples; and where to stop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase, StoppingCriteria

from ..engine import StreamCallback
from ..reasoning import closing_tag_of
from ..types import Completion, SampleRequest
from .streaming import StreamDecoder

_SHARE = 1 / 20
"""Of the time of generating, what listeners may take at most; while they have taken more, they hear nothing new."""


_EVERY = 16
"""Tokens after which a row that has spent its budget is looked at again: reasoning may begin late, or a second time."""


class ThinkingBudgets:
    """Ends the reasoning of each row that has spent its budget: the tokens that close it are written in its place."""

    def __init__(
        self,
        draws: Sequence[SampleRequest],
        openings: Sequence[str],
        reader: StreamDecoder,
        tokenizer: PreTrainedTokenizerBase,
        prompt: int,
    ) -> None:
        """`openings` are what the rows' prompts have opened, `prompt` is how long they are."""
        self._budgets = {
            i: budget
            for i, draw in enumerate(draws)
            if draw.request.thinking and (budget := draw.request.thinking.budget) is not None
        }
        self._openings = openings
        self._reader = reader
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._closing: dict[int, list[int]] = {}
        """By row, the tokens that are yet to be written."""

    def __bool__(self) -> bool:
        return bool(self._budgets)

    def enforce(self, token: torch.Tensor, step: int, input_ids: torch.Tensor) -> torch.Tensor:
        """The step's tokens (batch), those of rows that are being closed replaced."""
        for i, budget in self._budgets.items():
            if step >= budget and (step - budget) % _EVERY == 0 and not self._closing.get(i):
                text = self._reader.raw(input_ids[i, self._prompt :].tolist())
                if (closing := closing_tag_of(self._openings[i] + text)) is not None:
                    self._closing[i] = self._tokenizer(closing, add_special_tokens=False)["input_ids"]
            if self._closing.get(i):
                token = token.clone()
                token[i] = self._closing[i].pop(0)
        return token


class SeededSampler(LogitsProcessor):  # type: ignore[misc]  # transformers leaves it untyped
    """Makes greedy decoding sample: leaves each row one token, drawn by inverting the row's cumulative distribution.

    Row b takes its t-th uniform number from a Philox stream keyed by its draw's seed, so the same draw gets the same
    token in any batch whose logits agree. Rows may differ in temperature and top-p.
    """

    def __init__(
        self, draws: Sequence[SampleRequest], device: torch.device, budgets: ThinkingBudgets | None = None
    ) -> None:
        self._draws = draws
        self._budgets = budgets
        samplings = [draw.request.sampling for draw in draws]
        streams = [np.random.Generator(np.random.Philox(key=draw.seed)) for draw in draws]
        steps = max(sampling.max_tokens for sampling in samplings)
        self._uniform = torch.tensor(np.stack([s.random(steps) for s in streams]), device=device)  # batch, steps
        self._temperature = torch.tensor([s.temperature for s in samplings], device=device)  # batch
        self._top_p = torch.tensor([s.top_p for s in samplings], device=device)  # batch
        self._sampled = self._temperature > 0
        self.keeps = any(draw.request.logprobs for draw in draws)
        self._logprobs: list[torch.Tensor] = []
        self._certainties: list[torch.Tensor] = []
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """From logits (batch, vocabulary) to scores that are 0 at the chosen token and -inf elsewhere."""
        token = scores.argmax(-1)
        if self._sampled.any():
            token = torch.where(self._sampled, self._sample(scores), token)
        if self._budgets:
            token = self._budgets.enforce(token, self._step, input_ids)
        if self.keeps:
            logprobs = scores.float().log_softmax(-1)
            self._logprobs.append(logprobs.gather(-1, token[:, None])[:, 0])
            self._certainties.append(-logprobs.mean(-1) - log(logprobs.shape[-1]))
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter(-1, token[:, None], 0.0)

    def scored(self, completions: Sequence[Completion]) -> list[Completion]:
        """The rows' completions, those whose draw asked for it with what the model itself thought of their tokens."""
        logprobs = torch.stack(self._logprobs, 1).tolist()
        certainties = torch.stack(self._certainties, 1).tolist()
        return [
            _scored(made, logprobs[i], certainties[i]) if draw.request.logprobs else made
            for i, (draw, made) in enumerate(zip(self._draws, completions, strict=True))
        ]

    def _sample(self, scores: torch.Tensor) -> torch.Tensor:
        temperature = torch.where(self._sampled, self._temperature, 1.0)[:, None]
        p = (scores.float() / temperature).softmax(-1)
        if (self._top_p < 1).any():
            p = self._nucleus(p)
        cumulative = p.cumsum(-1, dtype=torch.float64)  # a float32 sum over 150,000 tokens is off by 1e-4
        target = self._uniform[:, self._step, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=scores.shape[-1] - 1)

    def _nucleus(self, p: torch.Tensor) -> torch.Tensor:
        """Keep the smallest set of tokens whose probability reaches top_p (the most likely one always)."""
        ordered, index = p.sort(-1, descending=True)
        before = ordered.cumsum(-1, dtype=torch.float64) - ordered
        return torch.zeros_like(p).scatter(-1, index, ordered.masked_fill(before >= self._top_p[:, None], 0.0))


def _scored(made: Completion, logprobs: list[float], certainties: list[float]) -> Completion:
    length = made.usage.completion_tokens
    self_certainty = sum(certainties[:length]) / max(1, length)  # KL(uniform || prediction) in nats
    return replace(made, logprobs=tuple(logprobs[:length]), self_certainty=self_certainty)


class StopStrings(StoppingCriteria):  # type: ignore[misc]  # transformers leaves it untyped
    """Ends a row once its text holds one of its stop strings.

    The library's own criterion takes a tokenizer's vocabulary apart to do so, and cannot read a word-level one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[Sequence[str]], prompt: int) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._prompt = prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        texts = self._tokenizer.batch_decode(input_ids[:, self._prompt :], skip_special_tokens=True)
        found = [any(stop in text for stop in stops) for text, stops in zip(texts, self._stops, strict=True)]
        return torch.tensor(found, device=input_ids.device)


class RowLimits(StoppingCriteria):  # type: ignore[misc]  # transformers leaves it untyped
    """Ends each row at a limit of its own."""

    def __init__(self, limits: Sequence[int], prompt: int, device: torch.device) -> None:
        self._lengths = torch.tensor(limits, device=device) + prompt  # batch

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        return self._lengths <= input_ids.shape[1]


class StreamingCriteria(StoppingCriteria):  # type: ignore[misc]  # transformers leaves it untyped
    """Lets a batch be heard while it is generated, and ends the rows that nobody listens to any more."""

    def __init__(
        self,
        draws: Sequence[SampleRequest],
        on_text: StreamCallback,
        reader: StreamDecoder,
        prompt: int,
        device: torch.device,
    ) -> None:
        self._draws = draws
        self._on_text = on_text
        self._reader = reader
        self._prompt = prompt
        self._texts = [""] * len(draws)
        self._over: set[int] = set()
        self._unheard = torch.zeros(len(draws), dtype=torch.bool, device=device)
        self.left: dict[int, int] = {}
        """By row, how many tokens it had when its listener left."""
        self._began = time.perf_counter()
        self._spent = 0.0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        now = time.perf_counter()
        if self._spent <= _SHARE * (now - self._began):
            for i, row in enumerate(input_ids[:, self._prompt :].tolist()):
                if i not in self._over:
                    self._tell(i, row)
            self._spent += time.perf_counter() - now
        return self._unheard

    def _tell(self, i: int, row: list[int]) -> None:
        draw = self._draws[i]
        text, is_over = self._reader.so_far(row, draw.request.sampling)
        if text.startswith(self._texts[i]):  # or else it is a tokenizer's that takes back what it wrote
            self._texts[i] = text
        if not self._on_text(draw, self._texts[i]):
            self.left[i] = len(row)
            self._unheard[i] = True
        if is_over or i in self.left:
            self._over.add(i)
