"""The composer: every decomposer before every solver, on the same questions.

Each decomposition is made once and shared by all cells that use it; a row still carries what its cell would cost
alone, so that two cells can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

from ...core.errors import ConfigError
from ...decompose.controls import Change
from ...decompose.decomposition import FAILURE, Decomposer, Decomposition, Stage
from ...lm.cost.flops import ModelSize, total
from ...lm.cost.prices import AnyPrice
from ...lm.store.store import StoredScore
from ...lm.types import Usage, shared_prompt
from ...solve.askers import Asker, FixedPlan
from ...solve.grading.lenient import MEASURES
from ...solve.lockstep import Calls, Transcript
from ...solve.solution import UNKNOWN, Solution, Solver
from ...solve.voting import rules
from ...solve.voting.rules import Outcome
from ...tasks.question import Question
from ..grid_spec import Cell, DecomposerSpec, SolverSpec, VoteSpec, stage
from .leakage import leaks_answer
from .rows import PhaseCost, ResultRow, Results


@dataclass(frozen=True)
class Phase:
    """What answers in one phase, and what it costs."""

    spec: DecomposerSpec
    footprint: ModelSize | None
    """As it would be put to work, adapters merged; None where nobody says how large the model is."""
    price: AnyPrice | None
    """None where nobody says what a token costs."""
    as_run: ModelSize | None = field(default=None, kw_only=True)
    """As it was asked here, with an adapter beside the base; None where that is no different."""


@dataclass(frozen=True)
class GridDecomposer(Phase):
    """A decomposer of the grid."""

    decomposer: Decomposer
    tests: frozenset[str] | None = None
    """The tests that it has decompositions for; None is all. Its cells lack the others."""


@dataclass(frozen=True)
class ControlGridDecomposer(Phase):
    """A control: another decomposer's decompositions, changed test by test. It costs what they cost."""

    of: GridDecomposer
    change: Change


@dataclass(frozen=True)
class InteractiveGridDecomposer(Phase):
    """A decomposer that asks one sub-question at a time, and hears the answer before the next."""

    asker: Asker | GridDecomposer
    """Who asks turn by turn, or whose decompositions are asked one after the other."""


AnyGridDecomposer = GridDecomposer | ControlGridDecomposer | InteractiveGridDecomposer
Interactive = Callable[[Sequence[Question], Asker], list[Transcript]]
"""A solver that works questions one sub-question at a time."""
Scorer = Callable[[Sequence[Question], Sequence[Sequence[Solution]]], list[list[StoredScore]]]
"""A ranker: scores every solution of every question."""


@dataclass(frozen=True)
class GridRanker(Phase):
    """A ranker that weighs votes."""

    scorer: Scorer


@dataclass(frozen=True)
class GridSolver(Phase):
    """A solver of the grid, and the votes over its samples."""

    spec: SolverSpec
    votes: tuple[VoteSpec, ...]
    """All of them share the samples."""
    solver: Solver
    ranking: GridRanker | None = None
    """Needed by votes that a ranker weighs."""
    interactive: Interactive | None = None
    """The same solver, one sub-question at a time; None keeps it from decomposers that ask so."""
    stages: frozenset[Stage] | None = None
    """The prompts that it has learned to be asked with; None is any. Decomposers that need others do not ask it."""
    for_decomposer: Callable[[DecomposerSpec], Solver] | None = None
    """The same solver, which says whose decompositions it works on; None says nothing."""

    def behind(self, decomposer: DecomposerSpec) -> GridSolver:
        """The solver at work on a decomposer's decompositions."""
        return replace(self, solver=self.for_decomposer(decomposer)) if self.for_decomposer else self


Judge = Callable[[str, Question, Sequence[str]], bool | None]
"""Whether sub-questions are right, from the test's name, the question and the sub-questions; None is unknown."""


def _nobody(test: str, question: Question, subquestions: Sequence[str]) -> bool | None:
    return None


def compose(
    tests: Mapping[str, Sequence[Question]],
    decomposers: Sequence[AnyGridDecomposer],
    solvers: Sequence[GridSolver],
    judge: Judge = _nobody,
) -> Results:
    """A row for every cell and question, cell by cell.

    A solver is not asked in a format that it was not taught: what that would measure is the format.
    """
    asked = [(test, question) for test, questions in tests.items() for question in questions]
    decompositions = _decompositions(tests, decomposers)
    rows: list[ResultRow] = []
    for decomposing, solving in product(decomposers, solvers):
        if solving.stages is not None and not _is_asked_as_taught(decomposing, solving.stages):
            continue
        if isinstance(decomposing, InteractiveGridDecomposer):
            answered = _worked(asked, decomposing, solving, decompositions) if solving.interactive else []
        else:
            answered = _solved(asked, decompositions[decomposing.spec], solving.behind(decomposing.spec))
        for vote in solving.votes if answered else ():
            cell, rule = Cell(decomposing.spec, solving.spec, vote), vote.voting_rule()
            given = [_weighed_by(rule, one) for one in answered]
            if rule.score and not any(score is not None for scores in given for score in scores):
                raise ConfigError(
                    f"no sample of the {solving.spec} solver has a {rule.score}; leave the vote {vote} out"
                )
            rows += [
                _row(cell, one, judge, one.judged.vote(rule, scores), rule, decomposing, solving)
                for one, scores in zip(answered, given, strict=True)
            ]
    return Results(rows)


def _is_asked_as_taught(decomposing: AnyGridDecomposer, stages: frozenset[Stage]) -> bool:
    """Whether a solver that was taught these prompts is asked with one of them; one sub-question at a time is none."""
    return not isinstance(decomposing, InteractiveGridDecomposer) and stage(decomposing.spec) in stages


Asked = tuple[str, Question]
"""A question and its test."""
Made = Mapping[Asked, Decomposition]


def _decompositions(
    tests: Mapping[str, Sequence[Question]], decomposers: Sequence[AnyGridDecomposer]
) -> dict[DecomposerSpec, Made]:
    """Every decomposer's; who decomposes for several is asked once."""
    asking = {of.spec: of for d in decomposers if (of := _underlying_decomposer(d))}
    made: dict[DecomposerSpec, Made] = {}
    for spec, of in asking.items():
        asked = [(test, q) for test, qs in tests.items() if of.tests is None or test in of.tests for q in qs]
        made[spec] = dict(zip(asked, of.decomposer([q for _, q in asked]), strict=True))
    for d in decomposers:
        if isinstance(d, ControlGridDecomposer):
            made[d.spec] = {}
            for test, questions in tests.items():
                keys = [key for q in questions if (key := (test, q)) in made[d.of.spec]]
                changed = d.change([made[d.of.spec][key] for key in keys])
                made[d.spec] = {**made[d.spec], **dict(zip(keys, changed, strict=True))}
    return made


def _underlying_decomposer(decomposing: AnyGridDecomposer) -> GridDecomposer | None:
    """Who decomposes for it, all at once; None where sub-questions are asked turn by turn."""
    if isinstance(decomposing, ControlGridDecomposer):
        return decomposing.of
    if isinstance(decomposing, InteractiveGridDecomposer):
        return decomposing.asker if isinstance(decomposing.asker, GridDecomposer) else None
    return decomposing


class _Answered(NamedTuple):
    """One question as one decomposer and one solver answer it, before any vote."""

    test: str
    question: Question
    decomposition: Decomposition
    solutions: tuple[Solution, ...]
    asking: Calls
    """What each prompt's samples took of the decomposer."""
    solving: Calls
    judged: rules.Judged
    scored: Sequence[StoredScore] | None
    """By the ranker; None where there is none."""


def _solved(every: Sequence[Asked], made: Made, solving: GridSolver) -> list[_Answered]:
    """The questions that have a decomposition, solved with it."""
    asked = [one for one in every if one in made]
    known = [one for one in asked if made[one].kind != FAILURE]
    solutions = solving.solver([question for _, question in known], [made[one] for one in known])
    by_question = dict(zip(known, solutions, strict=True))
    solved = [by_question.get(one, [UNKNOWN]) for one in asked]
    asking = [((d.usage,),) if d.was_tried else () for d in map(made.__getitem__, asked)]
    calls = [(tuple(solution.usage for solution in solutions),) for solutions in solved]
    return _judged(asked, [made[one] for one in asked], solved, asking, calls, solving)


def _worked(
    every: Sequence[Asked],
    decomposing: InteractiveGridDecomposer,
    solving: GridSolver,
    decompositions: Mapping[DecomposerSpec, Made],
) -> list[_Answered]:
    """The questions, worked one sub-question at a time."""
    assert solving.interactive
    asked, asker = every, decomposing.asker
    if isinstance(asker, GridDecomposer):
        made = decompositions[asker.spec]
        asked = [one for one in every if one in made]
        asker = FixedPlan({question: made[test, question].subquestions for test, question in asked})
    worked = solving.interactive([question for _, question in asked], asker)
    asking, calls = [one.asking for one in worked], [one.solving for one in worked]
    return _judged(asked, [w.decomposition for w in worked], [w.solutions for w in worked], asking, calls, solving)


def _judged(
    asked: Sequence[Asked],
    made: Sequence[Decomposition],
    solved: Sequence[Sequence[Solution]],
    asking: Sequence[Calls],
    calls: Sequence[Calls],
    solving: GridSolver,
) -> list[_Answered]:
    questions = [question for _, question in asked]
    judged = rules.judge(questions, [[solution.answer for solution in solutions] for solutions in solved])
    ranked = solving.ranking.scorer(questions, solved) if solving.ranking else [None] * len(solved)
    each = zip(asked, made, solved, asking, calls, judged, ranked, strict=True)
    return [
        _Answered(test, question, decomposition, tuple(solutions), asks, solves, compared, scored)
        for (test, question), decomposition, solutions, asks, solves, compared, scored in each
    ]


def _weighed_by(rule: rules.Rule, answered: _Answered) -> Sequence[float | None]:
    """A score of each solution, of the kind that the rule weighs by."""
    if rule.score is None:
        return [None] * len(answered.solutions)
    ranks = [one.score for one in answered.scored] if answered.scored else None
    logprobs, certainties = ([getattr(s, of) for s in answered.solutions] for of in ("logprob", "self_certainty"))
    return rules.scores_by_kind(logprobs, certainties, ranks)[rule.score]


def _row(
    cell: Cell,
    answered: _Answered,
    judge: Judge,
    outcome: Outcome,
    rule: rules.Rule,
    decomposing: Phase,
    solving: GridSolver,
) -> ResultRow:
    test, question, decomposition, solutions, asking, solved, judged, scored = answered
    unknown = decomposition.kind == FAILURE or any(solution.failed for solution in solutions)
    winner = None if outcome.winner is None or unknown else solutions[outcome.winner]
    read = [(one.usage,) for one in scored] if scored and rule.score == "rank" else []  # each is read from its start
    thoughts = tuple(solution.reasoning for solution in solutions)
    return ResultRow(
        cell=cell,
        test=test,
        id=question.id,
        question=question.prompt,
        cluster=question.cluster or f"{test}/{question.id}",
        gold=question.answer,
        subquestions=tuple(decomposition.subquestions),
        decomposition=decomposition.text,
        decomposition_reasoning=decomposition.reasoning,
        decomposition_kind=decomposition.kind,
        decomposition_right=_right(judge, test, question, decomposition),
        leaks_answer=leaks_answer(question, decomposition.subquestions),
        solutions=tuple(solution.text for solution in solutions),
        reasoning=thoughts if any(thoughts) else None,
        answers=tuple(solution.answer for solution in solutions),
        classes=judged.classes,
        verdicts=judged.verdicts,
        logprobs=tuple(solution.logprob for solution in solutions),
        certainties=tuple(solution.self_certainty for solution in solutions),
        scores=None if scored is None else tuple(one.score for one in scored),
        answer=winner.answer if winner else None,
        verdict="unknown" if unknown else outcome.verdict,
        credit=None if unknown else outcome.credit,
        measure=question.measure,
        lenient=_lenient(question, winner or next(iter(solutions), None)),
        decompose=_cost(decomposing, asking),
        solve=_cost(solving, solved),
        rank=_cost(solving.ranking or solving, read),
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


def _cost(phase: Phase, calls: Sequence[Sequence[Usage]]) -> PhaseCost:
    """Of samples, prompt by prompt. A phase without any (no decomposition was made) costs nothing, whoever would have
    made it."""
    usages = [shared_prompt(list(samples)) for samples in calls]
    flops, as_run = (
        [size.flops(samples) if size else None for samples in calls]
        for size in (phase.footprint, phase.as_run or phase.footprint)
    )
    dollars = [phase.price.dollars(*each) if phase.price else None for each in zip(usages, flops, strict=True)]
    usage = sum(usages, Usage())
    return PhaseCost(
        sum(map(len, calls)),
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.completion_tokens,
        usage.reasoning_tokens,
        usage.seconds,
        total(flops),
        total(as_run),
        total(dollars),
    )
