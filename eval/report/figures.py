"""The figures of a study: accuracy against cost with its Pareto front, and accuracy test by test.

Colours are Okabe and Ito's, told apart by most colour-blind readers; shape and filling say the same thing again.
Fonts are embedded as Type 42, and files carry no date, so that the same rows give the same bytes. Text is drawn as it
is: names of tests and models are no formulas (`$x` is a name).
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import ceil, floor, isfinite, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from fontTools import subset  # type: ignore[import-untyped]  # it has no types
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogFormatterSciNotation, MaxNLocator
from matplotlib.transforms import Bbox

from ...core.errors import ConfigError
from ..analysis.break_even import BreakEven
from ..analysis.learning_curve import CurvePoint
from ..analysis.pareto import COSTS, front
from ..analysis.pareto import AxisName as AxisName
from ..analysis.ranker import Gain, ScoreLine
from ..analysis.summary import CellSummary, ReferenceComparison
from ..analysis.votes import RuleCurve
from ..grid_spec import ALL, LLM, DecomposerSpec, SolverSpec, is_of_use
from ..render.escape import label
from ..stats.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as Axis2D
    from matplotlib.text import Annotation

STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "divcon",
    "text.parse_math": False,
    "text.usetex": False,
    "axes.formatter.use_mathtext": False,
    "savefig.dpi": 200,
}
_OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
_MORE = ("#8A4FBF", "#8B5A2B", "#888888", "#C2304F", "#005F56", "#A6A600", "#F4A6A6", "#3B3B98")
_NAMED = 16
"""Cells that a figure names one by one; of more, those on the front, and the LLM in both phases."""
_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D")
_THIN: Any = {"markersize": 3.5, "lw": 0.8, "elinewidth": 0.6, "capsize": 1.5}
KINDS: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


Style = Literal["paper", "slides"]
_FONT: dict[Style, float] = {"paper": 8, "slides": 12}
_SCALE: dict[Style, float] = {"paper": 1, "slides": 1.35}
"""Of the width: a slide's letters are larger in their figure."""
_CURRENT: ContextVar[Style] = ContextVar("style", default="paper")
Columns = Literal["one", "two"]
_WIDE: dict[Columns, float] = {"one": 3.35, "two": 6.9}
"""Inches across one column of a two-column page, and across both."""
_COLUMNS: ContextVar[Columns] = ContextVar("columns", default="two")


@contextmanager
def styled(style: Style, columns: Columns = "two") -> Iterator[None]:
    """Figures that are drawn within are for print, across one column or two, or for slides."""
    tokens = _CURRENT.set(style), _COLUMNS.set(columns)
    try:
        yield
    finally:
        _CURRENT.reset(tokens[0])
        _COLUMNS.reset(tokens[1])


def _is_narrow() -> bool:
    return _COLUMNS.get() == "one"


def _style() -> Any:
    size = _points_of(_FONT["paper"])
    return STYLE | {"font.size": size, "axes.titlesize": size}


def _inches(width: float, height: float) -> tuple[float, float]:
    """A size that was chosen for print across two columns, for the current style; a wider one is cut to the page."""
    scale, widest = _SCALE[_CURRENT.get()], _WIDE[_COLUMNS.get()]
    cut = min(1.0, widest / width)
    return width * cut * scale, height * (cut**0.4 if _is_narrow() else 1.0) * scale


def _across(panels: int) -> int:
    """How many panels or legend entries stand side by side, of so many across two columns."""
    return max(1, panels // 2) if _is_narrow() else panels


def _points_of(size: float) -> float:
    """A letter size that was chosen for print across two columns, for the current style."""
    return size * _FONT[_CURRENT.get()] / _FONT["paper"] * (0.875 if _is_narrow() else 1.0)


class Axis(NamedTuple):
    """A kind of cost."""

    label: str
    cost: Callable[[CellSummary], float | None]


AXES: dict[AxisName, Axis] = {
    "flops": Axis("inference cost (FLOPs a question, both phases)", COSTS["flops"]),
    "tokens": Axis("inference cost (tokens a question, both phases)", COSTS["tokens"]),
    "reasoning": Axis("inference cost (reasoning tokens a question, both phases)", COSTS["reasoning"]),
    "seconds": Axis("inference cost (seconds a question, both phases)", COSTS["seconds"]),
    "dollars": Axis("inference cost (US dollars a question, both phases)", COSTS["dollars"]),
}


def accuracy_cost(lines: Sequence[CellSummary], axis: AxisName = "flops") -> Figure:
    """Every cell on all questions: accuracy with its interval against what a question costs, and the Pareto front.

    Controls are not on the front. A cell whose cost nobody knows is not drawn; the title names it.
    """
    chosen = AXES[axis]
    votes = list(dict.fromkeys(line.cell.vote for line in lines))[:2]  # one vote stands for all on its samples
    whole = [line for line in lines if line.test == lines[0].test and line.cell.vote in votes]
    known = [(cost, line) for line in whole if (cost := chosen.cost(line))]  # 0 has no place on a log axis
    with mpl.rc_context(_style()):
        look = _Look(whole)
        width, height = _inches(6.6, 4.4)
        figure = Figure(figsize=(width, height + look.overflow()), layout="constrained")
        axes = figure.add_subplot()
        for cost, line in known:
            value = 100 * line.accuracy.value
            axes.errorbar(cost, value, yerr=_bars([line]), capsize=2, elinewidth=0.8, **look.point(line))
        real = [one for one in known if one[1].is_complete and is_of_use(one[1].cell.decomposer)]
        steps = front((cost, 100 * line.accuracy.value) for cost, line in real)
        if steps:
            edge = (max(cost for cost, _ in known) * 1.3, steps[-1][1])
            axes.step(*zip(*steps, edge, strict=True), where="post", color="#888888", lw=1, zorder=1)
        axes.set(xscale="log", xlabel=chosen.label, ylabel="accuracy (%), 95 % interval")
        _powers(axes.xaxis)
        axes.set_title(_title(whole, [(line, chosen.cost(line)) for line in whole if not chosen.cost(line)]))
        axes.margins(x=0.14, y=0.08)
        look.legend(figure)
        edges = {cost for cost, _ in steps} if len(known) > _NAMED else None
        named = [one for one in known if edges is None or one[0] in edges or one[1].cell[:2] == (LLM, LLM)]
        _label(figure, axes, [(cost, 100 * line.accuracy.value, _short(line)) for cost, line in named])
    return figure


def by_test(lines: Sequence[CellSummary]) -> Figure:
    """A panel a solver: accuracy on every test, a mark a decomposer; the first vote (greedy)."""
    tests = [test for test in dict.fromkeys(line.test for line in lines) if test != ALL]
    solvers = list(dict.fromkeys(line.cell.solver for line in lines))
    vote = lines[0].cell.vote
    with mpl.rc_context(_style()):
        columns = min(_across(2), len(solvers))
        down = -(-len(solvers) // columns)
        figure = Figure(figsize=_inches(3.4 * columns, 0.7 + 2.6 * down), layout="constrained")
        panels = list(figure.subplots(down, columns, sharey=True, squeeze=False).flat)
        for spare in panels[len(solvers) :]:
            spare.set_visible(False)
        look = _Look(lines)
        decomposers = list(dict.fromkeys(line.cell.decomposer for line in lines))
        for panel, solver in zip(panels, solvers, strict=False):
            for i, decomposer in enumerate(decomposers):
                of_cell = [x for x in lines if x.cell == (decomposer, solver, vote) and x.test in tests]
                places = [tests.index(x.test) + 0.08 * (i - (len(decomposers) - 1) / 2) for x in of_cell]
                if not of_cell:  # nobody put this decomposer before this solver
                    continue
                style = look.point(of_cell[0]) | {"label": label(str(decomposer))}
                heights = [100 * x.accuracy.value for x in of_cell]
                panel.errorbar(places, heights, yerr=_bars(of_cell), capsize=2, elinewidth=0.8, **style)
            panel.set_xticks(range(len(tests)), list(map(_in_lines, tests)))
            panel.tick_params(axis="x", labelsize=_points_of(6.5))
            panel.set_title(f"solver: {label(str(solver))} ({label(str(vote))})")
        for panel in panels[::columns]:
            panel.set_ylabel("accuracy (%), 95 % interval")
        fullest = max(panels, key=lambda panel: len(panel.containers))
        figure.legend(
            fullest.containers,
            [container.get_label() for container in fullest.containers],
            loc="outside lower center",
            ncols=_across(5),
            title="decomposer",
            frameon=False,
            fontsize=_points_of(7),
        )
    return figure


def heat_map(squares: Sequence[ReferenceComparison], title: str = "") -> Figure:
    """Decomposers down, solvers across: accuracy, and in small print the difference to the reference.

    A star is a difference at the 5 % level (Holm), a dagger a cell that was not asked every question.
    """
    decomposers = list(dict.fromkeys(str(one.cell.decomposer) for one in squares))
    solvers = list(dict.fromkeys(str(one.cell.solver) for one in squares))
    grid = np.full((len(decomposers), len(solvers)), np.nan)
    with mpl.rc_context(_style() | {"axes.grid": False}):
        figure = Figure(figsize=_inches(1.3 + 1.25 * len(solvers), 0.9 + 0.42 * len(decomposers)), layout="constrained")
        axes = figure.add_subplot()
        for one in squares:
            down, right = decomposers.index(str(one.cell.decomposer)), solvers.index(str(one.cell.solver))
            grid[down, right] = 100 * one.accuracy.value
            ink = "white" if one.accuracy.value > 0.55 else "black"
            dagger = "" if one.is_complete else "\N{DAGGER}"
            value = f"{100 * one.accuracy.value:.1f}{dagger}"
            axes.text(right, down - 0.13, value, ha="center", va="center", color=ink)
            beside = "reference" if one.beside is None else _difference(one.beside)
            beside += "" if one.is_beside_complete else "\N{DAGGER}"
            beside += "*" if one.p is not None and one.p < 0.05 else ""
            axes.text(right, down + 0.23, beside, ha="center", va="center", color=ink, fontsize=_points_of(5.5))
        axes.imshow(grid, cmap="cividis_r", vmin=0, vmax=100, aspect="auto")
        across = [_broken(name, 8 if _is_narrow() else 16) for name in solvers]
        axes.set_xticks(range(len(solvers)), across)
        axes.set_yticks(range(len(decomposers)), list(map(label, decomposers)))
        axes.set(xlabel="solver", ylabel="decomposer")
        axes.set_title(label(title))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


def _difference(change: Estimate) -> str:
    """In points; without the interval where there is no room for it."""
    value, low, high = (100 * part for part in change)
    return f"{value:+.1f}" if _is_narrow() else f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def slopes(lines: Sequence[CellSummary], among: Sequence[CellSummary]) -> Figure:
    """Accuracy from test to test, a line a composition: what holds in one domain need not in another.

    Colours are those that the decomposers have `among` all cells of the run.
    """
    tests = [test for test in dict.fromkeys(line.test for line in lines) if test != ALL]
    shown = [line for line in lines if line.test in tests]
    look = _Look(among)
    with mpl.rc_context(_style()):
        figure = Figure(figsize=_inches(6.6, 4.4), layout="constrained")
        axes = figure.add_subplot()
        ends = []
        for cell in dict.fromkeys(line.cell for line in shown):
            of_cell = [line for line in shown if line.cell == cell]
            at = [tests.index(line.test) for line in of_cell]
            heights = [100 * line.accuracy.value for line in of_cell]
            drawn = look.point(of_cell[0]) | {"ls": "-" if cell.solver == LLM else "--", "lw": 1}
            axes.errorbar(at, heights, yerr=_bars(of_cell), **drawn, **_FINE)
            ends.append((at[-1], heights[-1], _short(of_cell[0]), drawn["color"]))
        axes.set_xticks(range(len(tests)), list(map(_in_lines, tests)))
        axes.set_ylabel(f"accuracy (%), {label(str(lines[0].cell.vote))}, 95 % interval")
        axes.set_xlim(-0.3, len(tests) - (0.0 if _is_narrow() else 0.3))
        _name_ends(axes, ends)
    return figure


_FINE: Any = {"elinewidth": 0.5, "capsize": 1.5}


def _name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names to the right of the last points, in their colours, moved apart where they would stand on one another."""
    low, high = axes.get_ylim()
    room, last = (high - low) / 40, float("-inf")
    for x, y, text, colour in sorted(ends, key=lambda end: end[1]):
        last = max(y, last + room)
        axes.plot([x, x + 0.1], [y, last], color=colour, lw=0.5, clip_on=False)
        axes.text(x + 0.12, last, text, va="center", fontsize=_points_of(6.5), color=colour)


def votes(curves: Sequence[RuleCurve]) -> Figure:
    """A panel a composition: each rule's expected accuracy against the number of samples; a band for the first."""
    compositions = list(dict.fromkeys(curve.composition for curve in curves))
    columns = min(2 if _is_narrow() else 3, len(compositions))
    lines = -(-len(compositions) // columns)
    with mpl.rc_context(_style()):
        tall = 1.5 if _is_narrow() else 2.2
        figure = Figure(figsize=_inches(2.4 * columns + 0.4, tall * lines + 0.5), layout="constrained")
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for panel, composition in zip(panels, compositions, strict=False):
            of = [curve for curve in curves if curve.composition == composition]
            for i, curve in enumerate(of):
                at = range(1, len(curve.accuracies) + 1)
                colour, dashes = _OKABE_ITO[i % len(_OKABE_ITO)], ("-", "--")[i // len(_OKABE_ITO) % 2]
                values = [100 * one.value for one in curve.accuracies]
                panel.plot(at, values, color=colour, linestyle=dashes, lw=1, label=label(str(curve.vote.rule)))
                if i == 0:
                    low, high = ([100 * getattr(one, end) for one in curve.accuracies] for end in ("low", "high"))
                    panel.fill_between(at, low, high, color=colour, alpha=0.12, lw=0)
            panel.set_title(label(composition.label))
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.set(xlabel="samples", ylabel="expected accuracy (%)")
        for panel in panels[len(compositions) :]:
            panel.set_visible(False)
        drawn = panels[0].lines
        figure.legend(
            drawn,
            [line.get_label() for line in drawn],
            loc="outside lower center",
            ncols=_across(4),
            frameon=False,
            fontsize=_points_of(7),
        )
    return figure


def calibration(found: Sequence[ScoreLine]) -> Figure:
    """The share of solutions that is right against the ranker's score, a line a composition."""
    with mpl.rc_context(_style()):
        figure = Figure(figsize=_inches(6.6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="#888888", lw=0.8, linestyle=":", label="calibrated")
        for i, line in enumerate(found):
            at = [one.score for one in line.worth.calibration]
            shares = [one.right for one in line.worth.calibration]
            axes.errorbar(
                at,
                [share.value for share in shares],
                yerr=[[share.value - share.low for share in shares], [share.high - share.value for share in shares]],
                color=_OKABE_ITO[i % len(_OKABE_ITO)],
                marker=_MARKERS[i % len(_MARKERS)],
                label=label(line.composition.label),
                **_THIN,
            )
        axes.set(xlabel="mean score of a tenth of the solutions", ylabel="share that is right, 95 % interval")
        figure.legend(loc="outside right upper", frameon=False, fontsize=_points_of(7))
    return figure


def gain(found: Sequence[Gain]) -> Figure:
    """What the ranker's weights add to the vote, against how well the ranker tells pairs."""
    with mpl.rc_context(_style()):
        figure = Figure(figsize=_inches(6.6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0, color="#888888", lw=0.8)
        points = [(100 * one.pairs.value, 100 * one.gain.value, label(one.label)) for one in found]
        for (x, y, _), one in zip(points, found, strict=True):
            across, up = ([[100 * (of.value - of.low)], [100 * (of.high - of.value)]] for of in (one.pairs, one.gain))
            axes.errorbar(x, y, xerr=across, yerr=up, color=_OKABE_ITO[0], marker="o", **_THIN)
        axes.set(xlabel="pairs that the ranker tells (%)", ylabel="rank_1_plus less count (points)")
        axes.margins(0.1)
        _label(figure, axes, points)
    return figure


_MOST = 8
"""Lines that are told apart by colour."""


def break_even(found: Sequence[BreakEven], unit: str = "FLOPs") -> Figure:
    """What questions cost in all against how many there are: a line a cell, those of the LLM alone grey, dots where an
    outlay is paid back. Of many cells the most accurate are drawn, whose costs are known."""
    known = [one for one in found if one.upfront and one.query and one.query_beside]
    best = sorted({one.cell: one for one in reversed(known)}.values(), key=lambda one: -one.accuracy.value)[:_MOST]
    drawn = [one for one in known if one.cell in {each.cell for each in best}]
    break_evens = [one.queries.value for one in drawn if one.queries and isfinite(one.queries.value)] or [1e4]
    least, most = 10 ** floor(log10(max(min(break_evens), 100) / 10)), 10 ** ceil(log10(3 * max(break_evens)))
    at = np.geomspace(least, most, 200)
    with mpl.rc_context(_style()):
        width, height = _inches(6.6, 4.2)
        entries = len(best) + len({one.beside for one in drawn})
        figure = Figure(figsize=(width, height + _room(entries, _across(2))), layout="constrained")
        axes = figure.add_subplot()
        for dashes, (beside, cost) in zip(
            _DASHES, {one.beside: one.query_beside for one in drawn}.items(), strict=False
        ):
            axes.plot(at, at * (cost or 0), color="#888888", lw=1.2, linestyle=dashes, label=label(beside.label))
        for i, one in enumerate(best):
            colour = _OKABE_ITO[i % len(_OKABE_ITO)]
            shown = f"{label(one.cell.label)} ({100 * one.accuracy.value:+.1f})"
            axes.plot(at, (one.upfront or 0) + at * (one.query or 0), color=colour, lw=1, label=shown)
            for other in drawn:
                if other.cell == one.cell and other.queries and isfinite(n := other.queries.value):
                    axes.plot(n, n * (other.query_beside or 0), marker="o", ms=4, color=colour)
        axes.set(xscale="log", yscale="log", xlabel="questions", ylabel=f"{unit}, paid once and for all questions")
        axes.set_xlim(least, most)
        _powers(axes.xaxis)
        _powers(axes.yaxis)
        title = f"in brackets: accuracy beside {label(best[0].beside.label)} (points)"
        legend = figure.legend(
            title=title, loc="outside lower center", ncols=_across(2), frameon=False, fontsize=_points_of(7)
        )
        legend.get_title().set_fontsize(_points_of(7))
    return figure


def training(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Every training of a run, step by step: its loss, and how likely right and wrong replies are to it."""
    with mpl.rc_context(_style()):
        columns = _across(2)
        figure = Figure(figsize=_inches(6.6, 5.2 / columns), layout="constrained")
        loss, likely = figure.subplots(2 // columns, columns)
        for i, (name, steps) in enumerate(curves.items()):
            at, colour = [step["step"] for step in steps], _OKABE_ITO[i % len(_OKABE_ITO)]
            loss.plot(at, [step["loss"] for step in steps], color=colour, linewidth=1, label=label(name))
            for key, dashes in (("logprob_right", "-"), ("logprob_wrong", ":")):
                known = [(step["step"], step[key]) for step in steps if key in step]
                if known:
                    likely.plot(*zip(*known, strict=True), color=colour, linewidth=1, linestyle=dashes)
        loss.set(xlabel="step", ylabel="loss")
        likely.set(xlabel="step", ylabel="log-probability a reply token (nats)")
        loss.legend(frameon=False)
        lines = [Line2D([], [], color="#555555", linestyle=dashes) for dashes in ("-", ":")]
        likely.legend(lines, ["right replies", "wrong replies"], frameon=False)
    return figure


def learning_curve(found: Sequence[CurvePoint]) -> Figure:
    """Accuracy and loss against training tokens, track by track; a band from the lowest seed to the highest."""
    with mpl.rc_context(_style()):
        columns = _across(2)
        figure = Figure(figsize=_inches(6.6, 5.2 / columns), layout="constrained")
        accuracy, loss = figure.subplots(2 // columns, columns)
        for i, track in enumerate(dict.fromkeys(point.track for point in found)):
            of_track = [point for point in found if point.track == track]
            at, colour = [point.tokens for point in of_track], _OKABE_ITO[i % len(_OKABE_ITO)]
            accuracy.plot(
                at, [100 * point.accuracy for point in of_track], "o-", color=colour, ms=3, lw=1, label=label(track)
            )
            low, high = ([100 * getattr(point, of) for point in of_track] for of in ("lowest", "highest"))
            accuracy.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
            loss.plot(at, [point.loss for point in of_track], "o-", color=colour, ms=3, lw=1)
        accuracy.set(xlabel="training tokens", ylabel="accuracy (%)", xscale="log", ylim=(0, 100))
        loss.set(xlabel="training tokens", ylabel="loss (nats per reply token)", xscale="log")
        accuracy.legend(frameon=False)
        for axes in (accuracy, loss):
            _powers(axes.xaxis)
    return figure


def save(figure: Figure, directory: Path, name: str) -> list[Path]:
    """The figure as PDF, SVG and PNG."""
    files = [directory / f"{name}.{kind}" for kind in KINDS]
    with _laid_out(figure):
        for file in files:
            _print(figure, file)
    return files


def write(figure: Figure, file: Path) -> None:
    """The figure in the format of the file's name. Raises ConfigError for others than PDF, SVG and PNG."""
    check_format(file)
    with _laid_out(figure):
        _print(figure, file)


def check_format(file: Path) -> None:
    """Raise ConfigError when no figure can be written to a file of this name."""
    if file.suffix.removeprefix(".") not in KINDS:
        raise ConfigError(f"no figure can be written to {file}; its name must end in {', '.join(KINDS)}")


@contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Within, the figure is printed as it was laid out, once for all formats."""
    with mpl.rc_context(_style()), _quiet():
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of what a name may bring about, and nobody can mend."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # in letters that the font lacks
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)  # so long that no room is left
        yield


def _print(figure: Figure, file: Path) -> None:
    """By the canvas itself: `Figure.savefig` draws twice, the first time for a layout that is there already."""
    kind = file.suffix.removeprefix(".")
    with _dots(figure, STYLE["savefig.dpi"] if kind == "png" else figure.dpi), _lean_fonts():
        getattr(_CANVASES[kind](figure), f"print_{kind}")(file, metadata=KINDS[kind])


_CANVASES: dict[str, Any] = {"pdf": FigureCanvasPdf, "svg": FigureCanvasSVG, "png": FigureCanvasAgg}


@contextmanager
def _dots(figure: Figure, dpi: float) -> Iterator[None]:
    before = figure.dpi
    figure.dpi = dpi
    try:
        yield
    finally:
        figure.dpi = before


@contextmanager
def _lean_fonts() -> Iterator[None]:
    """Fonts are embedded without ligatures and kerning: a PDF reads none, and to cut them down takes longest."""
    usual = getattr(subset.Options, _DROPPED, None)
    if usual is not None:
        setattr(subset.Options, _DROPPED, [*usual, "GDEF", "GPOS", "GSUB"])
    try:
        yield
    finally:
        if usual is not None:
            setattr(subset.Options, _DROPPED, usual)


_DROPPED = "_drop_tables_default"
"""What fontTools calls the tables that it always leaves out."""


class _Powers(LogFormatterSciNotation):
    """Ticks of a logarithmic axis in plain text: `10\N{SUPERSCRIPT NINE}` and not a formula."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        formula = super().__call__(x, pos).removeprefix(r"$\mathdefault{").removesuffix("}$")
        plain = formula.replace(r"\times", "\N{MULTIPLICATION SIGN}")
        return re.sub(r"\^\{(.*?)\}", lambda found: found[1].translate(_SUPERSCRIPT), plain)


_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def _powers(axis: Axis2D) -> None:
    axis.set_major_formatter(_Powers())
    axis.set_minor_formatter(_Powers())


def _in_lines(test: str) -> str:
    """A test's name below an axis."""
    return label(test).replace(", ", ",\n")


def _broken(name: str, width: int) -> str:
    """A name in lines of so many characters, broken behind hyphens, for a column of that width."""
    return "\n".join(map(label, textwrap.wrap(name, width, break_long_words=False))) or label(name)


def _room(entries: int, columns: int) -> float:
    """Inches that a legend below the axes needs beyond the four lines that a figure has for it."""
    return max(0, -(-entries // columns) - 4) * _points_of(10) / 72


class _Look:
    """Colour by decomposer, shape by solver, filled when votes are counted."""

    def __init__(self, lines: Sequence[CellSummary]) -> None:
        self._decomposers = list(dict.fromkeys(line.cell.decomposer for line in lines))
        self._solvers = list(dict.fromkeys(line.cell.solver for line in lines))
        self._votes = list(dict.fromkeys(line.cell.vote for line in lines))

    def point(self, line: CellSummary) -> dict[str, Any]:
        colour = self._colour(line.cell.decomposer)
        return {
            "color": colour,
            "marker": self._marker(line.cell.solver),
            "markerfacecolor": "white" if line.cell.vote.is_greedy else colour,
            "markersize": 5.5,
            "ls": "none",
        }

    @property
    def _columns(self) -> int:
        return max(2, _across(4 if len(self._decomposers) < 7 else 3))

    def overflow(self) -> float:
        """Inches that the legend needs beyond what a figure has for it."""
        entries = len(self._decomposers) + len(self._solvers) + len(self._votes) + 1
        return _room(entries, self._columns)

    def legend(self, figure: Figure) -> None:
        """Below the axes: what colours, shapes and filling mean."""

        def entry(text: str, **style: Any) -> Line2D:
            return Line2D([], [], ls="none", label=text, **style)

        decomposers = [
            entry(f"decomposer {label(str(d))}", marker=".", ms=10, color=self._colour(d)) for d in self._decomposers
        ]
        solvers = [entry(f"solver {label(str(s))}", marker=self._marker(s), color="#444444") for s in self._solvers]
        votes = [
            entry(label(str(v)), marker="o", color="#444444", markerfacecolor="white" if v.is_greedy else "#444444")
            for v in self._votes
        ]
        front_line = Line2D([], [], color="#888888", lw=1, label="Pareto front")
        figure.legend(
            handles=[*decomposers, *solvers, *votes, front_line],
            ncols=self._columns,
            loc="outside lower center",
            frameon=False,
            fontsize=_points_of(7),
        )

    def _colour(self, decomposer: DecomposerSpec) -> str:
        """Beyond eight decomposers come others, less easy to tell apart."""
        colours = (*_OKABE_ITO, *_MORE)
        return colours[self._decomposers.index(decomposer) % len(colours)]

    def _marker(self, solver: SolverSpec) -> str:
        return _MARKERS[self._solvers.index(solver) % len(_MARKERS)]


def _bars(lines: Sequence[CellSummary]) -> list[list[float]]:
    """How far each interval reaches below and above its accuracy; rounding must not make it negative."""
    estimates = [line.accuracy for line in lines]
    return [[100 * max(0.0, e.value - e.low) for e in estimates], [100 * max(0.0, e.high - e.value) for e in estimates]]


def _short(line: CellSummary) -> str:
    return label(line.cell.pair) + ("" if line.is_complete else "\N{DAGGER}")


def _title(lines: Sequence[CellSummary], undrawn: Sequence[tuple[CellSummary, float | None]]) -> str:
    title = (
        f"{label(lines[0].test)}, n = {max(line.questions for line in lines)}; decomposer \N{RIGHTWARDS ARROW} solver"
    )
    title += "" if all(line.is_complete for line in lines) else "; \N{DAGGER} fewer questions"
    for why, of in (("cost unknown", None), ("free", 0)):
        cells = [label(line.cell.label) for line, cost in undrawn if cost == of]
        some = ", ".join(cells[:3]) + f" and {len(cells) - 3} others" * (len(cells) > 3)
        title += f"\n{why}, not drawn: {some}" if cells else ""
    return title


def _label(figure: Figure, axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Name every point, where the name covers least of the other names and points."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]  # matplotlib leaves it untyped
    with _quiet():
        figure.draw_without_rendering()
    spots = [axes.transData.transform((x, y)) for x, y, _ in points]
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12).extents for x, y in spots]
    frame, point = axes.get_window_extent(), figure.dpi / 72
    for x, y, text in points:
        best, least = (7.0, 0.0, "left"), float("inf")
        with _quiet():
            name = _annotate(axes, (x, y), text, 0, 0, "left")
            measured = name.get_window_extent(renderer)
            name.remove()
        for dx, dy, align in _AROUND:
            box = measured.translated(dx * point - (measured.width if align == "right" else 0), dy * point)
            covered = _covered(box, taken) + 10 * (box.width * box.height - _covered(box, [frame.extents]))
            if covered < least:
                best, least, room = (dx, dy, align), covered, box.extents
        _annotate(axes, (x, y), text, *best)
        taken.append(room)


_AROUND = [(dx, dy, "left" if dx > 0 else "right") for dy in (0, 7, -7, 13, -13, 19, -19) for dx in (7.0, -7.0)]
"""Offsets in points, nearest first."""


_HALO = [withStroke(linewidth=2, foreground="white")]


def _annotate(axes: Axes, at: tuple[float, float], text: str, dx: float, dy: float, align: str) -> Annotation:
    return axes.annotate(
        text,
        at,
        (dx, dy),
        textcoords="offset points",
        ha=align,
        va="center",
        fontsize=_points_of(6.5),
        path_effects=_HALO,
    )


def _covered(box: Bbox, others: Sequence[tuple[float, float, float, float]]) -> float:
    """How much of the others' extents lies within a box, in square pixels."""
    mine, theirs = np.array(box.extents), np.array(others)
    sides = np.minimum(mine[2:], theirs[:, 2:]) - np.maximum(mine[:2], theirs[:, :2])
    return float(np.prod(np.clip(sides, 0, None), axis=1).sum())
