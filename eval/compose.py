"""The composer: every decomposer before every solver, on the same questions.

Each decomposition is made once and shared by all cells that use it; a row still carries what its cell would cost
alone, so that two cells can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from ..decompose import Decomposer, Decomposition
from ..lm import Usage
from ..lm.completion import shared_prompt
from ..lm.cost import Footprint
from ..lm.prices import AnyPrice
from ..solve import Solution, Solver, Verdict
from ..solve.lenient import MEASURES
from ..tasks import Question
from .vote import Outcome, decide


class Cell(NamedTuple):
    """One combination that is evaluated."""

    decomposer: str
    solver: str
    vote: str
    """`greedy`, or `sc@k`: self-consistency over k samples."""

    @property
    def label(self) -> str:
        return f"{self.decomposer} \N{RIGHTWARDS ARROW} {self.solver}, {self.vote}"


@dataclass(frozen=True)
class Phase:
    """What answers in one phase: how it is called, and what it costs."""

    name: str
    footprint: Footprint | None
    """None where nobody says how large the model is."""
    price: AnyPrice | None
    """None where nobody says what a token costs."""


@dataclass(frozen=True)
class Decomposing(Phase):
    """A decomposer of the grid."""

    decomposer: Decomposer


@dataclass(frozen=True)
class Solving(Phase):
    """A solver of the grid; one vote over its samples."""

    vote: str
    solver: Solver


class PhaseCost(NamedTuple):
    """What one phase of one cell costs for one question."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float
    flops: float | None
    dollars: float | None


@dataclass(frozen=True)
class Row:
    """What one cell made of one question."""

    cell: Cell
    test: str
    question: Question
    decomposition: Decomposition
    decomposition_right: bool | None
    """Whether the sub-questions are the right ones; None where nobody can say."""
    solutions: tuple[Solution, ...]
    answer: str | None
    """The answer that won the vote; None when no sample could be read."""
    verdict: Verdict
    """Of the winning answer."""
    credit: float
    """What counts in the accuracy: 1, 0, or a share when right and wrong answers tie."""
    lenient: float | None
    """The data set's softer score of the winning solution; None where it has none."""
    decompose: PhaseCost
    solve: PhaseCost


Judge = Callable[[str, Question, Sequence[str]], bool | None]
"""Whether sub-questions are right, from the test's name, the question and the sub-questions; None is unknown."""


def _nobody(test: str, question: Question, subquestions: Sequence[str]) -> bool | None:
    return None


def compose(
    tests: Mapping[str, Sequence[Question]],
    decomposers: Sequence[Decomposing],
    solvers: Sequence[Solving],
    judge: Judge = _nobody,
) -> list[Row]:
    """A row for every cell and question, cell by cell."""
    asked = [(test, question) for test, questions in tests.items() for question in questions]
    questions = [question for _, question in asked]
    decompositions = {d.name: d.decomposer(questions) for d in decomposers}
    rows: list[Row] = []
    for decomposing, solving in product(decomposers, solvers):
        cell = Cell(decomposing.name, solving.name, solving.vote)
        made = decompositions[decomposing.name]
        solved = solving.solver(questions, made)
        outcomes = decide(questions, [[solution.answer for solution in solutions] for solutions in solved])
        rows += [
            _row(cell, test, question, decomposition, judge, tuple(solutions), outcome, decomposing, solving)
            for (test, question), decomposition, solutions, outcome in zip(asked, made, solved, outcomes, strict=True)
        ]
    return rows


def _row(
    cell: Cell,
    test: str,
    question: Question,
    decomposition: Decomposition,
    judge: Judge,
    solutions: tuple[Solution, ...],
    outcome: Outcome,
    decomposing: Phase,
    solving: Phase,
) -> Row:
    winner = None if outcome.winner is None else solutions[outcome.winner]
    return Row(
        cell=cell,
        test=test,
        question=question,
        decomposition=decomposition,
        decomposition_right=_right(judge, test, question, decomposition),
        solutions=solutions,
        answer=winner.answer if winner else None,
        verdict=outcome.verdict,
        credit=outcome.credit,
        lenient=_lenient(question, winner or next(iter(solutions), None)),
        decompose=_cost(decomposing, [] if decomposition.kind == "not tried" else [decomposition.usage]),
        solve=_cost(solving, [solution.usage for solution in solutions]),
    )


def _lenient(question: Question, solution: Solution | None) -> float | None:
    """Of an unreadable solution too: a lenient rule may see an answer where a strict one does not."""
    if question.measure is None:
        return None
    return MEASURES[question.measure](solution.text, solution.answer, question) if solution else 0.0


def _right(judge: Judge, test: str, question: Question, decomposition: Decomposition) -> bool | None:
    if decomposition.kind == "not tried":
        return None
    right = judge(test, question, decomposition.subquestions)
    return right and decomposition.kind != "unreadable"


def _cost(phase: Phase, samples: list[Usage]) -> PhaseCost:
    """A phase without samples (no decomposition was made) costs nothing, whoever would have made it."""
    usage = shared_prompt(samples)
    flops = 0.0 if not samples else phase.footprint.flops(samples) if phase.footprint else None
    return PhaseCost(
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.completion_tokens,
        usage.seconds,
        flops,
        0.0 if not samples else phase.price.dollars(usage, flops) if phase.price else None,
    )
