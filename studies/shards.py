"""A study in shards: each asks the models its part of the questions, and a merge joins their stores in the run's.

A shard trains nothing and reports nothing. When all are merged, the study's own commands find every sample there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..core import documents
from ..core.errors import ConfigError
from ..core.files import atomic_write
from ..distill import student
from ..distill.traces.source import TracesSource
from ..eval import devices, environments
from ..eval.config import Study, flat, is_operational
from ..eval.freshness import digest
from ..eval.grid_spec import UseStudent
from ..eval.run_dir import RunDirectory
from ..lm.recorder import Spend
from ..lm.store.store import Store
from ..tasks.shard import Shard
from . import students
from .checks import check_tests
from .collect import ask_teacher, ask_teacher_single
from .context import StudyContext
from .evaluate import ask_grid

ShardStage = Literal["collect", "eval"]
"""The commands that ask for samples, question by question."""


class _Done(documents.Shape):
    """What a finished stage of a shard leaves: under which settings it was finished, and how much it asked."""

    settings: str
    questions: int


@dataclass(frozen=True)
class ShardResult:
    """A stage that is finished for one shard."""

    run: Path
    stage: ShardStage
    shard: Shard
    questions: int
    """Of this shard."""

    def __str__(self) -> str:
        folder = RunDirectory(self.run).shards / self.shard.folder
        return (
            f"{folder}: {self.stage}, shard {self.shard}, {self.questions} questions; "
            f"when all shards are there: divcon merge {self.run}"
        )


def run_shard(context: StudyContext, shard: Shard, stage: ShardStage) -> ShardResult:
    """Ask the models everything that a stage needs for a shard's questions, unless that is done.

    Raises ConfigError where there is nobody to ask, and where the grid needs a student that is not there yet.
    """
    assert context.shard
    marker, settings = _marker(context.shard.path, stage), _settings(context.study)
    done = documents.read_optional(_Done, marker, "remove it, and run the shard again")
    if done is None or done.settings != settings:
        check_tests(context)
        done = _Done(settings=settings, questions=_collect(context) if stage == "collect" else _evaluate(context))
        atomic_write(marker, json.dumps(done.model_dump()) + "\n")
    return ShardResult(context.directory, stage, shard, done.questions)


def _collect(context: StudyContext) -> int:
    if isinstance(context.study.train, TracesSource):
        raise ConfigError("the traces are imported, so there is no teacher to ask in shards")
    ask_teacher(context)
    if any(isinstance(spec, UseStudent) and spec.track == "single" for spec in context.study.grid.solver_specs):
        ask_teacher_single(context)
    return len(context.questions.train)


def _evaluate(context: StudyContext) -> int:
    study, files = context.study, context.files
    needed = [folder for role in get_args(student.Role) for folder in students.of_role(study, files, role)]
    needed += [files.ranker] * study.grid.asks("rank")
    for folder in needed:
        if student.read(folder) is None:
            raise ConfigError(f"no student in {folder}: distil it first; a shard only asks those that are there")
    ask_grid(context)
    return sum(map(len, context.questions.tests.values()))


def _marker(folder: Path, stage: ShardStage) -> Path:
    return folder / f"{stage}.done"


def _settings(study: Study) -> str:
    """A hash of all settings that decide what is asked."""
    return digest({key: value for key, value in flat(study).items() if not is_operational(key)})


# -- joining them -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MergedShards:
    """What came of joining stores."""

    run: Path
    sources: int
    samples: int
    """That the run has now."""
    new: int
    """Of them."""
    bought_twice: tuple[str, ...]
    """Keys of samples that two stores had both bought; the first stays."""
    spend: Spend
    batches: tuple[Path, ...]
    """Stores with batches that were not collected."""
    missing: tuple[tuple[ShardStage, Shard], ...]
    """Shards of the run that have not finished a stage that others have."""

    def __str__(self) -> str:
        lines = [f"{self.run}: {self.sources} stores, {self.samples:,} samples, {self.new:,} of them new; {self.spend}"]
        if self.bought_twice:
            named = ", ".join(key[:12] for key in self.bought_twice[:5])
            more = ", ..." * (len(self.bought_twice) > 5)
            lines.append(f"bought twice: {len(self.bought_twice)} samples ({named}{more})")
        lines += [f"{store} waits for a batch: run that shard again" for store in self.batches]
        lines += [f"missing: divcon {stage} CONFIG --shard {shard}" for stage, shard in self.missing]
        return "\n".join(lines)


def merge(run: Path, given: Sequence[Path] = ()) -> MergedShards:
    """Join stores in that of a run: those of its shards, or of `given` folders and files.

    Whatever was merged before is not counted again. Raises ConfigError where there is no run, or nothing to merge.
    """
    files = RunDirectory(run)
    files.check()
    sources = list(given) or [folder for _, folder in _shards(files)]
    if not sources:
        raise ConfigError(f"{files.shards} holds no shards: divcon collect CONFIG --shard 1/4 --run {run} makes one")
    stores = [_store(source) for source in sources]
    with Store(files.study.store or files.store) as into:
        new = sum(into.merge(store) for store in stores)
        merged = MergedShards(
            run,
            len(stores),
            len(into),
            new,
            tuple(into.ledger.bought_twice()),
            into.spend(),
            tuple(store for store in stores if _has_batches(store)),
            tuple(_missing(files)),
        )
    for source in sources:
        _merge_environments(files, source)
    return merged


def _store(source: Path) -> Path:
    """The store of a shard or a run, or the file itself."""
    store = source
    if source.is_dir():
        files = RunDirectory(source)
        store = (files.study.store if files.config.is_file() else None) or files.store
    if not store.is_file():
        raise ConfigError(f"no store {store}")
    return store


def _has_batches(store: Path) -> bool:
    with Store.reading(store) as opened:
        return opened.ledger.has_batches()


def _merge_environments(files: RunDirectory, source: Path) -> None:
    """On which devices, and under which environments, a shard's models answered."""
    if not source.is_dir():
        return
    devices.join(files.path, source)
    for used in environments.read(source):
        for stage in used.stages:
            environments.remember(files.path, stage, used.environment)


def _shards(files: RunDirectory) -> list[tuple[Shard, Path]]:
    found = [(shard, folder) for folder in files.shards.glob("*") if (shard := Shard.named(folder.name))]
    return sorted((shard, folder) for shard, folder in found if (folder / RunDirectory.store.name).is_file())


def _missing(files: RunDirectory) -> Iterator[tuple[ShardStage, Shard]]:
    """Of a stage that some shard has finished, the shards of the same total that have not."""
    settings, begun = _settings(files.study), dict(_shards(files))
    for stage in get_args(ShardStage):
        done = {shard for shard, folder in begun.items() if _is_done(folder, stage, settings)}
        for total in sorted({shard.total for shard in done}):
            wanted = [Shard(number, total) for number in range(1, total + 1)]
            yield from ((stage, shard) for shard in wanted if shard not in done)


def _is_done(folder: Path, stage: ShardStage, settings: str) -> bool:
    done = documents.read_optional(_Done, _marker(folder, stage), "remove it, and run the shard again")
    return done is not None and done.settings == settings
