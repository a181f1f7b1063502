"""Every figure of a run by its name, with the numbers behind it. Adding one is a function and a line in `PLOTS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from pydantic import ConfigDict

from ...core import documents
from ...core.errors import ConfigError
from ...core.files import replacing
from ...distill import student
from ...solve.voting.rules import Score
from ..analysis.break_even import break_evens
from ..analysis.learning_curve import learning_curves
from ..analysis.ranker import gains, score_lines
from ..analysis.summary import CellSummary, lines, squares
from ..analysis.training_cost import Currency, UpfrontCosts
from ..analysis.votes import Pair, rule_curves
from ..grid import results
from ..grid.rows import Results
from ..grid_spec import ALL, BASE, Cell, is_of_use
from ..render import escape
from ..run_dir import RunDirectory
from . import figures
from .figures import AxisName, Columns, Style

STUDENTS = ("decomposer", "solver", "single", "ranker")
"""The folders in which a run's trainings left their curves."""


class Plot(NamedTuple):
    """A figure, and its numbers as they are, unrounded."""

    figure: Figure
    header: Sequence[str]
    numbers: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Drawn:
    """What figures are drawn from: a run's directory, and nothing else."""

    run: Path
    axis: AxisName = "flops"
    known: Results | None = None
    """The run's results, where they are read already."""

    @cached_property
    def rows(self) -> Results:
        """Read by figures that need them: a learning curve has results of its own."""
        return results.read(RunDirectory(self.run).results) if self.known is None else self.known

    @cached_property
    def lines(self) -> list[CellSummary]:
        return lines(self.rows)


def accuracy_cost(of: Drawn) -> Plot | None:
    """Accuracy against what a question costs; nothing where no cell's cost is known."""
    if not any(figures.AXES[of.axis].cost(line) for line in of.lines):
        return None
    return Plot(figures.accuracy_cost(of.lines, of.axis), _LINE, _numbers(of.lines, [of.lines[0].test]))


def by_test(of: Drawn) -> Plot:
    """Accuracy on every test."""
    tests = [line.test for line in of.lines if line.test != ALL]
    return Plot(figures.by_test(of.lines), _LINE, _numbers(of.lines, tests))


def heat_map(of: Drawn) -> Plot:
    """Every decomposer before every solver."""
    found = squares(of.rows)
    header = ["decomposer", "solver", "accuracy", "low", "high", "beside", "beside low", "beside high", "p (Holm)"]
    numbers = [[*s.cell.names[:2], *s.accuracy, *(s.beside or _NOTHING), s.p] for s in found]
    return Plot(figures.heat_map(found, f"{of.rows[0].cell.vote}, accuracy (%)"), header, numbers)


def slopes(of: Drawn) -> Plot | None:
    """Accuracy from test to test, of what could be put to work: no controls, no gold, no untrained solver."""
    ways = [line for line in of.lines if _is_way(line.cell) and line.cell.vote == of.lines[0].cell.vote]
    tests = list(dict.fromkeys(line.test for line in ways if line.test != ALL))
    return Plot(figures.slopes(ways, of.lines), _LINE, _numbers(ways, tests)) if len(tests) > 1 else None


def _is_way(cell: Cell | Pair) -> bool:
    return is_of_use(cell.decomposer) and BASE not in (cell.decomposer, cell.solver)


def votes(of: Drawn) -> Plot | None:
    """Accuracy against the number of samples, rule by rule, of what could be put to work, if anything could."""
    every = rule_curves(of.rows, _whole_only(of.run))
    curves = [curve for curve in every if _is_way(curve.composition)] or every
    numbers = [
        [*curve.composition.names, str(curve.vote), k, *one]
        for curve in curves
        for k, one in enumerate(curve.accuracies, 1)
    ]
    header = ["decomposer", "solver", "vote", "samples", "accuracy", "low", "high"]
    return Plot(figures.votes(curves), header, numbers) if curves else None


def calibration(of: Drawn) -> Plot | None:
    """How often solutions of like scores are right."""
    found = [line for line in score_lines(of.rows) if line.score == "ranker"]
    numbers = [
        [*line.composition.names, one.score, *one.right, one.solutions]
        for line in found
        for one in line.worth.calibration
    ]
    header = ["decomposer", "solver", "mean score", "right", "low", "high", "solutions"]
    return Plot(figures.calibration(found), header, numbers) if found else None


def gain(of: Drawn) -> Plot | None:
    """What the ranker adds to the vote against how well it tells pairs."""
    found = gains(of.rows)
    header = ["composition", "pairs", "pairs low", "pairs high", "gain", "gain low", "gain high"]
    return Plot(figures.gain(found), header, [[one.label, *one.pairs, *one.gain] for one in found]) if found else None


def break_even(of: Drawn) -> Plot | None:
    """What questions cost in all against how many there are, by the first vote; of tokens, FLOPs."""
    currency: Currency = of.axis if of.axis in ("seconds", "dollars") else "flops"
    found = break_evens(of.rows, UpfrontCosts.of(of.run), currency)
    first = [one for one in found if one.cell.vote == of.rows[0].cell.vote]
    header = ["decomposer", "solver", "vote", "beside decomposer", "beside solver", "beside vote", "once", "a question"]
    header += ["beside a question", "saved", "saved low", "saved high", "questions", "questions low", "questions high"]
    header += ["accuracy beside", "accuracy beside low", "accuracy beside high"]
    numbers = [
        [
            *one.cell.names,
            *one.beside.names,
            *one[2:5],
            *(one.saved or _NOTHING),
            *(one.queries or _NOTHING),
            *one.accuracy,
        ]
        for one in found
    ]
    if not any(one.upfront and one.query and one.query_beside for one in first):
        return None
    unit = {"flops": "FLOPs", "seconds": "seconds", "dollars": "US dollars"}[currency]
    return Plot(figures.break_even(first, unit), header, numbers)


def training(of: Drawn) -> Plot | None:
    """Every training, step by step."""
    curves = _curves(of.run)
    keys = ["loss", "logprob_right", "logprob_wrong"]
    numbers = [[name, step["step"], *map(step.get, keys)] for name, steps in curves.items() for step in steps]
    return Plot(figures.training(curves), ["training", "step", *keys], numbers) if curves else None


def learning_curve(of: Drawn) -> Plot | None:
    """Accuracy and loss of every track against training tokens."""
    found = learning_curves(of.run)
    header = ["track", "tokens", "seeds", "accuracy", "lowest", "highest", "loss", "gain", "gain low", "gain high"]
    numbers = [
        [
            p.track,
            p.tokens,
            p.seeds,
            p.accuracy,
            p.lowest,
            p.highest,
            p.loss,
            *(p.gain.estimate if p.gain else _NOTHING),
        ]
        for p in found
    ]
    return Plot(figures.learning_curve(found), header, numbers) if found else None


PLOTS: dict[str, Callable[[Drawn], Plot | None]] = {
    "accuracy_cost": accuracy_cost,
    "by_test": by_test,
    "heat_map": heat_map,
    "slopes": slopes,
    "votes": votes,
    "calibration": calibration,
    "gain": gain,
    "break_even": break_even,
    "training": training,
    "learning_curve": learning_curve,
}
"""None where a run has nothing for a figure."""


def draw_all(of: Drawn, out: Path) -> list[str]:
    """Every figure that the run has something for, as PDF, SVG, PNG and CSV; their names."""
    drawn = []
    for name, plot in PLOTS.items():
        if made := plot(of):
            figures.save(made.figure, out, name)
            _write(made, out / f"{name}.csv")
            drawn.append(name)
    return drawn


def draw(
    run: Path, name: str, out: Path, style: Style = "paper", axis: AxisName = "flops", columns: Columns = "two"
) -> Path:
    """One figure into a file of PDF, SVG or PNG, its numbers beside it as CSV; the file.

    Raises ConfigError for an unknown figure, another format, or a run that has nothing for it.
    """
    _check(name)
    figures.check_format(out)
    with figures.styled(style, columns):
        made = _plot(Drawn(run, axis), name)
        with replacing(out, out.with_suffix(".csv")) as (drawing, numbers):
            figures.write(made.figure, drawing)
            _write(made, numbers)
    return out


def plot(of: Drawn, name: str, style: Style = "paper", columns: Columns = "two") -> Plot:
    """One figure, and its numbers. Raises ConfigError for an unknown one, or a run that has nothing for it."""
    _check(name)
    with figures.styled(style, columns):
        return _plot(of, name)


def _check(name: str) -> None:
    if name not in PLOTS:
        raise ConfigError(f"no figure {name!r}; there are {', '.join(PLOTS)}")


def _plot(of: Drawn, name: str) -> Plot:
    made = PLOTS[name](of)
    if made is None:
        known = f" by {of.axis}" if name in ("accuracy_cost", "break_even") else ""
        raise ConfigError(f"{of.run} has nothing for the figure {name!r}{known}")
    return made


def _write(plot: Plot, file: Path) -> None:
    file.write_text(escape.csv(plot.header, plot.numbers), encoding="utf-8", newline="")


_OF_CELL = ("decomposer", "solver", "vote", "test", "questions", "accuracy", "low", "high")
_LINE = (*_OF_CELL, "flops", "tokens", "seconds", "dollars")
_NOTHING: tuple[None, None, None] = (None, None, None)


def _numbers(of: Sequence[CellSummary], tests: Iterable[str]) -> list[list[object]]:
    wanted = set(tests)
    return [
        [*x.cell.names, x.test, x.questions, *x.accuracy, x.flops, x.tokens, x.seconds, x.dollars]
        for x in of
        if x.test in wanted
    ]


def _whole_only(run: Path) -> tuple[Score, ...]:
    """A ranker that looks at a question's other samples scores them all together."""
    made = student.read(RunDirectory(run).ranker)
    return ("rank",) if made and student.rankers_recipe(made, RunDirectory(run).ranker).backbone.looks_around else ()


class _Step(documents.Shape):
    model_config = ConfigDict(allow_inf_nan=True)

    step: int
    loss: float
    logprob_right: float = 0.0
    logprob_wrong: float = 0.0


def _curves(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Every training's logged steps, by the student and, where it has several, by the stage."""
    found: dict[str, list[dict[str, Any]]] = {}
    for role in STUDENTS:
        for path in sorted(run.glob(f"{role}*/training.json")):
            stages: dict[str, list[_Step]] = documents.read(dict[str, list[_Step]], path, "remove it", finite=False)
            for stage, curve in stages.items():
                name = f"{path.parent.name}: {stage}" if len(stages) > 1 else path.parent.name
                found[name] = [step.model_dump(exclude_unset=True) for step in curve]
    return found
