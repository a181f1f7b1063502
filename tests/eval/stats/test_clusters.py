"""Values that come in families, beside statsmodels' clustered regression, a formula by hand and stock tests."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from divcon.eval.analysis.agreement import auroc
from divcon.eval.stats import paired
from divcon.eval.stats.clusters import merged, spread, totals
from divcon.eval.stats.intervals import accuracy, difference, ratio, students
from divcon.eval.stats.paired import p_value
from divcon.eval.stats.seeds import crossed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what statsmodels' imports warn of is not ours
    from statsmodels.regression.linear_model import OLS

families = st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 5)), min_size=2, max_size=60)


def cr2(values: list[float], clusters: list[int]) -> tuple[float, float]:
    """Variance and degrees of freedom by matrices (Bell and McCaffrey, 2002), for a regression on a constant."""
    n = len(values)
    ones = np.ones((n, 1))
    residual_maker = np.eye(n) - ones @ ones.T / n
    e = residual_maker @ np.asarray(values)
    rows, variance = [], 0.0
    for cluster in sorted(set(clusters)):
        inside = np.array([c == cluster for c in clusters])
        block = residual_maker[np.ix_(inside, inside)]
        root, vectors = np.linalg.eigh(block)
        adjust = vectors @ np.diag(1 / np.sqrt(root)) @ vectors.T
        variance += float((ones[inside].T @ adjust @ e[inside]).item() ** 2) / n**2
        rows.append((ones[inside].T @ adjust @ residual_maker[inside]).ravel() / n)
    gram = np.array(rows) @ np.array(rows).T
    return variance, float(np.trace(gram) ** 2 / np.trace(gram @ gram))


@given(families)
def test_the_variance_and_its_freedom_are_those_of_matrices(pairs: list[tuple[float, int]]) -> None:
    values, clusters = [value for value, _ in pairs], [cluster for _, cluster in pairs]
    if len(set(clusters)) < 2:
        return
    found = spread(totals(values, clusters))
    variance, freedom = cr2(values, clusters)
    assert found.variance == pytest.approx(variance, abs=1e-12)
    assert found.freedom == pytest.approx(freedom, rel=1e-6)


def test_families_of_one_size_have_the_variance_of_their_means() -> None:
    """Then CR2 is statsmodels' clustered covariance with its correction, and the t has a degree less than families."""
    draw = np.random.default_rng(0)
    values, clusters = draw.normal(size=40), np.repeat(np.arange(8), 5)
    fit = OLS(values, np.ones(40)).fit(cov_type="cluster", cov_kwds={"groups": clusters, "df_correction": True})
    found = spread(totals(values.tolist(), clusters.tolist()))
    assert found.freedom == pytest.approx(7)
    assert found.variance == pytest.approx(float(fit.cov_params()[0, 0]), rel=1e-9)
    means = values.reshape(8, 5).mean(1)
    assert found.variance == pytest.approx(means.var(ddof=1) / 8)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_family_of_ones_own_changes_nothing(a: list[float], b: list[float]) -> None:
    n = min(len(a), len(b))
    a, b, own = a[:n], b[:n], list(range(n))
    assert accuracy(a, own) == accuracy(a) and difference(a, b, own) == difference(a, b)
    assert p_value(a, b, own) == p_value(a, b)
    assert crossed([[x - y for x, y in zip(a, b, strict=True)]] * 5, own).estimate == pytest.approx(
        crossed([[x - y for x, y in zip(a, b, strict=True)]] * 5).estimate
    )


def test_families_that_answer_as_one_count_as_one_question() -> None:
    """Twelve chains, eight questions each, all of a chain right or wrong: twelve answers, not 96."""
    right = [1.0] * 7 + [0.0] * 5
    chains = list(range(12))
    many, where = [value for value in right for _ in range(8)], [chain for chain in chains for _ in range(8)]
    wide, alone = accuracy(many, where), accuracy(many)
    assert wide.value == alone.value and wide.high - wide.low > 2.5 * (alone.high - alone.low)
    lost = difference([0.0] * 96, many, where)
    stock = reference.ttest_1samp([-value for value in right], 0.0).confidence_interval(0.95)
    assert (lost.low, lost.high) == pytest.approx((stock.low, stock.high))


def test_one_family_tells_nothing() -> None:
    assert accuracy([1.0, 0.0, 1.0], ["a"] * 3)[1:] == (0.0, 1.0)
    assert difference([1.0, 0.0], [0.0, 0.0], ["a"] * 2)[1:] == (-1.0, 1.0)
    assert students([1.0, 2.0], ["a"] * 2)[1:] == (float("-inf"), float("inf"))
    assert p_value([1.0, 1.0], [0.0, 0.0], ["a"] * 2) == 1.0


def test_all_right_is_as_sure_as_there_are_families() -> None:
    nine = accuracy([1.0] * 90, [i % 9 for i in range(90)])
    assert accuracy([1.0] * 90).low > nine.low and nine.low < accuracy([1.0] * 9).low


def test_whole_families_flip_their_sign() -> None:
    d = [1.0, 1.0, -1.0, 0.5, 1.0, 0.0, 1.0, 1.0]
    where = [0, 0, 0, 1, 1, 2, 3, 3]
    sums = [1.0, 1.5, 0.0, 2.0]
    every = [abs(sum(s * x for s, x in zip(signs, sums, strict=True))) for signs in product((1, -1), repeat=4)]
    exact = float(np.mean(np.array(every) >= abs(sum(d)) - 1e-9))
    assert paired.tested(d, [0.0] * 8, where) == (exact, "sign flips of 4 families")


def test_many_families_flip_by_draws_that_come_near_every_pattern() -> None:
    draw = np.random.default_rng(0)
    sums = draw.normal(0.3, 1.0, 24)
    d, where = np.repeat(sums / 2, 2).tolist(), np.repeat(np.arange(24), 2).tolist()
    expected = reference.permutation_test(
        (sums, np.zeros(24)),
        lambda x, y: float(np.mean(x - y)),
        permutation_type="samples",
        n_resamples=9_999,
        rng=draw,
    ).pvalue
    assert p_value(d, [0.0] * 48, where) == pytest.approx(expected, abs=0.02)


@given(families)
def test_sums_of_questions_merge_into_families(pairs: list[tuple[float, int]]) -> None:
    values, clusters = [value for value, _ in pairs], [cluster for _, cluster in pairs]
    parts = merged([(value, 1.0) for value in values], clusters)
    assert np.array(parts) == pytest.approx(np.array(totals(values, clusters)))


def test_an_interval_over_seeds_is_over_families_too() -> None:
    draw = np.random.default_rng(0)
    where = np.repeat(np.arange(12), 8)
    d = 0.2 + draw.normal(0, 0.05, (5, 1)) + draw.normal(0, 0.4, 12)[where] + draw.normal(0, 0.2, (5, 96))
    alone, families_ = crossed(d.tolist()), crossed(d.tolist(), where.tolist())
    assert families_.estimate.value == pytest.approx(alone.estimate.value)
    width = [one.estimate.high - one.estimate.low for one in (alone, families_)]
    assert width[1] > 2 * width[0] and families_.p is not None and alone.p is not None and families_.p > alone.p


def test_a_share_of_units_is_over_families() -> None:
    parts = [(3.0, 4.0), (1.0, 6.0), (5.0, 5.0), (0.0, 3.0)]
    found = spread(parts)
    assert found.mean == pytest.approx(9 / 18) == ratio(parts).value
    assert ratio(parts).low < 0.2 and ratio(parts).high > 0.8


@pytest.mark.parametrize("value", [1 / 3, 0.1, 0.5, 1.0])
def test_equal_values_have_no_variance_whatever_their_sums_round_to(value: float) -> None:
    where = [i % 12 for i in range(100)]
    assert spread(totals([value] * 100, where)).variance == 0.0
    assert accuracy([value] * 100, where) == pytest.approx(accuracy([value] * 12), abs=0.06)
    lost = difference([value] * 100, [0.0] * 100, where)
    assert lost.high - lost.low > 0.1


def test_one_family_leaves_a_bootstrap_everything() -> None:
    told = auroc([1.0, 2.0, 3.0, 0.0], [True, False, True, False], ["a"] * 4)
    assert (told.value, told.low, told.high) == (0.75, 0.0, 1.0)
