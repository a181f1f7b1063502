"""What stands in a grid: decomposers, solvers and votes as values, read from the names of a config and of results."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, Self

from ..core.errors import ConfigError
from ..decompose.decomposition import Stage
from ..solve.voting import rules

ALL = "all questions"
"""The name of all tests taken together."""

DECOMPOSERS: Mapping[str, str] = {
    "none": "no sub-questions; the solver thinks in a single stage",
    "none-direct": "no sub-questions, and the solver answers at once",
    "base": "the student before it has learned anything",
    "distilled": "the student, as its recipe says",
    "distilled-all": "the student of all the teacher's decompositions (S_D-T)",
    "distilled-rejection": "the student of those that led to the gold answer (S_D-R)",
    "distilled-reasoning": "the student that learned to write the teacher's reasoning too",
    "llm": "the LLM",
    "gold": "the data set's own sub-questions",
    "shuffled": "control: what the LLM asks about another question",
    "empty": "control: the two-stage prompt without a sub-question",
    "truncated-N": "control: the first N of what the LLM asks",
    "interactive-NAME": "one sub-question at a time, each answered before NAME asks the next",
    "MODEL": "a model that the study lists under models",
}
SOLVERS: Mapping[str, str] = {
    "base": "the student before it has learned anything",
    "distilled": "the student, as its recipe says",
    "distilled-direct": "the student of final answers alone",
    "distilled-reasoning": "the student that learned to write the teacher's reasoning too",
    "distilled-METHOD": "the student of another method (divcon distill solver --method list)",
    "distilled-single": "the student of the teacher's single-stage solutions, asked without sub-questions",
    "distilled-single-direct": "the same of final answers alone, asked for the answer at once",
    "distilled-single-METHOD": "the single-stage student of another method",
    "llm": "the LLM",
    "MODEL": "a model that the study lists under models",
}
_INTERACTIVE = "interactive-"
_TRUNCATED = re.compile(r"truncated-([1-9]\d?)")
_STUDENT = "distilled"
_DECOMPOSER_RECIPES: Mapping[str, dict[str, Any]] = {
    "": {},
    "all": {"data": "all"},
    "rejection": {"data": "rejection_sampled"},
    "reasoning": {"reasoning": "keep"},
}
_SOLVER_RECIPES: Mapping[str, dict[str, Any]] = {
    "": {},
    "direct": {"target": "direct"},
    "reasoning": {"reasoning": "keep"},
}
Role = Literal["decomposer", "solver"]
Track = Literal["decomposer", "solver", "single"]
"""What a student is distilled from: decompositions, solutions that follow them, or single-stage solutions."""


# -- decomposers and solvers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoDecomposition:
    """The solver alone, in a single stage."""

    stage: Stage = "single_stage"
    """`direct` asks for the answer at once."""

    def __str__(self) -> str:
        return "none-direct" if self.stage == "direct" else "none"


@dataclass(frozen=True)
class EmptyDecomposition:
    """Control: the two-stage prompt without a sub-question."""

    def __str__(self) -> str:
        return "empty"


@dataclass(frozen=True)
class GoldDecomposition:
    """The data set's own sub-questions."""

    def __str__(self) -> str:
        return "gold"


@dataclass(frozen=True)
class UseModel:
    """A model as it is: the LLM, the student's untrained base, or one of the study's `models`."""

    name: str

    def __str__(self) -> str:
        return self.name


LLM, BASE = UseModel("llm"), UseModel("base")


@dataclass(frozen=True)
class UseStudent:
    """A distilled student."""

    track: Track
    variant: str = ""
    """What it differs in from its track's recipe: for solvers a target or a method; empty where in nothing."""

    def __str__(self) -> str:
        return "-".join(filter(None, [_STUDENT, "single" if self.track == "single" else "", self.variant]))

    @property
    def plain(self) -> UseStudent:
        """The student that the track's recipe describes."""
        return UseStudent(self.track)

    @property
    def recipe_changes(self) -> dict[str, Any]:
        """What its recipe has of its own beside the study's recipe for the track."""
        if self.track == "decomposer":
            return _DECOMPOSER_RECIPES[self.variant]
        return _SOLVER_RECIPES.get(self.variant, {"method": self.variant})

    @property
    def folder(self) -> str:
        """Its directory's name in a run."""
        return "-".join(filter(None, [self.track, self.variant]))

    def stages_taught(self, single_target: str = "sub-answers") -> frozenset[Stage]:
        """The prompts that a solver has learned to be asked with. It is not asked with others.

        `single_target` is the target of the single-stage track's recipe.
        """
        if self.track != "single":
            return frozenset({"solve"})
        is_direct = self.recipe_changes.get("target", single_target) == "direct"
        return frozenset({"direct" if is_direct else "single_stage"})


@dataclass(frozen=True)
class ShuffledDecomposition:
    """Control: what the LLM asks about another question."""

    def __str__(self) -> str:
        return "shuffled"


@dataclass(frozen=True)
class TruncatedDecomposition:
    """Control: the first of what the LLM asks."""

    most: int
    """Sub-questions that are kept."""

    def __str__(self) -> str:
        return f"truncated-{self.most}"


InteractiveAsker = GoldDecomposition | UseModel | UseStudent
"""What can ask one sub-question at a time."""


@dataclass(frozen=True)
class InteractiveDecomposition:
    """One sub-question at a time, each answered before the next is asked."""

    asks: InteractiveAsker

    def __str__(self) -> str:
        return f"{_INTERACTIVE}{self.asks}"


Control = ShuffledDecomposition | TruncatedDecomposition
"""A change of the LLM's decompositions."""
DecomposerSpec = NoDecomposition | EmptyDecomposition | Control | InteractiveAsker | InteractiveDecomposition
SolverSpec = UseModel | UseStudent


def is_interactive(decomposer: DecomposerSpec) -> bool:
    """Whether each sub-question is answered before the next is asked."""
    return isinstance(decomposer, InteractiveDecomposition)


def inner_decomposer(decomposer: DecomposerSpec) -> DecomposerSpec:
    """Who asks, all at once or one by one."""
    return decomposer.asks if isinstance(decomposer, InteractiveDecomposition) else decomposer


def decomposing_model(decomposer: DecomposerSpec) -> SolverSpec | None:
    """The model that decomposes; None where no model does."""
    if isinstance(decomposer, Control):
        return LLM
    asks = inner_decomposer(decomposer)
    return asks if isinstance(asks, UseModel | UseStudent) else None


def is_student(spec: DecomposerSpec) -> bool:
    """Whether a model is a distilled student, also one that asks one sub-question at a time."""
    return isinstance(inner_decomposer(spec), UseStudent)


def is_of_use(decomposer: DecomposerSpec) -> bool:
    """Whether a decomposer is no control: nobody is given gold sub-questions, and none would spoil their own."""
    return isinstance(inner_decomposer(decomposer), NoDecomposition | UseModel | UseStudent)


def stage(decomposer: DecomposerSpec) -> Stage:
    """The prompt that a solver is asked with behind a decomposer."""
    return decomposer.stage if isinstance(decomposer, NoDecomposition) else "solve"


def decomposer_of(stage: Stage) -> DecomposerSpec:
    """A decomposer behind which a solver is asked with a prompt."""
    return LLM if stage == "solve" else NoDecomposition(stage)


@cache
def parse_decomposer(name: str) -> DecomposerSpec:
    """The decomposer of a name; one that is none of ours is a model's of the study."""
    if name.startswith(_INTERACTIVE):
        asks = parse_decomposer(name.removeprefix(_INTERACTIVE))
        if not isinstance(asks, GoldDecomposition | UseModel | UseStudent):
            raise ConfigError(f"{name!r} has nothing to ask one at a time; {asks} is a decomposer of its own")
        return InteractiveDecomposition(asks)
    if found := _TRUNCATED.fullmatch(name):
        return TruncatedDecomposition(int(found[1]))
    own: list[DecomposerSpec] = [NoDecomposition(), NoDecomposition("direct"), EmptyDecomposition()]
    own += [GoldDecomposition(), ShuffledDecomposition()]
    own += [UseStudent("decomposer", variant) for variant in _DECOMPOSER_RECIPES]
    return next((spec for spec in own if str(spec) == name), UseModel(name))


@cache
def parse_solver(name: str) -> SolverSpec:
    """The solver of a name; one that is none of ours is a model's of the study."""
    found = re.fullmatch(rf"{_STUDENT}(?P<single>-single)?(?:-(?P<variant>[a-z0-9-]+))?", name)
    return UseStudent("single" if found["single"] else "solver", found["variant"] or "") if found else UseModel(name)


def check_decomposer(name: str, models: Collection[str] = ()) -> None:
    """Raises ConfigError for a name that stands for no decomposer; `models` are a study's own."""
    asks = inner_decomposer(parse_decomposer(name))
    if isinstance(asks, UseModel) and asks not in (LLM, BASE) and asks.name not in models:
        raise ConfigError(f"no decomposer {name!r}; there are {', '.join([*DECOMPOSERS, *models])}")


def check_solver(name: str, models: Collection[str] = ()) -> None:
    """Raises ConfigError for a name that cannot stand for a solver; which methods there are is found out later."""
    spec = parse_solver(name)
    if isinstance(spec, UseModel) and spec not in (LLM, BASE) and spec.name not in models:
        raise ConfigError(f"no solver {name!r}; there are {', '.join([*SOLVERS, *models])}")


def check_model(name: str) -> None:
    """Raises ConfigError for a name that a study cannot give to a model, because it stands for something else."""
    is_taken = name in {*DECOMPOSERS, *SOLVERS, "ranker", "all"} or name.startswith((_INTERACTIVE, _STUDENT))
    if is_taken or _TRUNCATED.fullmatch(name) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(f"a model cannot be called {name!r}; take a name of letters, digits, dots and hyphens")


def check_format(solver: SolverSpec, taught: frozenset[Stage] | None, decomposers: Collection[DecomposerSpec]) -> None:
    """Raises ConfigError for a solver that no decomposer asks with a prompt that it was taught."""
    asked = (one for one in decomposers if not is_interactive(one))  # which no student was taught
    if taught is not None and not any(stage(one) in taught for one in asked):
        needed = decomposer_of(min(taught))
        raise ConfigError(f"no decomposer asks {solver} in the format that it was taught; add {needed} to decomposers")


# -- votes and cells --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VoteSpec:
    """How many solutions a question gets, and what makes one answer of them."""

    rule: str | None = None
    """A rule's name; None is greedy decoding."""
    samples: int = 1

    def __str__(self) -> str:
        return "greedy" if self.rule is None else f"{self.rule}@{self.samples}"

    @classmethod
    def parse(cls, label: str) -> Self:
        """The vote of a label, `greedy` or `RULE@k`. Raises ConfigError for another."""
        rule, _, samples = label.partition("@")
        if label == "greedy":
            return cls()
        if not samples.isdecimal():
            raise ConfigError(f"no vote {label!r}: it is greedy, or RULE@k")
        return cls(rule, int(samples))

    @property
    def is_greedy(self) -> bool:
        return self.rule is None

    def voting_rule(self) -> rules.Rule:
        """The rule that makes one answer of the samples: the count where decoding is greedy.

        Raises ConfigError for a name that is none.
        """
        return rules.named(self.rule or "count")


GREEDY = VoteSpec()


class Cell(NamedTuple):
    """One combination that is evaluated."""

    decomposer: DecomposerSpec
    solver: SolverSpec
    vote: VoteSpec

    @classmethod
    def parse(cls, decomposer: str, solver: str, vote: str) -> Self:
        """The cell of the names that results are written with."""
        return cls(parse_decomposer(decomposer), parse_solver(solver), VoteSpec.parse(vote))

    @property
    def names(self) -> tuple[str, str, str]:
        """What `parse` reads: for tables and files."""
        return str(self.decomposer), str(self.solver), str(self.vote)

    @property
    def columns(self) -> dict[str, str]:
        """The same by field."""
        return dict(zip(self._fields, self.names, strict=True))

    @property
    def pair(self) -> str:
        return f"{self.decomposer} \N{RIGHTWARDS ARROW} {self.solver}"

    @property
    def label(self) -> str:
        return f"{self.pair}, {self.vote}"
