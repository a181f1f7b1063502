"""Learning curves: budgets by hand, and a small one for real, whose report and figure tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

import divcon
from divcon import commands
from divcon.core.errors import ConfigError
from divcon.eval.analysis import learning_curve
from divcon.eval.config import load
from divcon.eval.grid import results
from divcon.eval.grid.rows import ResultRow
from divcon.eval.report.learning_curve import described
from divcon.eval.run_dir import RunDirectory

from ..fakes.rows import row


def rows(right: dict[str, int]) -> list[ResultRow]:
    """Students, each right on the first so many of 40 questions."""
    return [
        row(
            "llm" if name.startswith("solver") else "none", name, id=f"{i:02d}", cluster=str(i), credit=float(i < count)
        )
        for name, count in right.items()
        for i in range(40)
    ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    counts = {
        **{f"solver-1000-{seed}": 4 for seed in range(5)},
        **{f"solver-2000-{seed}": 24 + seed for seed in range(5)},
        **{f"single-1000-{seed}": 20 + seed for seed in range(5)},
        **{f"single-2000-{seed}": 20 - seed for seed in range(5)},
    }
    RunDirectory(tmp_path).curve.mkdir()
    results.save(rows(counts), RunDirectory(tmp_path).curve_results)
    return tmp_path


def test_points_are_means_over_seeds_track_by_track(run: Path) -> None:
    points = learning_curve.learning_curves(run)
    assert [(p.track, p.tokens, p.seeds) for p in points] == [
        ("solver", 1000, 5),
        ("solver", 2000, 5),
        ("single", 1000, 5),
        ("single", 2000, 5),
    ]
    assert (points[1].lowest, points[1].accuracy, points[1].highest) == pytest.approx((24 / 40, 26 / 40, 28 / 40))
    assert points[0].gain is None and points[2].gain is None  # a track's first budget is held against nothing
    assert points[1].gain and points[1].gain.estimate.value == pytest.approx(22 / 40)


def test_a_track_that_surely_gained_by_its_last_budget_is_still_rising(run: Path) -> None:
    points = learning_curve.learning_curves(run)
    assert [p.is_rising for p in points] == [False, True, False, False]
    assert described(points) == (
        "Still rising at 2,000 tokens: solver. Not told apart from level at 2,000 tokens: single. Gains have 95 % "
        "intervals over seeds and questions."
    )


def test_a_run_without_curves_has_none(tmp_path: Path) -> None:
    assert learning_curve.learning_curves(tmp_path) == []


def test_rows_of_another_kind_are_refused(run: Path) -> None:
    results.save(rows({"solver": 3}), RunDirectory(run).curve_results)
    with pytest.raises(ConfigError, match="no student of a learning curve is called 'solver'"):
        learning_curve.learning_curves(run)


@pytest.mark.parametrize("tokens", ["[2000,1000]", "[1000,1000]", "[0]"])
def test_budgets_grow(tokens: str) -> None:
    with pytest.raises(ConfigError, match="budgets that grow, each listed once"):
        load("miniature", [f"curve.tokens={tokens}"])


SMALL = [
    *(f"distill.{track}.max_train_tokens=2000" for track in ("decomposer", "solver", "single")),
    "distill.decomposer.data=all",
    "curve.tokens=[1500,3000]",
]


@pytest.mark.model
def test_a_curve_is_drawn_told_and_not_made_twice(tmp_path: Path) -> None:
    run = tmp_path / "run"
    table = commands.learning_curve("miniature", overrides=SMALL, limit=3, run=run)
    assert table.read_text(encoding="utf-8").count("\n| single |") == 2
    made = {path: path.stat().st_mtime_ns for path in (run / "curve").rglob("*.safetensors")}
    assert len(made) == 6
    assert commands.learning_curve("miniature", overrides=SMALL, limit=3, run=run) == table
    assert {path: path.stat().st_mtime_ns for path in (run / "curve").rglob("*.safetensors")} == made
    page = divcon.study("miniature", overrides=SMALL, limit=3, run=run).report.read_text(encoding="utf-8")
    assert ">Learning curves</h" in page and "learning_curve" in page
    commands.plot(run, "learning_curve", tmp_path / "curve.svg")
    assert (tmp_path / "curve.csv").read_text(encoding="utf-8").count("\n") == 1 + 6


def test_no_budgets_make_no_curve(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set curve\.tokens"):
        commands.learning_curve("miniature", limit=1, run=tmp_path / "run")
