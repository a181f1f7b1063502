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
    return _wilson(sum(credits) / n, n) if n else Estimate(float("nan"), 0.0, 1.0)


def share(value: float, n: int) -> Estimate:
    """A mean credit of n questions that is known alone, from a paper say, with Wilson's interval."""
    return _wilson(value, n)


def ratio(parts: Sequence[tuple[float, float]]) -> Estimate:
    """A share of all units, which come in clusters: from each cluster's sum and how many units it has.

    Wilson's interval for as many units, drawn one by one, as would vary so much (Korn and Graubard, 1998); the variance
    is linearised over clusters (Cochran, *Sampling Techniques*, 1977, 6.3).
    """
    units = sum(size for _, size in parts)
    clusters = sum(size > 0 for _, size in parts)
    if not units:
        return Estimate(float("nan"), 0.0, 1.0)
    p = sum(total for total, _ in parts) / units
    apart = sum((total - p * size) ** 2 for total, size in parts)
    if clusters < 2 or not apart:
        return _wilson(p, clusters)
    return _wilson(p, p * (1 - p) * units**2 * (clusters - 1) / (clusters * apart))


def _wilson(p: float, n: float) -> Estimate:
    z2 = Z95**2
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


class Tested(NamedTuple):
    """A mean difference, and how probable one as large is where there is none."""

    estimate: Estimate
    p: float


def crossed(differences: Sequence[Sequence[float]]) -> Tested:
    """The mean of differences (seeds, questions), for other seeds and other questions than these.

    Seeds and questions are crossed random effects: the mean's variance is (MS_seeds + MS_questions - MS_rest) / (seeds
    x questions), its degrees of freedom are Satterthwaite's (1946; Brennan, *Generalizability Theory*, 2001, 6.1). With
    one seed the interval is over questions alone. Differences that are all the same leave it everything.
    """
    import numpy as np
    from scipy.special import stdtr, stdtrit

    d = np.asarray(differences, dtype=np.float64)
    seeds, questions = d.shape
    mean = float(d.mean())
    of_seeds, of_questions = d.mean(1, keepdims=True), d.mean(0, keepdims=True)
    squares = {
        "questions": (seeds * float(((of_questions - mean) ** 2).sum()), questions - 1),
        "seeds": (questions * float(((of_seeds - mean) ** 2).sum()), seeds - 1),
        "rest": (float(((d - of_seeds - of_questions + mean) ** 2).sum()), (seeds - 1) * (questions - 1)),
    }
    means = {name: (square / df if df else 0.0, df) for name, (square, df) in squares.items()}
    # Where the parts' sum falls below the larger part, chance has made the rest too large: the larger part stands.
    total = max(sum(-m if name == "rest" else m for name, (m, _) in means.items()), *(m for m, _ in means.values()))
    if total == 0:
        return Tested(Estimate(mean, -1.0, 1.0), 1.0)
    freedom = total**2 / sum(m**2 / df for m, df in means.values() if df)
    error = sqrt(total / d.size)
    half = float(stdtrit(freedom, 0.975)) * error
    return Tested(
        Estimate(mean, max(-1.0, mean - half), min(1.0, mean + half)), float(2 * stdtr(freedom, -abs(mean) / error))
    )


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
