"""Intervals for accuracies and for differences between accuracies on the same questions.

A question's credit is 1, 0, or a share when right and wrong answers tie. A share varies less than a coin of the same
mean, so that the formulas for 0 and 1, fed with sums of credit, err on the wide side
(docs/decisions/0004-intervals-of-shared-credit.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

Z95 = 1.959963984540054


class Estimate(NamedTuple):
    """A mean and its 95 % interval."""

    value: float
    low: float
    high: float


def accuracy(credits: Sequence[float]) -> Estimate:
    """The mean credit with Wilson's score interval (1927), which is not empty at none or all right.

    Without questions the mean is not a number and the interval is everything.
    """
    n = len(credits)
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0)
    p, z2 = sum(credits) / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Estimate(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))


def difference(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Mean of a - b over the same questions in the same order.

    The adjusted Wald interval for paired proportions of Bonett and Price (2012): one question is added to those that
    flipped either way, so that no flip is not certainty.
    """
    if len(a) != len(b):
        raise ValueError(f"paired credits of unequal length: {len(a)} and {len(b)}")
    n = len(a)
    changes = [x - y for x, y in zip(a, b, strict=True)]
    up = (sum(change for change in changes if change > 0) + 1) / (n + 2)
    down = (sum(-change for change in changes if change < 0) + 1) / (n + 2)
    half = Z95 * sqrt((up + down - (up - down) ** 2) / (n + 2))
    value = sum(changes) / n if n else float("nan")
    return Estimate(value, max(-1.0, up - down - half), min(1.0, up - down + half))


Z80 = 0.8416212335729143


def questions_needed(a: Sequence[float], b: Sequence[float], points: float) -> float:
    """About how many questions a paired comparison needs to see a difference of so many points.

    With a chance of 80 % at the 5 % level, where as many questions flip as did between a and b (Connor, 1987).
    """
    changed = sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)
    d = points / 100
    flips = max(changed, d)
    return ((Z95 * sqrt(flips) + Z80 * sqrt(max(flips - d * d, 0.0))) / d) ** 2
