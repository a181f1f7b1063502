"""Accuracy and loss against training tokens: whether a track was given enough, and which is still rising."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import get_args

from ...core.errors import ConfigError
from ...distill import student
from ..grid import results
from ..grid.rows import ResultRow, Results
from ..grid_spec import Track
from ..run_dir import RunDirectory
from ..stats.seeds import Tested
from .summary import paired_over_seeds


@dataclass(frozen=True)
class CurvePoint:
    """One track at one budget, over seeds."""

    track: Track
    tokens: int
    """The budget of the training."""
    seeds: int
    accuracy: float
    """The mean over seeds, on all questions."""
    lowest: float
    highest: float
    loss: float
    """Of the last logged steps, in nats per reply token; the mean over seeds."""
    gain: Tested | None
    """Over the budget before, on the same questions; None for the first."""

    @property
    def is_rising(self) -> bool:
        """Whether the last step up in tokens surely still gained."""
        return self.gain is not None and self.gain.estimate.low > 0


def student_name(track: Track, tokens: int, seed: int) -> str:
    """What a student of a curve is called in the results, and its folder."""
    return f"{track}-{tokens}-{seed}"


_NAME = re.compile(rf"({'|'.join(get_args(Track))})-(\d+)-(\d+)")


def learning_curves(run: Path) -> list[CurvePoint]:
    """Of a run, track by track, with growing budgets; empty where none was made."""
    files = RunDirectory(run)
    if not files.curve_results.is_file():
        return []
    rows: dict[tuple[Track, int], dict[int, list[ResultRow]]] = {}
    for row in results.read(files.curve_results):
        track, tokens, seed = _parts(row)
        rows.setdefault((track, tokens), {}).setdefault(seed, []).append(row)
    students = {student: {seed: Results(of) for seed, of in by_seed.items()} for student, by_seed in rows.items()}
    points: list[CurvePoint] = []
    for track in get_args(Track):
        before: dict[int, Results] = {}
        for tokens in sorted(n for of, n in students if of == track):
            points.append(_point(files, track, tokens, students[track, tokens], before))
            before = students[track, tokens]
    return points


def _parts(row: ResultRow) -> tuple[Track, int, int]:
    """The student of a row, whichever half it takes. Raises ConfigError for a row of another kind."""
    decomposer, solver, _ = row.cell.names
    found = _NAME.fullmatch(solver) or _NAME.fullmatch(decomposer)
    if found is None:
        raise ConfigError(f"no student of a learning curve is called {solver!r}; remove the run's curve folder")
    track: Track = next(known for known in get_args(Track) if known == found[1])
    return track, int(found[2]), int(found[3])


def _point(
    files: RunDirectory, track: Track, tokens: int, by_seed: Mapping[int, Results], before: Mapping[int, Results]
) -> CurvePoint:
    means = [fmean(of.credits) for of in by_seed.values()]
    cards = [student.read(files.curve / student_name(track, tokens, seed)) or {} for seed in by_seed]
    losses = [card["trained"]["loss"] for card in cards if card]
    gain = _gain(by_seed, before)
    loss = fmean(losses) if losses else float("nan")
    return CurvePoint(track, tokens, len(means), fmean(means), min(means), max(means), loss, gain)


def _gain(by_seed: Mapping[int, Results], before: Mapping[int, Results]) -> Tested | None:
    both = [seed for seed in by_seed if seed in before]
    return paired_over_seeds([by_seed[seed] for seed in both], [before[seed] for seed in both]) if both else None
