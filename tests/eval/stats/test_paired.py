"""Paired statistics beside scipy, statsmodels' formulas and a bootstrap of indices; comparing two cells of a run."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from divcon.eval.stats.paired import bootstrap, mcnemar, p_value, sign_flip

outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(outcomes)
def test_mcnemar_is_the_binomial_test_of_the_flips(pairs: list[tuple[bool, bool]]) -> None:
    a, b = ([float(pair[i]) for pair in pairs] for i in (0, 1))
    up, down = sum(x > y for x, y in zip(a, b, strict=True)), sum(x < y for x, y in zip(a, b, strict=True))
    tail = 2 * reference.binom.cdf(min(up, down), up + down, 0.5) if up + down else 1.0
    assert mcnemar(a, b) == pytest.approx(min(1.0, tail)) == mcnemar(b, a) == p_value(a, b)


def test_mcnemar_refuses_shared_credit() -> None:
    with pytest.raises(ValueError, match="credits of 0 and 1"):
        mcnemar([0.5], [1.0])
    with pytest.raises(ValueError, match="unequal length: 1 and 2"):
        bootstrap([1.0], [1.0, 0.0])


def test_sign_flips_come_to_all_sign_patterns() -> None:
    a, b = [1, 0.5, 1, 0, 0.5, 1, 1, 0.5, 1, 0.25], [0, 1, 0, 0, 0.25, 1, 0, 0, 0, 1]
    d = np.array(a) - np.array(b)
    every = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in product((1, -1), repeat=len(d))]
    exact = float(np.mean(np.array(every) >= abs(d.sum()) - 1e-9))
    assert sign_flip(a, b) == pytest.approx(exact, abs=0.012) and p_value(a, b) == sign_flip(a, b)


def test_sign_flips_come_near_mcnemar() -> None:
    draw = random.Random(0)
    a = [float(draw.random() < 0.6) for _ in range(200)]
    b = [float(draw.random() < 0.5) for _ in range(200)]
    assert sign_flip(a, b) == pytest.approx(mcnemar(a, b), abs=0.015)


def by_indices(a: list[float], b: list[float], draws: int) -> tuple[float, float]:
    d = np.array(a) - np.array(b)
    rng = np.random.default_rng(1)
    means = [d[rng.integers(0, len(d), len(d))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("shares", [(0, 1), (0, 0.5, 1), (0, 1 / 3, 0.5, 1), (0, 1 / 7, 1 / 5, 1 / 3, 0.125, 1)])
def test_the_bootstrap_is_the_one_of_indices(shares: tuple[float, ...]) -> None:
    draw = random.Random(0)
    a, b = ([draw.choice(shares) for _ in range(1000)] for _ in range(2))
    found, (low, high) = bootstrap(a, b), by_indices(a, b, 20_000)
    assert found.value == pytest.approx(np.mean(a) - np.mean(b))
    assert found.low == pytest.approx(low, abs=0.003) and found.high == pytest.approx(high, abs=0.003)


@given(outcomes)
def test_the_exact_bootstrap_is_a_distribution(pairs: list[tuple[bool, bool]]) -> None:
    a, b = ([float(pair[i]) for pair in pairs] for i in (0, 1))
    found, other = bootstrap(a, b), bootstrap(b, a)
    assert -1 <= found.low <= found.value + 1e-9 and found.value - 1e-9 <= found.high <= 1
    assert other.value == pytest.approx(-found.value)
