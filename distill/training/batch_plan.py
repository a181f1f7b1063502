"""Which examples make up each training step: planned in full beforehand, so that a resumed training repeats it.

Examples of like length share a batch, which leaves almost no padding (random batches of real traces are mostly
padding). The library's own length grouping does not resume exactly in the middle of an epoch; a list does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

_POOL = 32
"""Batches' worth of examples that are sorted by length together; more would make an epoch's order less random."""


class TrainingBudget(NamedTuple):
    """How long a training may be, in tokens or operations."""

    amount: float
    each: Sequence[float]
    """What every example takes of it."""


def plan(
    lengths: Sequence[int], *, batch: int, micro_batch: int, seed: int, budget: TrainingBudget | None, epochs: float
) -> list[list[int]]:
    """The examples' indices, a list a micro-batch; `batch / micro_batch` of them make a step.

    Epoch follows epoch, each in an order of its own, until `budget` is spent, or else for `epochs`. Every step is a
    whole batch (the last may be smaller where `epochs` ends), so that micro-batches never mix two steps; a budget is
    overrun by less than one batch.
    """
    steps: list[list[int]] = []
    seen = 0.0
    examples = max(1, round(epochs * len(lengths)))
    for step in _endless(lengths, batch, seed):
        if seen >= (budget.amount if budget else examples):
            break
        kept = step if budget else step[: examples - int(seen)]
        steps.append(kept)
        seen += sum(budget.each[i] for i in kept) if budget else len(kept)
    return [step[start : start + micro_batch] for step in steps for start in range(0, len(step), micro_batch)]


def _endless(lengths: Sequence[int], batch: int, seed: int) -> Iterator[list[int]]:
    """Whole batches. What an epoch leaves over begins the first batch of the next."""
    left: list[int] = []
    for epoch in count():
        rng = random.Random(f"{seed}/{epoch}")
        order = left + rng.sample(range(len(lengths)), len(lengths))
        if left and len(order) >= batch:
            yield order[:batch]
            order = order[batch:]
        whole = len(order) - len(order) % batch
        order, left = order[:whole], order[whole:]
        pools = [order[start : start + _POOL * batch] for start in range(0, whole, _POOL * batch)]
        grouped = [sorted(pool, key=lambda i: lengths[i]) for pool in pools]
        batches = [pool[start : start + batch] for pool in grouped for start in range(0, len(pool), batch)]
        rng.shuffle(batches)
        yield from batches
