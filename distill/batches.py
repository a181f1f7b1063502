"""Which examples make up each training step: planned in full beforehand, so that a resumed training repeats it.

Examples of like length share a batch, which leaves almost no padding (random batches of real traces are mostly
padding). The library's own length grouping does not resume exactly in the middle of an epoch; a list does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_POOL = 32
"""Batches' worth of examples that are sorted by length together; more would make an epoch's order less random."""


def plan(
    lengths: Sequence[int], *, batch: int, micro_batch: int, seed: int, tokens: int | None, epochs: float
) -> list[list[int]]:
    """The examples' indices, a list a micro-batch; `batch / micro_batch` of them make a step.

    Epoch follows epoch, each in an order of its own, until `tokens` were seen, or else for `epochs`. A step is never
    cut, so the budget is overrun by less than one batch.
    """
    wanted = tokens if tokens is not None else round(epochs * sum(lengths))
    steps: list[list[int]] = []
    seen = 0
    for step in _endless(lengths, batch, seed):
        if seen >= wanted:
            break
        steps.append(step)
        seen += sum(lengths[i] for i in step)
    return [step[start : start + micro_batch] for step in steps for start in range(0, len(step), micro_batch)]


def _endless(lengths: Sequence[int], batch: int, seed: int) -> Iterator[list[int]]:
    epoch = 0
    while True:
        rng = random.Random(f"{seed}/{epoch}")
        order = rng.sample(range(len(lengths)), len(lengths))
        pools = [order[start : start + _POOL * batch] for start in range(0, len(order), _POOL * batch)]
        sorted_pools = [sorted(pool, key=lambda i: lengths[i]) for pool in pools]
        batches = [pool[start : start + batch] for pool in sorted_pools for start in range(0, len(pool), batch)]
        rng.shuffle(batches)
        yield from batches
        epoch += 1
