"""When a reasoning task is split into decomposing and solving, which half should be distilled into a small model?

The commands of the command line are calls: `divcon.study("miniature")`. What they are made of is in `divcon.tasks`,
`divcon.lm`, `divcon.decompose`, `divcon.solve`, `divcon.distill` and `divcon.eval`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import (
        add_key,
        ask,
        collect,
        compare,
        compare_methods,
        cost,
        distill_decomposer,
        distill_ranker,
        distill_single,
        distill_solver,
        doctor,
        evaluate,
        export,
        import_traces,
        learning_curve,
        list_data,
        list_keys,
        list_methods,
        list_prompts,
        papers,
        plan,
        plot,
        remove_key,
        report,
        seeds,
        show_data,
        stats_of_traces,
        status,
        study,
        try_prompts,
    )
    from .serve.client.plug import plug
    from .serve.client.wrap import wrap

    __version__: str

__all__ = [
    "__version__",
    "add_key",
    "ask",
    "collect",
    "compare",
    "compare_methods",
    "cost",
    "distill_decomposer",
    "distill_ranker",
    "distill_single",
    "distill_solver",
    "doctor",
    "evaluate",
    "export",
    "import_traces",
    "learning_curve",
    "list_data",
    "list_keys",
    "list_methods",
    "list_prompts",
    "papers",
    "plan",
    "plot",
    "plug",
    "remove_key",
    "report",
    "seeds",
    "show_data",
    "stats_of_traces",
    "status",
    "study",
    "try_prompts",
    "wrap",
]


_ELSEWHERE = {"plug": ".serve.client.plug", "wrap": ".serve.client.wrap"}
"""Calls that need nothing of the study, and do not load what it needs."""


def __getattr__(name: str) -> Any:
    """The calls are imported when they are used: importing divcon stays fast."""
    if name == "__version__":
        return import_module("importlib.metadata").version("divcon")
    if name in __all__:
        return getattr(import_module(_ELSEWHERE.get(name, ".api"), __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
