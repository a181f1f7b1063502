"""Wrong answers and what they are put down to: real problems of the miniature world, solved by hand."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divcon.eval.analysis import agreement, errors
from divcon.eval.analysis.errors import Working, graph, step_classes, workings
from divcon.eval.grid.rows import ResultRow, Results
from divcon.eval.report.errors import agreement_table, causes_table, slips_table, steps_table
from divcon.solve.grading.grade import Verdict
from divcon.tasks.miniature import questions
from divcon.tasks.miniature.chains import KNOWN, NEW
from divcon.tasks.miniature.problem import Problem, compute, draw
from divcon.tasks.miniature.recover import recover
from divcon.tasks.miniature.splits import SPLITS, solution
from tests.fakes import rows

QUESTION = next(q for q in questions("known-known", 200, seed=1) if q.tags["chain"] == "fact-gain-lose-times")
PROBLEM = recover([(QUESTION.id, QUESTION.text)])[QUESTION.text]
A, B, C, D = PROBLEM.steps


def row(text: str, right: bool, *, asked: tuple[str, ...] = QUESTION.subquestions, **more: Any) -> ResultRow:
    """A row of results whose answer is what the text says behind 'is'."""
    answer = text.rpartition("is ")[2].rstrip(".")
    told = {
        "id": QUESTION.id,
        "cluster": "a chain",
        "question": QUESTION.text,
        "subquestions": asked,
        "decomposition_kind": "asked" if asked else "not needed",
        "solutions": [text],
        "answers": [answer],
        "answer": answer,
        "verdict": "right" if right else "wrong",
    }
    return rows.row(**(told | more))


def solved(*steps: str, answer: int | None = None) -> str:
    """A worked solution of these steps, whose answer is the last one's result."""
    last = steps[-1].rpartition("= ")[2].rstrip(".")
    lines = [f"{number}. {step}" for number, step in enumerate(steps, 1)]
    return "\n".join([*lines, f"The answer is {last if answer is None else answer}."])


def worked(left: int, operator: str, right: int, result: int) -> str:
    return f"{left} {operator} {right} = {result}."


# What each hand-made solution gets wrong, in the second step (b), the third (c) or the fourth (d) of four.
SLIPPED = B.result + 2
ON = (SLIPPED - C.right, (SLIPPED - C.right) * D.right)
HAND_MADE: dict[str, tuple[str, str, str | None, list[str]]] = {
    "all is right": (solved(A.text, B.text, C.text, D.text), "correct", None, ["correct"] * 4),
    "the last step is miscalculated": (
        solved(A.text, B.text, C.text, worked(D.left, "*", D.right, D.result + 2)),
        "local",
        "arithmetic",
        ["correct", "correct", "correct", "local"],
    ),
    "a wrong sum is handed on": (
        solved(
            A.text,
            worked(B.left, "+", B.right, SLIPPED),
            worked(SLIPPED, "-", C.right, ON[0]),
            worked(ON[0], "*", D.right, ON[1]),
        ),
        "propagation",
        "arithmetic",
        ["correct", "local", "propagation", "propagation"],
    ),
    "a wrong sum is handed on, and the last step is wrong too": (
        solved(
            A.text,
            worked(B.left, "+", B.right, SLIPPED),
            worked(SLIPPED, "-", C.right, ON[0]),
            worked(ON[0], "*", D.right, ON[1] + 1),
        ),
        "both",
        "arithmetic",
        ["correct", "local", "propagation", "both"],
    ),
    "the operation is another": (
        solved(A.text, B.text, C.text, worked(D.left, "+", D.right, D.left + D.right)),
        "local",
        "operation",
        ["correct", "correct", "correct", "local"],
    ),
    "a number is misread": (
        solved(A.text, B.text, C.text, worked(D.left, "*", D.right + 1, D.left * (D.right + 1))),
        "local",
        "values",
        ["correct", "correct", "correct", "local"],
    ),
    "the answer is not what the last step says": (
        solved(A.text, B.text, C.text, D.text, answer=D.result + 1),
        "local",
        "answer",
        ["correct"] * 4,
    ),
    "the last step cannot be read": (
        solved(A.text, B.text, C.text, "So that is it.", answer=7),
        "unreadable",
        "unreadable",
        ["correct", "correct", "correct", "unreadable"],
    ),
    "only the answer is written": ("The answer is 7.", "unreadable", "unreadable", ["unreadable"] * 4),
    "a step in the middle cannot be read": (
        solved(A.text, B.text, "And then fewer.", worked(5, "*", D.right, 5 * D.right)),
        "unreadable",
        "unreadable",
        ["correct", "correct", "unreadable", "unreadable"],
    ),
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_hand_made_solution_is_put_down_to_what_was_done_to_it(name: str) -> None:
    text, cause, slip, classes = HAND_MADE[name]
    made = errors.attribution(row(text, cause == "correct"), PROBLEM)
    assert made and (made.cause, made.slip, list(made.steps)) == (cause, slip, classes)


def test_a_wrong_fact_is_a_slip_of_its_own() -> None:
    fact = A.right + 1
    text = solved(worked(A.left, "*", fact, A.left * fact), B.text, C.text, D.text, answer=7)
    made = errors.attribution(row(text, False), PROBLEM)
    assert made and made.slip == "fact" and made.steps[0] == "local"


def test_a_right_answer_over_a_wrong_step_is_a_recovery() -> None:
    text = solved(A.text, worked(B.left, "+", B.right, SLIPPED), C.text, D.text)
    made = errors.attribution(row(text, True), PROBLEM)
    assert made and made.cause == "recovered step"
    assert made.steps == ("correct", "local", "restored", "correct")


def test_a_wrong_decomposition_is_named_before_any_step() -> None:
    text = solved(A.text, D.text)
    for right, cause in ((True, "recovered decomposition"), (False, "decomposition")):
        made = errors.attribution(row(text, right, asked=QUESTION.subquestions[:2]), PROBLEM)
        assert made and made.cause == cause and made.steps == ()


def test_a_decomposition_that_could_not_be_read_is_wrong_even_where_none_was_needed() -> None:
    single = next(q for q in questions("known-known", 200, seed=1) if q.tags["chain"] == "fact")
    problem = recover([(single.id, single.text)])[single.text]
    for kind, cause in (("not needed", "correct"), ("unreadable", "recovered decomposition")):
        made = errors.attribution(row(single.solution, True, asked=(), decomposition_kind=kind), problem)
        assert made and made.cause == cause


def test_sub_questions_may_come_in_any_order_that_can_be_worked() -> None:
    question = next(q for q in questions("known-known", 200, seed=1) if q.tags["chain"] == "fact|fact|total")
    problem = recover([(question.id, question.text)])[question.text]
    one, other, both = problem.steps
    swapped = (question.subquestions[1], question.subquestions[0], question.subquestions[2])
    text = solved(other.text, one.text, both.text)
    made = errors.attribution(row(text, True, asked=swapped), problem)
    assert made and made.cause == "correct"


def test_where_nobody_asked_for_sub_questions_nothing_is_put_down() -> None:
    text = " ".join([A.text, B.text, C.text, D.text])
    for kind in ("not tried", "direct", "empty"):
        assert errors.attribution(row(text, True, decomposition_kind=kind), PROBLEM) is None
    assert errors.attribution(row(text, False, verdict="timed out"), PROBLEM) is None


def test_an_answer_that_cannot_be_read_is_not_guessed() -> None:
    text = solved(A.text, B.text, C.text, D.text)
    unread = row(text, False, verdict="unreadable", answers=[None], answer=None)
    made = errors.attribution(unread, PROBLEM)
    assert made and made.cause == "unreadable"


def test_the_first_solution_with_the_winning_answer_speaks_for_a_vote() -> None:
    voted = row("x", True, solutions=["a", "b", "c"], answers=["1", "2", "2"], answer="2")
    assert errors.winning(voted) == "b"


# -- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "working"),
    [
        ("A crate holds 10, so 3 * 10 = 30.", Working(3, "*", 10, 30)),
        ("Then, 12 - 20 = -8", Working(12, "-", 20, -8)),
        ("She has them. 12 - 2 = 10.", Working(12, "-", 2, 10)),
        ("3*10=30", Working(3, "*", 10, 30)),
        ("- 5 = 2.", None),
        ("3 * 4 = 12 - 2 = 10", None),
        ("2 + 3 * 4 = 14", None),
        ("3 * 4 = 12. 12 - 2 = 10.", None),
        ("2.5 * 4 = 10", None),
        ("3 * 4 = 12.5", None),
        ("thirty", None),
    ],
)
def test_a_line_has_one_working_or_none(line: str, working: Working | None) -> None:
    assert workings(f"1. {line}\nThe answer is 4.", 1) == [working]


def test_workings_are_found_by_their_numbers() -> None:
    text = "2. 4 + 4 = 8.\n1. 2 + 2 = 4.\n4. 1 + 1 = 2.\n4. 1 + 1 = 2.\nThe answer is 2 + 6 = 8."
    assert workings(text, 4) == [Working(2, "+", 2, 4), Working(4, "+", 4, 8), None, None]
    assert workings("A tin holds 4, so 2 * 4 = 8. The answer is 8.", 0) == [Working(2, "*", 4, 8)]


# -- laws ------------------------------------------------------------------------------------------------------------

problems = st.builds(lambda chain, seed: draw(random.Random(seed), chain), st.sampled_from(KNOWN + NEW), st.integers())


@given(problems)
def test_a_graph_says_what_every_step_reads(problem: Problem) -> None:
    for step, node in zip(problem.steps, graph(problem), strict=True):
        assert {read for read in node.reads if read is not None} == set(step.uses)
        for value, read in zip((node.left, node.right), node.reads, strict=True):
            assert read is None or problem.steps[read].result == value
        assert node.result == step.result


@given(problems)
def test_the_gold_solution_is_right_in_all_steps(problem: Problem) -> None:
    found = workings(solution(problem), len(problem.subquestions))
    assert step_classes(graph(problem), found) == ["correct"] * len(problem.steps)


@given(problems, st.data())
def test_one_slip_is_local_and_what_is_rightly_computed_from_it_is_propagation(problem: Problem, data: Any) -> None:
    nodes = graph(problem)
    slipped = data.draw(st.integers(0, len(nodes) - 1))
    stated: list[int] = []
    found: list[Working | None] = []
    for place, node in enumerate(nodes):
        left, right = (
            value if read is None else stated[read]
            for value, read in zip((node.left, node.right), node.reads, strict=True)
        )
        stated.append(compute(left, node.operator, right) + (place == slipped))
        found.append(Working(left, node.operator, right, stated[-1]))
    classes = step_classes(nodes, found)
    assert classes[slipped] == "local" and set(classes) <= {"correct", "local", "propagation", "restored"}
    assert classes.count("local") == 1
    for node, of in zip(nodes, classes, strict=True):
        is_fed = any(read is not None and classes[read] in ("local", "propagation") for read in node.reads)
        assert (of in ("propagation", "restored")) == is_fed


@pytest.mark.parametrize("split", SPLITS)
def test_a_problem_is_made_again_from_its_id(split: str) -> None:
    for seed in (0, 1):
        asked = questions(split, 20, seed)[5:]
        found = recover((q.id, q.text) for q in asked)
        assert [found[q.text].answer for q in asked] == [q.answer for q in asked]
        assert [found[q.text].subquestions for q in asked] == [q.subquestions for q in asked]


def test_a_question_of_another_data_set_is_nobodys_problem() -> None:
    assert recover([("train/0003", "How many?"), ("test/1", "How?"), ("mine", "?"), ("train@2/999999999", "?")]) == {}


# -- substitution, and how far the two views agree --------------------------------------------------------------------


def cell(decomposer: str, verdicts: str) -> list[ResultRow]:
    """Rows of a cell whose answers are right (r), wrong (w) or open (t), question by question."""
    of = {"r": "right", "w": "wrong", "t": "timed out"}
    return [
        row("x", True, decomposer=decomposer, id=str(i), question=f"Question {i}", verdict=of[v])
        for i, v in enumerate(verdicts)
    ]


def test_each_answer_is_held_beside_the_one_with_gold_sub_questions() -> None:
    (line,) = errors.swap_lines(Results([*cell("llm", "rrwwwt"), *cell("gold", "rwrrwr")]))
    assert line.counts == Counter(correct=1, recovery=1, decomposition=2, solving=1)
    assert line.of_wrong.value == pytest.approx(2 / 3) and line.share("solving").value == pytest.approx(1 / 5)
    assert line.gain.value == pytest.approx(line.share("decomposition").value - line.share("recovery").value)


def test_without_a_gold_cell_nothing_is_substituted() -> None:
    assert errors.swap_lines(Results(cell("llm", "rw"))) == []


def test_two_views_that_blame_alike_agree() -> None:
    own = [
        row(HAND_MADE["the last step is miscalculated"][0], False, test="0"),
        row("1. 1 + 1 = 2.\nThe answer is 2.", False, test="1", asked=("How?",)),
        row(HAND_MADE["only the answer is written"][0], False, test="2"),
    ]
    graded: tuple[Verdict, ...] = ("wrong", "right", "wrong")
    gold = [rows.moved(one, "gold", "llm", verdict=verdict) for one, verdict in zip(own, graded, strict=True)]
    (found,) = agreement.views(Results([*own, *gold]))
    assert found.crossed == (1, 1, 0, 0) and found.share.value == found.kappa.value == 1.0
    assert found.counts["unreadable", "solving"] == 1
    assert agreement_table([found])[1][0][2:5] == ["2", "1", "1"]


def test_kappa_is_cohens() -> None:
    """20 both, 5 and 10 apart, 15 neither: agreement .7, by chance .5."""
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    found = agreement.kappa(pairs, range(50))
    assert found.value == pytest.approx(0.4) and found.low < 0.4 < found.high


cases = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 6)), min_size=2, max_size=30)


@given(cases)
def test_auroc_counts_pairs_and_turns_round_with_its_scores(drawn: list[tuple[int, bool, int]]) -> None:
    scores, labels, questions = ([one[i] for one in drawn] for i in range(3))
    found = agreement.auroc([float(s) for s in scores], [bool(x) for x in labels], questions)
    pairs = [(a > b) + (a == b) / 2 for a, x, _ in drawn for b, y, _ in drawn if x and not y]
    if not pairs:
        assert np.isnan(found.value) and (found.low, found.high) == (0.0, 1.0)
        return
    turned = agreement.auroc([-float(s) for s in scores], [bool(x) for x in labels], questions)
    assert found.value == pytest.approx(sum(pairs) / len(pairs)) == pytest.approx(1 - turned.value)
    assert found.low <= found.value <= found.high and found.low == pytest.approx(1 - turned.high)


def test_a_line_counts_every_answer_once() -> None:
    made = [row(text, cause == "correct") for text, cause, *_ in HAND_MADE.values()]
    (line,) = errors.cause_lines(Results(made))
    assert line.questions == len(HAND_MADE) and line.wrong == len(HAND_MADE) - 1
    assert sum(line.slips.values()) == line.wrong and line.counts["local"] == 4
    assert line.of_wrong("decomposition").value == 0.0
    assert sum(line.steps.values()) == 4 * len(HAND_MADE)
    for made_of in (causes_table, slips_table, steps_table):
        header, (told,) = made_of([line])
        assert len(header) == len(told)
