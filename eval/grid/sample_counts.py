"""How many samples a grid asks for, and how many it would ask for if nothing were shared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ...core import documents
from ...core.files import atomic_write
from ..grid_spec import Cell, is_interactive
from .rows import ResultRow


class Naive(NamedTuple):
    """Samples of a run in which nothing is shared."""

    each_vote: int
    """Every cell draws its own: its decomposition, and its vote's samples."""
    each_k: int
    """So does every k up to a vote's, for the curves."""


def naive(rows: Iterable[ResultRow]) -> Naive:
    """What the cells of these rows would ask for, each alone."""
    return unshared((row.cell, row.decompose.calls, row.solve.calls) for row in rows)


def unshared(cells: Iterable[tuple[Cell, int, int]]) -> Naive:
    """From each cell, samples of its decompositions and samples of its solutions."""
    each_vote, each_k = 0, 0.0
    for cell, decompose, solve in cells:
        k = cell.vote.samples
        each_vote += decompose + solve
        turns = (k + 1) / 2  # 1 + 2 + ... + k samples, where the vote has k
        asks = turns if is_interactive(cell.decomposer) else k  # a way each, or for every k the decomposition anew
        each_k += decompose * asks + solve * turns
    return Naive(each_vote, round(each_k))


def write(asked: int, rows: Iterable[ResultRow], file: Path) -> None:
    """Replace a run's file, at once or not at all."""
    atomic_write(file, json.dumps({"asked": asked, **naive(rows)._asdict()}) + "\n")


def described(file: Path) -> str:
    """A sentence for the report; empty for a run that did not count. Raises ConfigError when the file is damaged."""
    counted: _Counted | None = documents.read_optional(_Counted, file, "remove it, or evaluate again")
    if counted is None:
        return ""
    return (
        f"{counted.asked:,} different samples were asked for. Cells and votes that share nothing would have asked "
        f"for {counted.each_vote:,}, and {counted.each_k:,} if every k had samples of its own too."
    )


class _Counted(documents.Shape):
    asked: int
    each_vote: int
    each_k: int
