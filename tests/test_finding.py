"""README's finding follows from runs by rules: other runs, another finding."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from divcon.eval.grid import results
from divcon.eval.grid_spec import Cell

from .fakes.rows import moved
from .paths import ROOT

MADE: dict[str, Any] = runpy.run_path(str(ROOT / "bench" / "miniature" / "finding.py"))
FROZEN = ROOT / "tests" / "frozen" / "miniature"


def run(folder: Path, seed: int, right: dict[tuple[str, str], int]) -> Path:
    """A run whose cells are right on the first so many questions of each test."""
    shutil.copytree(FROZEN, folder, ignore=shutil.ignore_patterns("store.sqlite", "report*"))
    settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    (folder / "config.yaml").write_text(yaml.safe_dump(settings | {"seed": seed}), encoding="utf-8")
    greedy = results.read(FROZEN / "results.parquet").by_cell[Cell.parse("llm", "llm", "greedy")]
    made = []
    for (decomposer, solver), count in right.items():
        seen: dict[str, int] = {}
        for row in greedy:
            place = seen[row.test] = seen.get(row.test, -1) + 1
            made.append(moved(row, decomposer, solver, credit=float(place < count)))
    results.save(made, folder / "results.parquet")
    return folder


@pytest.mark.parametrize(
    ("decomposes", "solves", "says"),
    [
        (11, 3, "A student does better as decomposer than as solver"),
        (3, 11, "A student does better as solver than as decomposer"),
        (8, 8, "In which half a student does better is not told"),
    ],
)
def test_other_runs_make_another_finding(decomposes: int, solves: int, says: str, tmp_path: Path) -> None:
    cells = {
        ("llm", "llm"): 12,
        ("distilled", "llm"): decomposes,
        ("llm", "distilled"): solves,
        ("none", "distilled-single"): 6,
    }
    runs = [run(tmp_path / str(seed), seed, cells) for seed in range(5)]
    text = MADE["finding"](runs, runs[:2])
    assert "It lies within these intervals." in text and "2 seeds on " in text
    assert says in text and "5 seeds (0, 1, 2, 3, 4)" in text
    assert text.count("\n| ") == 2 + 4 + 1  # a head, four tests, all of them


def test_the_text_goes_between_the_marks_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MADE['START']}\nold\n{MADE['END']}\nafter\n", encoding="utf-8")
    MADE["put"]("new \\1", page)
    assert page.read_text(encoding="utf-8") == f"before\n{MADE['START']}\nnew \\1\n{MADE['END']}\nafter\n"
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(SystemExit, match="has no place for the finding"):
        MADE["put"]("x", page)


def test_another_processor_that_says_otherwise_is_said_to(tmp_path: Path) -> None:
    cells = {("llm", "llm"): 12, ("distilled", "llm"): 11, ("llm", "distilled"): 3, ("none", "distilled-single"): 6}
    here = [run(tmp_path / str(seed), seed, cells) for seed in range(5)]
    there = [run(tmp_path / f"there-{seed}", seed, cells | {("distilled", "llm"): 2}) for seed in range(5)]
    assert "It does not lie within these intervals." in MADE["finding"](here, there)
