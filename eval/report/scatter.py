"""The numbers of the page's plot of accuracy against cost, all axes and tests in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..analysis.pareto import COSTS, AxisName
from ..analysis.summary import CellSummary
from ..grid_spec import is_of_use
from ..render import page

_USUAL = 2
"""Votes that are shown at first: those of the same samples differ little."""


def sections(lines: Sequence[CellSummary], axis: AxisName, still: Sequence[str]) -> list[str]:
    """The plot for the page; `still`, the drawn figure, stands for it where no script runs."""
    return [
        f"<div class=static>{''.join(still)}</div>",
        "<div class=live><p class=note>Accuracy with its 95 % interval against what a question costs, both phases and "
        "the ranker. The line is the Pareto front of what is shown: no cheaper cell is as accurate. Controls, gold "
        "sub-questions and cells that were not asked every question are not on it.</p>"
        "<div id=plot></div></div>",
        page.facts("scatter", _numbers(lines, axis)),
    ]


def _numbers(lines: Sequence[CellSummary], axis: AxisName) -> dict[str, Any]:
    cells = list(dict.fromkeys(line.cell for line in lines))
    tests = list(dict.fromkeys(line.test for line in lines))
    axes = {name: cost for name, cost in COSTS.items() if name != "reasoning" or any(map(cost, lines))}
    return {
        "axis": axis,
        "cells": [cell.names for cell in cells],
        "tests": tests,
        "votes": list(dict.fromkeys(str(cell.vote) for cell in cells))[:_USUAL],
        "points": [
            {
                "cell": cells.index(line.cell),
                "test": tests.index(line.test),
                "n": line.questions,
                "accuracy": line.accuracy,
                "real": line.is_complete and is_of_use(line.cell.decomposer),
                **{name: cost(line) for name, cost in axes.items()},
            }
            for line in lines
        ],
    }
