"""Decomposers that mostly do not decompose: their cells measure the solver, not decomposition."""

from __future__ import annotations

from typing import NamedTuple

from .summary import Rows

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


def declined(rows: Rows) -> list[Declined]:
    """For each decomposer that was asked anything, over the questions of its first cell."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    for row in rows:
        kinds = found.setdefault(row["decomposer"], {})
        if row["decomposition_kind"] in ("asked", "not needed", "unreadable"):
            kinds.setdefault((row["test"], row["id"]), row["decomposition_kind"])
    counted = {name: list(kinds.values()) for name, kinds in found.items() if kinds}
    return [
        Declined(name, len(kinds), kinds.count("not needed"), kinds.count("unreadable"))
        for name, kinds in counted.items()
    ]


def warnings(rows: Rows) -> list[str]:
    """Of all decomposers of a run."""
    return [warning for one in declined(rows) for warning in one.warnings]
