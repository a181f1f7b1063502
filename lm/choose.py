"""Choosing the next token, row by row, from random streams that belong to the samples; and where to stop."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase, StoppingCriteria

from .completion import Draw


class Choose(LogitsProcessor):  # type: ignore[misc]  # transformers leaves it untyped
    """Makes greedy decoding sample: leaves each row one token, drawn by inverting the row's cumulative distribution.

    Row b takes its t-th uniform number from a Philox stream keyed by its draw's seed, so the same draw gets the same
    token in any batch whose logits agree. Rows may differ in temperature and top-p.
    """

    def __init__(self, draws: Sequence[Draw], device: torch.device) -> None:
        samplings = [draw.request.sampling for draw in draws]
        streams = [np.random.Generator(np.random.Philox(key=draw.seed)) for draw in draws]
        steps = samplings[0].max_tokens
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
        if self.keeps:
            logprobs = scores.float().log_softmax(-1)
            self._logprobs.append(logprobs.gather(-1, token[:, None])[:, 0])
            self._certainties.append(-logprobs.mean(-1) - log(logprobs.shape[-1]))
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter(-1, token[:, None], 0.0)

    def logprobs(self) -> list[list[float]]:
        """The chosen tokens' log-probabilities under the model itself, a list a row."""
        return torch.stack(self._logprobs, 1).tolist()

    def certainties(self) -> list[list[float]]:
        """KL(uniform || prediction) at each token, in nats, a list a row."""
        return torch.stack(self._certainties, 1).tolist()

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


class StopStrings(StoppingCriteria):  # type: ignore[misc]  # transformers leaves it untyped
    """Ends a row once its text holds a stop string.

    The library's own criterion takes a tokenizer's vocabulary apart to do so, and cannot read a word-level one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str], prompt: int) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._prompt = prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        texts = self._tokenizer.batch_decode(input_ids[:, self._prompt :], skip_special_tokens=True)
        return torch.tensor([any(stop in text for stop in self._stops) for text in texts], device=input_ids.device)
