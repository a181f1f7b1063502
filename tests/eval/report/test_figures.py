"""Figures of names that are no formulas, no lines and no letters: all are drawn, in every format, as they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from divcon.eval.analysis.break_even import BreakEven
from divcon.eval.analysis.learning_curve import CurvePoint
from divcon.eval.analysis.ranker import Bin, Gain, ScoreLine, Worth
from divcon.eval.analysis.summary import CellSummary, ReferenceComparison, lines, squares
from divcon.eval.analysis.votes import Pair, RuleCurve
from divcon.eval.grid_spec import Cell, UseModel, VoteSpec
from divcon.eval.report import figures
from divcon.eval.report.plots import PLOTS
from divcon.eval.stats.intervals import Estimate

from .test_browser import ROWS

NAMES = (
    "$x",
    "a_b^c$",
    r"\frac{",
    "$\\frac{1}{2}$",
    "_hidden",
    "two\nlines\r\n",
    "nul \x00 and \x1b",
    "lone \ud800",
    "\u202eright to left \u05d0\u05d1",
    "\u65e5\u672c\u8a9e",
    "\N{PILE OF POO}",
    "",
    "very long " * 40,
    "<b>&amp;",
)
HALF = Estimate(0.5, 0.4, 0.6)


def called(decomposer: str, solver: str, vote: str) -> Cell:
    """A cell whose parts have any names."""
    return Cell(UseModel(decomposer), UseModel(solver), VoteSpec(vote, 4))


def some_lines() -> list[CellSummary]:
    """Of a decomposer, a solver and a test of every name."""
    template = lines(ROWS)[0]
    cells = [Cell.parse(name, NAMES[0], "greedy") for name in NAMES]
    cells += [called(NAMES[0], name, NAMES[1]) for name in NAMES[:3]]
    return [
        replace(template, cell=cell, test=test, accuracy=HALF)
        for cell in cells
        for test in ("all questions", *NAMES[: 2 if str(cell.decomposer) else None])
    ]


def some_squares() -> list[ReferenceComparison]:
    template = squares(ROWS)[1]
    return [template._replace(cell=called(name, other, name)) for name in NAMES for other in NAMES[:3]]


def break_evens() -> list[BreakEven]:
    cells = [called(name, name, name) for name in NAMES[::-1]]  # the last eight are drawn
    return [BreakEven(cell, cell, 1e12, 1e6, 1e9, HALF, Estimate(1000, 900, 1100), HALF) for cell in cells]


def compositions() -> list[Pair]:
    return [Pair(*called(name, name, name)[:2]) for name in NAMES]


def curves() -> list[CurvePoint]:
    """Of tracks by any name, though there are three."""
    some: Any = NAMES
    return [CurvePoint(name, tokens, 2, 0.5, 0.4, 0.6, 1.0, None) for name in some for tokens in (1000, 9000)]


def rule_curves() -> list[RuleCurve]:
    return [RuleCurve(of, VoteSpec(name, 4), (HALF, HALF)) for of in compositions()[:4] for name in NAMES]


WORTH = Worth(HALF, 0.5, [Bin(0.5, HALF, 9)])
STEPS = [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]
DRAWN: dict[str, Callable[[], Figure]] = {
    "accuracy_cost": lambda: figures.accuracy_cost(some_lines()),
    "by_test": lambda: figures.by_test(some_lines()),
    "heat_map": lambda: figures.heat_map(some_squares(), NAMES[2]),
    "slopes": lambda: figures.slopes(some_lines(), some_lines()),
    "votes": lambda: figures.votes(
        [RuleCurve(of, VoteSpec(name, 4), (HALF, HALF)) for of in compositions()[:4] for name in NAMES]
    ),
    "calibration": lambda: figures.calibration([ScoreLine(of, "ranker", WORTH) for of in compositions()]),
    "gain": lambda: figures.gain([Gain(name, HALF, HALF) for name in NAMES]),
    "break_even": lambda: figures.break_even(break_evens()),
    "training": lambda: figures.training(dict.fromkeys(NAMES, STEPS)),
    "learning_curve": lambda: figures.learning_curve(curves()),
}


def test_every_figure_is_tried_with_every_name() -> None:
    assert DRAWN.keys() == PLOTS.keys()


@pytest.mark.parametrize("name", DRAWN)
def test_a_name_is_drawn_as_it_is_in_every_format(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = DRAWN[name]()
        figures.save(figure, tmp_path, "f")
    with mpl.rc_context(figures.STYLE):  # finding them makes ticks that no format shows
        texts = figure.findobj(Text)
    assert not any(text.get_parse_math() or text.get_usetex() for text in texts)
    assert not any("mathdefault" in text.get_text() for text in texts)
    shown = "".join(text.get_text() for text in texts)
    assert any(part in shown for part in ("$x", "a_b^c$", "\\frac{"))
    ElementTree.parse(tmp_path / "f.svg")
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF") and (tmp_path / "f.png").stat().st_size > 1000


def test_a_logarithmic_axis_is_labelled_without_formulas() -> None:
    ticks = figures._Powers()
    ticks.create_dummy_axis()
    ticks.set_locs([1e3, 1e12])
    assert [ticks(x) for x in (1e3, 1e12, 1e-4)] == ["10³", "10¹²", "10⁻⁴"]


def test_a_figure_is_laid_out_once_for_all_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure, laid_out = figures.by_test(lines(ROWS)), []
    engine = figure.get_layout_engine()
    assert engine is not None
    execute = engine.execute

    def counted(of: Figure) -> None:
        laid_out.append(of)
        execute(of)

    monkeypatch.setattr(engine, "execute", counted)
    figures.save(figure, tmp_path, "f")
    assert len(laid_out) == 1 and len(list(tmp_path.iterdir())) == 3
