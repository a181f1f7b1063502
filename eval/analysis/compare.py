"""Two cells of a run on the same questions: by how much they differ, how sure that is, and which questions flipped."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError
from ..grid import results
from ..grid.rows import ResultRow, Results
from ..grid_spec import ALL, Cell
from ..run_dir import RunDirectory
from ..stats.clusters import are_independent
from ..stats.intervals import Estimate, difference, questions_needed
from ..stats.paired import bootstrap, tested
from .summary import accuracy_of


@dataclass(frozen=True)
class Flip:
    """A question on which the credits of two cells differ."""

    test: str
    id: str
    question: str
    gold: str
    answers: tuple[str | None, str | None]
    credits: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Cell A less cell B."""

    a: str
    b: str
    questions: int
    accuracies: tuple[Estimate, Estimate]
    difference: Estimate
    """With the interval of every table: Bonett and Price's, or over families of questions where there are some."""
    bootstrap: Estimate | None
    """The same with the percentile bootstrap's; None where questions come in families, of which it knows nothing."""
    p: float
    """McNemar's exact; the sign-flip test's where credit was shared, or questions come in families."""
    test: str
    """Which of them."""
    needed: float
    """About how many questions would show two points."""
    flips: tuple[Flip, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        def said(of: Estimate, sign: str = "") -> str:
            value, low, high = (f"{100 * part:{sign}.1f}" for part in of)
            return f"{value} [{low}, {high}]"

        drawn = f" (bootstrap {said(self.bootstrap, '+')})" if self.bootstrap else ""
        up, down = (sum(flip.credits[i] > flip.credits[1 - i] for flip in self.flips) for i in (0, 1))
        lines = [
            f"A  {self.a}: {said(self.accuracies[0])} % of {self.questions} questions",
            f"B  {self.b}: {said(self.accuracies[1])} %",
            f"A - B  {said(self.difference, '+')} points{drawn}, p = {self.p:.3g} ({self.test})",
            f"two points would need about {self.needed:,.0f} questions",
            f"{len(self.flips)} questions flipped: {up} for A, {down} for B",
        ]
        return "\n".join([*lines, *map(_line, self.flips)])


def comparison(run: Path, a: str, b: str, test: str | None = None) -> Comparison:
    """Two cells of a run by their labels, `decomposer:solver:vote`, on all tests or one of them.

    Raises ConfigError for a cell or test that is not there, and for cells on different questions.
    """
    return compare_cells(results.read(RunDirectory(run).results), a, b, test)


def compare_cells(rows: Results, a: str, b: str, test: str | None = None) -> Comparison:
    """The same of rows of results."""
    if test is not None and test not in rows.tests:
        raise ConfigError(f"the results have no test {test!r}; there are {', '.join(rows.tests)}")
    rows = rows if test is None else rows.of_test(test)
    of_a, of_b = (_of(rows, label) for label in (a, b))
    if of_a.keys != of_b.keys:
        raise ConfigError(f"{a} and {b} were asked different questions, and cannot be compared{_common(of_a, of_b)}")
    x, y, clusters = of_a.credits, of_b.credits, of_a.families
    both = zip(of_a, x, of_b, y, strict=True)
    flips = tuple(_flip(one, other, (c, d)) for one, c, other, d in both if c != d)
    return Comparison(
        a,
        b,
        len(x),
        (accuracy_of(of_a), accuracy_of(of_b)),
        difference(x, y, clusters),
        bootstrap(x, y) if are_independent(clusters) else None,
        *tested(x, y, clusters),
        questions_needed(x, y, 2.0),
        flips,
    )


def _of(rows: Results, label: str) -> Results:
    cells = rows.by_cell
    return cells[cell_of(label, cells)].by_key


def cell_of(label: str, cells: Collection[Cell]) -> Cell:
    """The cell of a label, `decomposer:solver:vote`. Raises ConfigError where it is none of these."""
    labels = {":".join(cell.names): cell for cell in cells}
    if label not in labels:
        raise ConfigError(f"no cell {label!r}; there are {', '.join(labels)}")
    return labels[label]


def _common(a: Results, b: Results) -> str:
    """The tests on which they can."""
    same = [test for test in a.tests if test != ALL and a.of_test(test).keys == b.of_test(test).keys]
    return f" but on {', '.join(f'--test {test!r}' for test in same)}" if same else ""


def _flip(a: ResultRow, b: ResultRow, credits: tuple[float, float]) -> Flip:
    return Flip(a.test, a.id, a.question, a.gold, (a.answer, b.answer), credits)


def _line(flip: Flip) -> str:
    (one, other), (x, y) = flip.answers, flip.credits
    text = " ".join(flip.question.split())
    short = text if len(text) <= 80 else f"{text[:77]}..."
    return f"  {'A' if x > y else 'B'}  {flip.id} ({flip.test}): {one} | {other}, gold {flip.gold}  {short}"
