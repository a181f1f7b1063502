"""A study's run as values: its results, its students, its figures and its report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .core.errors import ConfigError
from .distill import student
from .eval import freshness
from .eval.analysis import summary
from .eval.analysis.compare import Comparison, compare_cells
from .eval.analysis.pareto import AxisName
from .eval.analysis.summary import CellSummary
from .eval.config import Study
from .eval.grid import results
from .eval.grid.rows import Results
from .eval.run_dir import RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Student(NamedTuple):
    """A distilled student, and what its card says of it."""

    path: Path
    role: str
    """`decomposer`, `solver`, `single` or `ranker`."""
    base: str
    """The model that it was distilled into."""
    method: str
    seed: int
    card: Mapping[str, Any]
    """All that stands in its `divcon.json`: data, prompts, recipe, cost, training."""


class Run:
    """The run of a study in a directory. Nothing is read before it is asked for.

    >>> run = divcon.study("miniature")
    >>> run.compare("distilled:llm:greedy", "llm:llm:greedy").difference
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises ConfigError when there is no run in the directory."""
        self.path = Path(path)
        self._files = RunDirectory(self.path)
        self._files.check()

    @property
    def study(self) -> Study:
        """The settings that the run was begun with."""
        return self._files.study

    @cached_property
    def results(self) -> Results:
        """Every cell on every question. Questions whose requests failed permanently are left out.

        Raises ConfigError when the study was not evaluated yet.
        """
        return results.read(self._files.results)

    def summary(self) -> list[CellSummary]:
        """Each cell on each test, and on all tests together: accuracy with its interval, and cost per question."""
        return summary.lines(self.results)

    def compare(self, a: str, b: str, test: str | None = None) -> Comparison:
        """Two cells, `decomposer:solver:vote` each, on the same questions: the difference, its interval, a test.

        `test` names one of the tests; all without it. Raises ConfigError for a cell or test that is not there, and for
        cells that were asked different questions.
        """
        return compare_cells(self.results, a, b, test)

    def figure(self, name: str, axis: AxisName = "flops") -> Figure:
        """A figure by its name (`accuracy_cost`, `by_test`, `heat_map`, `slopes`, ...), to be changed or saved.

        Raises ConfigError for a name that is none, and where the run has nothing for it.
        """
        from .eval.report import plots  # matplotlib takes a second to import

        known = self.results if self._files.results.is_file() else None
        return plots.plot(plots.Drawn(self.path, axis, known), name).figure

    @property
    def students(self) -> dict[str, Student]:
        """The students that are finished, by their folders' names."""
        return {folder.name: _student(folder) for folder in self._files.student_folders()}

    @property
    def report(self) -> Path:
        """The page of its report, which is made unless it is there and current.

        Raises ConfigError when the study was not evaluated yet, or the report cannot be written.
        """
        page = self._files.page
        if page.is_file() and freshness.is_current(self._files.reported, freshness.of_report(self.path, "flops")):
            return page
        from .eval.report import report

        return report.report(self.path)

    def __str__(self) -> str:
        """Where its page is, or the directory of a run without one."""
        return str(self._files.page if self._files.page.is_file() else self.path)

    def __repr__(self) -> str:
        return f"divcon.Run({str(self.path)!r})"


def _student(folder: Path) -> Student:
    card = student.read(folder)
    if card is None:
        raise ConfigError(f"no student in {folder}")
    return Student(folder, card["role"], card["base"], card["recipe"].get("method", ""), card["seed"], card)
