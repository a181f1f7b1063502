"""Decomposers that mostly do not decompose: their cells measure the solver, not decomposition."""

from __future__ import annotations

from typing import NamedTuple

from ...decompose.decomposition import Kind
from ..grid.rows import QuestionKey, Results
from ..grid_spec import DecomposerSpec

MOST_DECLINED, MOST_UNREADABLE = 0.5, 0.2
"""Shares of questions above which a study warns of a decomposer."""


class Declined(NamedTuple):
    """How often one decomposer declined, or could not be parsed."""

    decomposer: str
    asked: int
    """Questions that it was asked to decompose."""
    declined: int
    """That it said to need no sub-question."""
    unreadable: int

    @property
    def warnings(self) -> list[str]:
        """For the log and the report."""
        said = []
        if self.declined > MOST_DECLINED * self.asked:
            said.append(
                f"The decomposer {self.decomposer} declined {self.declined} of {self.asked} questions, so its cells "
                "mostly measure the solver alone. Try another prompt (prompts.decompose), or examples."
            )
        if self.unreadable > MOST_UNREADABLE * self.asked:
            said.append(
                f"{self.unreadable} of {self.asked} decompositions of {self.decomposer} could not be read; the solver "
                "answered these questions without sub-questions."
            )
        return said


def declined(rows: Results) -> list[Declined]:
    """For each decomposer that was asked anything, over the questions of its first cell."""
    found: dict[DecomposerSpec, dict[QuestionKey, Kind]] = {}
    for row in rows:
        kinds = found.setdefault(row.cell.decomposer, {})
        if row.decomposition_kind in ("asked", "not needed", "unreadable"):
            kinds.setdefault(row.key, row.decomposition_kind)
    counted = {decomposer: list(kinds.values()) for decomposer, kinds in found.items() if kinds}
    return [
        Declined(str(decomposer), len(kinds), kinds.count("not needed"), kinds.count("unreadable"))
        for decomposer, kinds in counted.items()
    ]


def warnings(rows: Results) -> list[str]:
    """Of all decomposers of a run."""
    return [warning for one in declined(rows) for warning in one.warnings]
