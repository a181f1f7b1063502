"""Intervals for accuracies and for differences between accuracies on the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

Z95 = 1.959963984540054
_RESAMPLES = 10_000


class Estimate(NamedTuple):
    """A mean and its 95 % interval."""

    value: float
    low: float
    high: float


def accuracy(credits: Sequence[float]) -> Estimate:
    """The mean credit: Wilson's interval where credits are 0 or 1, else (shared ties) a bootstrap over questions."""
    values = np.asarray(credits, dtype=float)
    if set(np.unique(values)) <= {0.0, 1.0}:
        return wilson(int(values.sum()), len(values))
    return _bootstrap(values)


def wilson(successes: int, n: int) -> Estimate:
    """Wilson's score interval (1927), which stays inside [0, 1] and is not empty at 0 or n successes."""
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0)
    p, z2 = successes / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Estimate(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))


def difference(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Mean of a - b over the same questions in the same order, 95 %.

    Where credits are 0 or 1: the adjusted Wald interval for paired proportions of Bonett and Price (2012), which is not
    empty when no question flipped, as a bootstrap's is. Else (shared ties) a paired bootstrap over questions.
    """
    if len(a) != len(b):
        raise ValueError(f"paired credits of unequal length: {len(a)} and {len(b)}")
    values = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    if not set(a) | set(b) <= {0.0, 1.0}:
        return _bootstrap(values)
    n = len(values)
    up, down = (((values == sign).sum() + 1) / (n + 2) for sign in (1.0, -1.0))
    half = Z95 * sqrt((up + down - (up - down) ** 2) / (n + 2))
    centre = float(up - down)
    return Estimate(float(values.mean()), max(-1.0, centre - half), min(1.0, centre + half))


def _bootstrap(values: np.ndarray) -> Estimate:
    """Percentile bootstrap of the mean. Few distinct values, so resampling their counts is exact and fast."""
    distinct, counts = np.unique(values, return_counts=True)
    n = len(values)
    resampled = np.random.default_rng(0).multinomial(n, counts / n, size=_RESAMPLES) @ distinct / n
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))
