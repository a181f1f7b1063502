"""The runs in a folder: how large each is, how far it came, and what of it can be made again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..core.errors import ConfigError
from ..eval.render.table import markdown
from ..eval.run_dir import RunDirectory
from .status import status


@dataclass(frozen=True)
class ListedRun:
    """A run directory."""

    path: Path
    state: str
    """`at work`, `finished`, `evaluated`, or how far it came."""
    size: int
    """Bytes of all its files."""
    store: int
    """Bytes of its own store: what was bought and generated."""
    changed: datetime
    """When its log or its config was last written."""


@dataclass(frozen=True)
class ListedRuns:
    """All runs in a folder, the newest first."""

    folder: Path
    runs: tuple[ListedRun, ...]

    def __str__(self) -> str:
        if not self.runs:
            return f"no runs in {self.folder}"
        rows = [
            [run.path.name, run.state, megabytes(run.size), megabytes(run.store), f"{run.changed:%Y-%m-%d %H:%M}"]
            for run in self.runs
        ]
        total = [
            "all",
            "",
            megabytes(sum(run.size for run in self.runs)),
            megabytes(sum(r.store for r in self.runs)),
            "",
        ]
        return markdown((["run", "state", "MB", "of it the store", "last change (UTC)"], [*rows, total]))


@dataclass(frozen=True)
class Pruned:
    """What was removed of a run."""

    path: Path
    removed: tuple[str, ...]
    size: int
    """Bytes."""

    def __str__(self) -> str:
        if not self.removed:
            return f"{self.path}: there is nothing to prune"
        return f"{self.path}: removed {', '.join(self.removed)}, {megabytes(self.size)} MB"


def list_runs(folder: Path) -> ListedRuns:
    """The runs directly in a folder. Raises ConfigError when there is no such folder."""
    if not folder.is_dir():
        raise ConfigError(f"no folder {folder}")
    found = [_listed(path.parent) for path in folder.glob(f"*/{RunDirectory.config.name}")]
    return ListedRuns(folder, tuple(sorted(found, key=lambda run: run.changed, reverse=True)))


def prunable(run: Path) -> list[Path]:
    """A finished run's store and checkpoints. Results, students, traces and the report stay.

    Raises ConfigError when there is no such run, it is at work, or it is not finished.
    """
    files = RunDirectory(run)
    if status(run).running:
        raise ConfigError(f"{run} is at work")
    if not (files.evaluated.is_file() and files.results.is_file()):
        raise ConfigError(f"{run} is not finished: without its store it would ask for everything again")
    return [*_stores(files), *([files.checkpoints] if files.checkpoints.is_dir() else [])]


def prune(run: Path) -> Pruned:
    """Remove what `prunable` names."""
    parts = prunable(run)
    size = sum(map(_size, parts))
    for part in parts:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()
    return Pruned(run, tuple(part.name for part in parts), size)


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


def _listed(run: Path) -> ListedRun:
    files = RunDirectory(run)
    dated = [path.stat().st_mtime for path in (files.config, files.log) if path.is_file()]
    return ListedRun(
        run,
        _state(run),
        _size(run),
        sum(map(_size, _stores(files))),
        datetime.fromtimestamp(max(dated), UTC),
    )


def _stores(files: RunDirectory) -> Sequence[Path]:
    return sorted(files.path.glob(f"{RunDirectory.store.name}*"))


def _state(run: Path) -> str:
    """In a few words; a run that cannot be read is one too."""
    files = RunDirectory(run)
    try:
        now = status(run)
    except ConfigError:
        return "cannot be read"
    if now.running:
        return "at work"
    if files.page.is_file() and files.evaluated.is_file():
        return "finished"
    if files.evaluated.is_file():
        return "evaluated"
    last = now.stages[-1] if now.stages else None
    if last is None:
        return "begun"
    return f"stopped {'after' if last['event'] == 'end' else 'in'} {last['stage']}"


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(each.lstat().st_size for each in path.rglob("*") if not each.is_dir())
