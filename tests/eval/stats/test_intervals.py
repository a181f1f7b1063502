"""Our statistics beside statsmodels and scipy, on random tables."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from divcon.eval.stats.intervals import accuracy, holm
from divcon.eval.stats.paired import bootstrap, mcnemar, sign_flip

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what statsmodels' imports warn of is not ours
    from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.proportion import proportion_confint

counts = st.integers(0, 40)


@given(counts, counts)
def test_wilsons_interval_is_statsmodels(right: int, wrong: int) -> None:
    n = right + wrong
    if n == 0:
        return
    low, high = proportion_confint(right, n, method="wilson")
    found = accuracy([1.0] * right + [0.0] * wrong)
    assert found == pytest.approx((right / n, max(0.0, low), min(1.0, high)), abs=1e-9)


@settings(deadline=None)
@given(counts, counts, counts, counts)
def test_mcnemars_test_is_statsmodels(both: int, a_alone: int, b_alone: int, neither: int) -> None:
    if both + a_alone + b_alone + neither == 0:
        return
    a = [1.0] * (both + a_alone) + [0.0] * (b_alone + neither)
    b = [1.0] * both + [0.0] * a_alone + [1.0] * b_alone + [0.0] * neither
    expected = reference_mcnemar([[both, a_alone], [b_alone, neither]], exact=True).pvalue
    assert mcnemar(a, b) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=15)  # statsmodels collects garbage at each call, which takes half a second in a large process
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holms_adjustment_is_statsmodels(ps: list[float]) -> None:
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_sign_flips_are_scipys_permutation_test(seed: int) -> None:
    draw = np.random.default_rng(seed)
    a, b = (draw.choice([0.0, 0.25, 0.5, 1.0], 80) for _ in range(2))
    expected = scipy_stats.permutation_test(
        (a, b), lambda x, y: float(np.mean(x - y)), permutation_type="samples", n_resamples=9_999, rng=draw
    ).pvalue
    assert sign_flip(a.tolist(), b.tolist()) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("n", [40, 400])
def test_the_bootstrap_is_scipys_within_its_own_error(n: int) -> None:
    """Scipy draws; the exact quantile lies where its draws do, a step of the lattice and their error away at most."""
    draw = np.random.default_rng(n)
    a, b = draw.integers(0, 2, n).astype(float), draw.integers(0, 2, n).astype(float)
    drawn = scipy_stats.bootstrap((a - b,), np.mean, n_resamples=9_999, method="percentile", rng=draw)
    found = bootstrap(a.tolist(), b.tolist())
    assert (found.low, found.high) == pytest.approx(tuple(drawn.confidence_interval), abs=1 / n + 0.004)
