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
        distill_solver,
        doctor,
        evaluate,
        import_traces,
        list_data,
        list_keys,
        list_methods,
        papers,
        plan,
        plot,
        plug,
        remove_key,
        report,
        seeds,
        show_data,
        stats_of_traces,
        status,
        study,
        wrap,
    )

__all__ = [
    "add_key",
    "ask",
    "collect",
    "compare",
    "compare_methods",
    "cost",
    "distill_decomposer",
    "distill_ranker",
    "distill_solver",
    "doctor",
    "evaluate",
    "import_traces",
    "list_data",
    "list_keys",
    "list_methods",
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
    "wrap",
]


def __getattr__(name: str) -> Any:
    """The calls are imported when they are used: importing divcon stays fast."""
    if name in __all__:
        return getattr(import_module(".api", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
