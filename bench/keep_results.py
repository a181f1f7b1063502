"""Keeps of runs of one study what a table over seeds needs, so that seeds may be run on other days and machines.

    python -m bench.keep_results FOLDER RUN [RUN ...]
    divcon seeds FOLDER/* --out OUT

FOLDER/RUN's name gets the run's settings, where it was made, and its results without the texts: no model, no weights.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from divcon.eval.config import dump
from divcon.eval.grid import results
from divcon.eval.run_dir import RunDirectory


def keep(folder: Path, runs: Sequence[Path]) -> None:
    """Copy what is needed; a run that FOLDER has already is replaced."""
    for run in runs:
        there, here = RunDirectory(run), RunDirectory(folder / run.name)
        here.path.mkdir(parents=True, exist_ok=True)
        keep_config(there, here)
        for name in ("environments", "devices", "provenance"):
            shutil.copy(getattr(there, name), getattr(here, name))
        results.save(results.drop_texts(results.read(there.results)), here.results)


def keep_config(there: RunDirectory, here: RunDirectory) -> None:
    """A run's settings without where its store lay: that is a path of one machine, and decides nothing."""
    here.config.write_text(dump(there.study.model_copy(update={"store": None})), encoding="utf-8")


if __name__ == "__main__":
    keep(Path(sys.argv[1]), [Path(run) for run in sys.argv[2:]])
