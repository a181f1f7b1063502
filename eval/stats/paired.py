"""Tests and intervals for two sets of credits on the same questions.

Where every credit is 0 or 1, McNemar's test is exact. A vote's shared credit is neither; then signs are flipped, by
seeded draws of how often each distinct value's is. The bootstrap is exact too, without drawing: credits are fractions
of few votes, so that the resampled sum lives on a lattice, and a power of its characteristic function gives its
distribution. Only where the lattice is too fine are differences drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import ceil, lcm, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .clusters import Clusters, are_independent, totals
from .intervals import Estimate

_DRAWS = 20_000
_EXACT_PARTS = 20
"""A million signed sums."""
_FINEST = 420
"""Steps of a lattice; drawing is faster on finer ones."""
Array = npt.NDArray[np.float64]


def mcnemar(a: Sequence[float], b: Sequence[float]) -> float:
    """The exact two-sided p-value of McNemar's test, for credits of 0 and 1 (McNemar, 1947; binomial).

    Raises ValueError for other credits.
    """
    from scipy.special import bdtr  # scipy.stats takes half a second to import

    d = _differences(a, b)
    if not _is_single(d):
        raise ValueError("McNemar's test takes credits of 0 and 1")
    up, down = int((d > 0).sum()), int((d < 0).sum())
    return min(1.0, 2 * float(bdtr(min(up, down), up + down, 0.5)))


def sign_flip(a: Sequence[float], b: Sequence[float], seed: int = 0) -> float:
    """How probable a mean difference as large is where each question's could as well be its opposite (two-sided).

    By draws, the observed one among them. With credits of 0 and 1 it comes near McNemar's.
    """
    d = _differences(a, b)
    sizes = Counter(np.round(np.abs(d), 12).tolist())
    draw = np.random.default_rng([seed, len(d)])
    sums = np.zeros(_DRAWS)
    for size, count in sorted(sizes.items()):
        sums += size * (2 * draw.binomial(count, 0.5, _DRAWS) - count)
    return float(((np.abs(sums) >= abs(d.sum()) - 1e-9).sum() + 1) / (_DRAWS + 1))


class PairedTest(NamedTuple):
    """A p-value and the test that it is of."""

    p: float
    test: str


def tested(a: Sequence[float], b: Sequence[float], clusters: Clusters | None = None, *, seed: int = 0) -> PairedTest:
    """By McNemar's exact test, or by sign flips where credit was shared in a way that McNemar's does not know.

    Where questions come in `clusters`, whole clusters flip their sign.
    """
    if clusters is not None and not are_independent(clusters):
        found = totals(_differences(a, b).tolist(), clusters)
        return PairedTest(_flipped([total for total, _ in found], seed), f"sign flips of {len(found)} families")
    if _is_single(_differences(a, b)):
        return PairedTest(mcnemar(a, b), "McNemar, exact")
    return PairedTest(sign_flip(a, b, seed), "sign flips")


def p_value(a: Sequence[float], b: Sequence[float], clusters: Clusters | None = None, *, seed: int = 0) -> float:
    """That of `tested`."""
    return tested(a, b, clusters, seed=seed).p


def p_of_changes(changes: Sequence[float], clusters: Clusters | None = None) -> float:
    """That of `tested`, from differences."""
    return p_value(changes, [0.0] * len(changes), clusters)


def _flipped(sums: Sequence[float], seed: int) -> float:
    """How probable a sum as large is where each part could as well be its opposite: exactly for up to 20 parts."""
    parts = np.abs(np.asarray([each for each in sums if each], dtype=np.float64))
    observed = abs(sum(sums)) - 1e-9
    if len(parts) <= _EXACT_PARTS:
        every = np.zeros(1)
        for part in parts:
            every = np.concatenate([every + part, every - part])
        return float((np.abs(every) >= observed).mean())
    signs = np.random.default_rng([seed, len(parts)]).integers(0, 2, (_DRAWS, len(parts))) * 2.0 - 1.0
    return float(((np.abs(signs @ parts) >= observed).sum() + 1) / (_DRAWS + 1))


def bootstrap(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Estimate:
    """The mean of a - b with the percentile bootstrap's 95 % interval over questions (Efron, 1979)."""
    d = _differences(a, b)
    if not len(d):
        return Estimate(float("nan"), -1.0, 1.0)
    steps = _steps(d)
    low, high = _exact(np.rint(d * steps).astype(np.int64), steps) if steps else _drawn(d, seed)
    return Estimate(float(d.mean()), low, high)


def _steps(d: Array) -> int | None:
    """Into how many steps 1 must be cut for all differences to be whole; None where that is too many."""
    fractions = [Fraction(value).limit_denominator(64) for value in np.unique(d).tolist()]
    steps = lcm(*(fraction.denominator for fraction in fractions))
    return steps if steps <= _FINEST and np.allclose(d * steps, np.rint(d * steps), atol=1e-6) else None


def _exact(d: npt.NDArray[np.int64], steps: int) -> tuple[float, float]:
    """The quantiles of the mean of n draws, in steps.

    The sum is looked at on a circle that twelve of its standard deviations reach half around: what lies beyond is less
    than rounding.
    """
    from scipy.fft import next_fast_len

    n, (values, counts) = len(d), np.unique(d, return_counts=True)
    centre = int(d.sum())
    reach = ceil(12 * float(d.std()) * sqrt(n)) + int(np.abs(values).max())
    size = next_fast_len(2 * reach + 1)
    places = np.arange(size)
    turn = np.exp(-2j * np.pi * places / size)
    turns = (count / n * turn[value * places % size] for value, count in zip(values, counts, strict=True))
    mass = np.fft.ifft(sum(turns) ** n).real
    below = np.cumsum(np.roll(mass, reach - centre))  # from centre - reach
    low, high = (centre - reach + int(np.searchsorted(below, q - 1e-12)) for q in (0.025, 0.975))
    return low / (n * steps), high / (n * steps)


def _drawn(d: Array, seed: int) -> tuple[float, float]:
    values, counts = np.unique(np.round(d, 12), return_counts=True)
    draw = np.random.default_rng([seed, len(d)])
    means = draw.multinomial(len(d), counts / len(d), _DRAWS) @ values / len(d)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _is_single(d: Array) -> bool:
    return bool(np.isin(d, (-1.0, 0.0, 1.0)).all())


def _differences(a: Sequence[float], b: Sequence[float]) -> Array:
    if len(a) != len(b):
        raise ValueError(f"paired credits of unequal length: {len(a)} and {len(b)}")
    return np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
