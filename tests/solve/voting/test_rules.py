"""Rules of the vote by hand and by law; curves from a pool beside the rules themselves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divcon.core.errors import ConfigError
from divcon.solve.voting.curves import Pool, credits_of, curve, subsets
from divcon.solve.voting.rules import ALIASES, RULES, credit, learn, named, tally, winners

A, B, C = 0, 1, 2
SCORES = [0.9, 0.4, 0.3, 0.2]


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # the samples say A, B, B and B or C
        ("count", {A: 1, B: 2, C: 1}),
        ("rank_sum", {A: 0.9, B: 0.7, C: 0.2}),
        ("rank_1_plus", {A: 1.9, B: 2.7, C: 1.2}),
        ("rank_1_plus_2", {A: 2.8, B: 3.4, C: 1.4}),
        ("rank_1_plus_0.5", {A: 1.45, B: 2.35, C: 1.1}),
        ("rank_best", {A: 1, B: 0, C: 0}),
        ("rank_borda", {A: 4, B: 5, C: 1}),
        ("prob_sum", {A: 0.9, B: 0.7, C: 0.2}),
        ("certainty_borda", {A: 4, B: 5, C: 1}),
        ("asc", {A: 1.9, B: 2.7, C: 1.2}),
    ],
)
def test_each_rule_by_hand(name: str, expected: dict[int, float]) -> None:
    assert tally([A, B, B, C], named(name), SCORES) == pytest.approx(expected)


def test_a_missing_score_is_the_mean_of_the_others_that_vote() -> None:
    assert tally([A, B, None], named("rank_sum"), [0.6, None, 0.2]) == pytest.approx({A: 0.6, B: 0.6})
    assert tally([A, B], named("rank_sum"), [None, None]) == {A: 1.0, B: 1.0}
    assert tally([A, B], named("rank_sum")) == {A: 1.0, B: 1.0}


@pytest.mark.parametrize("name", RULES)
@given(st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=6), st.floats(0.01, 1), st.data())
def test_a_missing_score_among_equal_ones_is_as_they_are(
    name: str, said: list[int | None], score: float, data: st.DataObject
) -> None:
    gaps = data.draw(st.sets(st.integers(0, len(said) - 1)))
    given = [None if i in gaps else score for i in range(len(said))]
    whole = outcome(name, said, [score] * len(said))
    assert outcome(name, said, given) == pytest.approx(whole)
    assert curve(pool_of([(said, given)]), named(name))[-1, 0] == pytest.approx(whole)


def test_an_unreadable_answer_does_not_vote_however_it_scores() -> None:
    for rule in RULES.values():
        assert tally([None, A, None], rule, [0.99, 0.1, 0.98]).keys() == {A}
    assert tally([None], named("count")) == {} and winners({}) == [] and credit({}, [True]) == 0.0


def test_ties_share_credit_and_go_to_the_answer_seen_first() -> None:
    votes = tally([B, A], named("count"))
    assert winners(votes) == [B, A] and credit(votes, [True, False]) == 0.5
    equal = tally([A, B, A, B], named("rank_borda"), [0.5] * 4)
    assert equal == {A: 5.0, B: 5.0}


def test_the_literatures_names_stand_for_formulas() -> None:
    assert {named(alias) is RULES[name] for alias, name in ALIASES.items()} == {True}
    with pytest.raises(ConfigError, match="no vote 'majority'; there are sc, ws, asc, count"):
        named("majority")


Samples = tuple[list[int | None], list[float | None]]
answers = st.sampled_from([0, 1, 2, None])
scored = st.one_of(st.none(), st.integers(0, 16).map(lambda n: n / 16))


def drawn_samples(least: int, most: int) -> st.SearchStrategy[Samples]:
    listed = st.lists(st.tuples(answers, scored), min_size=least, max_size=most)
    return listed.map(lambda pairs: ([a for a, _ in pairs], [s for _, s in pairs]))


samples = drawn_samples(1, 6)


def stands(said: Sequence[int | None]) -> list[int | None]:
    """Classes as graders number them: by the sample that stands for each."""
    return [None if one is None else said.index(one) for one in said]


def outcome(name: str, said: Sequence[int | None], scores: Sequence[float | None]) -> float:
    """The credit, where 0 is right."""
    return credit(tally(stands(said), named(name), scores), [one == 0 for one in said])


@pytest.mark.parametrize("name", RULES)
@given(samples, st.integers())
def test_the_order_of_samples_does_not_matter(name: str, drawn: Samples, seed: int) -> None:
    said, scores = drawn
    order = random.Random(seed).sample(range(len(said)), len(said))
    assert outcome(name, [said[i] for i in order], [scores[i] for i in order]) == pytest.approx(
        outcome(name, said, scores)
    )


@pytest.mark.parametrize("name", RULES)
@given(st.integers(1, 6), st.lists(scored, min_size=6, max_size=6))
def test_a_unanimous_vote_wins(name: str, voters: int, scores: list[float | None]) -> None:
    assert outcome(name, [0] * voters, scores[:voters]) == 1.0


@pytest.mark.parametrize("name", [name for name in RULES if not name.endswith("_best")])
@given(samples, st.floats(0.01, 1))
def test_equal_scores_are_self_consistency(name: str, drawn: Samples, score: float) -> None:
    said, _ = drawn
    assert outcome(name, said, [score] * len(said)) == pytest.approx(outcome("sc", said, [None] * len(said)))


@given(samples)
def test_no_slope_is_self_consistency(drawn: Samples) -> None:
    said, scores = drawn
    assert outcome("rank_1_plus_0", said, scores) == outcome("sc", said, scores)


# -- curves ------------------------------------------------------------------------------------------------------------


def pool_of(some: Sequence[Samples]) -> Pool:
    classes, right = [stands(said) for said, _ in some], [[one == 0 for one in said] for said, _ in some]
    scores = [scores for _, scores in some]
    return Pool.of(classes, right, {"rank": scores, "probability": scores, "certainty": scores})


@pytest.mark.parametrize("name", RULES)
@given(st.lists(drawn_samples(4, 4), min_size=1, max_size=5))
def test_a_curve_is_the_mean_over_all_subsets(name: str, some: list[Samples]) -> None:
    found = curve(pool_of(some), named(name))
    assert found.shape == (4, len(some))
    for k, q in np.ndindex(found.shape):
        said, scores = some[q]
        each = []
        for of in combinations(range(4), k + 1):
            votes = tally([stands(said)[i] for i in of], named(name), [scores[i] for i in of])
            each.append(credit(votes, [one == 0 for one in said]))
        assert found[k, q] == pytest.approx(sum(each) / len(each))


def test_few_of_many_subsets_are_drawn_from_a_seed() -> None:
    assert len(subsets(8, 4)) == 70 and len(subsets(20, 10)) == 256
    assert (subsets(20, 10).sum(1) == 10).all()
    assert (subsets(20, 10, seed=1) == subsets(20, 10, seed=1)).all()
    assert (subsets(20, 10, seed=1) != subsets(20, 10, seed=2)).any()


def test_drawn_subsets_come_near_all_of_them() -> None:
    draw = random.Random(0)
    some: list[Samples] = [
        ([draw.choice([0, 0, 1, 2]) for _ in range(10)], [draw.random() for _ in range(10)]) for _ in range(80)
    ]
    exact, drawn = (curve(pool_of(some), named("asc"), most=most).mean(1) for most in (300, 60))
    assert np.abs(exact - drawn).max() < 0.02 and (exact[[0, 9]] == pytest.approx(drawn[[0, 9]]))


def test_questions_of_a_pool_have_as_many_samples() -> None:
    with pytest.raises(ValueError, match="as many samples of each question"):
        Pool.of([[0], [0, 1]], [[True], [True, False]])


def test_a_slope_is_learned_where_scores_tell_and_not_where_they_mislead() -> None:
    said: list[int | None] = [0, 1, 1]  # the majority is wrong
    told: tuple[list[float | None], list[float | None]] = [0.9, 0.1, 0.1], [0.1, 0.9, 0.9]
    telling = [(said, told[0])] * 5
    right = [[True, False, False]] * 5
    assert learn([said] * 5, right, [told[0]] * 5) == 2 and learn([said] * 5, right, [told[1]] * 5) == 0
    everything = np.ones((1, 3), dtype=bool)
    assert credits_of(pool_of(telling), named("rank_1_plus_2"), everything).mean() == 1.0
