"""Means of values that come in clusters, questions in families say: how far they vary, and how surely that is known.

Questions that share a structure or a passage are right or wrong together. Taken one by one they look like more than
they are: the variance has to be taken between families, of which there may be few.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from math import inf
from typing import NamedTuple

Clusters = Sequence[Hashable]
"""Of each value, the cluster that it belongs to."""


_ROUNDING = 1e-20
"""What a variance of equal values may come to, relative to their square."""


class Spread(NamedTuple):
    """A mean over clusters, and its variance for other clusters than these."""

    mean: float
    variance: float
    """The sandwich estimator CR2 (Bell and McCaffrey, 2002), unbiased where values are independent and vary alike."""
    freedom: float
    """Degrees of freedom of a t for it (Bell and McCaffrey, 2002): clusters less one where all are of one size."""
    clusters: int
    units: float

    @property
    def t95(self) -> float:
        """Student's t quantile for a 95 % interval."""
        from scipy.special import stdtrit  # scipy.stats takes half a second to import

        return float(stdtrit(self.freedom, 0.975))


def are_independent(clusters: Clusters | None) -> bool:
    """Whether every value is a cluster of its own."""
    return clusters is None or len(set(clusters)) == len(clusters)


def totals(values: Sequence[float], clusters: Clusters) -> list[tuple[float, float]]:
    """Each cluster's sum and size, in the order in which clusters appear."""
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values in clusters of {len(clusters)}")
    sums: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums.setdefault(cluster, []).append(value)
    return [(sum(of), float(len(of))) for of in sums.values()]


def merged(parts: Sequence[tuple[float, float]], clusters: Clusters) -> list[tuple[float, float]]:
    """Sums and sizes of smaller clusters, questions say, as those of the larger ones that they lie in."""
    sums: dict[Hashable, tuple[float, float]] = {}
    for (total, size), cluster in zip(parts, clusters, strict=True):
        before = sums.get(cluster, (0.0, 0.0))
        sums[cluster] = (before[0] + total, before[1] + size)
    return list(sums.values())


def spread(parts: Iterable[tuple[float, float]]) -> Spread:
    """From each cluster's sum and size; the mean is over all units. Of one cluster the variance is infinite."""
    known = [(total, size) for total, size in parts if size]
    units = sum(size for _, size in known)
    if not units:
        return Spread(float("nan"), inf, 1.0, 0, 0.0)
    mean = sum(total for total, _ in known) / units
    if len(known) == 1:
        return Spread(mean, inf, 1.0, 1, units)
    weights = [size / units for _, size in known]
    apart = ((total - mean * size) ** 2 / (1 - w) for (total, size), w in zip(known, weights, strict=True))
    shared = [w * w / (1 - w) for w in weights]
    between = sum(shared) ** 2 - sum(v * v for v in shared)
    freedom = 1 / (sum(w * w for w in weights) + between)
    variance = sum(apart) / units**2
    largest = max(abs(total / size) for total, size in known)
    if variance <= _ROUNDING * largest**2:
        variance = 0.0
    return Spread(mean, variance, freedom, len(known), units)
