"""The composer: every decomposer before every solver, on the same questions.

Each decomposition is made once and shared by all cells that use it; a row still carries what its cell would cost
alone, so that two cells can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import exp
from typing import NamedTuple

from ..decompose import Decomposer, Decomposition
from ..decompose.controls import Change
from ..lm import Usage
from ..lm.completion import shared_prompt
from ..lm.cost import Footprint
from ..lm.prices import AnyPrice
from ..lm.store import Scored
from ..solve import Solution, Solver, Verdict
from ..solve.lenient import MEASURES
from ..tasks import Question
from ..tasks.errors import ConfigError
from . import vote
from .vote import Outcome


class Cell(NamedTuple):
    """One combination that is evaluated."""

    decomposer: str
    solver: str
    vote: str
    """`greedy`, or `RULE@k`: a rule's vote over k samples (`vote.RULES`)."""

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
class Changed(Phase):
    """A control: another decomposer's decompositions, changed test by test. It costs what they cost."""

    of: Decomposing
    change: Change


Scorer = Callable[[Sequence[Question], Sequence[Sequence[Solution]]], list[list[Scored]]]
"""A ranker: scores every solution of every question."""


@dataclass(frozen=True)
class Ranking(Phase):
    """A ranker that weighs votes."""

    scorer: Scorer


@dataclass(frozen=True)
class Solving(Phase):
    """A solver of the grid, and the votes over its samples."""

    votes: tuple[str, ...]
    """Labels of cells: all votes share the samples."""
    solver: Solver
    ranking: Ranking | None = None
    """Needed by votes that a ranker weighs."""


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
    judged: vote.Judged
    """Which of the answers are one, and each one's verdict."""
    scores: tuple[float | None, ...] | None
    """The ranker's, of each solution; None where no ranker was asked."""
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
    rank: PhaseCost
    """What the vote's ranker reads; nothing for votes without one."""


Judge = Callable[[str, Question, Sequence[str]], bool | None]
"""Whether sub-questions are right, from the test's name, the question and the sub-questions; None is unknown."""


def _nobody(test: str, question: Question, subquestions: Sequence[str]) -> bool | None:
    return None


def compose(
    tests: Mapping[str, Sequence[Question]],
    decomposers: Sequence[Decomposing | Changed],
    solvers: Sequence[Solving],
    judge: Judge = _nobody,
) -> list[Row]:
    """A row for every cell and question, cell by cell."""
    asked = [(test, question) for test, questions in tests.items() for question in questions]
    questions = [question for _, question in asked]
    decompositions = _decompositions(tests, decomposers)
    rows: list[Row] = []
    for decomposing, solving in product(decomposers, solvers):
        made = decompositions[decomposing.name]
        solved = solving.solver(questions, made)
        judged = vote.judge(questions, [[solution.answer for solution in solutions] for solutions in solved])
        ranked = solving.ranking.scorer(questions, solved) if solving.ranking else [None] * len(solved)
        each = zip(asked, made, solved, judged, ranked, strict=True)
        answered = [
            _Answered(test, question, decomposition, tuple(solutions), compared, scored)
            for (test, question), decomposition, solutions, compared, scored in each
        ]
        for label in solving.votes:
            cell, rule = Cell(decomposing.name, solving.name, label), vote.labelled(label)
            given = [_weighed_by(rule, one) for one in answered]
            if rule.score and not any(score is not None for scores in given for score in scores):
                raise ConfigError(
                    f"no sample of the {solving.name} solver has a {rule.score}; leave the vote {label} out"
                )
            rows += [
                _row(cell, one, judge, one.judged.vote(rule, scores), rule, decomposing, solving)
                for one, scores in zip(answered, given, strict=True)
            ]
    return rows


def _decompositions(
    tests: Mapping[str, Sequence[Question]], decomposers: Sequence[Decomposing | Changed]
) -> dict[str, list[Decomposition]]:
    """Every decomposer's, over all questions; who decomposes for several names is asked once."""
    questions = [question for asked in tests.values() for question in asked]
    asking = {d.of.name: d.of for d in decomposers if isinstance(d, Changed)}
    asking |= {d.name: d for d in decomposers if isinstance(d, Decomposing)}
    made = {name: d.decomposer(questions) for name, d in asking.items()}
    for d in decomposers:
        if isinstance(d, Changed):
            rest = iter(made[d.of.name])
            made[d.name] = [one for asked in tests.values() for one in d.change(list(islice(rest, len(asked))))]
    return made


class _Answered(NamedTuple):
    """One question as one decomposer and one solver answer it, before any vote."""

    test: str
    question: Question
    decomposition: Decomposition
    solutions: tuple[Solution, ...]
    judged: vote.Judged
    scored: Sequence[Scored] | None
    """By the ranker; None where there is none."""


def _weighed_by(rule: vote.Rule, answered: _Answered) -> Sequence[float | None]:
    """A score of each solution, of the kind that the rule weighs by."""
    if rule.score == "probability":
        return [None if s.logprob is None else exp(s.logprob) for s in answered.solutions]
    if rule.score == "certainty":
        return [s.certainty for s in answered.solutions]
    if rule.score == "rank" and answered.scored:
        return [s.score for s in answered.scored]
    return [None] * len(answered.solutions)


def _row(
    cell: Cell,
    answered: _Answered,
    judge: Judge,
    outcome: Outcome,
    rule: vote.Rule,
    decomposing: Phase,
    solving: Solving,
) -> Row:
    test, question, decomposition, solutions, judged, scored = answered
    winner = None if outcome.winner is None else solutions[outcome.winner]
    read = [one.usage for one in scored] if scored and rule.score == "rank" else []
    return Row(
        cell=cell,
        test=test,
        question=question,
        decomposition=decomposition,
        decomposition_right=_right(judge, test, question, decomposition),
        solutions=solutions,
        judged=judged,
        scores=None if scored is None else tuple(one.score for one in scored),
        answer=winner.answer if winner else None,
        verdict=outcome.verdict,
        credit=outcome.credit,
        lenient=_lenient(question, winner or next(iter(solutions), None)),
        decompose=_cost(decomposing, [decomposition.usage] if decomposition.was_tried else []),
        solve=_cost(solving, [solution.usage for solution in solutions]),
        rank=_reading(solving.ranking or solving, read),
    )


def _lenient(question: Question, solution: Solution | None) -> float | None:
    """Of an unreadable solution too: a lenient rule may see an answer where a strict one does not."""
    if question.measure is None:
        return None
    return MEASURES[question.measure](solution.text, solution.answer, question) if solution else 0.0


def _right(judge: Judge, test: str, question: Question, decomposition: Decomposition) -> bool | None:
    if not decomposition.was_tried:
        return None
    right = judge(test, question, decomposition.subquestions)
    return right and decomposition.kind != "unreadable"


def _reading(ranking: Phase, samples: list[Usage]) -> PhaseCost:
    """A ranker reads question and solution anew for each sample."""
    each = [_cost(ranking, [usage]) for usage in samples]
    return PhaseCost(
        sum(cost.prompt_tokens for cost in each),
        0,
        0,
        sum(cost.seconds for cost in each),
        _all_of([cost.flops for cost in each]),
        _all_of([cost.dollars for cost in each]),
    )


def _all_of(parts: Sequence[float | None]) -> float | None:
    """Their sum; None where one is unknown."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


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
