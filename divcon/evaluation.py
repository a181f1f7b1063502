"""Decomposers and solvers that are functions of one's own, before one another on questions of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .core.errors import ConfigError
from .decompose.decomposition import Decomposer, Decomposition, none
from .eval.analysis.summary import CellSummary, lines
from .eval.grid.evaluate import GridDecomposer, GridSolver, compose
from .eval.grid.rows import Results
from .eval.grid_spec import DecomposerSpec, NoDecomposition, UseModel, VoteSpec, check_model
from .lm.cost.flops import ModelSize
from .lm.cost.prices import Price
from .solve.solution import Solution, Solver
from .tasks.question import Question


def evaluate(
    tests: Mapping[str, Iterable[Question]] | Iterable[Question],
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
    solvers: what nobody says stays unknown in the costs. `divcon.summarize` has accuracies and costs of what comes
    back. Raises ConfigError for a vote that is none, a name that stands for something else in a study, and where
    anything returns other than its protocol says, or two questions of a test have one id.
    """
    named = tests if isinstance(tests, Mapping) else {"test": tests}
    asked = {name: tuple(questions) for name, questions in named.items()}
    if not all(isinstance(question, Question) for questions in asked.values() for question in questions):
        raise ConfigError("tests are questions (divcon.Question), or sequences of them by name")
    for name, questions in asked.items():  # questions are paired by their ids
        if twice := next((one for one, count in Counter(q.id for q in questions).items() if count > 1), None):
            raise ConfigError(f"two questions of {name!r} have the id {twice!r}")
    sizes = {name: ModelSize(round(size)) for name, size in (parameters or {}).items()}
    rates, votes = prices or {}, (VoteSpec.parse(vote),)
    votes[0].voting_rule()
    asking = [
        GridDecomposer(
            _spec(name, own), sizes.get(name), rates.get(name), _CheckedDecomposer(name, own) if own else none
        )
        for name, own in decomposers.items()
    ]
    solving = [
        GridSolver(_model(name), sizes.get(name), rates.get(name), votes, _CheckedSolver(name, own, votes[0].samples))
        for name, own in solvers.items()
    ]
    return compose(asked, asking, solving)


def summarize(results: Results) -> list[CellSummary]:
    """Each cell on each test, and on all tests together: accuracy with its interval, and cost per question."""
    return lines(results.known)


def _spec(name: str, decomposer: Decomposer | None) -> DecomposerSpec:
    return NoDecomposition() if decomposer is None and name == "none" else _model(name)


def _model(name: str) -> UseModel:
    """A name of one's own, in words."""
    check_model(name.replace(" ", "-"))
    return UseModel(name)


@dataclass(frozen=True)
class _CheckedDecomposer:
    name: str
    decomposer: Decomposer

    def __call__(self, questions: Sequence[Question]) -> list[Decomposition]:
        made = list(self.decomposer(questions))
        if len(made) != len(questions) or not all(isinstance(one, Decomposition) for one in made):
            raise ConfigError(f"the decomposer {self.name} must return a divcon.Decomposition for each question")
        return made


@dataclass(frozen=True)
class _CheckedSolver:
    name: str
    solver: Solver
    samples: int

    def __call__(self, questions: Sequence[Question], decompositions: Sequence[Decomposition]) -> list[list[Solution]]:
        made = [list(samples) for samples in self.solver(questions, decompositions)]
        if len(made) != len(questions) or not all(isinstance(one, Solution) for each in made for one in each):
            raise ConfigError(f"the solver {self.name} must return a list of divcon.Solution for each question")
        if unlike := next((each for each in made if len(each) != self.samples), None):
            raise ConfigError(
                f"the solver {self.name} returned {len(unlike)} samples, and the vote is over {self.samples}: "
                "vote='greedy' for one, vote='sc@5' for five"
            )
        return made
