"""A study's grid: its names made into decomposers and solvers that can be asked, each watched while it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

from ..decompose.controls import Change, gold, shuffled, truncated
from ..decompose.decomposition import Decomposition
from ..decompose.prompted import PromptedDecomposer
from ..distill.ranker.held_out import held_out
from ..eval.grid.evaluate import (
    AnyGridDecomposer,
    ControlGridDecomposer,
    GridDecomposer,
    GridRanker,
    GridSolver,
    InteractiveGridDecomposer,
)
from ..eval.grid_spec import (
    GREEDY,
    LLM,
    DecomposerSpec,
    GoldDecomposition,
    InteractiveAsker,
    InteractiveDecomposition,
    ShuffledDecomposition,
    SolverSpec,
    TruncatedDecomposition,
    UseModel,
    UseStudent,
    VoteSpec,
)
from ..lm.types import Sampling
from ..solve.askers import Asker
from ..solve.lockstep import InteractiveSolver, Transcript
from ..solve.prompted import PromptedSolver
from ..solve.solution import Solution
from ..solve.voting import rules
from ..tasks.question import Question
from . import prompting
from .checks import stages_taught
from .context import StudyContext
from .progress import Stage

# -- decomposers ------------------------------------------------------------------------------------------------------


def decomposers(context: StudyContext) -> list[AnyGridDecomposer]:
    """The grid's, in its order."""
    return [_decomposer(context, spec) for spec in context.study.grid.decomposer_specs]


def _decomposer(context: StudyContext, spec: DecomposerSpec) -> AnyGridDecomposer:
    match spec:
        case InteractiveDecomposition(asks):
            return _interactive(context, spec, asks)
        case GoldDecomposition():
            return _gold(context)
        case ShuffledDecomposition():
            return _changed(context, spec, shuffled(context.study.seed))
        case TruncatedDecomposition(most):
            return _changed(context, spec, truncated(most))
        case UseModel() | UseStudent():
            return _model_decomposer(context, spec)
    return GridDecomposer(spec, None, None, prompting.null_decomposer(spec))


def _gold(context: StudyContext) -> GridDecomposer:
    return GridDecomposer(GoldDecomposition(), None, None, gold, context.questions.with_gold)


def _changed(context: StudyContext, spec: DecomposerSpec, change: Change) -> ControlGridDecomposer:
    """A control: the LLM's decompositions, changed."""
    of = _model_decomposer(context, LLM)
    return ControlGridDecomposer(spec, of.footprint, of.price, of, change, as_run=of.as_run)


def _model_decomposer(context: StudyContext, spec: SolverSpec) -> GridDecomposer:
    """A decomposer that is a model."""
    model = context.models(spec)
    asked = prompting.decomposer(context.study, model)
    watched = _WatchedDecomposer(asked, partial(context.stage, f"decompose: {spec}", model))
    return GridDecomposer(spec, model.merged_footprint, model.price, watched, as_run=model.footprint)


def _interactive(context: StudyContext, spec: DecomposerSpec, asks: InteractiveAsker) -> InteractiveGridDecomposer:
    """A decomposer that hears each answer before it asks on; gold sub-questions come one after the other."""
    if isinstance(asks, GoldDecomposition):
        return InteractiveGridDecomposer(spec, None, None, _gold(context))
    model = context.models(asks)
    asker = prompting.asker(context.study, model)
    return InteractiveGridDecomposer(spec, model.merged_footprint, model.price, asker, as_run=model.footprint)


# -- solvers ----------------------------------------------------------------------------------------------------------


def solvers(context: StudyContext) -> list[GridSolver]:
    """The grid's, each greedy and, where it samples, with all votes over its samples."""
    return [made for spec in context.study.grid.solver_specs for made in _solvers(context, spec)]


def _solvers(context: StudyContext, spec: SolverSpec) -> list[GridSolver]:
    study, grid = context.study, context.study.grid
    greedy = prompting.solver(study, context.models(spec))
    found = [_solver(context, spec, (GREEDY,), greedy)]
    if grid.samples:
        sampling = Sampling(grid.temperature, grid.top_p, study.solve.max_tokens)
        voting = replace(greedy, sampling=sampling, samples=grid.samples, logprobs=study.asks_logprobs)
        votes = tuple(dict.fromkeys(VoteSpec(_rule(context, name), grid.samples) for name in grid.votes))
        found.append(_solver(context, spec, votes, voting))
    return found


def _solver(context: StudyContext, spec: SolverSpec, votes: tuple[VoteSpec, ...], solver: PromptedSolver) -> GridSolver:
    """One way to sample, and the votes over its samples."""
    grid, model = context.study.grid, solver.model
    title = f"solve: {spec}, {_called(votes)}"
    watched = _WatchedSolver(solver, partial(context.stage, title, model))
    one_by_one = None
    if str(spec) in grid.interactive:
        stepwise = prompting.interactive(context.study, solver)
        one_by_one = _WatchedInteractive(stepwise, partial(context.stage, f"{title}, one by one", model))
    return GridSolver(
        spec,
        model.merged_footprint,
        model.price,
        votes,
        watched,
        _ranker(context) if not votes[0].is_greedy and grid.asks("rank") else None,
        one_by_one,
        stages_taught(context.study, context.questions, spec),
        lambda decomposer: replace(watched, decomposer=str(decomposer)),
        as_run=model.footprint,
    )


def _rule(context: StudyContext, name: str) -> str:
    """The formula's name where one was learned."""
    return name if name != rules.LEARNED else f"rank_1_plus_{held_out(context.files.ranker).slope:g}"


def _ranker(context: StudyContext) -> GridRanker:
    from ..distill.ranker.score import CachedScorer  # torch takes seconds to import

    scorer = CachedScorer(context.files.ranker, context.store, context.study.student.device)
    return GridRanker(UseModel("ranker"), scorer.footprint, context.models.student_price, scorer)


def _called(votes: Sequence[VoteSpec]) -> str:
    """What a stage that samples for these votes is called."""
    return str(votes[0]) if len(votes) == 1 else f"{votes[0]} and {len(votes) - 1} other votes"


# -- watched while they are asked -------------------------------------------------------------------------------------

_Stage = Callable[[], AbstractContextManager[Stage]]
"""Begins a part of a run."""


@dataclass(frozen=True)
class _WatchedDecomposer:
    decomposer: PromptedDecomposer
    stage: _Stage

    def __call__(self, questions: Sequence[Question]) -> list[Decomposition]:
        with self.stage() as advance:
            return replace(self.decomposer, advance=advance)(questions)


@dataclass(frozen=True)
class _WatchedSolver:
    solver: PromptedSolver
    stage: _Stage
    decomposer: str = ""
    """Whose decompositions it solves."""

    def __call__(self, questions: Sequence[Question], decompositions: Sequence[Decomposition]) -> list[list[Solution]]:
        with self.stage() as advance:
            advance.decomposer = self.decomposer
            return replace(self.solver, advance=advance)(questions, decompositions)


@dataclass(frozen=True)
class _WatchedInteractive:
    solver: InteractiveSolver
    stage: _Stage

    def __call__(self, questions: Sequence[Question], asker: Asker) -> list[Transcript]:
        with self.stage() as advance:
            watched = replace(self.solver, solver=replace(self.solver.solver, advance=advance))
            return watched(questions, asker)
