"""The figures of a study: accuracy against cost with its Pareto front, and accuracy test by test.

Colours are Okabe and Ito's, told apart by most colour-blind readers; shape and filling say the same thing again.
Fonts are embedded as Type 42, and files carry no date, so that the same rows give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from .ballots import Composition, RuleCurve
from .ranking import Gain, ScoreLine
from .summary import ALL, Line, front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "divcon",
    "savefig.dpi": 200,
}
_OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D")
_THIN: Any = {"markersize": 3.5, "lw": 0.8, "elinewidth": 0.6, "capsize": 1.5}
_DATELESS = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


AxisName = Literal["flops", "tokens", "seconds", "dollars"]


class Axis(NamedTuple):
    """A kind of cost."""

    label: str
    cost: Callable[[Line], float | None]


AXES: dict[AxisName, Axis] = {
    "flops": Axis("inference cost (FLOPs a question, both phases)", lambda line: line.flops),
    "tokens": Axis("inference cost (tokens a question, both phases)", lambda line: line.tokens),
    "seconds": Axis("inference cost (seconds a question, both phases)", lambda line: line.seconds),
    "dollars": Axis("inference cost (US dollars a question, both phases)", lambda line: line.dollars),
}


def accuracy_cost(lines: Sequence[Line], axis: AxisName = "flops") -> Figure:
    """Every cell on all questions: accuracy with its interval against what a question costs, and the Pareto front.

    A cell whose cost nobody knows is not drawn; the title names it.
    """
    chosen = AXES[axis]
    votes = list(dict.fromkeys(line.cell.vote for line in lines))[:2]  # one vote stands for all on its samples
    whole = [line for line in lines if line.test == lines[0].test and line.cell.vote in votes]
    known = [(cost, line) for line in whole if (cost := chosen.cost(line))]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 4.4), layout="constrained")
        axes = figure.add_subplot()
        look = _Look(whole)
        for cost, line in known:
            value = 100 * line.accuracy.value
            axes.errorbar(cost, value, yerr=_bars([line]), capsize=2, elinewidth=0.8, **look.point(line))
        steps = front((cost, 100 * line.accuracy.value) for cost, line in known)
        if steps:
            edge = (max(cost for cost, _ in known) * 1.3, steps[-1][1])
            axes.step(*zip(*steps, edge, strict=True), where="post", color="#888888", lw=1, zorder=1)
        axes.set(xscale="log", xlabel=chosen.label, ylabel="accuracy (%), 95 % interval")
        axes.set_title(_title(whole, [line for line in whole if not chosen.cost(line)]))
        axes.margins(x=0.14, y=0.08)
        look.legend(axes)
        _label(figure, axes, [(cost, 100 * line.accuracy.value, _short(line)) for cost, line in known])
    return figure


def by_test(lines: Sequence[Line]) -> Figure:
    """A panel a solver: accuracy on every test, a mark a decomposer; the first vote (greedy)."""
    tests = [test for test in dict.fromkeys(line.test for line in lines) if test != ALL]
    solvers = list(dict.fromkeys(line.cell.solver for line in lines))
    vote = lines[0].cell.vote
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * len(solvers), 3.2), layout="constrained")
        panels = figure.subplots(1, len(solvers), sharey=True, squeeze=False)[0]
        look = _Look(lines)
        decomposers = list(dict.fromkeys(line.cell.decomposer for line in lines))
        for panel, solver in zip(panels, solvers, strict=True):
            for i, decomposer in enumerate(decomposers):
                of_cell = [x for x in lines if x.cell == (decomposer, solver, vote) and x.test in tests]
                places = [tests.index(x.test) + 0.08 * (i - (len(decomposers) - 1) / 2) for x in of_cell]
                style = look.point(of_cell[0]) | {"label": decomposer}
                heights = [100 * x.accuracy.value for x in of_cell]
                panel.errorbar(places, heights, yerr=_bars(of_cell), capsize=2, elinewidth=0.8, **style)
            panel.set_xticks(range(len(tests)), [test.replace(", ", ",\n") for test in tests])
            panel.tick_params(axis="x", labelsize=6.5)
            panel.set_title(f"solver: {solver} ({vote})")
        panels[0].set_ylabel("accuracy (%), 95 % interval")
        panels[-1].legend(title="decomposer", frameon=False, fontsize=7)
    return figure


def votes(curves: Sequence[RuleCurve]) -> Figure:
    """A panel a composition: each rule's expected accuracy against the number of samples; a band for the first."""
    compositions = list(dict.fromkeys(curve.composition for curve in curves))
    columns = min(3, len(compositions))
    lines = -(-len(compositions) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.4 * columns + 0.4, 2.2 * lines + 0.5), layout="constrained")
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for panel, composition in zip(panels, compositions, strict=False):
            of = [curve for curve in curves if curve.composition == composition]
            for i, curve in enumerate(of):
                at = range(1, len(curve.accuracies) + 1)
                colour, dashes = _OKABE_ITO[i % len(_OKABE_ITO)], ("-", "--")[i // len(_OKABE_ITO) % 2]
                values = [100 * one.value for one in curve.accuracies]
                panel.plot(at, values, color=colour, linestyle=dashes, lw=1, label=curve.vote.partition("@")[0])
                if i == 0:
                    low, high = ([100 * getattr(one, end) for one in curve.accuracies] for end in ("low", "high"))
                    panel.fill_between(at, low, high, color=colour, alpha=0.12, lw=0)
            panel.set_title(composition.label)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.set(xlabel="samples", ylabel="expected accuracy (%)")
        for panel in panels[len(compositions) :]:
            panel.set_visible(False)
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=7)
    return figure


def calibration(found: Sequence[ScoreLine]) -> Figure:
    """The share of solutions that is right against the ranker's score, a line a composition."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 3.6), layout="constrained")
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
                label=line.composition.label,
                **_THIN,
            )
        axes.set(xlabel="mean score of a tenth of the solutions", ylabel="share that is right, 95 % interval")
        figure.legend(loc="outside right upper", frameon=False, fontsize=7)
    return figure


def gain(found: Sequence[Gain]) -> Figure:
    """What the ranker's weights add to the vote, against how well the ranker tells pairs."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0, color="#888888", lw=0.8)
        points = [(100 * one.pairs.value, 100 * one.gain.value, one.label) for one in found]
        for (x, y, _), one in zip(points, found, strict=True):
            across, up = ([[100 * (of.value - of.low)], [100 * (of.high - of.value)]] for of in (one.pairs, one.gain))
            axes.errorbar(x, y, xerr=across, yerr=up, color=_OKABE_ITO[0], marker="o", **_THIN)
        axes.set(xlabel="pairs that the ranker tells (%)", ylabel="rank_1_plus less count (points)")
        axes.margins(0.1)
        _label(figure, axes, points)
    return figure


def training(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Every training of a run, step by step: its loss, and how likely right and wrong replies are to it."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 2.6), layout="constrained")
        loss, likely = figure.subplots(1, 2)
        for i, (name, steps) in enumerate(curves.items()):
            at, colour = [step["step"] for step in steps], _OKABE_ITO[i % len(_OKABE_ITO)]
            loss.plot(at, [step["loss"] for step in steps], color=colour, linewidth=1, label=name)
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


def save(figure: Figure, directory: Path, name: str) -> list[Path]:
    """The figure as PDF, SVG and PNG."""
    files = []
    for kind, metadata in _DATELESS.items():
        files.append(directory / f"{name}.{kind}")
        with mpl.rc_context(STYLE):
            figure.savefig(files[-1], metadata=metadata)
    return files


class _Look:
    """Colour by decomposer, shape by solver, filled when votes are counted."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._decomposers = list(dict.fromkeys(line.cell.decomposer for line in lines))
        self._solvers = list(dict.fromkeys(line.cell.solver for line in lines))
        self._votes = list(dict.fromkeys(line.cell.vote for line in lines))

    def point(self, line: Line) -> dict[str, Any]:
        colour = self._colour(line.cell.decomposer)
        return {
            "color": colour,
            "marker": self._marker(line.cell.solver),
            "markerfacecolor": "white" if line.cell.vote == "greedy" else colour,
            "markersize": 5.5,
            "ls": "none",
        }

    def legend(self, axes: Axes) -> None:
        def entry(label: str, **style: Any) -> Line2D:
            return Line2D([], [], ls="none", label=label, **style)

        decomposers = [entry(f"decomposer {d}", marker=".", ms=10, color=self._colour(d)) for d in self._decomposers]
        solvers = [entry(f"solver {s}", marker=self._marker(s), color="#444444") for s in self._solvers]
        votes = [
            entry(v, marker="o", color="#444444", markerfacecolor="white" if v == "greedy" else "#444444")
            for v in self._votes
        ]
        front_line = Line2D([], [], color="#888888", lw=1, label="Pareto front")
        axes.legend(
            handles=[*decomposers, *solvers, *votes, front_line],
            ncols=4,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14),
            frameon=False,
            fontsize=7,
        )

    def _colour(self, decomposer: str) -> str:
        return _OKABE_ITO[self._decomposers.index(decomposer) % len(_OKABE_ITO)]

    def _marker(self, solver: str) -> str:
        return _MARKERS[self._solvers.index(solver) % len(_MARKERS)]


def _bars(lines: Sequence[Line]) -> list[list[float]]:
    """How far each interval reaches below and above its accuracy; rounding must not make it negative."""
    estimates = [line.accuracy for line in lines]
    return [[100 * max(0.0, e.value - e.low) for e in estimates], [100 * max(0.0, e.high - e.value) for e in estimates]]


def _short(line: Line) -> str:
    return Composition(line.cell.decomposer, line.cell.solver).label


def _title(lines: Sequence[Line], missing: Sequence[Line]) -> str:
    title = f"{lines[0].test}, n = {lines[0].questions}; decomposer \N{RIGHTWARDS ARROW} solver"
    cells = ", ".join(line.cell.label for line in missing)
    return f"{title}\ncost unknown, not drawn: {cells}" if missing else title


def _label(figure: Figure, axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Name every point, where the name covers least of the other names and points."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]  # matplotlib leaves it untyped
    figure.draw_without_rendering()
    spots = [axes.transData.transform((x, y)) for x, y, _ in points]
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in spots]
    for x, y, text in points:
        best, least = (7.0, 0.0, "left"), float("inf")
        for dx, dy, align in _AROUND:
            name = _annotate(axes, (x, y), text, dx, dy, align)
            box = name.get_window_extent(renderer)
            name.remove()
            covered = sum(_overlap(box, other) for other in taken) + 10 * _outside(box, axes.get_window_extent())
            if covered < least:
                best, least, room = (dx, dy, align), covered, box
        _annotate(axes, (x, y), text, *best)
        taken.append(room)


_AROUND = [(dx, dy, "left" if dx > 0 else "right") for dy in (0, 7, -7, 13, -13, 19, -19) for dx in (7.0, -7.0)]
"""Offsets in points, nearest first."""


_HALO = [withStroke(linewidth=2, foreground="white")]


def _annotate(axes: Axes, at: tuple[float, float], text: str, dx: float, dy: float, align: str) -> Annotation:
    return axes.annotate(
        text, at, (dx, dy), textcoords="offset points", ha=align, va="center", fontsize=6.5, path_effects=_HALO
    )


def _overlap(a: Bbox, b: Bbox) -> float:
    common = Bbox.intersection(a, b)
    return float(common.width * common.height) if common else 0.0


def _outside(box: Bbox, frame: Bbox) -> float:
    return float(box.width * box.height) - _overlap(box, frame)
