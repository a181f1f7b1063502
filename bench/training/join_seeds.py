"""Joins trainings whose seeds were run one at a time, on other days or machines, into one table.

    python -m bench.training.join_seeds methods|curve FOLDER RUN [RUN ...] > TABLE.md

FOLDER keeps of each run what the table needs: the results and the students' cards, no weights. A student that FOLDER
has already is replaced, so the command may be repeated as more runs are done. Runs must not differ in anything that
decides results, other than which seeds and methods they list.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from divcon.core.errors import ConfigError
from divcon.eval.analysis.learning_curve import learning_curves
from divcon.eval.config import decides_results, differences
from divcon.eval.grid import results
from divcon.eval.grid.rows import ResultRow
from divcon.eval.render.table import markdown
from divcon.eval.report.learning_curve import curve_table, described
from divcon.eval.report.spread import made_on
from divcon.eval.run_dir import RunDirectory
from divcon.studies.compare_methods import describe

from ..keep_results import keep_config

Kind = Literal["methods", "curve"]
_TARGETS: dict[Kind, str] = {"methods": "nat", "curve": "learning-curve"}
"""What of bench/Makefile runs and joins them."""
LISTED = ("methods.seeds", "methods.names", "curve.seeds", "curve.tokens", "curve.tracks")
"""Settings that say which students there are, not what they are."""


def join(kind: Kind, folder: Path, runs: Sequence[Path]) -> None:
    """Adds the students of runs to a folder. Raises ConfigError for a run of another study."""
    for run in runs:
        _add(kind, folder, run)


def _add(kind: Kind, folder: Path, run: Path) -> None:
    there, here = RunDirectory(run), RunDirectory(folder)
    if here.config.exists():
        unlike = [k for k in differences(here.study, there.study) if decides_results(k) and k not in LISTED]
        if unlike:
            raise ConfigError(f"{run} is of another study than {folder}: {', '.join(unlike)}")
    folder.mkdir(parents=True, exist_ok=True)
    keep_config(there, here)  # the newest lists all methods
    added = results.drop_texts(results.read(_rows_of(kind, there)))
    names = {_student(row) for row in added}
    for name in sorted(names):
        card = _students_of(kind, here) / name / "divcon.json"
        card.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_students_of(kind, there) / name / "divcon.json", card)
        made = card.parent / "made-on.txt"
        made.write_text(f"{made_on([run])}\n", encoding="utf-8")
    path = _rows_of(kind, here)
    kept = [row for row in results.read(path) if _student(row) not in names] if path.exists() else []
    results.save(sorted([*kept, *added], key=_student), path)


def _rows_of(kind: Kind, files: RunDirectory) -> Path:
    return files.method_results if kind == "methods" else files.curve_results


def _students_of(kind: Kind, files: RunDirectory) -> Path:
    return files.methods if kind == "methods" else files.curve


def _student(row: ResultRow) -> str:
    """The folder of a row's student: `kd 0` of a comparison lies in kd-0."""
    partners = ("llm", "none", "none-direct")
    decomposer, solver, _ = row.cell.names
    return (decomposer if solver in partners else solver).replace(" ", "-")


def table(kind: Kind, folder: Path) -> str:
    """What the joined runs came to, and on which machines."""
    files = RunDirectory(folder)
    machines = sorted({made.read_text(encoding="utf-8").strip() for made in _students_of(kind, files).glob("*/*.txt")})
    if kind == "methods":
        found = describe(folder, files.study.methods.names)
    else:
        points = learning_curves(folder)
        found = f"{described(points)}\n\n{markdown(curve_table(points))}"
    return f"{found.rstrip()}\n\nMade by `make -C bench {_TARGETS[kind]}` on: {'; '.join(machines)}."


def main(words: Sequence[str]) -> None:
    """`methods|curve FOLDER RUN...`"""
    if len(words) < 3 or words[0] not in ("methods", "curve"):
        raise SystemExit(__doc__)
    kind: Kind = "methods" if words[0] == "methods" else "curve"
    join(kind, Path(words[1]), [Path(run) for run in words[2:]])
    print(table(kind, Path(words[1])))


if __name__ == "__main__":
    main(sys.argv[1:])
