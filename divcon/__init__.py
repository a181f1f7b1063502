"""When a reasoning task is split into decomposing and solving, which half should be distilled into a small model?

    import divcon

    run = divcon.study("miniature")  # a whole study: results, students, report
    run.compare("distilled:llm:greedy", "llm:llm:greedy").difference

    llm = divcon.plug("runs/miniature/decomposer", client, model="gpt-4o-mini")
    llm.answer("A crate holds 10 pears ...").answer  # a distilled decomposer before an API LLM

    results = divcon.evaluate(questions, {"mine": my_decomposer}, {"last number": my_solver})
    divcon.summarize(results)[0].accuracy  # functions of your own

The commands of the command line are calls in `divcon.commands`. What everything is made of is in `divcon.tasks`,
`divcon.lm`, `divcon.decompose`, `divcon.solve`, `divcon.distill` and `divcon.eval`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .commands import collect, distill_student, plan, study
    from .core.errors import ConfigError, ModelError
    from .decompose.decomposition import Decomposer, Decomposition
    from .distill.method_catalogue import METHODS as methods  # noqa: N811  # a mapping, not a setting
    from .eval.grid.rows import ResultRow, Results
    from .evaluation import evaluate, summarize
    from .lm.types import Usage
    from .run import Run
    from .serve.client.decomposer import decomposer
    from .serve.client.plug import plug
    from .serve.client.wrap import wrap
    from .solve.solution import Solution, Solver
    from .tasks.question import Question

    __version__: str

__all__ = [
    "ConfigError",
    "Decomposer",
    "Decomposition",
    "ModelError",
    "Question",
    "ResultRow",
    "Results",
    "Run",
    "Solution",
    "Solver",
    "Usage",
    "__version__",
    "collect",
    "decomposer",
    "distill_student",
    "evaluate",
    "methods",
    "plan",
    "plug",
    "study",
    "summarize",
    "wrap",
]
_HOMES = {
    ".commands": ("collect", "distill_student", "plan", "study"),
    ".core.errors": ("ConfigError", "ModelError"),
    ".decompose.decomposition": ("Decomposer", "Decomposition"),
    ".eval.grid.rows": ("ResultRow", "Results"),
    ".evaluation": ("evaluate", "summarize"),
    ".lm.types": ("Usage",),
    ".run": ("Run",),
    ".serve.client.decomposer": ("decomposer",),
    ".serve.client.plug": ("plug",),
    ".serve.client.wrap": ("wrap",),
    ".solve.solution": ("Solution", "Solver"),
    ".tasks.question": ("Question",),
}
"""Where each name is imported from when it is used: importing divcon stays fast, and a call loads what it needs."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("divcon")
    if name == "methods":
        return import_module(".distill.method_catalogue", __name__).METHODS
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
