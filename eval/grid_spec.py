"""What the names of a grid stand for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from ..core.errors import ConfigError

ALL = "all questions"
"""The name of all tests taken together."""

DECOMPOSERS: Mapping[str, str] = {
    "none": "no sub-questions; the solver thinks in a single stage",
    "none-direct": "no sub-questions, and the solver answers at once",
    "base": "the student before it has learned anything",
    "distilled": "the student, as its recipe says",
    "distilled-all": "the student of all the teacher's decompositions (S_D-T)",
    "distilled-rejection": "the student of those that led to the gold answer (S_D-R)",
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
    "distilled-METHOD": "the student of another method (divcon distill solver --method list)",
    "llm": "the LLM",
    "MODEL": "a model that the study lists under models",
}
_PLACEHOLDERS = frozenset({"truncated-N", "interactive-NAME", "MODEL"})
_INTERACTIVE = "interactive-"
_TRUNCATED = re.compile(r"truncated-([1-9]\d?)")
_DECOMPOSER_RECIPES: Mapping[str, dict[str, Any]] = {
    "distilled": {},
    "distilled-all": {"data": "all"},
    "distilled-rejection": {"data": "rejection_sampled"},
}
Role = Literal["decomposer", "solver"]


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
    if name not in ("base", "llm", "distilled", *models) and not re.fullmatch(r"distilled-[a-z-]+", name):
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


def differs(role: Role, name: str) -> dict[str, Any]:
    """What the recipe of a student's name has of its own beside the study's recipe for the role."""
    if role == "decomposer":
        return _DECOMPOSER_RECIPES[name]
    own = name.removeprefix("distilled").removeprefix("-")
    return {"target": "direct"} if own == "direct" else {"method": own} if own else {}


def is_student(name: str) -> bool:
    """Whether a model of this name has to be distilled."""
    return name.startswith("distilled")


def folder(role: Role, name: str) -> str:
    """Where in a run directory a student lies."""
    return role + name.removeprefix("distilled")
