"""Several seeds of one study in one table."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.eval.config import dump, load
from divcon.eval.grid import results
from divcon.eval.grid_spec import Cell
from divcon.eval.stats.seeds import crossed
from divcon.studies.across_seeds import over_seeds
from tests.fakes.rows import row

CREDITS = {0: [1.0, 1.0, 0.0, 1.0, 0.0, 1.0], 1: [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]}


def run(home: Path, seed: int, *more: str, of: int = 6, decomposers: tuple[str, ...] = ("none", "llm")) -> Path:
    """A run directory of two cells; the LLM's decompositions are always right."""
    home.mkdir()
    (home / "config.yaml").write_text(dump(load("miniature", [f"seed={seed}", *more])), encoding="utf-8")
    rows = [
        row(name, "llm", id=str(i), cluster=str(i), credit=credit)
        for name in decomposers
        for i, credit in enumerate([1.0] * of if name == "llm" else CREDITS[seed][:of])
    ]
    results.save(rows, home / "results.parquet")
    return home


def test_means_over_seeds_and_differences_over_seeds_and_questions(tmp_path: Path) -> None:
    found = over_seeds([run(tmp_path / "a", 0), run(tmp_path / "b", 1)])
    cell = Cell.parse("none", "llm", "greedy")
    (mean,) = (mean for mean in found.means if mean.cell == cell)
    assert (mean.accuracy, mean.lowest, mean.highest, mean.questions) == (4 / 6, 4 / 6, 4 / 6, 6)
    expected = crossed([[credit - 1.0 for credit in CREDITS[seed]] for seed in (0, 1)])
    assert found.beside == {cell: expected}


def test_any_cell_can_be_what_the_others_are_held_against(tmp_path: Path) -> None:
    runs = [run(tmp_path / "a", 0), run(tmp_path / "b", 1)]
    found = over_seeds(runs, "none:llm:greedy")
    expected = crossed([[1.0 - credit for credit in CREDITS[seed]] for seed in (0, 1)])
    assert found.beside == {Cell.parse("llm", "llm", "greedy"): expected}
    with pytest.raises(ConfigError, match="no cell 'gold:llm:greedy'; there are none:llm:greedy, llm:llm:greedy"):
        over_seeds(runs, "gold:llm:greedy")


def test_the_table_is_written_as_the_numbers_it_shows(tmp_path: Path) -> None:
    runs = [str(run(tmp_path / "a", 0)), str(run(tmp_path / "b", 1))]
    outcome = CliRunner().invoke(main, ["seeds", *runs, "--out", str(tmp_path / "out" / "seeds")])
    assert outcome.exit_code == 0, outcome.output
    assert "| none | llm | greedy | 66.7 [66.7, 66.7] | -33.3" in outcome.output and "seeds 0, 1" in outcome.output
    kept = pq.read_table(tmp_path / "out" / "seeds.parquet").to_pylist()
    assert [row["accuracy"] for row in kept] == [4 / 6, 1.0] and kept[1]["beside"] is None
    assert CliRunner().invoke(main, ["seeds", *runs, "--out", str(tmp_path / "out")]).exit_code == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        f"seeds.{kind}" for kind in ("md", "tex", "csv", "parquet")
    }
    assert r"\toprule" in (tmp_path / "out" / "seeds.tex").read_text(encoding="utf-8")


def test_a_cell_that_one_run_lacks_is_named_and_left_out(tmp_path: Path) -> None:
    found = over_seeds([run(tmp_path / "a", 0), run(tmp_path / "b", 1, decomposers=("llm",))])
    assert [str(mean.cell.decomposer) for mean in found.means] == ["llm"] and "none" in found.note()


@pytest.mark.parametrize(
    ("seed", "more", "of", "sentence"),
    [
        (0, [], 6, "two of these runs have the seed 0"),
        (1, ["grid.temperature=0.5"], 6, "differ in more than their seed: grid.temperature"),
        (1, [], 5, "were asked different questions"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(
    tmp_path: Path, seed: int, more: list[str], of: int, sentence: str
) -> None:
    runs = [run(tmp_path / "a", 0), run(tmp_path / "b", seed, *more, of=of)]
    with pytest.raises(ConfigError, match=sentence):
        over_seeds(runs)
    with pytest.raises(ConfigError, match="two runs at least"):
        over_seeds(runs[:1])
