"""What several seeds of a shipped study came to, beside a run of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml

from divcon import configs
from divcon.eval.config import load
from divcon.eval.grid import results
from divcon.eval.report import report
from divcon.eval.report.spread import made_on, shipped_spread, write_spread
from divcon.eval.run_dir import RunDirectory

from ...paths import ROOT

FROZEN = ROOT / "tests" / "frozen" / "miniature"


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """The frozen run under two names, the second with another seed."""
    made = []
    for seed in (0, 7):
        run = tmp_path / str(seed)
        shutil.copytree(FROZEN, run, ignore=shutil.ignore_patterns("store.sqlite", "report*"))
        settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        (run / "config.yaml").write_text(yaml.safe_dump(settings | {"seed": seed}), encoding="utf-8")
        made.append(run)
    return made


def test_a_spread_is_shown_beside_a_run_of_the_same_study_and_no_other(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(runs[0] / "config.yaml", tmp_path / "mine.yaml")
    write_spread(runs, tmp_path / "mine.spread.json")
    monkeypatch.setattr(configs, "_HERE", tmp_path)
    found = shipped_spread(RunDirectory(runs[1]).study)
    assert found and found.seeds == [0, 7] and "1 thread" in found.made_on
    rows = [row for row in results.read(runs[0] / "results.parquet") if row.cell.names[1] == "distilled"]
    compared = 0
    for cell, (mean, low, high) in found.accuracies.items():
        own = [row.credit or 0.0 for row in rows if row.cell == cell]
        if own:
            compared += 1
            assert mean == low == high == pytest.approx(sum(own) / len(own))
    assert compared
    page = report.report(runs[1]).read_text(encoding="utf-8")
    assert "The same study under other seeds" in page and "2 seeds: mean [lowest, highest]" in page
    other = RunDirectory(runs[1]).study.model_copy(update={"max_usd": 3.0})
    assert shipped_spread(other) is not None  # an operational setting decides no sample
    assert shipped_spread(other.limited(2)) is None


def test_a_comparison_is_dated_by_its_results(runs: list[Path]) -> None:
    """A comparison of methods, or a learning curve."""
    files = RunDirectory(runs[0])
    files.method_results.parent.mkdir()
    files.results.rename(files.method_results)
    os.utime(files.method_results, (0, 86_400))
    files.provenance.unlink()
    assert made_on([runs[0]]).endswith("1970-01-02")


def test_what_ships_is_of_a_study_that_ships() -> None:
    shipped = [name for name in configs.names() if configs.spread(name)]
    assert "miniature" in shipped
    for name in shipped:
        found = shipped_spread(load(name))
        assert found and len(found.seeds) >= 5, name
