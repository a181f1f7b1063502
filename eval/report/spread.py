"""How far one training lies from another: what several seeds of a shipped study came to, as divcon ships it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ... import configs
from ...core import documents
from ...core.files import atomic_write
from ..analysis.summary import lines
from ..config import Study, decides_results, differences, load
from ..environments import read as environments_of
from ..grid import results
from ..grid_spec import Cell
from ..run_dir import RunDirectory


@dataclass(frozen=True)
class SeedSpread:
    """Accuracies on all questions, over seeds."""

    seeds: Sequence[int]
    made_on: str
    """Processor, threads, date."""
    accuracies: Mapping[Cell, tuple[float, float, float]]
    """The mean, the lowest and the highest."""


class _Accuracy(documents.Shape):
    decomposer: str
    solver: str
    vote: str
    mean: float
    lowest: float
    highest: float


class _File(documents.Shape):
    seeds: list[int]
    made_on: str
    accuracies: list[_Accuracy]


def shipped_spread(study: Study) -> SeedSpread | None:
    """Of the shipped study that a study is, but for its seed; None where it is none, or nothing was shipped."""
    for name in configs.names():
        path = configs.spread(name)
        if path is not None and _is_same(study, load(name)):
            file: _File = documents.read(_File, path)
            cells = {Cell.parse(a.decomposer, a.solver, a.vote): (a.mean, a.lowest, a.highest) for a in file.accuracies}
            return SeedSpread(file.seeds, file.made_on, cells)
    return None


def _is_same(study: Study, shipped: Study) -> bool:
    return all(key == "seed" or not decides_results(key) for key in differences(study, shipped))


def write_spread(runs: Sequence[Path], path: Path) -> None:
    """What runs of one study under several seeds came to, for `shipped_spread`."""
    files = [RunDirectory(run) for run in runs]
    accuracies: dict[Cell, list[float]] = {}
    for file in files:
        rows = results.read(file.results)
        test = lines(rows)[0].test
        for line in lines(rows):
            if line.test == test:
                accuracies.setdefault(line.cell, []).append(line.accuracy.value)
    whole = {cell: each for cell, each in accuracies.items() if len(each) == len(files)}
    values = {
        "seeds": [file.study.seed for file in files],
        "made_on": made_on(runs),
        "accuracies": [
            {
                **cell.columns,
                "mean": sum(each) / len(each),
                "lowest": min(each),
                "highest": max(each),
            }
            for cell, each in whole.items()
        ],
    }
    atomic_write(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def made_on(runs: Sequence[Path]) -> str:
    """Processors, vector instructions, threads and dates of runs, each once."""
    files = [RunDirectory(run) for run in runs]
    used = [used.environment for file in files for used in environments_of(file.path)]
    parts = [
        sorted({one.processor for one in used}),
        sorted({one.capability for one in used}),
        [f"{n} thread{'s' * (n != 1)}" for n in sorted({one.threads for one in used})],
        sorted(set(map(_made, files))),
    ]
    return ", ".join(" and ".join(part) for part in parts)


def _made(files: RunDirectory) -> str:
    """The day of a run's results; comparisons and learning curves keep no provenance beside theirs."""
    if files.provenance.is_file():
        made: _Made = documents.read(_Made, files.provenance)
        return made.date
    last = next(path for path in (files.method_results, files.curve_results) if path.is_file())
    return date.fromtimestamp(last.stat().st_mtime).isoformat()


class _Made(documents.Shape):
    date: str
