"""Rows of results that were made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from divcon.eval.grid.rows import PhaseCost, ResultRow
from divcon.eval.grid_spec import Cell

_DEFAULTS: dict[str, Any] = {
    "test": "t",
    "id": "q0",
    "question": "How many pears are there?",
    "gold": "7",
    "subquestions": (),
    "decomposition": "",
    "decomposition_kind": "asked",
    "leaks_answer": False,
    "solutions": (),
    "answers": (),
    "classes": (),
    "verdicts": (),
    "logprobs": (),
    "certainties": (),
    "answer": None,
    "verdict": "wrong",
    "credit": 0.0,
    "solve": PhaseCost(calls=1),
}


def row(decomposer: str = "llm", solver: str = "llm", vote: str = "greedy", **values: Any) -> ResultRow:
    """A row of a cell, by its names; what is not told is unknown, empty or wrong. Lists become tuples."""
    told = _DEFAULTS | {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    cluster = told.pop("cluster", f"{told['test']}/{told['id']}")
    return ResultRow(cell=Cell.parse(decomposer, solver, vote), cluster=cluster, **told)


def moved(of: ResultRow, decomposer: str, solver: str, vote: str = "greedy", **values: Any) -> ResultRow:
    """A row of another cell."""
    return replace(of, cell=Cell.parse(decomposer, solver, vote), **values)
