"""Intervals for accuracies and for differences between accuracies on the same questions.

A question's credit is 1, 0, or a share when right and wrong answers tie. A share varies less than a coin of the same
mean, so that the formulas for 0 and 1, fed with sums of credit, err on the wide side
(docs/decisions/0004-intervals-of-shared-credit.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import NamedTuple

from .clusters import Clusters, are_independent, spread, totals

Z95 = 1.959963984540054


class Estimate(NamedTuple):
    """A mean and its 95 % interval."""

    value: float
    low: float
    high: float


def accuracy(credits: Sequence[float], clusters: Clusters | None = None) -> Estimate:
    """The mean credit with Wilson's score interval (1927), which is not empty at none or all right.

    `clusters` names each question's family; the interval is then over families, as `ratio` has it. Without questions
    the mean is not a number and the interval is everything.
    """
    n = len(credits)
    if not n:
        return Estimate(float("nan"), 0.0, 1.0)
    if clusters is None or are_independent(clusters):
        return _wilson(sum(credits) / n, n)
    return ratio(totals(credits, clusters))


def share(value: float, n: int) -> Estimate:
    """A mean credit of n questions that is known alone, from a paper say, with Wilson's interval."""
    return _wilson(value, n)


def ratio(parts: Sequence[tuple[float, float]]) -> Estimate:
    """A share of all units, which come in clusters: from each cluster's sum and how many units it has.

    Wilson's interval for as many units, drawn one by one, as would vary so much, fewer by the square of the normal
    quantile over Student's t (Korn and Graubard, 1998); the variance is CR2's.
    """
    found = spread(parts)
    p = found.mean
    if found.clusters < 2:
        return Estimate(p, 0.0, 1.0)
    alike = p * (1 - p) / found.variance if found.variance else found.clusters
    return _wilson(p, min(found.units, alike) * (Z95 / found.t95) ** 2)


def _wilson(p: float, n: float) -> Estimate:
    z2 = Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Estimate(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))


def students(values: Sequence[float], clusters: Clusters | None = None) -> Estimate:
    """The mean of any values with Student's 95 % interval, over clusters if there are some; of one it is everything."""
    found = spread(totals(values, clusters or range(len(values))))
    if found.clusters < 2:
        return Estimate(found.mean, -inf, inf)
    half = found.t95 * sqrt(found.variance)
    return Estimate(found.mean, found.mean - half, found.mean + half)


def difference(a: Sequence[float], b: Sequence[float], clusters: Clusters | None = None) -> Estimate:
    """Mean of a - b over the same questions in the same order.

    The adjusted Wald interval for paired proportions of Bonett and Price (2012): one question is added to those that
    flipped either way, so that no flip is not certainty. Where questions come in `clusters`, Student's t with CR2's
    variance over these; where no family differs from another, Bonett and Price's for as many questions as families.
    """
    if len(a) != len(b):
        raise ValueError(f"paired credits of unequal length: {len(a)} and {len(b)}")
    return of_changes([x - y for x, y in zip(a, b, strict=True)], clusters)


def of_changes(changes: Sequence[float], clusters: Clusters | None = None) -> Estimate:
    """The same, from the differences."""
    if clusters is None or are_independent(clusters):
        return _bonett_price(changes, len(changes))
    found = spread(totals(changes, clusters))
    if found.clusters < 2:
        return Estimate(found.mean, -1.0, 1.0)
    if not found.variance:
        return _bonett_price(changes, found.clusters)
    half = found.t95 * sqrt(found.variance)
    return Estimate(found.mean, max(-1.0, found.mean - half), min(1.0, found.mean + half))


def _bonett_price(changes: Sequence[float], n: float) -> Estimate:
    """For changes of which `n` are independent."""
    if not changes:
        return Estimate(float("nan"), -1.0, 1.0)
    risen, fallen = (sum(max(0.0, sign * change) for change in changes) / len(changes) for sign in (1, -1))
    up, down = (risen * n + 1) / (n + 2), (fallen * n + 1) / (n + 2)
    half = Z95 * sqrt((up + down - (up - down) ** 2) / (n + 2))
    value = sum(changes) / len(changes)
    return Estimate(value, max(-1.0, up - down - half), min(1.0, up - down + half))


def holm(ps: Sequence[float]) -> list[float]:
    """P-values of a family of tests, adjusted so that one false alarm in the whole family is as rare (Holm, 1979)."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    adjusted, most = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        most = max(most, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = most
    return adjusted


Z80 = 0.8416212335729143


def questions_needed(a: Sequence[float], b: Sequence[float], points: float) -> float:
    """About how many questions a paired comparison needs to see a difference of so many points.

    With a chance of 80 % at the 5 % level, where as many questions flip as did between a and b (Connor, 1987).
    """
    changed = sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)
    d = points / 100
    flips = max(changed, d)
    return ((Z95 * sqrt(flips) + Z80 * sqrt(max(flips - d * d, 0.0))) / d) ** 2
