"""How many samples a grid asks for, and how many it would ask for if nothing were shared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .compose import Row

REQUESTS = "requests.json"
"""The file in a run directory that says so."""


class Naive(NamedTuple):
    """Samples of a run in which nothing is shared."""

    each_vote: int
    """Every cell draws its own: its decomposition, and its vote's samples."""
    each_k: int
    """So does every k up to a vote's, for the curves."""


def naive(rows: Iterable[Row]) -> Naive:
    """What the cells of these rows would ask for, each alone."""
    return unshared((row.cell.vote, row.decompose.calls, row.solve.calls) for row in rows)


def unshared(cells: Iterable[tuple[str, int, int]]) -> Naive:
    """From each cell's vote, samples of its decompositions and samples of its solutions."""
    each_vote = each_k = 0
    for vote, decompose, solve in cells:
        k = int(vote.partition("@")[2] or 1)
        each_vote += decompose + solve
        each_k += k * decompose + solve * (k + 1) // 2  # 1 + 2 + ... + k samples, where the vote has k
    return Naive(each_vote, each_k)


def said(run: Path) -> str:
    """A sentence for the report; empty for a run that did not count."""
    path = run / REQUESTS
    if not path.is_file():
        return ""
    counted = json.loads(path.read_text(encoding="utf-8"))
    return (
        f"{counted['asked']:,} different samples were asked for. Cells and votes that share nothing would have asked "
        f"for {counted['each_vote']:,}, and {counted['each_k']:,} if every k had samples of its own too."
    )
