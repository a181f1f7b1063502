"""Votes, statistics and tables."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divcon.decompose import Decomposition
from divcon.eval.analysis.pareto import front
from divcon.eval.grid.evaluate import GridDecomposer, GridSolver, compose
from divcon.eval.grid_spec import ALL, GREEDY, VoteSpec, parse_decomposer, parse_solver
from divcon.eval.render.table import latex, markdown, percent
from divcon.eval.stats.intervals import Estimate, accuracy, difference, holm
from divcon.eval.stats.paired import mcnemar
from divcon.eval.stats.seeds import adjusted_over_known, crossed
from divcon.lm import Usage
from divcon.lm.cost.flops import ModelSize
from divcon.lm.cost.prices import Price
from divcon.solve import Solution
from divcon.solve.voting.rules import Outcome, credit, judge, tally, winners
from divcon.tasks import Question

classes = st.lists(st.sampled_from([0, 1, 2, None]), max_size=9)


@pytest.mark.parametrize(
    ("votes", "winner", "share"),
    [
        (["18", "17", "18"], "18", 1.0),
        (["$18", "18.0", "17", "17"], "$18", 0.5),
        (["17", "18"], "17", 0.5),
        (["17", "18", "19"], "17", 1 / 3),
        (["17", "17", "18"], "17", 0.0),
        ([None, None, "18"], "18", 1.0),
        ([None, None], None, 0.0),
        ([], None, 0.0),
    ],
)
def test_the_majority_wins_and_ties_share(votes: list[str | None], winner: str | None, share: float) -> None:
    (judged,) = judge([Question("1", "?", "18")], [votes])
    outcome = judged.vote()
    assert (None if outcome.winner is None else votes[outcome.winner]) == winner
    assert outcome.credit == pytest.approx(share)


def test_equal_answers_vote_together_however_they_are_written() -> None:
    votes = ["\\frac{1}{2}", "3", "\\frac{\\sqrt{4}}{4}", "3", "0.5"]
    (judged,) = judge([Question("1", "?", "1/2", grader="math")], [votes])
    assert judged.vote() == Outcome(4, "right", 1.0)


@pytest.mark.parametrize(
    ("gold", "votes"),
    [("(1,2)", ["(2,1)", "(2,1)", "2,1"]), ("0.05", ["5", "5", "5\\%"]), ("50", ["0.5", "50\\%", "0.5"])],
)
def test_wrong_answers_do_not_win_through_one_that_equals_both(gold: str, votes: list[str]) -> None:
    (judged,) = judge([Question("1", "?", gold, grader="math")], [votes])
    outcome = judged.vote()
    assert (outcome.verdict, outcome.credit) == ("wrong", 0.0)


def test_nobody_who_could_be_read_leaves_the_question_open() -> None:
    (judged,) = judge([Question("1", "?", "B", grader="choice")], [["12", None]])
    assert judged.vote() == Outcome(None, "unreadable", 0.0)


def counted(votes: list[int | None]) -> float:
    """The credit of votes for numbered answers, of which 0 is right."""
    stands = [None if vote is None else votes.index(vote) for vote in votes]
    return credit(tally(stands), [vote == 0 for vote in votes])


@given(classes, st.integers())
def test_credit_does_not_depend_on_order(votes: list[int | None], seed: int) -> None:
    assert counted(random.Random(seed).sample(votes, len(votes))) == counted(votes)


@given(classes)
def test_an_unreadable_answer_does_not_vote(votes: list[int | None]) -> None:
    assert counted([*votes, None]) == counted(votes)
    assert len(winners(tally([None, *votes]))) == len(winners(tally(votes)))


def of(successes: int, n: int) -> Estimate:
    return accuracy([1.0] * successes + [0.0] * (n - successes))


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)],
)
def test_wilson_gives_the_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    """Rows 3 and 4 are worked examples of Newcombe (1998), Table I."""
    _, below, above = of(successes, n)
    assert [below, above] == pytest.approx([low, high], abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_holds_its_estimate(counts: tuple[int, int]) -> None:
    value, low, high = of(*counts)
    assert 0.0 <= low <= value <= high <= 1.0


def test_no_questions_tell_nothing() -> None:
    assert accuracy([])[1:] == (0.0, 1.0)


def test_a_share_of_a_credit_does_not_make_surer_than_none() -> None:
    none, quarter = accuracy([0.0] * 100), accuracy([0.25] + [0.0] * 99)
    assert quarter.value == 0.0025 and quarter.high > none.high


def test_one_seed_is_a_comparison_over_questions() -> None:
    changes = [1.0, 0.0, 0.0, -1.0, 1.0, 0.0, 1.0, 0.0]
    zeros = [0.0] * len(changes)
    assert crossed([changes]) == (difference(changes, zeros), mcnemar(changes, zeros), "questions")


def test_seeds_that_do_not_agree_widen_the_interval_and_equal_ones_leave_the_questions() -> None:
    changes = [1.0, 0.0, 0.0, -1.0, 1.0, 0.0, 1.0, 0.0]
    alone, equal = crossed([changes]), crossed([changes] * 3)
    assert equal.estimate == pytest.approx(alone.estimate) and equal.p == pytest.approx(alone.p)
    other = [[change + shift for change in changes] for shift in (-0.5, 0.0, 0.5)]
    assert crossed(other).estimate.low < alone.estimate.low
    assert crossed(other)[1:] == (None, "seeds and questions")


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_differences_that_do_not_vary_are_not_certainty_and_not_nothing(seeds: int) -> None:
    """Not one question differs, and every one does: neither has a variance to go by."""
    same, every = crossed([[0.0] * 60] * seeds), crossed([[-1.0] * 60] * seeds)
    assert same.estimate == difference([0.0] * 60, [0.0] * 60) and same[1:] == (1.0, "questions")
    assert -0.05 < same.estimate.low < 0 < same.estimate.high < 0.05
    assert every.estimate.high < -0.9 and every.p == pytest.approx(2 * 0.5**60)


def test_there_is_no_p_value_over_fewer_than_five_seeds() -> None:
    draw = np.random.default_rng(0)
    d = (0.3 + draw.normal(0, 0.1, (5, 1)) + draw.normal(0, 0.3, (5, 60))).tolist()
    assert [crossed(d[:seeds]).p is None for seeds in (2, 3, 4, 5)] == [True, True, True, False]
    found = [crossed(d[:3]), crossed(d), crossed([[0.2] * 60])]
    adjusted = adjusted_over_known(found)
    assert adjusted[0] is None and adjusted[1:] == holm([p for one in found[1:] if (p := one.p) is not None])


def test_the_interval_covers_other_seeds_and_other_questions() -> None:
    """600 comparisons of three seeds on 60 questions, with effects of both: 95 of 100 intervals hold the truth, 0.1."""
    draw = np.random.default_rng(0)
    inside = 0
    for _ in range(600):
        d = 0.1 + draw.normal(0, 0.05, (3, 1)) + draw.normal(0, 0.3, (1, 60)) + draw.normal(0, 0.3, (3, 60))
        estimate = crossed(d.tolist()).estimate
        inside += estimate.low <= 0.1 <= estimate.high
    assert 0.93 < inside / 600 < 0.985


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([0.6, 0.7]) == [1.0, 1.0]


def test_a_paired_difference_agrees_with_resampling_questions() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.random(300) < 0.7).astype(float), (rng.random(300) < 0.6).astype(float)
    index = rng.integers(0, 300, size=(10_000, 300))
    low, high = np.quantile((a - b)[index].mean(1), [0.025, 0.975])
    ours = difference(a.tolist(), b.tolist())
    assert ours.value == pytest.approx((a - b).mean())
    assert [ours.low, ours.high] == pytest.approx([low, high], abs=0.005)


def test_no_flip_is_not_certainty() -> None:
    value, low, high = difference([1.0] * 100, [1.0] * 100)
    assert value == 0.0 and low == -high and 0.02 < high < 0.03


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1))
def test_a_difference_turns_round(pairs: list[tuple[float, float]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    forth, back = difference(a, b), difference(b, a)
    assert [forth.value, forth.low, forth.high] == pytest.approx([-back.value, -back.high, -back.low])


def test_shared_ties_err_on_the_wide_side() -> None:
    a, b = [1.0, 0.5, 0.0, 1.0] * 50, [0.0, 0.5, 0.5, 1.0] * 50
    changes = np.array(a) - np.array(b)
    resampled = changes[np.random.default_rng(0).integers(0, 200, size=(10_000, 200))].mean(1)
    value, low, high = difference(a, b)
    assert value == pytest.approx(0.125)
    assert low <= np.quantile(resampled, 0.025) and high >= np.quantile(resampled, 0.975)


def test_only_equally_long_credits_are_paired() -> None:
    with pytest.raises(ValueError, match="unequal length"):
        difference([1.0], [1.0, 0.0])


def test_the_front_holds_what_nothing_cheaper_reaches() -> None:
    assert front([(3, 0.5), (1, 0.2), (2, 0.6), (2, 0.4), (4, 0.6), (5, 0.9)]) == [(1, 0.2), (2, 0.6), (5, 0.9)]


QUESTIONS = [Question("a", "?", "1"), Question("b", "?", "2")]


def test_every_cell_answers_every_question_and_plans_once() -> None:
    """A decomposer and a solver of one's own take a few lines."""
    calls = []

    def decomposer(questions: object) -> list[Decomposition]:
        calls.append(questions)
        return [Decomposition(("How?",), "asked", "1. How?", Usage(10, 5)) for _ in QUESTIONS]

    def solver(questions: object, decompositions: object) -> list[list[Solution]]:
        return [[Solution("The answer is 1.", "1", Usage(20, 4)), Solution("?", None, Usage(20, 1))] for _ in QUESTIONS]

    known, unknown = ModelSize(100), None
    rows = compose(
        {"test": QUESTIONS},
        [GridDecomposer(parse_decomposer("d"), known, Price(prompt=1.0, completion=2.0), decomposer)],
        [
            GridSolver(parse_solver("s"), known, None, (VoteSpec("sc", 2),), solver),
            GridSolver(parse_solver("t"), unknown, None, (VoteSpec("sc", 2),), solver),
        ],
    )
    assert len(calls) == 1 and len(rows) == 4
    assert [row.credit for row in rows] == [1.0, 0.0, 1.0, 0.0]
    first = rows[0]
    assert first.decompose.flops == 2 * 100 * 15 and first.decompose.dollars == pytest.approx(20e-6)
    assert first.solve.completion_tokens == 5 and first.solve.prompt_tokens == 20
    assert first.solve.dollars is None and rows[2].solve.flops is None


def test_tables_escape_what_latex_reads() -> None:
    table = (["decomposer", "solver", "vote", "50 % & more"], [["a_b", "c", "sc@4", "1"]])
    assert r"50 \% \& more" in latex(table, "cap_tion") and r"a\_b & c & sc@4 & 1 \\" in latex(table, "")
    assert markdown(table).splitlines()[2] == "| a_b | c | sc@4 | 1 |"
    assert latex((["$5 {x} ~ ^ \\ #", "b", "c"], []), "").splitlines()[7] == (
        r"\$5 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \# & b & c \\"
    )
    signed = latex((["a"], [["-85.0 [-94.5, +6.0]*"], ["1.28e+08"], ["none-direct"]]), "")
    assert "$-85.0$ [$-94.5$, $+6.0$]*" in signed and r"$1.28\times10^{8}$" in signed and "none-direct" in signed
    assert markdown((["a | b"], [])).splitlines()[0] == r"| a \| b |"
    assert percent(of(1, 2)) == "50.0 [9.5, 90.5]" and ALL == "all questions"


def test_an_empty_decomposition_was_paid_for_and_is_not_right() -> None:
    def silent(questions: object) -> list[Decomposition]:
        return [Decomposition((), "unreadable", "", Usage(10, 1)) for _ in QUESTIONS]

    def solver(questions: object, decompositions: object) -> list[list[Solution]]:
        return [[Solution("1", "1", Usage(20, 4))] for _ in QUESTIONS]

    (row, _) = compose(
        {"test": QUESTIONS},
        [GridDecomposer(parse_decomposer("d"), ModelSize(100), None, silent)],
        [GridSolver(parse_solver("s"), ModelSize(100), None, (GREEDY,), solver)],
        judge=lambda test, question, subquestions: True,
    )
    assert row.decompose.flops == 2 * 100 * 11 and row.decomposition_right is False
