"""When a report is made again, and what a refused one leaves."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from divcon import commands
from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.core.files import replacing
from divcon.eval import freshness
from divcon.eval.grid import results
from divcon.eval.grid.rows import Results
from divcon.eval.render import page
from divcon.eval.render.table import decimal, markdown, number, percent, points, questions
from divcon.eval.report import figures, plots, report
from divcon.eval.run_dir import RunDirectory
from divcon.eval.stats.intervals import Estimate
from tests.fakes.rows import moved

from ..render.test_escape import HOSTILE, read_markdown
from .test_browser import directory, with_dollars

UNPRICED = with_dollars(None)
FEW = UNPRICED.where(lambda row: row.cell.vote.is_greedy)


def state(folder: Path) -> dict[str, tuple[int, str]]:
    """When every file was written, and what it holds."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = directory(tmp_path_factory.mktemp("runs") / "run", FEW)
    report.report(made)
    return made


@pytest.fixture
def run(reported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reported, tmp_path / reported.name))


def is_current(run: Path, axis: str = "flops") -> bool:
    return freshness.is_current(RunDirectory(run).reported, freshness.of_report(run, axis))


def test_a_report_stays_what_it_is_however_old_its_files_look(run: Path) -> None:
    for file in run.rglob("*"):
        os.utime(file, (0, 0))
    assert is_current(run)


def changed_config(run: Path) -> None:
    config = run / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(re.sub("price: null", "price: {prompt: 1.0, completion: 2.0}", text, count=1), encoding="utf-8")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a figure is gone": lambda run: (run / "report" / "by_test.pdf").unlink(),
    "a table is damaged": lambda run: (run / "report" / "table.md").write_text("damaged", encoding="utf-8"),
    "the record is damaged": lambda run: RunDirectory(run).reported.write_text("[[1]]", encoding="utf-8"),
    "the page is empty": lambda run: (run / "report" / "index.html").write_bytes(b""),
    "another price": changed_config,
    "other results": lambda run: results.save(FEW[:-1], run / "results.parquet"),
    "a new file of the run": lambda run: (run / "requests.json").write_text("{}", encoding="utf-8"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_report_is_made_again_when_something_has_changed(run: Path, change: str) -> None:
    assert is_current(run) and not is_current(run, "tokens")
    CHANGES[change](run)
    assert not is_current(run)


def test_a_report_made_again_is_the_same_and_touches_no_file_that_is(run: Path) -> None:
    before = state(run)
    (run / "report" / "by_test.csv").unlink()
    (run / "report" / "mine.txt").write_text("a note of my own", encoding="utf-8")
    report.report(run)
    after = state(run)
    own = ("report/by_test.csv", "report/mine.txt", RunDirectory.reported.name)
    assert {name: of for name, of in after.items() if name not in own} == {
        name: of for name, of in before.items() if name not in own
    }
    assert after["report/by_test.csv"][1] == before["report/by_test.csv"][1] and is_current(run)


def test_another_code_or_library_makes_another_report(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = freshness.software()
    monkeypatch.setattr(freshness, "software", lambda: now | {"matplotlib": "0.0"})
    assert not is_current(run)


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_report_against_dollars_that_nobody_knows_is_refused_and_leaves_the_old_one(run: Path) -> None:
    before = state(run)
    outcome = CliRunner().invoke(main, ["report", str(run), "--axis", "dollars"])
    assert outcome.exit_code == 2 and "no cell whose cost in dollars is known" in outcome.stderr
    assert state(run) == before


def refuse(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


PARTS: list[tuple[Any, str]] = [(figures, "_print"), (plots, "_write"), (report, "save"), (page, "document")]


@pytest.mark.parametrize(("module", "part"), PARTS, ids=lambda of: getattr(of, "__name__", of))
def test_a_report_that_fails_on_the_way_leaves_the_old_one(
    run: Path, module: Any, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(run)
    monkeypatch.setattr(module, part, refuse)
    with pytest.raises(ConfigError, match=r"cannot write the report of .*: No space left"):
        report.report(run, "tokens")
    assert state(run) == before


@pytest.mark.parametrize("part", ["_print", "_write"])
def test_a_figure_that_fails_on_the_way_leaves_the_old_one(
    run: Path, tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    commands.plot(run, "by_test", tmp_path / "out" / "f.svg")
    before = state(tmp_path / "out")
    monkeypatch.setattr(figures if part == "_print" else plots, part, refuse)
    with pytest.raises(OSError, match="No space left"):
        commands.plot(run, "heat_map", tmp_path / "out" / "f.svg")
    assert state(tmp_path / "out") == before and len(before) == 2


def test_several_files_are_replaced_together_or_not_at_all(tmp_path: Path) -> None:
    files = tmp_path / "a.md", tmp_path / "b.csv"
    files[0].write_text("old", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), replacing(*files) as (part, _):
        part.write_text("new", encoding="utf-8")
        raise ZeroDivisionError
    assert files[0].read_text(encoding="utf-8") == "old" and list(tmp_path.iterdir()) == [files[0]]
    with replacing(*files) as parts:
        for part in parts:
            part.write_text("new", encoding="utf-8")
    assert {file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == {"new"}
    (tmp_path / "c").mkdir()
    with pytest.raises(IsADirectoryError), replacing(files[0], tmp_path / "c") as (part, _):
        part.write_text("newer", encoding="utf-8")
    assert files[0].read_text(encoding="utf-8") == "new"


# -- names -------------------------------------------------------------------------------------------------------------


def test_hostile_names_are_shown_in_every_file_of_a_report(tmp_path: Path) -> None:
    names = [text for text in HOSTILE if text.isprintable()]
    rows = [replace(one, test=names[i % len(names)], id=str(i)) for i, one in enumerate(FEW)]
    made = directory(tmp_path / "run", Results(moved(one, one.cell.names[0], "a_b$c|<b>") for one in rows))
    report.report(made)
    out = made / "report"
    markdown = (out / "table.md").read_text(encoding="utf-8")
    (main_table,) = [part for part in markdown.split("\n\n") if part.startswith("| decomposer | solver | vote | all")]
    shown, kinds = read_markdown(main_table + "\n")
    assert all(any(name.strip() in head for head in shown[0]) for name in names) and kinds <= {
        "strong_open",
        "strong_close",
    }
    assert "<script>" not in re.sub(
        '<script(>"use strict"| type=application)', "", (out / "index.html").read_text("utf-8")
    )


def test_every_number_of_a_table_is_readable_as_it_is() -> None:
    made = [percent(Estimate(0.5, 0.4, 0.6)), points(Estimate(-0.5, -0.6, 0.1)), number(1.2e20)]
    made += [questions(Estimate(12300, 11900, float("inf"))), decimal(Estimate(0.5, 0.4, 0.6))]
    assert markdown((["a"], [[one] for one in made])).splitlines()[2:] == [f"| {one} |" for one in made]
