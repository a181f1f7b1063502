"""Decomposers and solvers that are functions of one's own, before one another on questions of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .decompose.decomposition import Decomposer, none
from .eval.grid.evaluate import GridDecomposer, GridSolver, compose
from .eval.grid.rows import Results
from .eval.grid_spec import DecomposerSpec, NoDecomposition, UseModel, VoteSpec
from .lm.cost.flops import ModelSize
from .lm.cost.prices import Price
from .solve.solution import Solver
from .tasks.question import Question


def evaluate(
    tests: Mapping[str, Sequence[Question]] | Sequence[Question],
    decomposers: Mapping[str, Decomposer | None],
    solvers: Mapping[str, Solver],
    *,
    vote: str = "greedy",
    parameters: Mapping[str, float] | None = None,
    prices: Mapping[str, Price] | None = None,
) -> Results:
    """Every decomposer before every solver on every question; each decomposition is made once.

    `tests` are questions by the names of tests, or of one test. A decomposer that is None leaves its solvers alone.
    `vote` makes one answer of a solver's samples: `greedy` where it gives one, `sc@5` where it gives five.
    `parameters` are the sizes of models (weights) and `prices` what their tokens cost, by the names of decomposers and
    solvers: what nobody says stays unknown in the costs. Raises ConfigError for a vote that is none.
    """
    named = tests if isinstance(tests, Mapping) else {"test": tests}
    sizes = {name: ModelSize(round(size)) for name, size in (parameters or {}).items()}
    rates, votes = prices or {}, (VoteSpec.parse(vote),)
    votes[0].voting_rule()
    asking = [
        GridDecomposer(_spec(name, decomposer), sizes.get(name), rates.get(name), decomposer or none)
        for name, decomposer in decomposers.items()
    ]
    solving = [
        GridSolver(UseModel(name), sizes.get(name), rates.get(name), votes, solver) for name, solver in solvers.items()
    ]
    return compose(named, asking, solving)


def _spec(name: str, decomposer: Decomposer | None) -> DecomposerSpec:
    return NoDecomposition() if decomposer is None and name == "none" else UseModel(name)
