"""Two finished runs, kept as they were when they were made: what was bought then is found now, and reads the same."""

from __future__ import annotations

import csv
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import fields
from math import isclose, isnan
from pathlib import Path
from typing import Any

import pytest

import divcon
from divcon.eval.grid import results
from divcon.eval.grid.rows import ResultRow
from divcon.lm.engines.transformers import Transformers

from ..paths import ROOT

FROZEN = sorted(path.parent for path in (ROOT / "tests" / "frozen").glob("*/config.yaml"))
REMADE = ("results.parquet", "requests.json", "report.json", "report", "SHA256SUMS")
"""What a run makes anew from its store and its students."""


@pytest.fixture(scope="module", params=FROZEN, ids=lambda frozen: frozen.name)
def frozen(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(scope="module")
def again(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same command over a copy of the run, where no model can be asked."""
    run = tmp_path_factory.mktemp("frozen") / frozen.name
    shutil.copytree(frozen, run, ignore=shutil.ignore_patterns(*REMADE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transformers, "generate", _refuse)
        divcon.study(str(run / "config.yaml"), run=run)
    return run


def _refuse(*_: object, **__: object) -> Iterable[object]:
    raise AssertionError("a model was asked for what is in the store")


def test_nothing_is_asked_a_second_time(frozen: Path, again: Path) -> None:
    assert samples(again) == samples(frozen) > 0


def samples(run: Path) -> int:
    with closing(sqlite3.connect(run / "store.sqlite")) as store:
        (count,) = store.execute("SELECT COUNT(*) FROM sample").fetchone()
    return int(count)


def test_the_results_are_the_same(frozen: Path, again: Path) -> None:
    before, after = (results.read(run / "results.parquet") for run in (frozen, again))
    assert len(after) == len(before) > 0
    for old, new in zip(before, after, strict=True):
        told = [field.name for field in fields(ResultRow)]
        assert [name for name in told if not is_near(getattr(new, name), getattr(old, name))] == []


@pytest.mark.parametrize("name", ["table.md", "table.tex"])
def test_the_tables_are_the_same(frozen: Path, again: Path, name: str) -> None:
    before, after = ((run / "report" / name).read_text(encoding="utf-8") for run in (frozen, again))
    assert after == before


def test_the_numbers_of_every_figure_are_the_same(frozen: Path, again: Path) -> None:
    files = sorted(file.name for file in (frozen / "report").glob("*.csv"))
    assert sorted(file.name for file in (again / "report").glob("*.csv")) == files
    for name in files:
        before, after = (cells(run / "report" / name) for run in (frozen, again))
        assert len(after) == len(before), name
        assert [(old, new) for old, new in zip(before, after, strict=True) if not is_near(new, old)] == [], name


def cells(file: Path) -> list[list[float | str]]:
    """Of a table, row by row."""
    with file.open(newline="", encoding="utf-8") as lines:
        return [[_number(cell) for cell in row] for row in csv.reader(lines)]


def is_near(new: Any, old: Any) -> bool:
    """Whether two values are the same, but for the last digits of a number: processors round differently."""
    if isinstance(new, tuple) and isinstance(old, tuple):
        return len(new) == len(old) and all(map(is_near, new, old))
    if isinstance(new, float) and isinstance(old, float):
        return isclose(new, old, rel_tol=1e-9) or (isnan(new) and isnan(old))
    return bool(new == old)


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell
