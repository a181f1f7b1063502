"""What the names of a grid stand for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from ..core.errors import ConfigError
from ..decompose.decomposition import Stage

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
_SINGLE = "distilled-single"
_PLACEHOLDERS = frozenset({"truncated-N", "interactive-NAME", "MODEL"})
_INTERACTIVE = "interactive-"
_TRUNCATED = re.compile(r"truncated-([1-9]\d?)")
_DECOMPOSER_RECIPES: Mapping[str, dict[str, Any]] = {
    "distilled": {},
    "distilled-all": {"data": "all"},
    "distilled-rejection": {"data": "rejection_sampled"},
    "distilled-reasoning": {"reasoning": "keep"},
}
_SOLVER_RECIPES: Mapping[str, dict[str, Any]] = {
    "": {},
    "direct": {"target": "direct"},
    "reasoning": {"reasoning": "keep"},
}
Role = Literal["decomposer", "solver"]
Track = Literal["decomposer", "solver", "single"]
"""What a student is distilled from: decompositions, solutions that follow them, or single-stage solutions."""


def check_decomposer(name: str, models: Collection[str] = ()) -> None:
    """Raises ConfigError for a name that stands for no decomposer; `models` are a study's own."""
    asks = interactive(name)
    if asks is not None and (control(asks) or asks in ("none", "none-direct", "empty")):
        raise ConfigError(f"{name!r} has nothing to ask one at a time; {asks} is a decomposer of its own")
    known = DECOMPOSERS.keys() - _PLACEHOLDERS | set(models)
    if (asks or name) not in known and not _TRUNCATED.fullmatch(name):
        raise ConfigError(f"no decomposer {name!r}; there are {', '.join([*DECOMPOSERS, *models])}")


def check_solver(name: str, models: Collection[str] = ()) -> None:
    """Raises ConfigError for a name that cannot stand for a solver; which methods there are is found out later."""
    if name not in ("base", "llm", "distilled", *models) and not re.fullmatch(r"distilled-[a-z0-9-]+", name):
        raise ConfigError(f"no solver {name!r}; there are {', '.join([*SOLVERS, *models])}")


def check_model(name: str) -> None:
    """Raises ConfigError for a name that a study cannot give to a model, because it stands for something else."""
    taken = name in {*DECOMPOSERS, *SOLVERS, "ranker", "all"} or control(name) or interactive(name) or is_student(name)
    if taken or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(f"a model cannot be called {name!r}; take a name of letters, digits, dots and hyphens")


def interactive(name: str) -> str | None:
    """Who asks one sub-question at a time under a decomposer's name; None where all are asked at once."""
    return name.removeprefix(_INTERACTIVE) if name.startswith(_INTERACTIVE) else None


class Control(NamedTuple):
    """What is done to the LLM's decompositions."""

    change: Literal["shuffled", "truncated"]
    most: int = 0
    """Sub-questions that are kept, of `truncated`."""


def control(name: str) -> Control | None:
    """The change that a decomposer's name asks for; None where it is no control of that kind."""
    if found := _TRUNCATED.fullmatch(name):
        return Control("truncated", int(found[1]))
    return Control("shuffled") if name == "shuffled" else None


def model_name(name: str) -> str | None:
    """The model that decomposes for a name; None where nobody is asked."""
    if control(name):
        return "llm"
    name = interactive(name) or name
    return None if name in ("none", "none-direct", "gold", "empty") else name


def is_of_use(decomposer: str) -> bool:
    """Whether a decomposer is no control: nobody is given gold sub-questions, and none would spoil their own."""
    asks = interactive(decomposer) or decomposer
    return model_name(decomposer) == asks or asks in ("none", "none-direct")


def track(role: Role, name: str) -> Track:
    """The track of a student's name."""
    is_single = name == _SINGLE or name.startswith(f"{_SINGLE}-")
    return "single" if role == "solver" and is_single else role


def differs(role: Role, name: str) -> dict[str, Any]:
    """What the recipe of a student's name has of its own beside the study's recipe for the track."""
    if role == "decomposer":
        return _DECOMPOSER_RECIPES[name]
    own = name.removeprefix(plain(role, name)).removeprefix("-")
    return _SOLVER_RECIPES.get(own, {"method": own})


def plain(role: Role, name: str) -> str:
    """The name of the student that a track's recipe describes."""
    return _SINGLE if track(role, name) == "single" else "distilled"


def stage(decomposer: str) -> Stage:
    """The prompt that a solver is asked with behind a decomposer."""
    return {"none": "single_stage", "none-direct": "direct"}.get(decomposer, "solve")  # type: ignore[return-value]


def stages_taught(solver: str, single_target: str = "sub-answers") -> frozenset[Stage] | None:
    """The prompts that a solver of a name has learned to be asked with; None is any. It is not asked with others.

    `single_target` is the target of the single-stage track's recipe.
    """
    if not is_student(solver):
        return None
    if track("solver", solver) != "single":
        return frozenset({"solve"})
    return frozenset(
        {"direct" if differs("solver", solver).get("target", single_target) == "direct" else "single_stage"}
    )


DECOMPOSER_OF: Mapping[Stage, str] = {"single_stage": "none", "direct": "none-direct", "solve": "llm"}
"""A decomposer behind which a solver is asked with a prompt."""


def check_format(solver: str, taught: frozenset[Stage] | None, decomposers: Collection[str]) -> None:
    """Raises ConfigError for a solver that no decomposer asks with a prompt that it was taught."""
    asked = (name for name in decomposers if not interactive(name))  # which no student was taught
    if taught is not None and not any(stage(name) in taught for name in asked):
        needed = DECOMPOSER_OF[min(taught)]
        raise ConfigError(f"no decomposer asks {solver} in the format that it was taught; add {needed} to decomposers")


def is_student(name: str) -> bool:
    """Whether a model of this name has to be distilled."""
    return name.startswith("distilled")


def folder(role: Role, name: str) -> str:
    """Where in a run directory a student lies."""
    return track(role, name) + name.removeprefix(plain(role, name))
